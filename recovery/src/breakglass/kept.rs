//! What a restore has paid for, so that it pays for it once.
//!
//! A look-up is written down before its tokens count as spent. A wallet that is killed in the midst of a
//! restore, or runs out of tokens, asks for nothing again that it was told. Blobs are kept as the
//! storage node has them: sealed.
//!
//! An entry of the journal:
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |
//! | 16,433 or 0 | the blob that is there, or that there is none |
//!
//! or nothing at all: what was absent may be there now.
//!
//! A blob stays what it is. That there is none is true of one moment: it is believed until this wallet
//! writes, a deletion shows that another one has gone on, or a witness that there was more. A restore that reads on then
//! asks again.

use std::collections::HashMap;
use std::sync::PoisonError;

use larder_protocol::{Blob, Call, Done, Key, Refusal};

use crate::purse::journal::{Journal, JournalError};
use crate::{Looked, Provider, RecoveryError};

/// Answers to look-ups.
pub(crate) struct Kept {
    journal: Box<dyn Journal>,
    /// `None` where there is no blob.
    answers: HashMap<Key, Option<Blob>>,
}

const KEY_LEN: usize = 33;

impl Kept {
    /// Reads what was kept before.
    pub(crate) fn open(mut journal: Box<dyn Journal>) -> Result<Self, JournalError> {
        let mut answers = HashMap::new();
        for (at, entry) in journal.entries()?.iter().enumerate() {
            if entry.is_empty() {
                answers.retain(|_, blob: &mut Option<Blob>| blob.is_some());
                continue;
            }
            let damaged = JournalError::Damaged { at: at as u64 };
            let (key, blob) = read(entry).ok_or(damaged)?;
            answers.insert(key, blob);
        }
        Ok(Kept { journal, answers })
    }

    /// How many blobs there are.
    pub(crate) fn blobs(&self) -> u64 {
        self.answers.values().flatten().count() as u64
    }

    fn keep(&mut self, key: &Key, blob: Option<&Blob>) -> Result<(), JournalError> {
        let bytes = blob.map(Blob::as_bytes).map_or(&[][..], |blob| &blob[..]);
        self.journal
            .append(&[&key.as_bytes()[..], bytes].concat())?;
        self.answers.insert(*key, blob.cloned());
        Ok(())
    }

    /// From here on what was absent is asked for again.
    pub(crate) fn doubt_absences(&mut self) -> Result<(), JournalError> {
        if self.answers.values().all(Option::is_some) {
            return Ok(());
        }
        self.journal.append(&[])?;
        self.answers.retain(|_, blob| blob.is_some());
        Ok(())
    }
}

fn read(entry: &[u8]) -> Option<(Key, Option<Blob>)> {
    let (key, blob) = entry.split_at_checked(KEY_LEN)?;
    let blob = match blob {
        [] => None,
        blob => Some(Blob::try_from(blob.to_vec()).ok()?),
    };
    Some((Key::from_slice(key).ok()?, blob))
}

impl Provider {
    /// Keeps the answers to look-ups from now on; or no longer.
    pub(crate) fn set_kept(&self, kept: Option<Kept>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    /// What is kept, if anything is.
    pub(crate) fn with_kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_mut().map(look)
    }

    /// The answer to a look-up that was paid for before.
    pub(crate) fn known(&self, key: &Key) -> Option<Looked> {
        let known = self.with_kept(|kept| kept.answers.get(key).cloned())??;
        Some(known.map_or(Looked::Absent, Looked::Found))
    }

    /// Keeps an answer that is proven, before what was paid for it is settled.
    pub(crate) fn keep(
        &self,
        call: &Call,
        outcome: &Result<Done, Refusal>,
    ) -> Result<(), RecoveryError> {
        let kept = self.with_kept(|kept| match (call, outcome) {
            (Call::Lookup(lookup), Ok(Done::Found(blob))) => kept.keep(&lookup.key, Some(blob)),
            (Call::Lookup(lookup), Err(Refusal::Absent)) => kept.keep(&lookup.key, None),
            (Call::Lookup(_), Err(Refusal::Deleted)) | (Call::Insert(_) | Call::Delete(_), _) => {
                kept.doubt_absences()
            }
            _ => Ok(()),
        });
        Ok(kept.unwrap_or(Ok(()))?)
    }
}

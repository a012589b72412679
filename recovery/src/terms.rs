//! The terms of a storage node as a client has seen them change.
//!
//! They may change from one epoch to the next and not within one. What was published of keys stays
//! true: those of a live epoch never change, and those of the next are committed to one epoch
//! ahead, as the next pass is. Otherwise a storage node could give each client keys or a pass of its own, and know them again.

use larder_protocol::{Record, RecordHash, SignedRecord, issuer_commitment};

use crate::RecoveryError;

/// The newest terms, and those before them: an answer may have been under way while they changed.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) now: Record,
    /// The same as they were signed.
    pub(crate) signed: SignedRecord,
    hash: RecordHash,
    before: Option<(Record, RecordHash)>,
}

impl Terms {
    pub(crate) fn new(signed: SignedRecord, record: Record) -> Self {
        Terms {
            hash: record.hash(),
            now: record,
            signed,
            before: None,
        }
    }

    pub(crate) fn with_hash(&self, hash: RecordHash) -> Option<&Record> {
        match &self.before {
            _ if self.hash == hash => Some(&self.now),
            Some((record, before)) if *before == hash => Some(record),
            _ => None,
        }
    }

    /// Whether an epoch lies between the newest terms and those before them.
    pub(crate) fn skipped(&self, epoch: u32) -> bool {
        let before = self.before.as_ref().map(|(record, _)| record.epoch);
        before.is_some_and(|before| before < epoch) && epoch < self.now.epoch
    }

    /// Takes newer terms. An answer that was overtaken by a newer one changes nothing.
    pub(crate) fn take(
        &mut self,
        signed: SignedRecord,
        record: Record,
    ) -> Result<(), RecoveryError> {
        if record.epoch < self.now.epoch {
            return Ok(());
        }
        may_follow(&self.now, &record)?;
        if record.epoch > self.now.epoch {
            let old = std::mem::replace(self, Terms::new(signed, record));
            self.before = Some((old.now, old.hash));
        }
        Ok(())
    }
}

/// Whether these terms may hold after those, of the same epoch or an earlier one.
pub(crate) fn may_follow(old: &Record, new: &Record) -> Result<(), RecoveryError> {
    let misbehaved = |what| Err(RecoveryError::Misbehaved(what));
    if new.epoch < old.epoch {
        return misbehaved("it went back to an earlier epoch");
    }
    if new.epoch == old.epoch {
        return match new == old {
            true => Ok(()),
            false => misbehaved("it changed its terms within an epoch"),
        };
    }
    let (Some(old_tariff), Some(tariff)) = (&old.tariff, &new.tariff) else {
        return Ok(());
    };
    let (Some(before), Some(after)) = (keys(old)?, keys(new)?) else {
        return Ok(());
    };
    let changed = before.live().any(|key| {
        let now = after.parameters(key.epoch());
        now.is_ok_and(|now| now != key)
    });
    if changed {
        return misbehaved("it changed the keys of an epoch");
    }
    if old.epoch.checked_add(1) == Some(new.epoch) {
        let newest = tariff.issuers.last().map(issuer_commitment);
        if newest != Some(old_tariff.next_issuer) {
            return misbehaved("its keys are not those it had committed to");
        }
        if let Some([_, next]) = old_tariff.passes
            && tariff.passes.is_none_or(|[now, _]| now != next)
        {
            return misbehaved("its pass is not the one it had committed to");
        }
    }
    Ok(())
}

/// What its proofs are checked with; none when nothing is to be paid.
pub(crate) fn keys(record: &Record) -> Result<Option<larder_credentials::Record>, RecoveryError> {
    record
        .credentials()
        .transpose()
        .map_err(|_| RecoveryError::Misbehaved("the keys in its terms are none"))
}

//! A blob in a place of ours that the root key never wrote there.
//!
//! Every blob that a storage node answers with is opened here. One that is not ours counts for nothing, whoever asked for
//! it: one storage node alone [misbehaves](RecoveryError::Misbehaved), one of several counts as if it had not
//! answered. What it signed is left in our hands as a [`Forgery`], which
//! [`on_forgery`](Provider::on_forgery) has kept before the answer counts.
//!
//! # What a forgery proves
//!
//! To the owner that the storage node is at fault. It signed that it holds these bytes under a key that only the owner
//! can derive and only this storage node is shown, and a register takes one blob for good: it made the blob, let
//! somebody in, or lost ours.
//!
//! To a stranger nothing but that the storage node holds these bytes. He cannot tell what the root key writes, and the owner
//! may have stored anything there. So a forgery is no [conviction](crate::conviction); it becomes one where the storage
//! node had acknowledged another blob under the same key, and then the two receipts are enough.
//!
//! A breakglass cell that does not open is none: its receipt does not cover the sequence that it opens under.

use larder_protocol::{Blob, BlobHash, ServerKey, SignedRecord};

use crate::seal::{Contents, open};
use crate::{Evidence, Looked, Provider, RecoveryError, Schedule, Slot};

/// What a storage node comes to that answers with a forgery.
pub(crate) const FORGED: RecoveryError = RecoveryError::Misbehaved(
    "it signed for a blob in a place of this wallet that the root key never wrote there; nothing of it \
     is used, and what it signed is kept",
);

/// What is called with every forgery.
pub(crate) type Accuse = Box<dyn Fn(&Forgery) + Send + Sync>;

/// A blob that is not ours in a place of ours, and the signature for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgery {
    /// The place.
    pub slot: Slot,
    /// What the storage node signed.
    pub evidence: Evidence,
    /// Its terms, which name the key of its signature.
    pub terms: SignedRecord,
    /// What it gave.
    pub blob: Blob,
}

impl Forgery {
    /// Whether this storage node has signed for these bytes: for anyone to check. One that is answered while an epoch
    /// begins may lack its terms, and proves nothing.
    #[must_use]
    pub fn is_signed(&self, server: &ServerKey) -> bool {
        let Evidence { finding, receipt } = &self.evidence;
        self.terms.verified(server).is_some_and(|record| {
            record.hash() == receipt.record
                && record.epoch == receipt.epoch
                && finding.blob == Some(self.blob.hash())
                && receipt.proves(&record.receipt_key, finding)
        })
    }

    /// Whether the place is one of this root key's and the bytes are not: for the owner to check.
    #[must_use]
    pub fn is_forged(&self, schedule: &Schedule) -> bool {
        self.evidence.finding.key == schedule.key(&self.slot)
            && open(schedule, &self.slot, &self.blob).is_err()
    }
}

/// What is at a slot.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// What the root key wrote there, and the hash of the blob.
    Ours(Contents, BlobHash),
    /// Nothing, signed by the storage node.
    Absent,
    /// It was deleted, signed by the storage node.
    Deleted,
    /// Something else.
    Foreign,
}

impl Read {
    fn of(schedule: &Schedule, slot: &Slot, looked: &Looked) -> Self {
        match looked {
            Looked::Found(blob) => match open(schedule, slot, blob) {
                Ok(contents) => Read::Ours(contents, blob.hash()),
                Err(_) => Read::Foreign,
            },
            Looked::Absent => Read::Absent,
            Looked::Deleted => Read::Deleted,
        }
    }
}

impl Provider {
    /// Has `keep` called with every blob that is found in a place of ours and is not ours, before the answer counts.
    #[must_use]
    pub fn on_forgery(mut self, keep: impl Fn(&Forgery) + Send + Sync + 'static) -> Self {
        self.on_forgery = Some(Box::new(keep));
        self
    }

    /// Looks a slot up and opens what is there.
    pub(crate) async fn read(
        &self,
        schedule: &Schedule,
        slot: &Slot,
    ) -> Result<Read, RecoveryError> {
        let key = schedule.key(slot);
        // What a restore was told before. What was not ours may be an honest answer by now.
        if let Some(known) = self.known(&key) {
            let read = Read::of(schedule, slot, &known);
            if read != Read::Foreign {
                return Ok(read);
            }
        }
        let (looked, evidence) = self.find(key).await?;
        Ok(self.opened(schedule, slot, &looked, evidence.as_ref()))
    }

    /// Opens what a look-up found.
    pub(crate) fn opened(
        &self,
        schedule: &Schedule,
        slot: &Slot,
        looked: &Looked,
        evidence: Option<&Evidence>,
    ) -> Read {
        let read = Read::of(schedule, slot, looked);
        if let (Read::Foreign, Looked::Found(blob)) = (&read, looked)
            && let (Some(accuse), Some(evidence)) = (&self.on_forgery, evidence)
        {
            accuse(&Forgery {
                slot: *slot,
                evidence: evidence.clone(),
                terms: self.terms_of(&evidence.receipt),
                blob: blob.clone(),
            });
        }
        read
    }
}

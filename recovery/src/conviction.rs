//! Proof that a storage node lost, hides or changed what it had acknowledged.
//!
//! Two receipts: one says that a blob is stored under a key, the other, *later*, that it is not. Receipts
//! carry no time, so the later one is made to show that it is: its nonce is
//!
//! ```text
//! tagged_hash("larder/probe", signature of the first receipt ‖ salt 32)
//! ```
//!
//! which nobody knew before the first receipt was signed. Anyone with the storage node's receipt keys can check
//! this without asking anybody.
//!
//! The owner may have deleted the blob in between. But a storage node remembers a delete for at least one epoch
//! and answers "deleted" as long; so receipts convict when the later one is at most one epoch further on, and are
//! no proof beyond that. A [`Ledger`] keeps the newest: auditing in every epoch keeps it fit to convict.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_protocol::receipt::Finding;
use larder_protocol::{Done, Key, Nonce, Op, Receipt, ReceiptKey, Refusal, Reply};

use crate::exchange::nonce_of;
use crate::{Evidence, Provider, RecoveryError};

/// Epochs that a delete is remembered for at least, beyond its own.
const REMEMBERED: u32 = 1;

/// Two receipts that contradict each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Conviction {
    /// That the blob was stored.
    pub stored: Evidence,
    /// What made the probe's nonce unique.
    pub salt: [u8; 32],
    /// That it was not there later.
    pub missing: Evidence,
}

impl Conviction {
    /// Whether the storage node that signs receipts with these keys, at the time of either, has lost
    /// what it had acknowledged.
    #[must_use]
    pub fn convicts(&self, then: &ReceiptKey, later: &ReceiptKey) -> bool {
        let (stored, missing) = (&self.stored.finding, &self.missing.finding);
        let epochs = self
            .missing
            .receipt
            .epoch
            .checked_sub(self.stored.receipt.epoch);
        epochs.is_some_and(|epochs| epochs <= REMEMBERED)
            && says_stored(stored)
            && says_otherwise(missing, stored)
            && missing.nonce == probe(&self.stored.receipt, &self.salt)
            && self.stored.receipt.proves(then, stored)
            && self.missing.receipt.proves(later, missing)
    }
}

impl fmt::Debug for Conviction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conviction(..)")
    }
}

/// The nonce of a look-up that comes after this receipt.
#[must_use]
pub fn probe(stored: &Receipt, salt: &[u8; 32]) -> Nonce {
    nonce_of("larder/probe", &[&stored.signature, salt])
}

fn says_stored(finding: &Finding) -> bool {
    match finding.op {
        Op::Insert => {
            finding.outcome == Reply::code(&Ok(Done::Inserted))
                || finding.blob.is_some_and(|blob_hash| {
                    finding.outcome == Reply::code(&Err(Refusal::AlreadyExists { blob_hash }))
                })
        }
        Op::Lookup => finding.blob.is_some(),
        _ => false,
    }
}

/// A look-up that found nothing, or another blob. "Deleted" is another matter: it is for the owner to
/// know whether it is a lie.
fn says_otherwise(missing: &Finding, stored: &Finding) -> bool {
    let absent = missing.outcome == Reply::code(&Err(Refusal::Absent));
    missing.op == Op::Lookup
        && missing.key == stored.key
        && (absent || missing.blob.is_some() && missing.blob != stored.blob)
}

/// What one provider has acknowledged. Give it every [`Evidence`]
/// ([`Provider::on_evidence`]); 300 bytes per blob.
#[derive(Default)]
pub struct Ledger {
    stored: Mutex<HashMap<Key, Evidence>>,
}

impl Ledger {
    /// Takes the proof of an answer.
    pub fn take(&self, evidence: &Evidence) {
        let finding = &evidence.finding;
        let removed = finding.outcome == Reply::code(&Ok(Done::Removed))
            || finding.outcome == Reply::code(&Err(Refusal::Deleted));
        let mut stored = self.stored();
        if removed {
            stored.remove(&finding.key);
        } else if says_stored(finding) {
            let kept = stored
                .entry(finding.key)
                .or_insert_with(|| evidence.clone());
            // The newest epoch, so that it is fit to convict for another one. But the first blob counts: a
            // provider that answers another one later contradicts itself.
            if kept.finding.blob == finding.blob && kept.receipt.epoch < evidence.receipt.epoch {
                *kept = evidence.clone();
            }
        }
    }

    /// The newest proof that a blob is stored under a key, to be kept where a loss of this device leaves it.
    #[must_use]
    pub fn of(&self, key: &Key) -> Option<Evidence> {
        self.stored().get(key).cloned()
    }

    /// Keys under which blobs were acknowledged and not removed since.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.stored().keys().copied().collect()
    }

    /// Asks the provider for what it has acknowledged under a key. Returns what it signed then and now if it does not
    /// have it any more, which [convicts](Conviction::convicts) it unless that is too far apart: then
    /// the blob is missing, and nothing is proven. The look-up costs what any costs.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn audit(
        &self,
        provider: &Provider,
        key: &Key,
    ) -> Result<Option<Conviction>, RecoveryError> {
        let Some(stored) = self.of(key) else {
            return Ok(None);
        };
        let salt = provider.nonce().0;
        let nonce = probe(&stored.receipt, &salt);
        let (_, missing) = provider.challenge(*key, nonce).await?;
        Ok(
            says_otherwise(&missing.finding, &stored.finding).then_some(Conviction {
                stored,
                salt,
                missing,
            }),
        )
    }

    fn stored(&self) -> MutexGuard<'_, HashMap<Key, Evidence>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Proof of reach: a signer behind a node that it does not trust learns what a storage node holds *now*.
//!
//! Here for a value that has a place of its own; in `key` for a key of the [map](crate::log::map).
//!
//! The signer draws 32 bytes. The node asks the storage node for the value with the newest version and for the
//! one after it, with nonces that follow from them, and hands back the blob and two receipts:
//!
//! ```text
//! nonce = tagged_hash("larder/reach", challenge 32 ‖ step u8)      step 0: held, 1: next
//! ```
//!
//! The signer needs the root key, the storage node's server and receipt keys, and no connection.
//! [`Proof::verify`] derives both keys itself, so the node cannot show it another value's.
//!
//! # What it proves
//!
//! After the challenge was drawn, this storage node held this value at this version, and *then* nothing at
//! the next. Where versions have no gaps, as in a [`Sequence`](crate::Sequence) or a segment of the
//! [log](crate::log), it was the newest. An old answer, or one to another signer, fails.
//!
//! # What it does not prove
//!
//! That the storage node itself was not rolled back, or does not lie: it signs what it has. Ask
//! several; and let the signer remember the newest version it has seen. That other providers hold it. That it
//! will be there tomorrow. In the log: that nobody has written since in a segment that this one does not lead to;
//! a seal in the next place is found there, and then there is no proof.

mod bag;
mod key;

use larder_protocol::receipt::Finding;
use larder_protocol::{Blob, Done, Key, Nonce, Op, Receipt, ReceiptKey, Refusal, Reply};

use crate::exchange::nonce_of;
use crate::seal::{Contents, open};
use crate::{Evidence, Looked, Provider, RecoveryError, Schedule, Slot};

pub use key::{KeyProof, Shown, Witness};

/// 32 bytes that a signer draws at random, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Challenge(pub [u8; 32]);

/// What the node hands to the signer.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// Which value it claims to be the newest.
    pub version: u64,
    /// The value, sealed.
    pub blob: Blob,
    /// That it was there.
    pub held: Receipt,
    /// That the next one was not.
    pub next: Receipt,
}

/// What a proof shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Reached {
    /// The newest version.
    pub version: u64,
    /// What it holds.
    pub contents: Contents,
}

/// Why a proof is none: the node's fault, or the storage node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReached {
    /// The storage node did not sign that it held this blob, for this challenge.
    #[error("no receipt shows that the value was there when it was asked for")]
    NotHeld,
    /// The storage node did not sign that there was nothing newer, for this challenge.
    #[error("no receipt shows that the value was the newest when it was asked for")]
    NotNewest,
    /// The blob was not written with this root key for this version.
    #[error("the value was not written with this root key for this version")]
    Foreign,
}

/// The node's part: asks the storage node for the value at `slot` and what is behind it; the slot's
/// index is the version. `None` when there is no value there, or a newer one.
///
/// # Errors
/// [`RecoveryError`].
pub async fn reach(
    provider: &Provider,
    schedule: &Schedule,
    slot: Slot,
    challenge: Challenge,
) -> Result<Option<Proof>, RecoveryError> {
    let Some(next) = following(slot) else {
        return Ok(None);
    };
    let (looked, held) = provider
        .challenge(schedule.key(&slot), nonce(challenge, 0))
        .await?;
    // One that is not ours is evidence. Whether it is, the signer sees for itself.
    drop(provider.opened(schedule, &slot, &looked, Some(&held)));
    let Looked::Found(blob) = looked else {
        return Ok(None);
    };
    let held = held.receipt;
    // After the first is answered, so that the value was there when the next was not.
    let (looked, Evidence { receipt: next, .. }) = provider
        .challenge(schedule.key(&next), nonce(challenge, 1))
        .await?;
    Ok((looked == Looked::Absent).then_some(Proof {
        version: slot.index,
        blob,
        held,
        next,
    }))
}

impl Proof {
    /// The signer's part. `lane` is any slot of its values; the index in it does not matter. The receipt
    /// key is the one that the storage node's terms name in this epoch.
    ///
    /// # Errors
    /// [`NotReached`].
    pub fn verify(
        &self,
        schedule: &Schedule,
        lane: Slot,
        receipt_key: &ReceiptKey,
        challenge: Challenge,
    ) -> Result<Reached, NotReached> {
        let slot = Slot {
            index: self.version,
            ..lane
        };
        let next = following(slot).ok_or(NotReached::NotNewest)?;
        let found = Reply::code(&Ok(Done::Found(self.blob.clone())));
        let held = Finding {
            blob: Some(self.blob.hash()),
            ..finding(schedule.key(&slot), found, nonce(challenge, 0))
        };
        let absent = Reply::code(&Err(Refusal::Absent));
        let newest = finding(schedule.key(&next), absent, nonce(challenge, 1));
        if !self.held.proves(receipt_key, &held) {
            return Err(NotReached::NotHeld);
        }
        if !self.next.proves(receipt_key, &newest) {
            return Err(NotReached::NotNewest);
        }
        let contents = open(schedule, &slot, &self.blob).map_err(|_| NotReached::Foreign)?;
        Ok(Reached {
            version: self.version,
            contents,
        })
    }
}

fn finding(key: Key, outcome: u8, nonce: Nonce) -> Finding {
    Finding {
        op: Op::Lookup,
        key,
        outcome,
        blob: None,
        nonce,
    }
}

fn following(slot: Slot) -> Option<Slot> {
    let index = slot.index.checked_add(1)?;
    Some(Slot { index, ..slot })
}

fn nonce(challenge: Challenge, step: u8) -> Nonce {
    nonce_of("larder/reach", &[&challenge.0, &[step]])
}

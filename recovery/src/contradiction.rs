//! Proof that a storage node told two clients, or one client at two times, different things of its terms.
//!
//! Two records, both signed by it, which cannot both be what it says to everybody:
//!
//! | the two records | what contradicts |
//! | --- | --- |
//! | of one epoch | any difference |
//! | of two epochs | keys of an epoch that are others in the later one, or not those committed to |
//! | of epochs in a row | a pass that is not the one committed to; an epoch closed whose credentials it had said it would take |
//! | of two epochs | the later one [names](larder_protocol::Earlier) another record for the earlier one's epoch, or passes it over; or names none, and takes credentials of then all the same |
//!
//! Anyone who knows the key in the storage node's address can check this without asking anybody. A storage node
//! whose store was put back from a backup, or lost, names the records that it has forgotten no more; it closes all
//! their epochs, which its clients see by the tokens that are gone. That convicts nobody.

use std::fmt;

use larder_credentials::Epoch;
use larder_protocol::{Record, ServerKey, SignedRecord, issuer_commitment};

use crate::terms::keys;

/// Two records that contradict each other.
#[derive(Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The one that was known first.
    pub one: SignedRecord,
    /// The other one.
    pub other: SignedRecord,
}

impl Contradiction {
    /// What the storage node with this key has signed that cannot both be so; `None` when it has not.
    #[must_use]
    pub fn convicts(&self, server: &ServerKey) -> Option<&'static str> {
        between(self.one.verified(server)?, self.other.verified(server)?)
    }
}

impl fmt::Debug for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contradiction(..)")
    }
}

/// Why not both of these can be what one storage node says to everybody.
pub(crate) fn between(one: &Record, other: &Record) -> Option<&'static str> {
    let (old, new) = match one.epoch <= other.epoch {
        true => (one, other),
        false => (other, one),
    };
    if old.epoch == new.epoch {
        return (old != new).then_some("it changed its terms within an epoch");
    }
    let (Some(old_tariff), Some(tariff)) = (&old.tariff, &new.tariff) else {
        return None;
    };
    // Of terms whose keys are none nothing can be said; nobody takes them.
    let (Ok(Some(before)), Ok(Some(after))) = (keys(old), keys(new)) else {
        return None;
    };
    let changed = before.live().any(|key| {
        let now = after.parameters(key.epoch());
        now.is_ok_and(|now| now != key)
    });
    if changed {
        return Some("it changed the keys of an epoch");
    }
    let follows = |epoch: u32| old.epoch.checked_add(1) == Some(epoch);
    let committed = after.live().find(|key| follows(key.epoch().0));
    if committed.is_some_and(|key| issuer_commitment(&key.encode()) != old_tariff.next_issuer) {
        return Some("its keys are not those it had committed to");
    }
    if follows(new.epoch)
        && let Some([_, next]) = old_tariff.passes
        && tariff.passes.is_none_or(|[now, _]| now != next)
    {
        return Some("its pass is not the one it had committed to");
    }
    let closed = before.live().any(|key| {
        let takes = Epoch(new.epoch).oldest_live(old_tariff.next_takes.into());
        key.epoch() >= takes && after.parameters(key.epoch()).is_err()
    });
    if follows(new.epoch) && closed {
        return Some("it closed an epoch whose credentials it had said it would take");
    }
    let named = tariff.earlier.iter().find(|it| it.epoch == old.epoch);
    let reaches =
        |by: fn(&u32, &u32) -> bool| tariff.earlier.iter().any(|it| by(&it.epoch, &old.epoch));
    match named {
        Some(named) if named.hash == old.hash() => None,
        Some(_) => Some("its terms name others for an earlier epoch than it had signed for it"),
        // It is too long ago.
        None if tariff.earlier.len() == larder_protocol::record::Tariff::EARLIER
            && !reaches(u32::lt) =>
        {
            None
        }
        None if reaches(u32::lt) && reaches(u32::gt) => {
            Some("its terms pass over those it had signed for an earlier epoch")
        }
        None => {
            let takes_old = after.live().any(|key| key.epoch().0 <= old.epoch);
            takes_old.then_some("its terms do not name those it had signed for an earlier epoch")
        }
    }
}

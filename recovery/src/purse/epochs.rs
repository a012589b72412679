//! When credentials of older epochs are moved into the current one.

use larder_credentials::Epoch;
use larder_protocol::{Call, Nonce};

use super::book::Book;
use super::held::{Held, Mark};
use super::lease::Lease;
use super::reserve::pairs;
use super::terms::Terms;
use super::{Inner, Purse, choice, slot};
use crate::schedule::hmac_sha256;
use crate::{Purpose, RecoveryError};

impl Purse {
    /// A request that moves a pair into the current epoch, if one is due, or when the next
    /// one is.
    pub(crate) fn reissue(
        &self,
        now: u64,
        nonce: Nonce,
    ) -> Result<Result<Lease<'_>, Option<u64>>, RecoveryError> {
        let mut inner = self.lock();
        let due = inner.due(self);
        let Some((at, two)) = due else {
            return Ok(Err(None));
        };
        if at > now {
            return Ok(Err(Some(at)));
        }
        let (id, request) = inner.spend(self, two, &Call::Reissue, nonce, choice::evenly)?;
        Ok(Ok(self.lease(&mut inner, id, request)))
    }

    /// A request that moves a pair which a page would list, ahead of its time, as long as there is one: what
    /// is of an older epoch when it is listed expires before the reserve does.
    pub(crate) fn move_listed(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        let current = inner.terms()?.credentials.current();
        let two = inner.older(current, |mark| !mark.is_kept());
        two.map(|two| inner.moved(self, two, nonce)).transpose()
    }

    /// How long after an epoch was first seen an old credential is to be moved: at a time of its
    /// own in the first quarter, which nobody else can tell.
    fn delay(&self, held: &Held, epoch_seconds: u32) -> u64 {
        let secret = self.schedule.secret(&slot(Purpose::Credential, 1)).bytes();
        let draw = hmac_sha256(&secret, &[b"larder/reissue/1", &held.serial.0]);
        first_number(&draw) % (u64::from(epoch_seconds) / 4 + 1)
    }
}

/// The first eight bytes as a number.
pub(super) fn first_number(bytes: &[u8; 32]) -> u64 {
    let first = bytes.iter().take(8);
    first.fold(0, |n, byte| n << 8 | u64::from(*byte))
}

impl Book {
    /// Whether this idle one is of an older epoch and has no other to be moved with, nor can any come back:
    /// credentials are shown in pairs, and what is bought or brought back is of the current epoch.
    pub(super) fn is_alone(&self, held: &Held) -> bool {
        let is_old = |now: &Terms| held.epoch < now.credentials.current();
        let kept = |of: &Held| of.mark.is_kept().then_some(of.mark);
        let alike = |other: &&Held| (other.epoch, kept(other)) == (held.epoch, kept(held));
        self.now().is_some_and(is_old)
            && self.idle.iter().filter(alike).count() == 1
            && !self.in_flight().any(|other| other.epoch == held.epoch)
    }
}

impl Inner {
    /// The pair of an older epoch that is to be moved first, and when.
    fn due(&self, purse: &Purse) -> Option<(u64, [usize; 2])> {
        let terms = self.book.now()?;
        let (current, oldest) = (terms.credentials.current(), terms.oldest());
        let seen = self.book.seen.get(&terms.record.epoch).copied()?;
        let mut old: Vec<_> = (0..self.book.idle.len())
            .map(|at| (&self.book.idle[at], at))
            .filter(|(held, _)| held.epoch < current)
            .map(|(held, at)| {
                // The next epoch may begin at any time, and then the oldest one is over.
                let delay = match held.epoch == oldest {
                    true => 0,
                    false => purse.delay(held, terms.record.epoch_seconds),
                };
                let kept = held.mark.is_kept().then_some(held.mark);
                let due = seen.saturating_add(delay);
                (held.epoch, kept, held.shown, due, at)
            })
            .collect();
        old.sort_unstable();
        // What is kept for a restore stays a pair of its own.
        let alike = |two: &&[(_, _, _, _, _)]| (two[0].0, two[0].1) == (two[1].0, two[1].1);
        let pairs = old.windows(2).filter(alike);
        // Those that are known by one key go together: two keys would be tied to each other.
        pairs
            .map(|two| (two[0].3, [two[0].4, two[1].4]))
            .min_by_key(|(at, two)| {
                let [first, second] = two.map(|at| &self.book.idle[at]);
                (!first.goes_with(second), *at)
            })
    }

    /// Two of one epoch before this one, alike in what they are for, if there are any.
    pub(super) fn older(
        &self,
        current: Epoch,
        wanted: impl Fn(Mark) -> bool,
    ) -> Option<[usize; 2]> {
        let idle = &self.book.idle;
        let old = (0..idle.len()).filter(|&at| idle[at].epoch < current && wanted(idle[at].mark));
        let old: Vec<usize> = old.collect();
        pairs(&old).find(|[first, second]| {
            let (first, second) = (&idle[*first], &idle[*second]);
            let alike = first.mark == second.mark || !first.mark.is_kept();
            alike && first.epoch == second.epoch && first.goes_with(second)
        })
    }

    /// Moves these two into the current epoch.
    pub(super) fn moved<'p>(
        &mut self,
        purse: &'p Purse,
        two: [usize; 2],
        nonce: Nonce,
    ) -> Result<Lease<'p>, RecoveryError> {
        let (id, request) = self.spend(purse, two, &Call::Reissue, nonce, choice::evenly)?;
        Ok(purse.lease(self, id, request))
    }
}

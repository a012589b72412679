//! When credentials of older epochs are moved into the current one.
//!
//! Each pair at a time of its own, and one at a time: two reissues that come together are one wallet's. What the next
//! epoch refuses, as the terms say, may expire at any moment, and is moved at once, whatever that tells.

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

/// Pairs that are moved within a sixteenth of an epoch when all are due already.
const SPREAD: u64 = 16;

/// What is to be moved next.
pub(crate) enum Move<'p> {
    /// This pair.
    Now(Lease<'p>),
    /// None yet: the next one then, if there is one. So many are due and wait for their turn.
    Later(Option<u64>, u64),
}

/// A pair of an older epoch.
struct Old {
    two: [usize; 2],
    at: u64,
    /// The next epoch refuses it, and may begin at any time.
    expires: bool,
}

impl Purse {
    /// A request that moves a pair into the current epoch: what expires next, whenever it is asked; of the others
    /// one that is due, if none was moved a moment ago, and only if one that is not urgent `may` be.
    pub(crate) fn reissue(
        &self,
        now: u64,
        nonce: Nonce,
        may: bool,
    ) -> Result<Move<'_>, RecoveryError> {
        let mut inner = self.lock();
        let old = inner.old(self);
        let last = inner.moved.filter(|(at, _)| *at <= now);
        // What was due by the time another one was moved waits for its turn.
        let turn = |old: &Old| match last {
            Some((at, pause)) if old.at <= at => at.saturating_add(pause),
            _ => old.at,
        };
        // Any two neighbours make a pair here.
        let waiting = old.iter().filter(|old| old.at <= now).count().div_ceil(2) as u64;
        let urgent = old.iter().find(|old| old.expires);
        let one = old.iter().find(|old| may && turn(old) <= now);
        let Some(Old { two, .. }) = urgent.or(one) else {
            return Ok(Move::Later(old.iter().map(turn).min(), waiting));
        };
        let two = *two;
        let draw = self.draw_for(b"larder/apart/1", &inner.book.idle[two[0]]);
        let epoch = u64::from(inner.terms()?.record.epoch_seconds);
        let mean = epoch / SPREAD / waiting.max(1);
        inner.moved = Some((now, 1 + draw % (2 * mean + 1)));
        let (id, request) = inner.spend(self, two, &Call::Reissue, nonce, choice::evenly)?;
        Ok(Move::Now(self.lease(&mut inner, id, request)))
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
        self.draw_for(b"larder/reissue/1", held) % (u64::from(epoch_seconds) / 4 + 1)
    }

    /// A number for a credential that nobody else can tell.
    fn draw_for(&self, label: &[u8], held: &Held) -> u64 {
        let secret = self.schedule.secret(&slot(Purpose::Credential, 1)).bytes();
        first_number(&hmac_sha256(&secret, &[label, &held.serial.0]))
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
    /// The pairs of older epochs, what is to be moved first in front.
    fn old(&self, purse: &Purse) -> Vec<Old> {
        let Some(terms) = self.book.now() else {
            return Vec::new();
        };
        let (current, ending) = (terms.credentials.current(), terms.ending());
        let Some(seen) = self.book.seen.get(&terms.record.epoch).copied() else {
            return Vec::new();
        };
        let mut old: Vec<_> = (0..self.book.idle.len())
            .map(|at| (&self.book.idle[at], at))
            .filter(|(held, _)| held.epoch < current && held.mark != Mark::Elsewhere)
            .map(|(held, at)| {
                let delay = match held.epoch <= ending {
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
        let pairs = pairs.map(|two| Old {
            two: [two[0].4, two[1].4],
            at: two[0].3,
            expires: two[0].0 <= ending,
        });
        let mut pairs: Vec<Old> = pairs.collect();
        // Those that are known by one key go together: two keys would be tied to each other.
        pairs.sort_by_key(|old| {
            let [first, second] = old.two.map(|at| &self.book.idle[at]);
            (!first.goes_with(second), old.at)
        });
        pairs
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

//! What a purse sets aside for a restore: the reserve, and what its pages list.
//!
//! The reserve is a pair that pays for nothing. It comes of credentials that nobody has seen, and only
//! reissues touch it, so that whoever walks its rows after a loss passes no operation. A larger one
//! is a new one: it becomes the reserve when a cell says so, and the old one goes back.

use larder_credentials::{Epoch, RangeWidth};
use larder_protocol::{BlobHash, Call, Nonce};

use super::cells::{Cells, Change, Fate, Written};
use super::epochs::first_number;
use super::held::{Held, Mark};
use super::requests::Lease;
use super::{Inner, Purse, slot};
use crate::breakglass::CREDENTIALS_MAX;
use crate::schedule::hmac_sha256;
use crate::{Purpose, RecoveryError, Schedule};

/// The reserve may hold so many times what it has to before a smaller one takes its place.
const LARGE: u64 = 4;

/// How far a reserve is from being set aside.
pub(crate) enum Aside<'p> {
    /// These two are it.
    Pair(Box<[Held; 2]>),
    /// This exchange brings it closer.
    Exchange(Lease<'p>),
    /// So many tokens more are needed, in a pair of their own.
    Short(u64),
}

impl Purse {
    /// What a cell and its pages are known to say.
    pub(crate) fn with_cells<T>(&self, look: impl FnOnce(&Cells) -> T) -> T {
        look(&self.lock().book.cells)
    }

    /// Sets a reserve of so many tokens aside, of the current epoch.
    pub(crate) fn set_aside(&self, tokens: u64, nonce: Nonce) -> Result<Aside<'_>, RecoveryError> {
        let mut inner = self.lock();
        let terms = inner.terms()?;
        let (current, fee) = (terms.credentials.current(), terms.tariff.prices.transfer);
        let enough = tokens..=tokens.saturating_mul(LARGE);
        for mark in [Mark::Next, Mark::Reserve] {
            if let Some(two) = inner.kept(mark, current)
                && enough.contains(&sum(&inner.book.idle, two))
            {
                return Ok(Aside::Pair(Box::new(inner.pair(two))));
            }
        }
        let choice = choose(&inner.book.idle, current, tokens, fee);
        let (two, first) = match choice {
            Choice::These(two) => {
                // One that was begun for another size goes back.
                let old = inner.serials(|held| held.mark == Mark::Next);
                let serials = two.map(|at| inner.book.idle[at].serial).to_vec();
                if !old.is_empty() {
                    let (mark, serials) = (Mark::Listed, old);
                    inner.change(Change::Marked { mark, serials })?;
                }
                let mark = Mark::Next;
                inner.change(Change::Marked { mark, serials })?;
                return Ok(Aside::Pair(Box::new(inner.pair(two))));
            }
            Choice::Divide(two, first) => (two, first),
            Choice::Short(missing) => return Ok(Aside::Short(missing)),
        };
        let divide = |left: u64| {
            let first = first.max(left.saturating_sub(RangeWidth::Bits32.largest()));
            let first = first.min(left);
            [first, left - first]
        };
        let (id, request) = inner.spend(self, two, &Call::Transfer, nonce, divide)?;
        Ok(Aside::Exchange(self.lease(&mut inner, id, request)))
    }

    /// Has everything that is neither in flight nor known nor part of a reserve pay only after a
    /// transfer from now on, and returns it for a page to list.
    pub(crate) fn list(&self) -> Result<Vec<Held>, RecoveryError> {
        let mut inner = self.lock();
        let listable = |held: &&Held| held.shown.is_none() && !held.mark.is_kept();
        let mut listed: Vec<Held> = inner.book.idle.iter().filter(listable).cloned().collect();
        listed.sort_by_key(|held| std::cmp::Reverse(held.amount));
        listed.truncate(CREDENTIALS_MAX);
        let serials = listed.iter().map(|held| held.serial).collect();
        let mark = Mark::Listed;
        inner.change(Change::Marked { mark, serials })?;
        Ok(listed)
    }

    /// Writes down what became of a page.
    pub(crate) fn page(
        &self,
        number: u64,
        hash: BlobHash,
        fate: Fate,
    ) -> Result<(), RecoveryError> {
        self.lock().change(Change::Page { number, hash, fate })
    }

    /// Writes down that a cell is stored.
    pub(crate) fn written(&self, written: Written) -> Result<(), RecoveryError> {
        self.lock().change(Change::Written(written))
    }

    /// When a cell that is due at this time may be written: so long after the last write to the
    /// primary store, which may have been just now, but no later than `longest` after it came due.
    pub(crate) fn rest(&self, now: u64, due: u64, pause: u64, longest: u64) -> u64 {
        let mut inner = self.lock();
        if std::mem::replace(&mut inner.wrote, false) {
            inner.rests_until = now.saturating_add(pause);
        }
        if due > now {
            inner.due_since = None;
            return due.max(inner.rests_until);
        }
        let since = *inner.due_since.get_or_insert(now);
        let rested = inner.rests_until.max(due);
        rested.min(since.saturating_add(longest))
    }

    /// A number for an epoch that nobody else can tell.
    pub(crate) fn draw(&self, label: &[u8], epoch: Epoch) -> u64 {
        let secret = self.schedule.secret(&slot(Purpose::Credential, 1)).bytes();
        let parts: [&[u8]; 3] = [b"larder/breakglass/1/", label, &epoch.0.to_be_bytes()];
        first_number(&hmac_sha256(&secret, &parts))
    }

    /// The derivation of everything that this root key has with this storage node.
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The epoch that holds, and the oldest one that is accepted.
    pub(crate) fn epochs(&self) -> Option<(Epoch, Epoch)> {
        let inner = self.lock();
        let terms = inner.book.now()?;
        Some((terms.credentials.current(), terms.oldest()))
    }

    /// When the current epoch was first seen, in unix seconds.
    pub(crate) fn epoch_seen(&self) -> Option<u64> {
        let inner = self.lock();
        let epoch = inner.book.now()?.record.epoch;
        inner.book.seen.get(&epoch).copied()
    }
}

impl Inner {
    /// The pair of this mark and epoch.
    fn kept(&self, mark: Mark, epoch: Epoch) -> Option<[usize; 2]> {
        let all = self.book.idle.iter().enumerate();
        let mut kept = all.filter(|(_, held)| held.mark == mark && held.epoch == epoch);
        Some([kept.next()?.0, kept.next()?.0])
    }

    fn pair(&self, two: [usize; 2]) -> [Held; 2] {
        two.map(|at| self.book.idle[at].clone())
    }

    fn serials(&self, wanted: impl Fn(&Held) -> bool) -> Vec<larder_credentials::Reference> {
        let all = self.book.idle.iter().filter(|held| wanted(held));
        all.map(|held| held.serial).collect()
    }
}

/// How to come by a reserve.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// These two are one.
    These([usize; 2]),
    /// A transfer of these two, with so many tokens in the first output.
    Divide([usize; 2], u64),
    /// So many tokens are missing.
    Short(u64),
}

/// Chooses the two smallest that suffice, when they do not hold far too much; otherwise divides larger
/// ones first, into one that suffices, then into one that is empty. Two others at least are left,
/// to pay for everything else.
fn choose(idle: &[Held], current: Epoch, tokens: u64, fee: u64) -> Choice {
    let usable = |held: &Held| held.epoch == current && !held.mark.is_kept();
    let all = idle.iter().enumerate().filter(|(_, held)| usable(held));
    let (mut fresh, mut seen) = (Vec::new(), Vec::new());
    for (at, held) in all {
        match held.shown.is_none() && held.mark == Mark::Free {
            true => fresh.push(at),
            false => seen.push(at),
        }
    }
    fresh.sort_by_key(|&at| idle[at].amount);
    let total = |all: &[usize]| all.iter().map(|&at| idle[at].amount).sum::<u64>();
    // Two transfers, and one more for what everything else is paid with.
    let needed = tokens.saturating_add(fee.saturating_mul(3));
    let held = total(&fresh).saturating_add(total(&seen));
    if fresh.len() + seen.len() < 4 || held < needed {
        return Choice::Short(needed.saturating_sub(held).max(needed.min(1)).max(1));
    }
    // The smallest two that suffice.
    let others = |n: usize| {
        fresh[n + 1..]
            .iter()
            .map(|&other| other)
            .collect::<Vec<_>>()
    };
    let pairs = (0..fresh.len()).flat_map(|n| {
        let first = fresh[n];
        others(n).into_iter().map(move |other| [first, other])
    });
    let enough = pairs.filter(|two| sum(idle, *two) >= tokens);
    if let Some(two) = enough.min_by_key(|two| sum(idle, *two))
        && sum(idle, two) <= tokens.saturating_mul(2).saturating_add(fee)
    {
        return Choice::These(two);
    }
    // One that was divided off already, and the largest two beside it.
    let one = fresh.iter().copied().find(|&at| {
        let amount = idle[at].amount;
        (tokens..=tokens.saturating_mul(2)).contains(&amount)
    });
    let mut rest: Vec<usize> = fresh.iter().chain(&seen).copied().collect();
    rest.retain(|at| Some(*at) != one);
    rest.sort_by_key(|&at| std::cmp::Reverse(idle[at].amount));
    let goes = |two: &[usize; 2]| idle[two[0]].goes_with(&idle[two[1]]);
    let first = if one.is_some() { 0 } else { tokens };
    let pairs = (0..rest.len()).flat_map(|n| {
        let first = rest[n];
        let others: Vec<usize> = rest[n + 1..].to_vec();
        others.into_iter().map(move |other| [first, other])
    });
    let mut pairs = pairs.filter(goes);
    match pairs.find(|two| sum(idle, *two) >= first.saturating_add(fee)) {
        Some(two) => Choice::Divide(two, first),
        None => Choice::Short(needed),
    }
}

fn sum(idle: &[Held], two: [usize; 2]) -> u64 {
    let [first, second] = two.map(|at| idle[at].amount);
    first.saturating_add(second)
}

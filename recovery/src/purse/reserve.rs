//! What a purse sets aside for a restore: the reserve, and what its pages list.
//!
//! The reserve is a pair that pays for nothing. It comes of credentials that nobody has seen, and only
//! reissues touch it, so that whoever walks its rows after a loss passes no operation. A larger one
//! is a new one: it becomes the reserve when a cell says so, and the old one goes back. Until then both
//! are kept, and the page of that cell lists the old one: whichever cell a restore opens, no token is in none.

use std::ops::RangeInclusive;

use larder_credentials::{Epoch, RangeWidth};
use larder_protocol::{Blob, BlobHash, Call, Nonce, insert::Insert};

use super::cells::Cells;
use super::change::{Change, Fate, Rest, Written};
use super::epochs::first_number;
use super::held::{Held, Mark};
use super::lease::Lease;
use super::{Inner, Purse, slot};
use crate::breakglass::CREDENTIALS_MAX;
use crate::schedule::hmac_sha256;
use crate::{Purpose, RecoveryError, Schedule};

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

    /// Sets a reserve of so many tokens aside, of the current epoch. One that is there already does when
    /// what it holds is `enough`.
    pub(crate) fn set_aside(
        &self,
        tokens: u64,
        enough: &RangeInclusive<u64>,
        nonce: Nonce,
    ) -> Result<Aside<'_>, RecoveryError> {
        let mut inner = self.lock();
        let terms = inner.terms()?;
        let (current, fee) = (terms.credentials.current(), terms.tariff.prices.transfer);
        // A cell that is late does not wait until its reserve is moved.
        if let Some(two) = inner.older(current, Mark::is_reserve) {
            return inner.moved(self, two, nonce).map(Aside::Exchange);
        }
        for mark in [Mark::Next, Mark::Reserve] {
            if let Some(two) = inner.kept(mark, current)
                && enough.contains(&sum(&inner.book.idle, two))
            {
                return inner.is_next(two);
            }
        }
        // The put of the cell, and a transfer in front of it.
        let spare = terms.tariff.prices.breakglass.saturating_add(fee);
        let choice = choose(&inner.book.idle, current, [tokens, spare], fee);
        let (two, first) = match choice {
            Choice::These(two) => return inner.is_next(two),
            Choice::Divide(two, first) => (two, first),
            Choice::Short(missing) => {
                return match inner.older(current, |mark| !mark.is_kept()) {
                    Some(two) => inner.moved(self, two, nonce).map(Aside::Exchange),
                    None => Ok(Aside::Short(missing)),
                };
            }
        };
        let divide = |left: u64| {
            let first = first.max(left.saturating_sub(RangeWidth::Bits32.largest()));
            let first = first.min(left);
            [first, left - first]
        };
        let (id, request) = inner.spend(self, two, &Call::Transfer, nonce, divide)?;
        Ok(Aside::Exchange(self.lease(&mut inner, id, request)))
    }

    /// Has everything that is neither in flight nor known nor kept pay only after a transfer from now on,
    /// and returns it for a page to list. A reserve that another one is to take the place of is on it,
    /// too, and stays kept until then.
    pub(crate) fn list(&self) -> Result<Vec<Held>, RecoveryError> {
        let mut inner = self.lock();
        let idle = &inner.book.idle;
        let replaced = idle.iter().any(|held| held.mark == Mark::Next);
        let listable = |held: &&Held| match held.mark {
            Mark::Free | Mark::Listed => held.shown.is_none(),
            Mark::Reserve => replaced,
            Mark::Next | Mark::Elsewhere => false,
        };
        let mut listed: Vec<Held> = idle.iter().filter(listable).cloned().collect();
        listed.sort_by_key(|held| std::cmp::Reverse(held.amount));
        listed.truncate(CREDENTIALS_MAX);
        let unkept = listed.iter().filter(|held| !held.mark.is_kept());
        let serials = unkept.map(|held| held.serial).collect();
        let mark = Mark::Listed;
        inner.change(Change::Marked { mark, serials })?;
        Ok(listed)
    }

    /// The page of this epoch that was begun and never heard of, as it was sent, if nothing was paid for since:
    /// it is as good as when it was made, and sent once more it costs nothing.
    pub(crate) fn begun_page(&self) -> Option<(u64, Blob)> {
        self.lock().begun_page()
    }

    /// A page for the next cell leaves out what that is to hold. When this does not pay for a restore any
    /// more, which takes so many tokens, that page is of no use.
    pub(crate) fn look_over_page(&self, tokens: u64) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        let held = [Mark::Next, Mark::Reserve].map(|mark| inner.tokens(mark));
        let left_out = held.into_iter().find(|held| *held > 0);
        match inner.book.cells.next_page() {
            Some((number, hash)) if left_out.unwrap_or(0) < tokens => {
                let fate = Fate::Outgrown;
                inner.change(Change::Page { number, hash, fate })
            }
            _ => Ok(()),
        }
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

    /// Writes down that a cell which names this page may be stored from now on.
    pub(crate) fn begun(&self, page: u64) -> Result<(), RecoveryError> {
        self.lock().change(Change::Begun { page })
    }

    /// Writes down that a cell is stored.
    pub(crate) fn written(&self, written: Written) -> Result<(), RecoveryError> {
        self.lock().change(Change::Written(written))
    }

    /// When a cell may be written that could be since `due`, or is overdue: a pause of at most a 32nd of an
    /// epoch after the last write to the primary store, which may have been just now, but no later than an
    /// eighth after it could have been. Whoever comes later than that, right behind a write, waits some
    /// minutes more.
    pub(crate) fn rest(&self, now: u64, due: Option<u64>) -> Result<u64, RecoveryError> {
        let mut inner = self.lock();
        let terms = inner.terms()?;
        let (current, epoch) = (
            terms.credentials.current(),
            u64::from(terms.record.epoch_seconds),
        );
        let draw = |label: &[u8], about, span: u64| self.draw(label, current, about) % (span + 1);
        let known = inner.book.cells.rest;
        let mut rest = Rest {
            wrote: known.wrote.min(now),
            ..known
        };
        let is_due = due.is_none_or(|due| due <= now);
        if is_due && !(due.unwrap_or(1)..=now).contains(&rest.since) {
            rest.since = now;
        }
        let longest = epoch / 16 + draw(b"longest", 0, epoch / 16);
        let minutes = epoch / 2_048;
        let short = minutes + draw(b"short", rest.wrote, minutes) + 1;
        // Who is there when it is to be written did not come to store something. Anybody else may have.
        let missed = now.saturating_sub(longest + minutes) > rest.since;
        if is_due && missed && rest.wrote.saturating_add(short) > now {
            rest.since = (now + short).saturating_sub(longest);
        }
        if rest != known {
            inner.change(Change::Rests(rest))?;
        }
        let pause = draw(b"pause", rest.wrote, epoch / 32) + 1;
        let rested = match rest.wrote {
            0 => 0,
            wrote => wrote.saturating_add(pause),
        };
        let rested = rested.max(due.unwrap_or(now));
        Ok(match is_due {
            true => rested.min(rest.since.saturating_add(longest)),
            false => rested,
        })
    }

    /// A number for an epoch, and for whatever else, that nobody else can tell.
    pub(crate) fn draw(&self, label: &[u8], epoch: Epoch, about: u64) -> u64 {
        let secret = self.schedule.secret(&slot(Purpose::Credential, 1)).bytes();
        let (epoch, about) = (epoch.0.to_be_bytes(), about.to_be_bytes());
        let parts: [&[u8]; 4] = [b"larder/breakglass/1/", label, &epoch, &about];
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

    /// How many epochs may begin until what a cell leads to is not accepted any more.
    pub(crate) fn lasts(&self, written: &Written) -> Option<u32> {
        let inner = self.lock();
        let terms = inner.book.now()?;
        written.lasts(terms.oldest(), terms.ending())
    }

    /// When the current epoch was first seen, in unix seconds.
    pub(crate) fn epoch_seen(&self) -> Option<u64> {
        let inner = self.lock();
        let epoch = inner.book.now()?.record.epoch;
        inner.book.seen.get(&epoch).copied()
    }
}

impl Inner {
    /// See [`Purse::begun_page`].
    pub(super) fn begun_page(&self) -> Option<(u64, Blob)> {
        let book = &self.book;
        let (number, (hash, fate)) = book.cells.pages.last_key_value()?;
        let epoch = u64::from(book.now()?.record.epoch);
        let last = book.asked(book.next_request.checked_sub(1)?)?;
        let Call::Insert(Insert { blob, .. }) = &last.request.call else {
            return None;
        };
        let is_begun = *fate == Fate::Begun && number >> 16 == epoch && blob.hash() == *hash;
        is_begun.then(|| (*number, blob.clone()))
    }

    /// The pair of this mark and epoch.
    fn kept(&self, mark: Mark, epoch: Epoch) -> Option<[usize; 2]> {
        let all = self.book.idle.iter().enumerate();
        let mut kept = all.filter(|(_, held)| held.mark == mark && held.epoch == epoch);
        Some([kept.next()?.0, kept.next()?.0])
    }

    fn tokens(&self, mark: Mark) -> u64 {
        let all = self.book.idle.iter().filter(|held| held.mark == mark);
        all.map(|held| held.amount).sum()
    }

    /// The next cell holds these two. What was to be in it before may be in one that was never heard of
    /// again, so it is kept until another one is stored.
    fn is_next(&mut self, two: [usize; 2]) -> Result<Aside<'static>, RecoveryError> {
        let pair = two.map(|at| self.book.idle[at].clone());
        let serials = pair.each_ref().map(|held| held.serial);
        let others = self.book.idle.iter().filter(|held| held.mark == Mark::Next);
        let others = others.map(|held| held.serial);
        let others: Vec<_> = others.filter(|serial| !serials.contains(serial)).collect();
        for (mark, serials) in [(Mark::Reserve, others), (Mark::Next, serials.to_vec())] {
            if serials
                .iter()
                .any(|serial| self.book.cells.mark(serial) != mark)
            {
                self.change(Change::Marked { mark, serials })?;
            }
        }
        Ok(Aside::Pair(Box::new(pair)))
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

/// Chooses the two smallest that suffice, when they do not hold far too much. Otherwise larger ones are
/// divided, into one that suffices and then one that is empty; or gathered first, when no two suffice.
/// Two others at least are left, to pay for everything else, with so many tokens to `spare`.
fn choose(idle: &[Held], current: Epoch, [tokens, spare]: [u64; 2], fee: u64) -> Choice {
    let amount = |at: &usize| idle[*at].amount;
    let usable = (0..idle.len()).filter(|&at| {
        let held = &idle[at];
        held.epoch == current && !held.mark.is_kept()
    });
    let mut all: Vec<usize> = usable.collect();
    all.sort_by_key(|at| std::cmp::Reverse(amount(at)));
    let amounts: Vec<u64> = all.iter().map(amount).collect();
    let is_new = |at: &&usize| idle[**at].shown.is_none() && idle[**at].mark == Mark::Free;
    let new: Vec<usize> = all.iter().rev().filter(is_new).copied().collect();
    let held: u64 = amounts.iter().sum();
    let fits = tokens..=held.saturating_sub(spare);
    let enough = pairs(&new).filter(|two| fits.contains(&sum(idle, *two)) && all.len() >= 4);
    if let Some(two) = enough.min_by_key(|two| sum(idle, *two))
        && sum(idle, two) <= tokens.saturating_mul(2)
    {
        return Choice::These(two);
    }
    // One that was divided off already; an empty one is missing beside it.
    let fits = tokens..=tokens.saturating_mul(2);
    let mut one = new.iter().copied().find(|at| fits.contains(&amount(at)));
    one = one.filter(|at| held >= amount(at).saturating_add(spare).saturating_add(fee));
    let short = missing(&amounts, tokens.saturating_add(spare), fee);
    if short > 0 && (one.is_none() || all.len() < 4) {
        return Choice::Short(short);
    }
    all.retain(|at| Some(*at) != one);
    let first = if one.is_some() { 0 } else { tokens };
    let mut together = pairs(&all).filter(|two| idle[two[0]].goes_with(&idle[two[1]]));
    let suffices = |two: &[usize; 2]| sum(idle, *two) >= first.saturating_add(fee);
    match together.clone().find(suffices) {
        Some(two) => Choice::Divide(two, first),
        None => match together.next() {
            Some(two) if sum(idle, two) >= fee => Choice::Divide(two, u64::MAX),
            _ => Choice::Short(tokens),
        },
    }
}

/// How many tokens are missing, in one more credential, when these, the largest first, are gathered
/// and divided; none when they suffice. One transfer for each that is gathered, and two that divide.
fn missing(amounts: &[u64], tokens: u64, fee: u64) -> u64 {
    let needed = |gathered: u64| tokens.saturating_add(fee.saturating_mul(gathered + 2));
    let (mut held, mut least) = (0_u64, needed(0));
    for (count, amount) in (0..).zip(amounts) {
        held = held.saturating_add(*amount);
        if held >= needed(count) && amounts.len() >= 4 {
            return 0;
        }
        least = least.min(needed(count + 1).saturating_sub(held).max(1));
    }
    match amounts.len() {
        0..4 => needed(0),
        _ => least,
    }
}

/// Any two of these, in order.
pub(super) fn pairs(all: &[usize]) -> impl Iterator<Item = [usize; 2]> + Clone {
    let others = move |n: usize| all[n + 1..].iter().map(move |&other| [all[n], other]);
    (0..all.len()).flat_map(others)
}

fn sum(idle: &[Held], two: [usize; 2]) -> u64 {
    let [first, second] = two.map(|at| idle[at].amount);
    first.saturating_add(second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Epoch = Epoch(7);

    proptest! {
        #[test]
        fn a_reserve_is_set_aside_in_few_steps_or_not_begun(
            amounts in proptest::collection::vec((0..500_u64, 0..3_u8, 0..2_u32), 0..12),
            tokens in 1..400_u64,
            spare in 0..50_u64,
            fee in 1..4_u64,
        ) {
            let idle = amounts.iter().map(|&(amount, mark, age)| {
                let mut held = Held::worth(Epoch(NOW.0 - age), amount);
                held.mark = [Mark::Free, Mark::Listed, Mark::Reserve][usize::from(mark)];
                held
            });
            let mut idle: Vec<Held> = idle.collect();
            for step in 0.. {
                prop_assert!(step <= idle.len() + 2);
                let (two, first) = match choose(&idle, NOW, [tokens, spare], fee) {
                    Choice::These(two) => {
                        prop_assert!((tokens..=2 * tokens).contains(&sum(&idle, two)));
                        for at in two {
                            prop_assert_eq!((idle[at].epoch, idle[at].mark), (NOW, Mark::Free));
                            idle[at].mark = Mark::Next;
                        }
                        let left = idle.iter().filter(|held| held.epoch == NOW && !held.mark.is_kept());
                        prop_assert!(left.clone().count() >= 2);
                        prop_assert!(left.map(|held| held.amount).sum::<u64>() >= spare);
                        return Ok(());
                    }
                    Choice::Short(missing) => {
                        // Nothing is spent on what will not suffice.
                        prop_assert_eq!(step, 0);
                        // Two pairs more, with what is missing, are enough.
                        for amount in [missing, fee, fee, fee] {
                            idle.push(Held::worth(NOW, amount));
                        }
                        let choice = choose(&idle, NOW, [tokens, spare], fee);
                        prop_assert!(!matches!(choice, Choice::Short(_)));
                        return Ok(());
                    }
                    Choice::Divide(two, first) => (two, first),
                };
                let left = sum(&idle, two).checked_sub(fee);
                prop_assert!(left.is_some() && !two.map(|at| idle[at].mark.is_kept()).contains(&true));
                let first = first.min(left.unwrap_or(0));
                idle[two[0]] = Held::worth(NOW, first);
                idle[two[1]] = Held::worth(NOW, left.unwrap_or(0) - first);
            }
        }
    }
}

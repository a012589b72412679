//! Which credentials pay: pure arithmetic over amounts.
//!
//! An operation takes any two credentials of one epoch and gives two back, so their number never
//! changes. What is left is divided evenly, so that every two suffice for as long as possible and
//! as many operations as there are pairs can be under way at once. When no two suffice though all
//! would, credentials are gathered: a reissue of an older epoch's pair moves its tokens into one
//! credential for nothing, a transfer of the current epoch's two largest does it for a fee.
//!
//! Credentials that were shown with a request that was refused are known by its key: paying for
//! another key they would tie the two together. The same call takes them again, which says nothing
//! new. Any other one leaves them alone, or exchanges them first for ones that nobody has seen.
//! Only when the tokens do not suffice for that, they pay as they are.
//!
//! Credentials that a page lists are exchanged too, by a transfer, so that whoever shows them after
//! a loss comes upon exchanges and no operation ([`breakglass`](crate::breakglass)): the smallest two
//! that will do, because what was exchanged since the page is not found again. They never pay as they
//! are, not even the last ones. Those that are kept for a restore are no choice at all.

use std::collections::BTreeMap;

use larder_credentials::holder::HEADROOM;
use larder_credentials::{Epoch, RangeWidth};
use larder_protocol::Call;

use super::held::{Held, Mark};

/// What the next request has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// These two pay for it.
    Pay([usize; 2]),
    /// These two would pay for it and are known: they have to be exchanged first.
    Launder(By, [usize; 2]),
    /// These two pay for it, though they are known: there are no others.
    Last([usize; 2]),
    /// These two have to become one first.
    Gather(By, [usize; 2]),
    /// All of it is not enough: this many tokens are missing.
    Short(u64),
}

/// How two credentials become two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Of the current epoch, for a fee.
    Transfer,
    /// Of an older epoch, for nothing.
    Reissue,
}

impl By {
    pub(crate) fn call(self) -> Call {
        match self {
            By::Transfer => Call::Transfer,
            By::Reissue => Call::Reissue,
        }
    }
}

/// Chooses among idle credentials for an operation of this price; `digest` is that of its call.
///
/// The newest epoch is looked at first: whoever still spends old credentials late in an epoch
/// has few to hide among.
pub(crate) fn choose(
    idle: &[Held],
    digest: Option<[u8; 32]>,
    current: Epoch,
    price: u64,
    fee: u64,
) -> Choice {
    let pay = |epochs: &BTreeMap<Epoch, Vec<usize>>| {
        let mut newest_first = epochs.values().rev();
        newest_first.find_map(|all| pair(idle, all, price))
    };
    // First those that the call has shown before, then those that nobody has seen.
    let own = |held: &Held| held.shown == digest && held.mark == Mark::Free;
    let unseen = |held: &Held| held.shown.is_none() && held.mark == Mark::Free;
    let two = pay(&by_epoch(idle, own))
        .or_else(|| pay(&by_epoch(idle, unseen)))
        .or_else(|| pay(&by_epoch(idle, |held| own(held) || unseen(held))));
    if let Some(two) = two {
        return Choice::Pay(two);
    }
    let epochs = by_epoch(idle, |_| true);
    if let Some((by, two)) = known(idle, &epochs, current, price, fee) {
        return Choice::Launder(by, two);
    }
    if let Some(two) = pay(&by_epoch(idle, |held| held.mark == Mark::Free)) {
        return Choice::Last(two);
    }
    let missing = missing(idle, &epochs, current, price, fee);
    if missing > 0 {
        return Choice::Short(missing);
    }
    let older = epochs.iter().rev().find_map(|(epoch, all)| match all[..] {
        [first, second, ..] if *epoch < current => Some([first, second]),
        _ => None,
    });
    match (older, epochs.get(&current).map(Vec::as_slice)) {
        (Some(two), _) => Choice::Gather(By::Reissue, two),
        (None, Some([first, second, ..])) => Choice::Gather(By::Transfer, [*first, *second]),
        _ => Choice::Short(price.max(1)),
    }
}

/// The places of each epoch's credentials, largest first.
fn by_epoch(idle: &[Held], wanted: impl Fn(&Held) -> bool) -> BTreeMap<Epoch, Vec<usize>> {
    let mut epochs: BTreeMap<Epoch, Vec<usize>> = BTreeMap::new();
    let spendable = |held: &Held| !held.mark.is_kept() && wanted(held);
    for (at, held) in idle.iter().enumerate().filter(|(_, held)| spendable(held)) {
        epochs.entry(held.epoch).or_default().push(at);
    }
    for all in epochs.values_mut() {
        all.sort_by_key(|&at| std::cmp::Reverse(idle[at].amount));
    }
    epochs
}

/// The largest with the smallest that suffices: large ones stay for what is dear, and what is
/// left is evened out.
fn pair(idle: &[Held], all: &[usize], price: u64) -> Option<[usize; 2]> {
    let (&largest, others) = all.split_first()?;
    let smallest = others
        .iter()
        .rev()
        .find(|&&at| idle[at].amount.saturating_add(idle[largest].amount) >= price)?;
    Some([largest, *smallest])
}

/// Two that suffice once they are exchanged, and are not known by two different keys; the smallest
/// two if a page lists them.
fn known(
    idle: &[Held],
    epochs: &BTreeMap<Epoch, Vec<usize>>,
    current: Epoch,
    price: u64,
    fee: u64,
) -> Option<(By, [usize; 2])> {
    epochs.iter().rev().find_map(|(epoch, all)| {
        let by = match *epoch < current {
            true => By::Reissue,
            false => By::Transfer,
        };
        let others = |n: usize| all[n + 1..].iter().map(move |&other| [all[n], other]);
        let pairs = (0..all.len()).flat_map(others);
        let judged = pairs.filter_map(|two| {
            let [first, second] = two.map(|at| &idle[at]);
            let sum = first.amount.saturating_add(second.amount);
            let listed = [first, second]
                .map(|held| held.mark)
                .contains(&Mark::Listed);
            // A reissue does not take the mark off.
            let pays = by == By::Transfer || listed;
            let cost = price.saturating_add(if pays { fee } else { 0 });
            let suffices = first.goes_with(second) && sum >= cost;
            suffices.then_some((listed.then_some(sum), two))
        });
        judged.min_by_key(|(sum, _)| *sum).map(|(_, two)| (by, two))
    })
}

/// How many tokens are missing even when everything is gathered the cheapest way.
fn missing(
    idle: &[Held],
    epochs: &BTreeMap<Epoch, Vec<usize>>,
    current: Epoch,
    price: u64,
    fee: u64,
) -> u64 {
    let is_listed = |all: &[usize]| all.iter().any(|&at| idle[at].mark == Mark::Listed);
    let mut amounts = Vec::new();
    for (epoch, all) in epochs {
        let each = if *epoch < current { 2 } else { 1 };
        let gathered = all.chunks_exact(each);
        amounts.extend(gathered.map(|some| {
            let amount = some.iter().map(|&at| idle[at].amount).sum::<u64>();
            (amount, is_listed(some))
        }));
    }
    amounts.sort_unstable_by_key(|&(amount, listed)| (std::cmp::Reverse(amount), listed));
    // A reissue that gathers leaves an empty credential beside the full one.
    let spare = epochs
        .iter()
        .any(|(epoch, all)| *epoch < current && all.len() >= 2);
    let any_listed = epochs.values().any(|all| is_listed(all));
    let (mut together, mut least, mut listed) = (0_u64, price.max(1), false);
    for (others, (amount, is_listed)) in (0_u64..).zip(amounts) {
        together = together.saturating_add(amount);
        listed |= is_listed;
        // An operation takes two; a transfer puts one more into the first of them. What a page lists has to
        // be in one, and so may be the empty one.
        let transfers = match others {
            0 => u64::from(any_listed),
            _ if listed => others,
            _ => others - 1,
        };
        if others >= 1 || spare {
            let needed = price.saturating_add(fee.saturating_mul(transfers));
            least = least.min(needed.saturating_sub(together));
        }
    }
    least
}

/// Divides what is left of a pair, so that the first output has room for a refund.
pub(crate) fn evenly(left: u64) -> [u64; 2] {
    let room = RangeWidth::Bits32.largest() - HEADROOM;
    let first = (left / 2).min(room);
    [first, left - first]
}

/// Puts all that fits into the first output.
pub(crate) fn gathered(left: u64) -> [u64; 2] {
    let first = left.min(RangeWidth::Bits32.largest());
    [first, left - first]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Epoch = Epoch(7);

    fn idle(amounts: &[(u32, u64)]) -> Vec<Held> {
        let held = amounts.iter();
        held.map(|&(age, amount)| Held::worth(Epoch(NOW.0 - age), amount))
            .collect()
    }

    /// Does what the choice says, on paper.
    fn gather(idle: &mut [Held], by: By, two: [usize; 2], fee: u64) {
        let together = idle[two[0]].amount + idle[two[1]].amount;
        let (amounts, mark) = match by {
            By::Transfer => (gathered(together - fee), Mark::Free),
            By::Reissue => (gathered(together), idle[two[0]].mark.max(idle[two[1]].mark)),
        };
        assert_eq!(idle[two[0]].epoch, idle[two[1]].epoch);
        assert_eq!(idle[two[0]].epoch < NOW, by == By::Reissue);
        for (at, amount) in two.into_iter().zip(amounts) {
            idle[at] = Held::worth(NOW, amount);
            idle[at].mark = mark;
        }
    }

    proptest! {
        #[test]
        fn gathering_ends_in_paying_or_is_not_begun(
            amounts in proptest::collection::vec((0..3_u32, 0..30_u64), 0..14),
            shown in proptest::collection::vec(proptest::option::of((0..3_u8).prop_map(|n| [n; 32])), 14),
            listed in proptest::collection::vec(proptest::bool::weighted(0.3), 14),
            digest in proptest::option::of((0..3_u8).prop_map(|n| [n; 32])),
            price in 1..100_u64,
            fee in 1..5_u64,
        ) {
            let mut idle = idle(&amounts);
            idle.iter_mut().zip(shown).for_each(|(held, shown)| held.shown = shown);
            for (held, _) in idle.iter_mut().zip(listed).filter(|(_, listed)| *listed) {
                (held.mark, held.shown) = (Mark::Listed, None);
            }
            let held = |idle: &[Held]| idle.iter().map(|held| held.amount).sum::<u64>();
            let (all, mut steps) = (held(&idle), 0);
            loop {
                let choice = choose(&idle, digest, NOW, price, fee);
                match choice {
                    Choice::Pay([first, second]) | Choice::Last([first, second]) => {
                        let known = [first, second].iter().any(|at| {
                            idle[*at].shown.is_some() && idle[*at].shown != digest
                        });
                        prop_assert_eq!(known, matches!(choice, Choice::Last(_)));
                        prop_assert_ne!(first, second);
                        prop_assert_eq!([first, second].map(|at| idle[at].mark), [Mark::Free; 2]);
                        prop_assert_eq!(idle[first].epoch, idle[second].epoch);
                        prop_assert!(idle[first].amount + idle[second].amount >= price);
                        break;
                    }
                    // What that brings pays at once.
                    Choice::Launder(by, two) => {
                        let together = idle[two[0]].amount + idle[two[1]].amount;
                        prop_assert!(idle[two[0]].goes_with(&idle[two[1]]));
                        let fee = if by == By::Transfer { fee } else { 0 };
                        prop_assert!(together >= price + fee);
                        break;
                    }
                    Choice::Gather(by, two) => gather(&mut idle, by, two, fee),
                    Choice::Short(missing) => {
                        // Nothing is spent on gathering what will not suffice.
                        prop_assert_eq!(steps, 0);
                        prop_assert!(missing > 0);
                        // A pair with what is missing, as one that is bought, is enough.
                        idle.push(Held::worth(NOW, missing));
                        idle.push(Held::worth(NOW, fee * idle.len() as u64));
                        prop_assert!(!matches!(choose(&idle, digest, NOW, price, fee), Choice::Short(_)));
                        return Ok(());
                    }
                }
                steps += 1;
                prop_assert!(steps <= amounts.len());
            }
            prop_assert!(all - held(&idle) <= fee * steps as u64);
        }

        #[test]
        fn what_is_left_is_divided_without_a_rest_and_with_room_for_a_refund(left in 0..(3_u64 << 31)) {
            let [first, second] = evenly(left);
            prop_assert_eq!(first + second, left);
            prop_assert!(first <= RangeWidth::Bits32.largest() - HEADROOM);
            prop_assert!(second.abs_diff(first) <= 1 || second <= RangeWidth::Bits32.largest());
            let [first, second] = gathered(left);
            prop_assert_eq!(first + second, left);
            prop_assert!(first <= RangeWidth::Bits32.largest());
        }
    }

    #[test]
    fn the_newest_epoch_pays_first_and_the_largest_with_the_smallest_that_suffices() {
        let idle = idle(&[(1, 50), (1, 50), (0, 3), (0, 9), (0, 20), (0, 1)]);
        assert_eq!(choose(&idle, None, NOW, 21, 1), Choice::Pay([4, 5]));
        assert_eq!(choose(&idle, None, NOW, 22, 1), Choice::Pay([4, 2]));
        assert_eq!(choose(&idle, None, NOW, 29, 1), Choice::Pay([4, 3]));
        assert_eq!(choose(&idle, None, NOW, 30, 1), Choice::Pay([0, 1]));
        assert_eq!(
            choose(&idle, None, NOW, 101, 1),
            Choice::Gather(By::Reissue, [0, 1])
        );
    }
}

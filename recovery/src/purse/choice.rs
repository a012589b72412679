//! Which credentials pay: pure arithmetic over amounts.
//!
//! An operation takes any two credentials of one epoch and gives two back, so their number never
//! changes. What is left is divided evenly, so that every two suffice for as long as possible and
//! as many operations as there are pairs can be under way at once. When no two suffice though all
//! would, credentials are gathered: a reissue of an older epoch's pair moves its tokens into one
//! credential for nothing, a transfer of the current epoch's two largest does it for a fee.

use std::collections::BTreeMap;

use larder_credentials::holder::HEADROOM;
use larder_credentials::{Epoch, RangeWidth};

use super::held::Held;

/// What the next request has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// These two pay for it.
    Pay([usize; 2]),
    /// These two of the current epoch have to become one first, by a transfer.
    Transfer([usize; 2]),
    /// These two of an older epoch have to become one first, by a reissue.
    Reissue([usize; 2]),
    /// All of it is not enough: this many tokens are missing.
    Short(u64),
}

/// Chooses among idle credentials for an operation of this price.
///
/// The newest epoch is looked at first: whoever still spends old credentials late in an epoch
/// has few to hide among.
pub(crate) fn choose(idle: &[Held], current: Epoch, price: u64, fee: u64) -> Choice {
    let epochs = by_epoch(idle);
    if let Some(two) = epochs.values().rev().find_map(|all| pair(idle, all, price)) {
        return Choice::Pay(two);
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
        (Some(two), _) => Choice::Reissue(two),
        (None, Some([first, second, ..])) => Choice::Transfer([*first, *second]),
        _ => Choice::Short(price.max(1)),
    }
}

/// The places of each epoch's credentials, largest first.
fn by_epoch(idle: &[Held]) -> BTreeMap<Epoch, Vec<usize>> {
    let mut epochs: BTreeMap<Epoch, Vec<usize>> = BTreeMap::new();
    for (at, held) in idle.iter().enumerate() {
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

/// How many tokens are missing even when everything is gathered the cheapest way.
fn missing(
    idle: &[Held],
    epochs: &BTreeMap<Epoch, Vec<usize>>,
    current: Epoch,
    price: u64,
    fee: u64,
) -> u64 {
    let mut amounts = Vec::new();
    for (epoch, all) in epochs {
        let each = if *epoch < current { 2 } else { 1 };
        let gathered = all.chunks_exact(each);
        amounts.extend(gathered.map(|two| two.iter().map(|&at| idle[at].amount).sum::<u64>()));
    }
    amounts.sort_unstable_by(|a, b| b.cmp(a));
    // A reissue that gathers leaves an empty credential beside the full one.
    let spare = epochs
        .iter()
        .any(|(epoch, all)| *epoch < current && all.len() >= 2);
    let (mut together, mut needed, mut least) = (0_u64, price, price.max(1));
    for (count, amount) in amounts.into_iter().enumerate() {
        together = together.saturating_add(amount);
        // An operation takes two; a transfer puts one more into the first of them.
        if count >= 2 {
            needed = needed.saturating_add(fee);
        }
        if count >= 1 || spare {
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

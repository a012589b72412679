//! Exchanges ahead of need.
//!
//! What a page lists pays once a transfer has replaced it. A transfer right in front of the operation that needs it would
//! tell, after a loss, which operation was this wallet's: the restore shows what the page lists, and the row of
//! a transfer has its time. So a wallet that is in use has some pairs off the page before it needs them: behind the
//! writing of the page, and whenever it is [kept up](crate::Provider::tend). A transfer in front of an operation is
//! what remains when those are used up.
//!
//! As many pairs as it had operations under way at once, since the page or before it; four at most, as are taken off it
//! in any case, and no more than a quarter of all, because
//! what is off the page is found by a walk only. The smallest that last for a while, so that the fee is a
//! small part of what they pay for. A wallet that did nothing since the page before has none, and pays no fee.

use larder_credentials::Epoch;
use larder_protocol::{Call, Nonce};

use super::choice;
use super::held::{Held, Mark};
use super::lease::Lease;
use super::requests::BUSY;
use super::reserve::pairs;
use super::{Inner, Purse};
use crate::RecoveryError;

/// Inserts that a pair should pay for, so that its exchange adds little to what they cost.
const LASTS: u64 = 16;

/// Inserts that it has to pay for to be ready: one that is all but used up would be gone before anybody looks again.
const READY: u64 = 4;

impl Purse {
    /// A request that takes a pair off the page ahead of need, if the wallet is in use and has too few that pay as
    /// they are.
    pub(crate) fn ahead(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        let Some(two) = inner.ahead() else {
            return Ok(None);
        };
        let (id, request) = inner.spend(self, two, &Call::Transfer, nonce, choice::evenly)?;
        Ok(Some(self.lease(&mut inner, id, request)))
    }
}

impl Inner {
    fn ahead(&self) -> Option<[usize; 2]> {
        let terms = self.book.now()?;
        let cells = &self.book.cells;
        // A page that was begun is sent again for nothing as long as nothing else is paid for, so an exchange waits for it.
        if cells.restoring.is_some() || self.begun_page().is_some() {
            return None;
        }
        let uses = cells.uses.since.max(cells.uses.before);
        let prices = &terms.tariff.prices;
        let current = terms.credentials.current();
        let in_flight = self.book.sent.len();
        let wanted = usize::from(uses).min(BUSY);
        choose(
            &self.book.idle,
            current,
            [wanted, in_flight],
            [prices.insert, prices.transfer],
        )
    }
}

/// The two of those that a page lists which are to be taken off it; none while there are as many as are `wanted` or
/// more than a quarter, `in_flight` or idle.
fn choose(
    idle: &[Held],
    current: Epoch,
    [wanted, in_flight]: [usize; 2],
    [price, fee]: [u64; 2],
) -> Option<[usize; 2]> {
    let of = |mark: Mark| {
        let all = idle.iter().enumerate().filter(move |(_, held)| {
            held.epoch == current && held.mark == mark && held.shown.is_none()
        });
        let mut all: Vec<usize> = all.map(|(at, _)| at).collect();
        all.sort_by_key(|&at| idle[at].amount);
        all
    };
    let sum = |two: &[usize; 2]| two.iter().map(|&at| idle[at].amount).sum::<u64>();
    let (free, listed) = (of(Mark::Free), of(Mark::Listed));
    let all = in_flight + (free.len() + listed.len()) / 2;
    let wanted = wanted.min(all.div_ceil(4));
    let lack = |tokens: u64| {
        // The largest with the smallest that suffices, as operations take them.
        let (mut left, mut ready) = (free.clone(), in_flight);
        while let Some(largest) = left.pop() {
            let suffices = |&at: &usize| sum(&[largest, at]) >= tokens;
            let Some(at) = left.iter().position(suffices) else {
                break;
            };
            left.remove(at);
            ready += 1;
        }
        ready < wanted
    };
    let lasting = price.saturating_mul(LASTS).saturating_add(fee);
    let lasts = pairs(&listed).filter(|two| sum(two) >= lasting);
    let lasts = lasts.min_by_key(&sum);
    if lasts.is_some() && lack(price.saturating_mul(READY)) {
        return lasts;
    }
    // None lasts: then one that suffices, if none is left that does.
    let enough = |two: &[usize; 2]| sum(two) >= price.saturating_add(fee);
    let largest = pairs(&listed).max_by_key(&sum).filter(enough);
    largest.filter(|_| lack(price))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Epoch = Epoch(7);

    proptest! {
        #[test]
        fn it_takes_as_many_off_a_page_as_it_should_and_ends(
            amounts in proptest::collection::vec((0..900_u64, any::<bool>()), 0..24),
            wanted in 0..=BUSY,
            price in 1..40_u64,
            fee in 1..4_u64,
        ) {
            let idle = amounts.iter().map(|&(amount, listed)| {
                let mut held = Held::worth(NOW, amount);
                held.mark = if listed { Mark::Listed } else { Mark::Free };
                held
            });
            let mut idle: Vec<Held> = idle.collect();
            let most = wanted.min((idle.len() / 2).div_ceil(4));
            let mut taken = 0;
            while let Some(two) = choose(&idle, NOW, [wanted, 0], [price, fee]) {
                let sum: u64 = two.iter().map(|&at| idle[at].amount).sum();
                prop_assert!(two.iter().all(|&at| idle[at].mark == Mark::Listed));
                prop_assert!(sum >= price + fee);
                for (at, amount) in two.into_iter().zip(choice::evenly(sum - fee)) {
                    idle[at] = Held::worth(NOW, amount);
                }
                taken += 1;
                prop_assert!(taken <= most);
            }
            // What is under way counts.
            prop_assert_eq!(choose(&idle, NOW, [wanted, wanted], [price, fee]), None);
        }
    }

    #[test]
    fn the_smallest_that_last_are_taken_and_of_another_epoch_none() {
        let of = |epoch, amount| {
            let mut held = Held::worth(epoch, amount);
            held.mark = Mark::Listed;
            held
        };
        let mut idle: Vec<Held> = [500, 40, 200, 130].map(|amount| of(NOW, amount)).into();
        assert_eq!(choose(&idle, NOW, [1, 0], [20, 1]), Some([3, 2]));
        assert_eq!(choose(&idle, NOW, [1, 0], [50, 1]), Some([2, 0]));
        idle.truncate(2);
        assert_eq!(choose(&idle, NOW, [1, 0], [100, 1]), Some([1, 0]));
        assert_eq!(choose(&idle, NOW, [1, 0], [540, 1]), None);
        assert_eq!(choose(&idle, Epoch(8), [1, 0], [20, 1]), None);
    }
}

//! Taking what a cell and its page say is there, after a loss.
//!
//! What is found is shown with an exchange only, never with an operation: a reissue while its epoch is
//! old, which passes its mark on, and then a transfer, which takes it off. When it turns out to be
//! spent, the row says by what. A reissue is followed: it is what an upkeep does. A transfer was
//! followed by operations of the wallet that was lost, or by another restore: showing what came of it
//! would tie this restore to them. That is done only when the restore walks.

use std::ops::RangeInclusive;

use larder_credentials::{OpCode, Row};
use larder_protocol::{Nonce, OpenedCell};

use super::cells::Restoring;
use super::change::{Change, Opened};
use super::choice::{self, By};
use super::event::Event;
use super::held::{Held, Mark};
use super::lease::Lease;
use super::terms::Terms;
use super::{Inner, Purse};
use crate::RecoveryError;
use crate::breakglass::{Contents, Page};

impl Purse {
    /// The restore that is under way.
    pub(crate) fn restoring(&self) -> Option<Restoring> {
        self.lock().book.cells.restoring.clone()
    }

    /// Takes what a cell says: a restore begins.
    pub(crate) fn opened(
        &self,
        cell: &OpenedCell,
        contents: &Contents,
        walk: bool,
    ) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        inner.take(Mark::Reserve, &contents.reserve)?;
        let [first, second] = &contents.reserve;
        inner.change(Change::Opened(Opened {
            walk,
            sequence: cell.sequence,
            anchor: contents.anchor,
            page: contents.page,
            epoch: first.epoch,
            tokens: first.amount.saturating_add(second.amount),
        }))
    }

    /// Takes what a page says; none where there is none.
    pub(crate) fn paged(&self, page: Option<Page>) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        let Some(mut page) = page else {
            return inner.change(Change::Paged(None));
        };
        let listed = std::mem::take(&mut page.credentials);
        inner.take(Mark::Listed, &listed)?;
        inner.change(Change::Paged(Some(Box::new(page))))
    }

    /// The restore is over.
    pub(crate) fn restored(&self) -> Result<(), RecoveryError> {
        self.lock().change(Change::Restored)
    }

    /// The next exchange that makes what was found the purse's own: the reserve first, because the page
    /// costs tokens, and what that lists once all of it is written down.
    pub(crate) fn redeem(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        let terms = inner.terms()?;
        let restoring = inner.book.cells.restoring.as_ref();
        let paged = restoring.is_none_or(|restoring| restoring.page.is_some());
        let least = if paged { Mark::Listed } else { Mark::Reserve };
        let found = least..=Mark::Reserve;
        let Some((by, two)) = redeemable(&inner.book.idle, found, &terms) else {
            return Ok(None);
        };
        let (id, request) = inner.spend(self, two, &by.call(), nonce, choice::evenly)?;
        Ok(Some(self.lease(&mut inner, id, request)))
    }
}

impl Inner {
    pub(super) fn change(&mut self, change: Change) -> Result<(), RecoveryError> {
        Ok(self.record(Event::Breakglass(change))?)
    }

    /// Takes credentials in, for nothing but what the mark says. Those whose epoch has ended are not there any
    /// more, and may have been spent before: they do not count as lost.
    fn take(&mut self, mark: Mark, all: &[Held]) -> Result<(), RecoveryError> {
        let oldest = self.terms()?.oldest();
        let live = || all.iter().filter(|held| held.epoch >= oldest);
        let serials = live().map(|held| held.serial).collect();
        self.change(Change::Marked { mark, serials })?;
        for held in live() {
            self.record(Event::Held(held.clone()))?;
        }
        Ok(())
    }

    /// The pair that has replaced inputs of this request, if it is to be taken, with the mark that
    /// they had. What another copy of this purse has made of them is that one's, but for a reserve that it has
    /// reissued, which is in its cell and pays for nothing there either.
    pub(super) fn follow(
        &mut self,
        id: u64,
        row: &Row,
        pair: [Held; 2],
        elsewhere: bool,
    ) -> Result<Option<[Held; 2]>, RecoveryError> {
        let spent: Vec<_> = row.references().iter().collect();
        let mark = self.book.mark_of(id, &spent);
        let reissued = row.op() == OpCode::REISSUE;
        let restoring = self.book.cells.restoring.as_ref();
        let walks = restoring.is_some_and(|restoring| restoring.opened.walk);
        let goes_on = mark.is_reserve() && reissued;
        let mark = match elsewhere && !goes_on {
            true => Mark::Elsewhere,
            false => mark,
        };
        let follows = match mark {
            Mark::Elsewhere => true,
            Mark::Free => return Ok(Some(pair)),
            _ if restoring.is_none() && !reissued => return Ok(Some(pair)),
            _ => reissued || walks,
        };
        if !follows {
            return Ok(None);
        }
        let serials = pair.iter().map(|held| held.serial).collect();
        self.change(Change::Marked { mark, serials })?;
        Ok(Some(pair))
    }
}

/// The next two to be exchanged of those that are marked like this, and how. The largest goes with the
/// smallest, so that few are left that do not pay for their transfer.
pub(super) fn redeemable(
    idle: &[Held],
    wanted: RangeInclusive<Mark>,
    terms: &Terms,
) -> Option<(By, [usize; 2])> {
    let (current, fee) = (terms.credentials.current(), terms.tariff.prices.transfer);
    let found = idle.iter().filter(|held| wanted.contains(&held.mark));
    let mut kinds: Vec<_> = found.map(|held| (held.mark, held.epoch)).collect();
    kinds.sort_unstable_by(|a, b| b.cmp(a));
    kinds.dedup();
    kinds.into_iter().find_map(|(mark, epoch)| {
        let of = |wanted: Mark| {
            let all = idle.iter().enumerate();
            let mut all: Vec<usize> = all
                .filter(|(_, held)| (held.mark, held.epoch) == (wanted, epoch))
                .map(|(at, _)| at)
                .collect();
            all.sort_by_key(|&at| std::cmp::Reverse(idle[at].amount));
            all
        };
        let two = match of(mark)[..] {
            [first, .., last] => [first, last],
            // The other half was spent apart; any other will do.
            [only] => [only, *of(Mark::Free).last()?],
            [] => return None,
        };
        let by = match epoch < current {
            true => By::Reissue,
            false => By::Transfer,
        };
        let sum = two.iter().map(|&at| idle[at].amount).sum::<u64>();
        (by == By::Reissue || sum >= fee).then_some((by, two))
    })
}

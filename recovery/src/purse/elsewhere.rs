//! What another copy of this purse has spent: of a copied wallet folder, of a backup that was put back, or of a
//! restore from the same root key.
//!
//! A credential is spent once. That it was spent by a request that is none of this purse's shows in the answer to
//! the next request that shows it, with what it became. Two copies that went on with what the other one had made would
//! take the same tokens from each other for ever, each time with a request more for all that the other had done; and each
//! pair that both show for an operation ties the two. So what it became is left to the other copy, and what
//! this one has not shown yet pays after an exchange only, which ties nothing to anything. Whatever both still hold then
//! belongs to the one that shows it first: after as many refusals as there were pairs they have nothing in common.
//!
//! [`Provider::take_back`](crate::Provider::take_back) is for whoever knows that the other one is gone. It goes from
//! what is known of it to what that became, with exchanges only, once each.

use larder_protocol::Nonce;

use super::change::Change;
use super::choice;
use super::held::Mark;
use super::lease::Lease;
use super::redeem::redeemable;
use super::{Inner, Purse};
use crate::RecoveryError;

/// Pairs in a row that may turn out to be spent elsewhere before whoever pays is told, instead of trying another one.
const IN_A_ROW: u32 = 3;

/// Serials in one entry of the journal.
const SERIALS: usize = u8::MAX as usize;

impl Purse {
    /// The next exchange on the way to what another copy has; none when all of it is taken back, or does not pay
    /// for its transfer. Whatever pays after an exchange only may have been spent, too.
    pub(crate) fn take_back(&self, nonce: Nonce) -> Result<Option<Lease<'_>>, RecoveryError> {
        let mut inner = self.lock();
        let terms = inner.terms()?;
        let of = |mark| redeemable(&inner.book.idle, mark..=mark, &terms);
        let Some((by, two)) = of(Mark::Elsewhere).or_else(|| of(Mark::Listed)) else {
            return Ok(None);
        };
        let (id, request) = inner.spend(self, two, &by.call(), nonce, choice::evenly)?;
        Ok(Some(self.lease(&mut inner, id, request)))
    }

    /// Tokens that it took for its own since it was opened, and that another copy had spent.
    #[must_use]
    pub fn gone(&self) -> u64 {
        self.lock().gone
    }
}

impl Inner {
    /// Tokens that are here, as far as is known.
    pub(super) fn ours(&self) -> u64 {
        let all = self.book.idle.iter().chain(self.book.in_flight());
        let ours = all.filter(|held| held.mark != Mark::Elsewhere);
        ours.map(|held| held.amount).sum()
    }

    /// Whether the pair of this request, which turns out to be spent, was spent by another copy. What a restore has
    /// found it walks on its own terms. And what a refused request has shown may have been spent by a copy of that very
    /// request, which came late.
    pub(super) fn is_elsewhere(&self, id: u64) -> bool {
        let sent = self.book.sent.get(&id);
        let is_known = sent.is_some_and(|sent| sent.inputs.are_shown());
        self.book.cells.restoring.is_none() && !is_known
    }

    /// A pair was spent elsewhere. From now on nothing that the other copy may have is shown for an operation.
    /// Whoever has `parted` before has seen to that.
    pub(super) fn noticed(&mut self, parted: bool) -> Result<(), RecoveryError> {
        self.spent_in_a_row += 1;
        if parted {
            return Ok(());
        }
        let idle = self.book.idle.iter();
        let unshown = idle.filter(|held| held.mark == Mark::Free && held.shown.is_none());
        let unshown: Vec<_> = unshown.map(|held| held.serial).collect();
        for serials in unshown.chunks(SERIALS) {
            let (mark, serials) = (Mark::Listed, serials.to_vec());
            self.change(Change::Marked { mark, serials })?;
        }
        Ok(())
    }

    /// Ends what goes from one pair that was spent elsewhere to the next. What comes after it begins to count anew.
    pub(super) fn require_unspent(&mut self) -> Result<(), RecoveryError> {
        match self.spent_in_a_row >= IN_A_ROW {
            true => {
                self.spent_in_a_row = 0;
                Err(RecoveryError::UsedElsewhere)
            }
            false => Ok(()),
        }
    }
}

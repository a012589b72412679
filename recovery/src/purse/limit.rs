//! How much may be paid: what a user was told that something costs, and a margin.
//!
//! It counts what requests have cost, and what those in flight are going to, but no refund: that is for something
//! that was paid before. It is not written down: who opens the purse anew says anew how much may be paid.

use larder_protocol::Op;

use super::event::Inputs;
use super::held::Held;
use super::rules::price;
use super::sent::Sent;
use super::{Inner, Purse};
use crate::RecoveryError;

/// A limit, and what counts towards it, in tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    most: u64,
    paid: u64,
}

impl Purse {
    /// From now on no more tokens than this are paid; [`RecoveryError::OverLimit`] is what a call ends with that
    /// would cost more. `None` lifts the limit.
    pub fn limit(&self, most: Option<u64>) {
        self.lock().limit = most.map(|most| Limit { most, paid: 0 });
    }
}

impl Inner {
    /// What a request has cost that has brought this pair back.
    pub(super) fn paid_by(&self, id: u64, back: &[Held; 2]) -> u64 {
        let shown = self.book.sent.get(&id).map_or(0, shown);
        shown.saturating_sub(back.iter().map(|held| held.amount).sum())
    }

    /// A pair was spent and replaced.
    pub(super) fn has_paid(&mut self, tokens: u64) {
        self.spent_in_a_row = 0;
        if let Some(limit) = &mut self.limit {
            limit.paid = limit.paid.saturating_add(tokens);
        }
    }

    /// Refuses an operation that would cost more than may be paid.
    pub(super) fn require_within_limit(&self, op: Op) -> Result<(), RecoveryError> {
        let Some(Limit { most, paid }) = self.limit else {
            return Ok(());
        };
        let in_flight = self.book.sent.values().map(|sent| {
            let left = sent.outputs.iter().sum();
            shown(sent).saturating_sub(left)
        });
        let committed = in_flight.fold(paid, u64::saturating_add);
        let cost = price(&self.terms()?.tariff, op);
        match committed.saturating_add(cost) > most {
            true => Err(RecoveryError::OverLimit { most }),
            false => Ok(()),
        }
    }
}

/// The tokens that a request shows; none of a purchase, which costs none.
fn shown(sent: &Sent) -> u64 {
    match &sent.inputs {
        Inputs::Pair(pair) => pair.iter().map(|held| held.amount).sum(),
        Inputs::Claim { .. } => 0,
    }
}

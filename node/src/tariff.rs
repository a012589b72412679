//! What each operation costs in one epoch, and what comes back of it.
//!
//! | operation | price | comes back |
//! | --- | --- | --- |
//! | insert | insert | nothing; of a refused one all but the price of a look-up |
//! | delete | delete | the refund for the blob's age, if it was removed and had been paid for |
//! | breakglass put | breakglass | nothing; of a refused one all but the price of a look-up |
//! | look-up | look-up | nothing, whatever is found |
//! | transfer | transfer | nothing |
//! | reissue, purchase | nothing | nothing |

use std::num::NonZeroU64;

use larder_credentials::{OpCode, ledger};
use larder_protocol::Op;
use larder_protocol::record::Tariff;

/// The published tariff of one epoch.
#[derive(Debug)]
pub(crate) struct PriceList(Tariff);

impl PriceList {
    pub(crate) fn new(tariff: Tariff) -> Self {
        PriceList(tariff)
    }

    /// What an operation costs, in tokens.
    pub(crate) fn price(&self, op: Op) -> u64 {
        let prices = &self.0.prices;
        match op {
            Op::Insert => prices.insert,
            Op::Delete => prices.delete,
            Op::Lookup => prices.lookup,
            Op::BreakglassPut => prices.breakglass,
            Op::Transfer => prices.transfer,
            Op::Info | Op::BreakglassOpen | Op::Quote | Op::Reissue | Op::Purchase => 0,
        }
    }

    /// What comes back when this operation was paid for and could not be done.
    pub(crate) fn back_if_refused(&self, op: Op) -> u64 {
        let prices = &self.0.prices;
        match op {
            Op::Insert => prices.insert.saturating_sub(prices.lookup),
            Op::BreakglassPut => prices.breakglass.saturating_sub(prices.lookup),
            _ => 0,
        }
    }

    /// What comes back for the removal of a blob that was inserted so many epochs ago.
    pub(crate) fn refund(&self, age: u32) -> u64 {
        let refund = usize::try_from(age)
            .ok()
            .and_then(|age| self.0.refunds.get(age));
        refund.copied().unwrap_or_default()
    }

    /// Whether a pair of so many tokens can be bought.
    pub(crate) fn sells(&self, tokens: u64) -> bool {
        self.0.denominations.contains(&tokens)
    }

    /// What is published.
    pub(crate) fn published(&self) -> &Tariff {
        &self.0
    }
}

impl ledger::Tariff for PriceList {
    fn price(&self, op: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        let sold = [
            Op::Insert,
            Op::Delete,
            Op::Lookup,
            Op::BreakglassPut,
            Op::Transfer,
        ];
        let op = sold.into_iter().find(|sold| sold.paid_as() == Some(op))?;
        NonZeroU64::new(self.price(op))
    }

    fn largest_adjust(&self, op: OpCode, _: &[u8]) -> u64 {
        let is = |paid: Op| paid.paid_as() == Some(op);
        if is(Op::Insert) {
            self.back_if_refused(Op::Insert)
        } else if is(Op::BreakglassPut) {
            self.back_if_refused(Op::BreakglassPut)
        } else if is(Op::Delete) {
            self.0.refunds.iter().copied().max().unwrap_or_default()
        } else {
            0
        }
    }
}

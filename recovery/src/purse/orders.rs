//! Purchases under way: which claims were made, and which were collected.

use larder_credentials::ClaimSecret;
use larder_protocol::{Nonce, Quoted};

use super::event::Event;
use super::{Purse, slot};
use crate::{Purpose, RecoveryError};

/// A purchase under way.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) claims: u8,
    /// Tokens of each claim.
    pub(crate) each: u64,
    pub(crate) voucher: Option<Vec<u8>>,
    pub(crate) quoted: Option<Quoted>,
    /// A bit for each claim.
    pub(crate) collected: u16,
}

impl Order {
    pub(crate) fn is_paid(&self) -> bool {
        self.quoted.as_ref().is_some_and(|quoted| quoted.paid)
    }

    pub(crate) fn is_collected(&self, which: u8) -> bool {
        self.collected & bit(which) != 0
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = u8> + '_ {
        (0..self.claims).filter(|which| !self.is_collected(*which))
    }
}

/// The bit of a claim.
pub(super) fn bit(which: u8) -> u16 {
    1_u16.checked_shl(which.into()).unwrap_or(0)
}

impl Purse {
    /// The secret of a claim.
    pub(crate) fn claim(&self, index: u64) -> ClaimSecret {
        let secret = self.schedule.secret(&slot(Purpose::Claim, index));
        ClaimSecret::from_bytes(*secret.bytes())
    }

    /// Begins an order: its claims are written down before anybody hears of them.
    ///
    /// The first order of a journal begins at `entropy`, later ones follow on. A client that lost
    /// its journal does not name the claims of its former one again, which would tie the two
    /// together for the storage node.
    pub(crate) fn order(
        &self,
        claims: u8,
        each: u64,
        voucher: Option<Vec<u8>>,
        entropy: Nonce,
    ) -> Result<u64, RecoveryError> {
        let mut inner = self.lock();
        let order = match inner.book.next_claim {
            0 => {
                let [a, b, c, d, e, f, ..] = entropy.0;
                u64::from_be_bytes([0, 1, a, b, c, d, e, f])
            }
            next => next,
        };
        inner.record(Event::Ordered {
            order,
            claims,
            each,
            voucher,
        })?;
        Ok(order)
    }

    pub(crate) fn orders(&self) -> Vec<(u64, Order)> {
        let inner = self.lock();
        let orders = inner.book.orders.iter();
        orders.map(|(&id, order)| (id, order.clone())).collect()
    }

    pub(crate) fn order_at(&self, order: u64) -> Option<Order> {
        self.lock().book.orders.get(&order).cloned()
    }

    pub(crate) fn quoted(&self, order: u64, quoted: &Quoted) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        let known = inner.book.orders.get(&order);
        if known.is_some_and(|known| known.quoted.as_ref() != Some(quoted)) {
            let quoted = quoted.clone();
            inner.record(Event::Quoted { order, quoted })?;
        }
        Ok(())
    }

    /// Whether nobody can pay for an order any more, as far as this purse was told the time.
    pub(crate) fn is_past(&self, order: &Order) -> bool {
        let told = self.lock().told;
        order
            .quoted
            .as_ref()
            .is_none_or(|quoted| quoted.expires <= told)
    }

    pub(crate) fn close(&self, order: u64) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        if inner.book.orders.contains_key(&order) {
            inner.record(Event::Closed { order })?;
        }
        Ok(())
    }
}

//! Where tokens are paid for. A till turns an order into a payment, and says when it settled.
//!
//! | till | payment | settles |
//! | --- | --- | --- |
//! | [`Vouchers`] | a code that the operator has handed out | with the order |
//! | [`Giveaway`] | nothing: for tests and trials | with the order |
//!
//! A till on Lightning fits the same two methods. Over BOLT 11, [`Till::order`] makes an invoice
//! under a label derived from the claim tags and names the payment by its hash; over BOLT 12 it
//! makes an offer for a single use and names the payment by the offer's id. Asked again for the
//! same order it finds what it made, and says whether that was paid. From [`Till::open`] on it
//! follows the backend's stream of settled payments, tells [`Settlements`] of each, and moves its
//! cursor in the stream only after that has returned: what settles around a crash is told twice
//! and counts once.
//!
//! The node sees to the rest: that a payment opens claims once, that unpaid claims are bounded in
//! number and expire, that each claim is taken once.

mod giveaway;
mod voucher;

use std::sync::Weak;

use larder_credentials::ClaimTag;

pub use giveaway::Giveaway;
pub use voucher::Vouchers;

use crate::NodeError;
use crate::desk::Desk;

/// Where tokens are paid for.
pub trait Till: Send + Sync {
    /// Makes the payment for an order, or finds the one that was made for it: the same claims
    /// and tokens always give the same payment.
    ///
    /// Called on a thread that serves requests: it may take milliseconds, not seconds.
    ///
    /// # Errors
    /// [`NoPayment`]; then nothing was opened.
    fn order(&self, order: &Order<'_>) -> Result<Ordered, NoPayment>;

    /// Begins to report payments that settle by themselves. Called once, when the node starts.
    /// A till whose orders are settled when they are made has nothing to report.
    fn open(&self, _settlements: Settlements) {}

    /// What an operator reads about it, in a few words.
    fn name(&self) -> &'static str;
}

/// What a client wants to buy.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// Tokens of each claim.
    pub tokens: u64,
    /// The claims, of which there is one at least. The payment is for all of them.
    pub tags: &'a [ClaimTag],
    /// The bytes of the voucher that came with it, if one did.
    pub voucher: Option<&'a [u8]>,
    /// Unix seconds, now.
    pub now: u64,
}

/// The payment for an order.
#[derive(Clone, PartialEq, Eq)]
pub struct Ordered {
    /// Its name, 32 bytes: no two payments share one, and a payment opens claims once.
    pub payment: [u8; 32],
    /// What the client's wallet pays, at most 4,096 characters of visible ASCII; empty when
    /// nothing is left to pay.
    pub request: String,
    /// When it expires, unix seconds. The node opens no claims for what has expired, and forgets
    /// unpaid ones a day later: until then the till may report that it was paid in time.
    pub expires: u64,
    /// Whether the exact amount has arrived.
    pub settled: bool,
}

/// Why there is no payment for an order. The client is told no more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPayment {
    /// The client's fault: the voucher is not genuine, or not for this amount.
    #[error("the voucher is not genuine or not for this amount")]
    BadVoucher,
    /// The client's fault: this till does not take that.
    #[error("this till does not take that kind of payment")]
    NotTaken,
    /// The operator's: the Lightning node behind the till does not answer. A retry may help.
    #[error("the till does not answer")]
    Closed,
}

/// How a till tells the node that a payment has arrived.
#[derive(Clone)]
pub struct Settlements(pub(crate) Weak<Desk>);

impl Settlements {
    /// The exact amount has arrived for this payment. Durable when it returns; telling it twice
    /// changes nothing. `false` when no claim waits for the payment: it expired, or is not ours.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] and [`NodeError::Store`]: tell it again to the next node that
    /// opens the till.
    pub fn settle(&self, payment: [u8; 32]) -> Result<bool, NodeError> {
        let desk = self.0.upgrade().ok_or(NodeError::Stopped)?;
        desk.settle(payment)
    }
}

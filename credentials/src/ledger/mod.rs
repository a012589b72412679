//! The issuer's state machine (§7): who has spent what, and what was answered.
//!
//! It promises that a pair is consumed once, that an identical retry gets the identical
//! answer without effect, that another request on a spent pair gets the row and has no
//! effect, and that an operation and its row become durable together or not at all.
//!
//! A request passes three stages, cheapest first. A server may call them one after the
//! other ([`Ledger::process`]) or verify many requests in between at once:
//!
//! 1. [`Ledger::admit`] decodes, looks up, checks epoch and price. Microseconds.
//! 2. [`Ledger::verify`] checks proofs. Most of the work; needs no storage.
//! 3. [`Ledger::settle`] performs, issues and records in one transaction.
//!
//! A server with a transaction of its own, for many requests at once, takes the parts: a
//! [`Teller`] does all that needs no lock and ends with an [`Entry`], which is applied under it.
//!
//! How it fails: a [`Refusal`] consumed and stored nothing. A storage error leaves all or
//! nothing, and a retry finds out which. When more tokens are about to be spent than were
//! ever issued for payments, a credential was forged and issuance halts.
//!
//! Epochs only move forward. Which ones were entered and which were closed is stored
//! beside the rows ([`Floor`]) and overrides what an [`Issuer`] would accept. After a restore
//! from a backup open the ledger with [`Ledger::after_restore`].

mod claims;
mod entry;
mod epochs;
pub mod memory;
mod storage;
mod teller;

use std::num::NonZeroU64;

pub use claims::Claim;
pub use entry::{Declined, Entry};
pub use epochs::{EpochError, Past};
pub use storage::{Floor, Reads, Storage, Supply, Transaction, Writes};
pub use teller::{NotPrepared, Teller};

use crate::error::Refusal;
use crate::issuer::Issuer;
use crate::operation::{OpCode, Status};
use crate::reply::Reply;
use crate::request::Request;

/// The published prices and refunds (§2, §6). Every operation that presents credentials costs
/// at least one token before adjustment, or the replay table would grow for free.
pub trait Tariff {
    /// What an operation costs, in tokens; none if it is not offered. Asked for
    /// [`OpCode::TRANSFER`] and for the codes of the service.
    fn price(&self, op: OpCode, parameters: &[u8]) -> Option<NonZeroU64>;

    /// The most that performing it may give back, in tokens. Asked for the codes of the
    /// service. A bound, so that a slip in the service cannot print tokens.
    fn largest_adjust(&self, op: OpCode, parameters: &[u8]) -> u64;
}

/// How an operation ended, as the service reports it (§6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// What the holder is told.
    pub status: Status,
    /// Tokens that go back to the holder (§5); at most [`Tariff::largest_adjust`].
    pub adjust: u64,
}

impl Outcome {
    /// Done, nothing goes back.
    pub const DONE: Outcome = Outcome {
        status: Status::DONE,
        adjust: 0,
    };
}

/// Why the ledger gave no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError<E> {
    /// Tell the client; see the variant for whose fault it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Tell the operator. Whether the transaction took effect, a retry finds out.
    #[error("storage: {0}")]
    Storage(E),
    /// The service's fault, tell the operator: it gave back more tokens than its tariff
    /// allows. Nothing was consumed, and nothing it wrote in the transaction was kept.
    #[error("{adjust} tokens were given back, the tariff allows {largest}")]
    AdjustTooLarge {
        /// What performing the operation gave back, in tokens.
        adjust: u64,
        /// What [`Tariff::largest_adjust`] allows, in tokens.
        largest: u64,
    },
}

/// A request after the cheap checks.
#[derive(Debug)]
pub enum Admitted {
    /// It was answered before: this is the answer again.
    Answered(Reply),
    /// Its proofs have to be checked.
    Unverified(Box<Request>),
}

/// A request whose proofs hold. It may be unpaid or spent: only the transaction knows.
#[derive(Debug, Clone)]
pub struct Verified(Box<Request>);

impl Verified {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0
    }
}

impl<E> From<NotPrepared> for LedgerError<E> {
    fn from(why: NotPrepared) -> Self {
        match why {
            NotPrepared::Refused(refusal) => LedgerError::Refused(refusal),
            NotPrepared::AdjustTooLarge { adjust, largest } => {
                LedgerError::AdjustTooLarge { adjust, largest }
            }
        }
    }
}

/// The state machine over an issuer, a storage and a price list, one transaction a request. A
/// server that settles many in one uses its [`Teller`] and [`Entry`] itself.
#[derive(Debug)]
pub struct Ledger<S, T> {
    teller: Teller<T>,
    storage: S,
}

impl<S: Storage, T: Tariff> Ledger<S, T> {
    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        self.teller.issuer()
    }

    /// The storage.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The storage, when the ledger is closed.
    pub fn into_storage(self) -> S {
        self.storage
    }

    /// Steps 1 to 4 of §7.
    ///
    /// # Errors
    ///
    /// A refusal that costs microseconds, or storage.
    pub fn admit(&self, core: &[u8]) -> Result<Admitted, LedgerError<S::Error>> {
        self.teller.admit(core, &mut self.begin()?)
    }

    /// Step 5 of §7; see [`Teller::verify`].
    pub fn verify(&self, requests: Vec<Box<Request>>) -> Vec<Result<Verified, Refusal>> {
        self.teller.verify(requests)
    }

    /// Step 6 of §7: repeats the look-up under the lock, performs, issues, records.
    /// `perform` is called at most once, for operations of the service only, and inside
    /// the transaction: what it writes there becomes durable together with the row. An error
    /// of it undoes that and is passed on. It should refuse only what costs nothing to try
    /// again, because a refusal takes no tokens: an operation that was looked into and could
    /// not be done is an [`Outcome`] with another status (§6).
    ///
    /// # Errors
    ///
    /// A refusal or a broken tariff, having consumed nothing; or storage, having done all or
    /// nothing.
    pub fn settle<F>(&self, verified: Verified, perform: F) -> Result<Reply, LedgerError<S::Error>>
    where
        F: FnOnce(&mut S::Transaction<'_>, &Request) -> Result<Outcome, LedgerError<S::Error>>,
    {
        let mut transaction = self.begin()?;
        if let Some(reply) = self.teller.recall(&verified, &mut transaction)? {
            return Ok(reply);
        }
        let request = verified.request();
        // Before anything is done for tokens that cannot exist.
        let supply = transaction.supply().map_err(LedgerError::Storage)?;
        if supply.after(request.cost()).is_none() {
            drop(transaction);
            return self.halt();
        }
        let outcome = match request.op().code() {
            OpCode::FIRST_OF_SERVICE.. => perform(&mut transaction, request)?,
            _ => Outcome::DONE,
        };
        let entry = self.teller.prepare(&verified, outcome)?;
        match entry
            .apply(&mut transaction)
            .map_err(LedgerError::Storage)?
        {
            Ok(()) => {}
            Err(Declined::Seen(reply)) => return Ok(reply),
            Err(Declined::Refused(refusal)) => return Err(refusal.into()),
        }
        transaction.commit().map_err(LedgerError::Storage)?;
        Ok(entry.reply())
    }

    /// All three stages for one core.
    ///
    /// # Errors
    ///
    /// Those of the stages.
    pub fn process<F>(&self, core: &[u8], perform: F) -> Result<Reply, LedgerError<S::Error>>
    where
        F: FnOnce(&mut S::Transaction<'_>, &Request) -> Result<Outcome, LedgerError<S::Error>>,
    {
        match self.admit(core)? {
            Admitted::Answered(reply) => Ok(reply),
            Admitted::Unverified(request) => {
                self.issuer().verify(&request)?;
                self.settle(Verified(request), perform)
            }
        }
    }

    fn begin(&self) -> Result<S::Transaction<'_>, LedgerError<S::Error>> {
        self.storage.begin().map_err(LedgerError::Storage)
    }

    fn halt(&self) -> Result<Reply, LedgerError<S::Error>> {
        let mut transaction = self.begin()?;
        let halt = |transaction: &mut S::Transaction<'_>| {
            let supply = transaction.supply()?;
            transaction.put_supply(Supply {
                halted: true,
                ..supply
            })
        };
        halt(&mut transaction).map_err(LedgerError::Storage)?;
        transaction.commit().map_err(LedgerError::Storage)?;
        Err(Refusal::Halted.into())
    }
}

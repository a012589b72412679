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
//! How it fails: a [`Refusal`] consumed and stored nothing. A storage error leaves all or
//! nothing, and a retry finds out which. When more tokens are about to be spent than were
//! ever issued for payments, a credential was forged and issuance halts.
//!
//! Epochs only move forward. Which ones were entered and which were closed is stored
//! beside the rows ([`Floor`]) and overrides what an [`Issuer`] would accept. After a restore
//! from a backup open the ledger with [`Ledger::after_restore`].

mod claims;
mod epochs;
pub mod memory;
mod storage;

use std::num::NonZeroU64;

pub use claims::Claim;
pub use epochs::EpochError;
pub use storage::{Floor, Storage, Supply, Transaction};

use crate::error::Refusal;
use crate::issuer::Issuer;
use crate::operation::{OpCode, References, Status};
use crate::reply::Reply;
use crate::request::Request;
use crate::row::Row;

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

/// A request whose proofs hold. It may be unpaid or spent: only [`Ledger::settle`] knows.
#[derive(Debug, Clone)]
pub struct Verified(Box<Request>);

/// The state machine over an issuer, a storage and a price list.
#[derive(Debug)]
pub struct Ledger<S, T> {
    issuer: Issuer,
    storage: S,
    tariff: T,
}

/// What the replay table knows of a request.
enum Seen {
    Never,
    ThisCore(Reply),
    Otherwise(Vec<Row>),
}

impl<S: Storage, T: Tariff> Ledger<S, T> {
    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
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
        let service = self.issuer.record().service();
        let request = Request::decode(service, core).map_err(Refusal::from)?;
        let mut transaction = self.begin()?;
        match Self::seen(&mut transaction, &request)? {
            Seen::ThisCore(reply) => return Ok(Admitted::Answered(reply)),
            // Whether the sender possesses the pair, the proof will show.
            Seen::Otherwise(_) if request.in_epoch().is_some() => {}
            Seen::Otherwise(_) => return Err(Refusal::AlreadyClaimed.into()),
            Seen::Never => self.check_terms(&mut transaction, &request)?,
        }
        Ok(Admitted::Unverified(Box::new(request)))
    }

    /// Step 5 of §7, for many requests at once: one result a request, in order. One bad
    /// request spoils nothing for the others.
    pub fn verify(&self, requests: Vec<Box<Request>>) -> Vec<Result<Verified, Refusal>> {
        let results = match requests.as_slice() {
            [single] => vec![self.issuer.verify(single)],
            many => {
                let many: Vec<&Request> = many.iter().map(AsRef::as_ref).collect();
                self.issuer.verify_batch(&many)
            }
        };
        let pairs = results.into_iter().zip(requests);
        pairs
            .map(|(result, request)| result.map(|()| Verified(request)))
            .collect()
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
    pub fn settle<F>(
        &self,
        Verified(request): Verified,
        perform: F,
    ) -> Result<Reply, LedgerError<S::Error>>
    where
        F: FnOnce(&mut S::Transaction<'_>, &Request) -> Result<Outcome, LedgerError<S::Error>>,
    {
        let mut transaction = self.begin()?;
        match Self::seen(&mut transaction, &request)? {
            Seen::ThisCore(reply) => return Ok(reply),
            Seen::Otherwise(rows) if request.in_epoch().is_some() => {
                return Ok(Reply::NotPerformed(rows));
            }
            Seen::Otherwise(_) => return Err(Refusal::AlreadyClaimed.into()),
            Seen::Never => self.check_terms(&mut transaction, &request)?,
        }
        // Before anything is done for tokens that cannot exist.
        let supply = transaction.supply().map_err(LedgerError::Storage)?;
        let Some(supply) = supply.after(request.cost()) else {
            drop(transaction);
            return self.halt();
        };
        let Outcome { status, adjust } = self.perform(&mut transaction, &request, perform)?;
        let supply = supply.given_back(adjust);
        let issuance = self.issuer.issue(&request, status, adjust)?;
        let row = Row::new(&request, status, issuance);
        let mut record = || {
            transaction.put_supply(supply)?;
            transaction.insert_row(&row)?;
            if let References::Claim(tag) = request.references() {
                claims::consume(&mut transaction, tag)?;
            }
            Ok(())
        };
        record().map_err(LedgerError::Storage)?;
        transaction.commit().map_err(LedgerError::Storage)?;
        Ok(Reply::performed(&row))
    }

    /// Performs an operation of the service, and holds it to its tariff.
    fn perform<F>(
        &self,
        transaction: &mut S::Transaction<'_>,
        request: &Request,
        perform: F,
    ) -> Result<Outcome, LedgerError<S::Error>>
    where
        F: FnOnce(&mut S::Transaction<'_>, &Request) -> Result<Outcome, LedgerError<S::Error>>,
    {
        if request.op().code() < OpCode::FIRST_OF_SERVICE {
            return Ok(Outcome::DONE);
        }
        let outcome = perform(transaction, request)?;
        let largest = (self.tariff).largest_adjust(request.op(), request.parameters());
        match outcome.adjust {
            adjust if adjust > largest => Err(LedgerError::AdjustTooLarge { adjust, largest }),
            _ => Ok(outcome),
        }
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
                self.issuer.verify(&request)?;
                self.settle(Verified(request), perform)
            }
        }
    }

    fn begin(&self) -> Result<S::Transaction<'_>, LedgerError<S::Error>> {
        self.storage.begin().map_err(LedgerError::Storage)
    }

    fn seen(
        transaction: &mut S::Transaction<'_>,
        request: &Request,
    ) -> Result<Seen, LedgerError<S::Error>> {
        let mut rows: Vec<Row> = Vec::new();
        for reference in request.references().iter() {
            let row = transaction.row(&reference).map_err(LedgerError::Storage)?;
            if let Some(row) = row
                && !rows.contains(&row)
            {
                rows.push(row);
            }
        }
        Ok(match rows.as_slice() {
            [] => Seen::Never,
            [row] if row.core_hash() == request.core_hash() => {
                Seen::ThisCore(Reply::performed(row))
            }
            _ => Seen::Otherwise(rows),
        })
    }

    /// Step 4 of §7: not halted, epochs live, price right, claim paid.
    fn check_terms(
        &self,
        transaction: &mut S::Transaction<'_>,
        request: &Request,
    ) -> Result<(), LedgerError<S::Error>> {
        if transaction.supply().map_err(LedgerError::Storage)?.halted {
            return Err(Refusal::Halted.into());
        }
        self.check_floor(transaction, request)?;
        self.issuer.check_epochs(request)?;
        let price = match request.references() {
            References::Claim(tag) => {
                let claim = transaction.claim(tag).map_err(LedgerError::Storage)?;
                claims::price(claim)?
            }
            References::Serials(_) => self.price(request)?,
        };
        if request.cost() == price {
            Ok(())
        } else {
            Err(Refusal::WrongPrice { price }.into())
        }
    }

    fn price(&self, request: &Request) -> Result<i64, Refusal> {
        if request.op() == OpCode::REISSUE {
            // Free, and bounded because it consumes credentials of an old epoch.
            let old = request.in_epoch() < Some(self.issuer.current());
            return if old {
                Ok(0)
            } else {
                Err(Refusal::UnknownOperation)
            };
        }
        self.tariff
            .price(request.op(), request.parameters())
            .and_then(|price| i64::try_from(price.get()).ok())
            .ok_or(Refusal::UnknownOperation)
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

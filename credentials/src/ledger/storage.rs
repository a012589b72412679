//! What the ledger needs of a database.

use crate::epoch::Epoch;
use crate::operation::{ClaimTag, Reference};
use crate::row::Row;

use super::Claim;

/// A database with serializable transactions. Across replicas the replay table has to be
/// linearizable: a pair that two replicas believe unspent is spent twice.
pub trait Storage {
    /// What the database reports when it fails.
    type Error;
    /// A transaction, which sees its own writes.
    type Transaction<'s>: Transaction<Error = Self::Error>
    where
        Self: 's;

    /// Begins a transaction. Dropping it undoes it.
    ///
    /// It **must** lock: from here to its end nobody else may write. A ledger decides by what
    /// it reads, that a reference has no row for one, and acts on it later in the same
    /// transaction, part of which is the service's. A database that detects conflicts
    /// instead has to see those of rows that were absent, and to fail the commit.
    ///
    /// # Errors
    ///
    /// The database fails.
    fn begin(&self) -> Result<Self::Transaction<'_>, Self::Error>;
}

/// The epochs that storage knows of (§7, §7.1). Both only ever rise, so that no restart, no
/// other window and no failed call makes an epoch live again whose rows are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floor {
    /// Credentials of older epochs are never accepted again.
    pub oldest: Epoch,
    /// The latest epoch that was entered; nothing is issued in any other.
    pub current: Epoch,
}

/// What is stored, as of one moment. Every method fails only when the database does.
#[allow(clippy::missing_errors_doc, reason = "said once above")]
pub trait Reads {
    /// What the database reports when it fails.
    type Error;

    /// The row that consumed this reference, if there is one.
    fn row(&mut self, reference: &Reference) -> Result<Option<Row>, Self::Error>;
    /// The floor; none in a new database.
    fn floor(&mut self) -> Result<Option<Floor>, Self::Error>;
    /// The claim of this tag, if there is one.
    fn claim(&mut self, tag: &ClaimTag) -> Result<Option<Claim>, Self::Error>;
    /// The supply; the default one in a new database.
    fn supply(&mut self) -> Result<Supply, Self::Error>;
}

/// Changes that are to become durable together, and are read back before they are. Every
/// method fails only when the database does.
///
/// Nobody else may write between the first read and the end. A database that detects
/// conflicts instead of locking has to see those of rows that were absent.
#[allow(clippy::missing_errors_doc, reason = "said once above")]
pub trait Writes: Reads {
    /// Stores a row under each of its references.
    fn insert_row(&mut self, row: &Row) -> Result<(), Self::Error>;
    /// Drops the rows whose `out_epoch` is older: by liveness, never by age (§10.15).
    fn drop_rows_before(&mut self, oldest: Epoch) -> Result<(), Self::Error>;
    /// Replaces the floor. The ledger never lowers it.
    fn put_floor(&mut self, floor: Floor) -> Result<(), Self::Error>;
    /// Stores a claim, or replaces it.
    fn put_claim(&mut self, tag: &ClaimTag, claim: Claim) -> Result<(), Self::Error>;
    /// Forgets a claim.
    fn drop_claim(&mut self, tag: &ClaimTag) -> Result<(), Self::Error>;
    /// Replaces the supply.
    fn put_supply(&mut self, supply: Supply) -> Result<(), Self::Error>;
}

/// One transaction: all of it becomes durable, or nothing.
pub trait Transaction: Writes {
    /// Makes all of it durable before returning.
    ///
    /// # Errors
    ///
    /// The database fails.
    fn commit(self) -> Result<(), Self::Error>;
}

/// The conservation canary (§7): tokens issued for payments, less those spent, plus those
/// given back. Only a forged credential can take it below zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Supply {
    /// Tokens that honest clients hold, in all epochs. Lost pairs leave it only when every epoch
    /// that could spend them is closed at once.
    pub outstanding: u128,
    /// Set when it would have gone below zero; an operator clears it.
    pub halted: bool,
}

impl Supply {
    /// The supply after a purchase or a payment, or nothing if it would be negative. What
    /// is spent was outstanding before anything is given back.
    pub(super) fn after(self, cost: i64) -> Option<Supply> {
        let magnitude = u128::from(cost.unsigned_abs());
        let outstanding = if cost < 0 {
            self.outstanding.saturating_add(magnitude)
        } else {
            self.outstanding.checked_sub(magnitude)?
        };
        Some(Supply {
            outstanding,
            ..self
        })
    }

    /// The supply after a refund. Saturation is out of reach: each step adds less than 2^64.
    pub(super) fn given_back(self, adjust: u64) -> Supply {
        Supply {
            outstanding: self.outstanding.saturating_add(adjust.into()),
            ..self
        }
    }
}

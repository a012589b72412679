//! Opening a ledger, and the boundary of an epoch (§7, §7.1).
//!
//! It promises that an epoch which was once closed stays closed: its rows are gone, so
//! accepting its credentials again would let them be spent twice. The stored [`Floor`] rises
//! in the transaction that drops the rows, and every request is checked against it. An
//! issuer with a wider window is narrowed to it.
//!
//! How it fails: an issuer of an earlier epoch is not taken. When storage fails, the call is
//! repeated; until then the ledger either goes on as before or, if the transaction had
//! become durable, refuses with [`Refusal::WrongEpoch`] whatever is new.

use super::{Floor, Ledger, LedgerError, Storage, Tariff, Transaction};
use crate::epoch::Epoch;
use crate::error::Refusal;
use crate::issuer::Issuer;
use crate::request::Request;

/// Why a ledger was not opened, or did not enter an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochError<E> {
    /// The operator's fault: epochs only move forward.
    #[error("epoch {asked} cannot be entered: the storage has come to epoch {reached}")]
    Past {
        /// The current epoch of the issuer that was offered.
        asked: Epoch,
        /// The latest epoch that was entered.
        reached: Epoch,
    },
    /// Tell the operator, and call again.
    #[error("storage: {0}")]
    Storage(E),
}

impl<S: Storage, T: Tariff> Ledger<S, T> {
    /// A ledger that continues with what the storage holds: after an orderly stop, after a
    /// crash, or for the first time. After a restore from a backup it is the wrong call.
    ///
    /// # Errors
    ///
    /// [`EpochError::Past`] if the storage has seen a later epoch than the issuer's;
    /// storage.
    pub fn new(issuer: Issuer, storage: S, tariff: T) -> Result<Self, EpochError<S::Error>> {
        let issuer = enter(&storage, issuer, Epoch::lt)?;
        Ok(Ledger {
            issuer,
            storage,
            tariff,
        })
    }

    /// A ledger over a storage that was restored from a backup: whatever was consumed since
    /// the backup is unknown to it (§7). The issuer's epoch **must** be one that was never
    /// entered, before the loss included. All earlier epochs are closed for ever, whatever
    /// windows are asked for later, and what holders have in them is lost.
    ///
    /// # Errors
    ///
    /// [`EpochError::Past`] if the storage has seen the epoch, which includes an earlier
    /// call that reported an error and was durable: then [`Ledger::new`] continues. Storage.
    pub fn after_restore(
        mut issuer: Issuer,
        storage: S,
        tariff: T,
    ) -> Result<Self, EpochError<S::Error>> {
        issuer.close_before(issuer.current());
        let issuer = enter(&storage, issuer, Epoch::le)?;
        Ok(Ledger {
            issuer,
            storage,
            tariff,
        })
    }

    /// Enters another epoch and drops the rows whose epoch is no longer live. Requests in
    /// flight with the former output epoch are refused untouched (§7.1).
    ///
    /// # Errors
    ///
    /// [`EpochError::Past`] for an earlier epoch than the current one; storage, and then
    /// the call is to be repeated.
    pub fn enter(&mut self, issuer: Issuer) -> Result<(), EpochError<S::Error>> {
        self.issuer = enter(&self.storage, issuer, Epoch::lt)?;
        Ok(())
    }

    /// Whether this ledger still is in the epoch its storage has come to, and the inputs are
    /// of one that was not closed. It is not after an [`enter`](Self::enter) that failed
    /// although it was durable, or when a replica has gone on.
    pub(super) fn check_floor(
        &self,
        transaction: &mut S::Transaction<'_>,
        request: &Request,
    ) -> Result<(), LedgerError<S::Error>> {
        let floor = transaction.floor().map_err(LedgerError::Storage)?;
        let Some(Floor { oldest, current }) = floor else {
            // Opening the ledger wrote one; a storage without has been replaced since.
            return Err(Refusal::Halted.into());
        };
        let open = request.in_epoch().is_none_or(|epoch| epoch >= oldest);
        if open && self.issuer.current() == current {
            Ok(())
        } else {
            Err(Refusal::WrongEpoch { current, oldest }.into())
        }
    }
}

/// Raises the floor to the issuer's epochs and drops the rows below it, in one transaction.
/// Returns the issuer, narrowed to the floor. `is_past` compares the epoch that is asked for
/// with the one the storage has come to.
fn enter<S: Storage>(
    storage: &S,
    mut issuer: Issuer,
    is_past: fn(&Epoch, &Epoch) -> bool,
) -> Result<Issuer, EpochError<S::Error>> {
    let mut transaction = storage.begin().map_err(EpochError::Storage)?;
    let asked = issuer.current();
    if let Some(floor) = transaction.floor().map_err(EpochError::Storage)? {
        let reached = floor.current;
        if is_past(&asked, &reached) {
            return Err(EpochError::Past { asked, reached });
        }
        issuer.close_before(floor.oldest);
    }
    let floor = Floor {
        oldest: issuer.oldest(),
        current: asked,
    };
    transaction
        .put_floor(floor)
        .and_then(|()| transaction.drop_rows_before(floor.oldest))
        .and_then(|()| transaction.commit())
        .map_err(EpochError::Storage)?;
    Ok(issuer)
}

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

use super::{Floor, Ledger, Storage, Supply, Tariff, Teller, Transaction, Writes};
use crate::epoch::Epoch;
use crate::issuer::Issuer;

/// Why a ledger was not opened, or did not enter an epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochError<E> {
    /// The operator's fault: epochs only move forward.
    #[error(transparent)]
    Past(#[from] Past),
    /// Tell the operator, and call again.
    #[error("storage: {0}")]
    Storage(E),
}

/// The operator's fault: epochs only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("epoch {asked} cannot be entered: the storage has come to epoch {reached}")]
pub struct Past {
    /// The epoch that was to be entered.
    pub asked: Epoch,
    /// The latest epoch that was entered.
    pub reached: Epoch,
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
        let issuer = enter(&storage, issuer, false)?;
        let teller = Teller::new(issuer, tariff);
        Ok(Ledger { teller, storage })
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
        let issuer = enter(&storage, issuer, true)?;
        let teller = Teller::new(issuer, tariff);
        Ok(Ledger { teller, storage })
    }

    /// Enters another epoch and drops the rows whose epoch is no longer live. Requests in
    /// flight with the former output epoch are refused untouched (§7.1).
    ///
    /// # Errors
    ///
    /// [`EpochError::Past`] for an earlier epoch than the current one; storage, and then
    /// the call is to be repeated.
    pub fn enter(&mut self, issuer: Issuer) -> Result<(), EpochError<S::Error>> {
        (self.teller).replace_issuer(enter(&self.storage, issuer, false)?);
        Ok(())
    }
}

impl Floor {
    /// Raises the floor and drops the rows below it. What was closed stays closed: returns the
    /// floor that holds now. When it closes every epoch there ever was, no token is outstanding,
    /// and a halted issuance may go on.
    ///
    /// `restored` says that the storage comes from a backup: then the epoch has to be one that it
    /// has not seen.
    ///
    /// # Errors
    ///
    /// Those of the storage; [`Past`] when nothing was done.
    pub fn raise<W: Writes>(
        self,
        restored: bool,
        writes: &mut W,
    ) -> Result<Result<Floor, Past>, W::Error> {
        let mut raised = self;
        if let Some(Floor { oldest, current }) = writes.floor()? {
            if self.current < current || (restored && self.current == current) {
                return Ok(Err(Past {
                    asked: self.current,
                    reached: current,
                }));
            }
            raised.oldest = self.oldest.max(oldest);
            if current < raised.oldest {
                // All that was ever issued is void. What is counted from here on is counted
                // right, so an alarm that was raised before is over.
                writes.put_supply(Supply::default())?;
            }
        }
        writes.put_floor(raised)?;
        writes.drop_rows_before(raised.oldest)?;
        Ok(Ok(raised))
    }
}

/// Raises the floor to the issuer's epochs, in one transaction. Returns the issuer, narrowed to
/// the floor.
fn enter<S: Storage>(
    storage: &S,
    mut issuer: Issuer,
    restored: bool,
) -> Result<Issuer, EpochError<S::Error>> {
    let mut transaction = storage.begin().map_err(EpochError::Storage)?;
    let floor = Floor {
        oldest: issuer.oldest(),
        current: issuer.current(),
    };
    let floor = floor
        .raise(restored, &mut transaction)
        .map_err(EpochError::Storage)??;
    transaction.commit().map_err(EpochError::Storage)?;
    issuer.close_before(floor.oldest);
    Ok(issuer)
}

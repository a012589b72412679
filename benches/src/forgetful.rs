//! Tables that forget: what a ledger costs beside its database.

use std::convert::Infallible;
use std::sync::OnceLock;

use larder_credentials::ledger::{Claim, Floor, Reads, Storage, Supply, Transaction, Writes};
use larder_credentials::{ClaimTag, Epoch, Reference, Row};

/// Keeps the epoch its ledger was opened in and no row, so that a spent pair can be spent
/// again. For measuring only.
#[derive(Default)]
pub(crate) struct Forgetful(OnceLock<Floor>);

impl Storage for Forgetful {
    type Error = Infallible;
    type Transaction<'s> = &'s Forgetful;

    fn begin(&self) -> Result<&Forgetful, Infallible> {
        Ok(self)
    }
}

impl Reads for &Forgetful {
    type Error = Infallible;

    fn row(&mut self, _: &Reference) -> Result<Option<Row>, Infallible> {
        Ok(None)
    }

    fn floor(&mut self) -> Result<Option<Floor>, Infallible> {
        Ok(self.0.get().copied())
    }

    fn claim(&mut self, _: &ClaimTag) -> Result<Option<Claim>, Infallible> {
        Ok(None)
    }

    fn supply(&mut self) -> Result<Supply, Infallible> {
        Ok(Supply {
            outstanding: u128::from(u64::MAX),
            halted: false,
        })
    }
}

impl Writes for &Forgetful {
    fn insert_row(&mut self, _: &Row) -> Result<(), Infallible> {
        Ok(())
    }

    fn drop_rows_before(&mut self, _: Epoch) -> Result<(), Infallible> {
        Ok(())
    }

    fn put_floor(&mut self, floor: Floor) -> Result<(), Infallible> {
        self.0.get_or_init(|| floor);
        Ok(())
    }

    fn put_claim(&mut self, _: &ClaimTag, _: Claim) -> Result<(), Infallible> {
        Ok(())
    }

    fn drop_claim(&mut self, _: &ClaimTag) -> Result<(), Infallible> {
        Ok(())
    }

    fn put_supply(&mut self, _: Supply) -> Result<(), Infallible> {
        Ok(())
    }
}

impl Transaction for &Forgetful {
    fn commit(self) -> Result<(), Infallible> {
        Ok(())
    }
}

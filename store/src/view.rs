//! What the tables say, whoever holds them: sled, or sled and writes on their way to it.

use std::ops::RangeInclusive;

use larder_credentials::ledger::Supply;
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::Key;
use sled::IVec;

use crate::ledger_record::{Canary, EPOCHS, Replacement, SUPPLY, Tags};
use crate::record::{Record, Stored, Tombstone, damaged};
use crate::table::Table;
use crate::{Epochs, OpenedClaim, StoreError};

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Present(Record),
    Deleted,
}

/// The tables at one moment.
pub(crate) trait View {
    /// The value under a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<IVec>, StoreError>;

    /// The tables of one kind, earliest first.
    fn tables(&self, kind: RangeInclusive<Table>) -> Vec<Table>;

    fn value<T: Stored>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let found = self.get(table, key)?;
        found.map(|bytes| T::from_bytes(&bytes)).transpose()
    }

    fn state(&self, key: &Key) -> Result<State, StoreError> {
        if let Some(record) = self.value(Table::Index, key.as_bytes())? {
            return Ok(State::Present(record));
        }
        let name = Tombstone::name(key);
        // Most of what is asked for was deleted of late.
        for table in self.tables(Table::ALL_TOMBSTONES).into_iter().rev() {
            if self.value::<Tombstone>(table, &name)?.is_some() {
                return Ok(State::Deleted);
            }
        }
        Ok(State::Absent)
    }

    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        // A retry comes soon.
        for table in self.tables(Table::ALL_ROWS).into_iter().rev() {
            let row = match self.value(table, &reference.0)? {
                None => continue,
                Some(Replacement::Row(row)) => *row,
                Some(Replacement::SameAs(first)) => match self.value(table, &first.0)? {
                    Some(Replacement::Row(row)) => *row,
                    _ => return Err(damaged("a reference names a row that is not there")),
                },
            };
            return Ok(Some(row));
        }
        Ok(None)
    }

    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        self.value(Table::Claims, &tag.0)
    }

    fn payment(&self, payment: &[u8; 32]) -> Result<Option<Tags>, StoreError> {
        self.value(Table::Payments, payment)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        let canary: Option<Canary> = self.value(Table::Ledger, SUPPLY)?;
        Ok(canary.map(Supply::from).unwrap_or_default())
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        self.value(Table::Ledger, EPOCHS)
    }
}

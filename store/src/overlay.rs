//! A batch in the making: writes on top of sled, read back before sled hears of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;

use larder_credentials::ledger::{Claim, Floor, Reads, Supply, Writes};
use larder_credentials::{ClaimTag, Epoch, Reference, Row};
use sled::IVec;

use crate::index::Index;
use crate::ledger_record::{Canary, EPOCHS, Replacement, SUPPLY};
use crate::record::{Stored, damaged};
use crate::table::Table;
use crate::view::View;
use crate::{Epochs, OpenedClaim, StoreError};

/// One value before and after a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
    pub(crate) before: Option<IVec>,
    pub(crate) after: Option<IVec>,
}

type BeforeAndAfter = (Option<IVec>, Option<IVec>);

/// sled as it will be after the batch, as far as it is judged.
pub(crate) struct Overlay<'i> {
    index: &'i Index,
    changed: BTreeMap<Table, BTreeMap<Vec<u8>, BeforeAndAfter>>,
}

impl<'i> Overlay<'i> {
    pub(crate) fn new(index: &'i Index) -> Self {
        Overlay {
            index,
            changed: BTreeMap::new(),
        }
    }

    /// Writes a value, or puts it in the place of another.
    pub(crate) fn put<T: Stored>(
        &mut self,
        table: Table,
        key: &[u8],
        value: &T,
    ) -> Result<(), StoreError> {
        self.set(table, key, Some(IVec::from(value.to_bytes())))
    }

    /// Removes a value, if it is there.
    pub(crate) fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.set(table, key, None)
    }

    fn set(&mut self, table: Table, key: &[u8], value: Option<IVec>) -> Result<(), StoreError> {
        let changed = self.changed.entry(table).or_default();
        match changed.entry(key.to_vec()) {
            Entry::Occupied(mut known) => known.get_mut().1 = value,
            Entry::Vacant(new) => {
                let before = self.index.get(table, key)?;
                new.insert((before, value));
            }
        }
        Ok(())
    }

    /// What the batch changes, once it is judged.
    pub(crate) fn into_writes(self) -> Vec<Write> {
        let changed = self.changed.into_iter();
        changed
            .flat_map(|(table, changed)| changed.into_iter().map(move |entry| (table, entry)))
            .filter(|(_, (_, (before, after)))| before != after)
            .map(|(table, (key, (before, after)))| Write {
                table,
                key,
                before,
                after,
            })
            .collect()
    }
}

impl View for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let changed = self.changed.get(&table);
        match changed.and_then(|changed| changed.get(key)) {
            Some((_, after)) => Ok(after.clone()),
            None => self.index.get(table, key),
        }
    }

    fn tables(&self, kind: RangeInclusive<Table>) -> Vec<Table> {
        let mut tables = self.index.tables(kind.clone());
        tables.extend(self.changed.range(kind).map(|(table, _)| *table));
        tables.sort_unstable();
        tables.dedup();
        tables
    }
}

impl Reads for Overlay<'_> {
    type Error = StoreError;

    fn row(&mut self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        View::row(self, reference)
    }

    fn floor(&mut self) -> Result<Option<Floor>, StoreError> {
        Ok(self.epochs()?.map(|epochs| epochs.floor))
    }

    fn claim(&mut self, tag: &ClaimTag) -> Result<Option<Claim>, StoreError> {
        Ok(View::claim(self, tag)?.map(|opened| opened.claim))
    }

    fn supply(&mut self) -> Result<Supply, StoreError> {
        View::supply(self)
    }
}

impl Writes for Overlay<'_> {
    fn insert_row(&mut self, row: &Row) -> Result<(), StoreError> {
        let table = Table::Rows(row.out_epoch().0);
        let mut references = row.references().iter();
        let Some(first) = references.next() else {
            return Err(damaged("a row that consumes nothing"));
        };
        let whole = Replacement::Row(Box::new(row.clone()));
        self.put(table, &first.0, &whole)?;
        for other in references {
            self.put(table, &other.0, &Replacement::SameAs(first))?;
        }
        Ok(())
    }

    /// They stay behind when the index is rewritten, and only then is a floor raised.
    fn drop_rows_before(&mut self, _oldest: Epoch) -> Result<(), StoreError> {
        Ok(())
    }

    fn put_floor(&mut self, floor: Floor) -> Result<(), StoreError> {
        let epochs = Epochs {
            floor,
            ..self.epochs()?.unwrap_or(Epochs::NONE)
        };
        self.put(Table::Ledger, EPOCHS, &epochs)
    }

    /// One that no payment opened does not expire.
    fn put_claim(&mut self, tag: &ClaimTag, claim: Claim) -> Result<(), StoreError> {
        let known = View::claim(self, tag)?;
        let expires = known.map_or(u64::MAX, |known| known.expires);
        self.put(Table::Claims, &tag.0, &OpenedClaim { claim, expires })
    }

    fn drop_claim(&mut self, tag: &ClaimTag) -> Result<(), StoreError> {
        self.remove(Table::Claims, &tag.0)
    }

    fn put_supply(&mut self, supply: Supply) -> Result<(), StoreError> {
        self.put(Table::Ledger, SUPPLY, &Canary::from(supply))
    }
}

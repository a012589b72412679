//! Entering an epoch: what stays is copied into a fresh index, and a pointer is switched.
//!
//! sled 0.34 never gives the room of dropped trees back, and it cannot drop one within a
//! transaction. Both are solved by the same step, which is atomic because one small file is
//! replaced at once:
//!
//! | step | what a crash after it leaves |
//! | --- | --- |
//! | open `index-NNNN`, a number never used before | the old epoch, and a folder that nothing names |
//! | copy; the old index is audited as it is read | the same |
//! | sync sled's files and the folder | the same |
//! | replace `index.current` | the new epoch, and the old index in a folder that nothing names |
//! | remove the old folder | the new epoch |
//!
//! The next opening removes what nothing names. Up to the fourth step a failure changes
//! nothing; a failure of that step stops the engine, as a failed commit does.

use std::collections::BTreeMap;

use larder_credentials::ledger::Past;
use sled::Batch;

use crate::books::Books;
use crate::claims::{self, Unpaid};
use crate::index::Index;
use crate::ledger_record::EPOCHS;
use crate::overlay::{Overlay, Write};
use crate::record::{FORMAT, Identity, damaged};
use crate::table::Table;
use crate::view::View;
use crate::{Enter, Epochs, StoreError};

/// Entries that are copied at once.
const BATCH: usize = 4096;

/// What entering an epoch does to the index.
pub(crate) struct Plan {
    /// The epoch that will have been entered.
    pub(crate) epochs: Epochs,
    writes: Vec<Write>,
    tombstones_before: u32,
}

/// Decides what entering this epoch does; claims that go are taken out of `unpaid`.
pub(crate) fn plan(
    index: &Index,
    unpaid: &mut Unpaid,
    next: Enter,
) -> Result<Result<Plan, Past>, StoreError> {
    let mut overlay = Overlay::new(index);
    let Epochs { ordinal, since, .. } = index.epochs()?.unwrap_or(Epochs::NONE);
    // Nobody can use a payment again that had expired by two readings of the clock, unless it was
    // wrong for as long as an epoch.
    let certain = next.since.min(since);
    // Strictly later: whoever goes on in an epoch has nothing to enter.
    let floor = match next.floor.raise(true, &mut overlay)? {
        Ok(floor) => floor,
        Err(past) => return Ok(Err(past)),
    };
    let epochs = Epochs {
        floor,
        ordinal: ordinal.saturating_add(1),
        since: next.since,
        terms: next.terms,
    };
    overlay.put(Table::Ledger, EPOCHS, &epochs)?;
    claims::drop_expired(&mut overlay, unpaid, next.since)?;
    index.scan(Table::Payments, |payment| {
        let payment = payment
            .try_into()
            .map_err(|_| damaged("a payment of another length"))?;
        claims::drop_used(&mut overlay, payment, certain, floor.oldest.0)
    })?;
    Ok(Ok(Plan {
        epochs,
        writes: overlay.into_writes(),
        tombstones_before: next.tombstones_before,
    }))
}

impl Plan {
    /// Makes `fresh` what the index will be, durably. Returns its books.
    pub(crate) fn copy(&self, index: &Index, fresh: &Index) -> Result<Books, StoreError> {
        let identity = index.identity()?;
        let identity = identity.ok_or_else(|| damaged("it does not know whose it is"))?;
        let changed: BTreeMap<(Table, &[u8]), &Write> = self
            .writes
            .iter()
            .map(|write| ((write.table, &write.key[..]), write))
            .collect();

        let mut copy = Copy::new(fresh);
        let old = index.audit(|table, key, value| {
            if self.forgets(table) || changed.contains_key(&(table, key)) {
                return Ok(());
            }
            copy.put(table, key, value)
        })?;
        for write in &self.writes {
            if let Some(after) = &write.after {
                copy.put(write.table, &write.key, after)?;
            }
        }
        let mut books = copy.finish()?;
        books.commits = old.commits + 1;
        let identity = Identity {
            format: FORMAT,
            ..identity
        };
        fresh.found(identity, &books)?;
        Ok(books)
    }

    /// Whether a whole table stays behind.
    fn forgets(&self, table: Table) -> bool {
        match table {
            Table::Rows(epoch) => epoch < self.epochs.floor.oldest.0,
            Table::Tombstones(ordinal) => ordinal < self.tombstones_before,
            Table::Index | Table::Claims | Table::Payments | Table::Ledger | Table::Cells => false,
        }
    }
}

/// Entries on their way into an index that is not in use yet.
struct Copy<'i> {
    into: &'i Index,
    books: Books,
    waiting: Batch,
    table: Table,
    count: usize,
}

impl<'i> Copy<'i> {
    fn new(into: &'i Index) -> Self {
        Copy {
            into,
            books: Books::default(),
            waiting: Batch::default(),
            table: Table::Index,
            count: 0,
        }
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if self.table != table || self.count == BATCH {
            self.flush()?;
            self.table = table;
        }
        self.books.tally(table).add(key, value);
        self.waiting.insert(key, value);
        self.count += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.count > 0 {
            let entries = std::mem::take(&mut self.waiting);
            self.into.fill(self.table, entries)?;
            self.count = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Books, StoreError> {
        self.flush()?;
        Ok(self.books)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use larder_protocol::{BlobHash, Key};
    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;
    use crate::record::{Record, Stored, TAIL_LEN, Tombstone};
    use crate::suite::sample::{entering, key};
    use crate::view::State;

    fn open(folder: &Path) -> Index {
        Index::open(folder, 1 << 20, Arc::new(Disk)).unwrap()
    }

    fn record(slot: u64) -> Record {
        Record {
            slot,
            hash: BlobHash([0; 32]),
            tail: [0; TAIL_LEN],
            epoch: 0,
        }
    }

    /// An index with two records, and tombstones of three ordinals.
    fn index(folder: &Path) -> Index {
        let index = open(folder);
        let mut books = Books::default();
        let identity = Identity {
            format: 1,
            store_id: [9; 16],
        };
        index.found(identity, &books).unwrap();
        let mut overlay = Overlay::new(&index);
        for n in [1, 2] {
            let key = key(n);
            overlay
                .put(Table::Index, key.as_bytes(), &record(n))
                .unwrap();
        }
        for epoch in 0..3 {
            let name = Tombstone::name(&deleted(epoch));
            let table = Table::Tombstones(epoch);
            overlay.put(table, &name, &Tombstone { epoch }).unwrap();
        }
        index.apply(&mut books, &overlay.into_writes()).unwrap();
        index
    }

    fn deleted(epoch: u32) -> Key {
        key(100 + u64::from(epoch))
    }

    fn enter(index: &Index, fresh: &Index) -> Result<Books, StoreError> {
        let next = Enter {
            terms: vec![1],
            tombstones_before: 2,
            ..entering(1, 1)
        };
        let plan = plan(index, &mut Unpaid::default(), next).unwrap().unwrap();
        plan.copy(index, fresh)
    }

    #[test]
    fn the_copy_is_an_index_of_its_own_with_what_stays() {
        let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let fresh = open(new.path());
        let books = enter(&index(old.path()), &fresh).unwrap();
        drop(fresh);
        let fresh = open(new.path());
        assert!(fresh.audit(|_, _, _| Ok(())).unwrap() == books);
        assert_eq!(books.commits, 2);
        let identity = Identity {
            format: FORMAT,
            store_id: [9; 16],
        };
        assert_eq!(fresh.identity().unwrap(), Some(identity));
        for n in [1, 2] {
            assert_eq!(fresh.state(&key(n)).unwrap(), State::Present(record(n)));
        }
        let states = [0, 1, 2].map(|epoch| fresh.state(&deleted(epoch)).unwrap());
        assert_eq!(states, [State::Absent, State::Absent, State::Deleted]);
        assert_eq!(fresh.epochs().unwrap().unwrap().ordinal, 1);
    }

    /// Otherwise the copy's own tallies would make a loss good for ever.
    #[test]
    fn a_damaged_index_is_not_copied() {
        let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let index = index(old.path());
        let mut entry = Batch::default();
        entry.insert(&key(1).as_bytes()[..], record(7).to_bytes());
        index.fill(Table::Index, entry).unwrap();
        let copied = enter(&index, &open(new.path()));
        assert!(matches!(copied, Err(StoreError::Corrupt { .. })));
    }
}

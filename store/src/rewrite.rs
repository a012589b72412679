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
    let ordinal = index.epochs()?.map_or(0, |epochs| epochs.ordinal);
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
        claims::drop_used(&mut overlay, payment, next.since, floor.oldest.0)
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
            Table::Index | Table::Claims | Table::Payments | Table::Ledger => false,
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

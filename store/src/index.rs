//! What sled keeps: where blobs are, which keys were deleted, the ledger, and what there
//! ought to be.
//!
//! | tree | holds |
//! | --- | --- |
//! | those of [`Table`] | see there |
//! | `meta` | identity, number of commits, one [`Tally`] for each of the trees above |
//!
//! A commit is one sled transaction over all of them, made durable by [`Database`].
//!
//! There is one writer, so what was read before a transaction still holds inside it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use sled::transaction::TransactionError;
use sled::{Batch, IVec, Transactional, Tree};

use crate::StoreError;
use crate::books::{Books, Tally};
use crate::database::Database;
use crate::in_use::Ending;
use crate::medium::Medium;
use crate::overlay::Write;
use crate::record::{FORMAT, Identity, Sequence, Stored, damaged};
use crate::table::Table;
use crate::view::View;

const META: &str = "meta";
const TALLY: &str = "tally/";
const IDENTITY: &[u8] = b"store";
const SEQUENCE: &[u8] = b"commits";

/// An opened index.
pub(crate) struct Index {
    database: Database,
    meta: Tree,
    trees: RwLock<BTreeMap<Table, Tree>>,
}

impl Index {
    /// Opens the index in `folder`, or creates one there.
    pub(crate) fn open(
        folder: &Path,
        cache_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, StoreError> {
        let database = Database::open(folder, cache_bytes, medium)?;
        let db = &database.db;
        let mut trees = BTreeMap::new();
        for name in db.tree_names() {
            if let Some(table) = Table::of(&name)? {
                trees.insert(table, db.open_tree(&name)?);
            }
        }
        Ok(Index {
            meta: db.open_tree(META)?,
            trees: RwLock::new(trees),
            database,
        })
    }

    /// Which store this is, if it is one yet.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let found = self.meta.get(IDENTITY)?;
        found.map(|bytes| Identity::from_bytes(&bytes)).transpose()
    }

    /// Makes this the index of a store, with these books, sled's own files included.
    pub(crate) fn found(&self, identity: Identity, books: &Books) -> Result<(), StoreError> {
        let mut meta = Batch::default();
        meta.insert(IDENTITY, identity.to_bytes());
        enter(&mut meta, books.commits, books.tallies());
        self.meta.apply_batch(meta)?;
        self.database.sync_all()
    }

    /// What there ought to be.
    fn books(&self) -> Result<Books, StoreError> {
        let Some(sequence) = self.meta.get(SEQUENCE)? else {
            return Err(damaged("its number of commits is missing"));
        };
        let mut books = Books::after(Sequence::from_bytes(&sequence)?.commits);
        for entry in self.meta.scan_prefix(TALLY) {
            let (name, tally) = entry?;
            let Some(table) = Table::of(&name[TALLY.len()..])? else {
                return Err(damaged("a tally is of no tree"));
            };
            *books.tally(table) = Tally::from_bytes(&tally)?;
        }
        Ok(books)
    }

    /// Reads everything once: returns what there ought to be, after checking that it is
    /// there, and shows every entry to `visit`, table by table.
    pub(crate) fn audit(
        &self,
        mut visit: impl FnMut(Table, &IVec, &IVec) -> Result<(), StoreError>,
    ) -> Result<Books, StoreError> {
        let books = self.books()?;
        let mut found = Books::after(books.commits);
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        for (table, tree) in &*trees {
            let tally = found.tally(*table);
            for entry in tree {
                let (key, value) = entry?;
                tally.add(&key, &value);
                visit(*table, &key, &value)?;
            }
        }
        let books = books.without_empty_trees();
        if found.without_empty_trees() == books {
            Ok(books)
        } else {
            Err(damaged_entries())
        }
    }

    /// The same, on through what is damaged: returns what there ought to be, and the tables that are not what
    /// they ought to be, each with the first thing that was wrong with it.
    pub(crate) fn inspect(
        &self,
        mut visit: impl FnMut(Table, &IVec, &IVec) -> Result<(), StoreError>,
    ) -> Result<(Books, Vec<(Table, StoreError)>), StoreError> {
        let mut books = self.books()?;
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        // One that is gone ought to be there all the same.
        let tables = trees
            .keys()
            .copied()
            .chain(books.tallies().map(|(table, _)| table));
        let tables: BTreeSet<Table> = tables.collect();
        let mut damaged = Vec::new();
        for table in tables {
            let (mut found, mut wrong) = (Tally::default(), None);
            for entry in trees.get(&table).iter().flat_map(|tree| tree.iter()) {
                match entry {
                    Ok((key, value)) => {
                        found.add(&key, &value);
                        if let Err(error) = visit(table, &key, &value) {
                            wrong.get_or_insert(error);
                        }
                    }
                    // What follows it cannot be reached.
                    Err(error) => {
                        wrong = Some(error.into());
                        break;
                    }
                }
            }
            if wrong.is_none() && found != *books.tally(table) {
                wrong = Some(damaged_entries());
            }
            damaged.extend(wrong.map(|error| (table, error)));
        }
        Ok((books, damaged))
    }

    /// Shows every key of a table to `visit`.
    pub(crate) fn scan(
        &self,
        table: Table,
        mut visit: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        let tree = trees.get(&table).cloned();
        drop(trees);
        for entry in tree.iter().flatten() {
            visit(&entry?.0)?;
        }
        Ok(())
    }

    /// Applies a batch as a whole, durably, and enters it into the books.
    pub(crate) fn apply(&self, books: &mut Books, writes: &[Write]) -> Result<(), StoreError> {
        let mut next = books.clone();
        next.commits += 1;
        let mut batches: BTreeMap<Table, Batch> = BTreeMap::new();
        for write in writes {
            let tally = next.tally(write.table);
            if let Some(before) = &write.before {
                tally.subtract(&write.key, before);
            }
            let batch = batches.entry(write.table).or_default();
            match &write.after {
                Some(after) => {
                    tally.add(&write.key, after);
                    batch.insert(&write.key[..], after);
                }
                None => batch.remove(&write.key[..]),
            }
        }
        let mut meta = Batch::default();
        let changed = |(table, _): &(Table, &Tally)| batches.contains_key(table);
        enter(&mut meta, next.commits, next.tallies().filter(changed));
        // An older program does not know this tree; it is to name the format, not damage.
        if batches.contains_key(&Table::Cells)
            && let Some(identity) = self.identity()?
            && identity.format < FORMAT
        {
            let identity = Identity {
                format: FORMAT,
                ..identity
            };
            meta.insert(IDENTITY, identity.to_bytes());
        }

        let mut trees = vec![self.meta.clone()];
        let mut all = vec![meta];
        for (table, batch) in batches {
            trees.push(self.tree(table)?);
            all.push(batch);
        }
        let applied = trees[..].transaction(|trees| {
            for (tree, batch) in trees.iter().zip(&all) {
                tree.apply_batch(batch)?;
            }
            Ok(())
        });
        match applied {
            Ok(()) => {}
            Err(TransactionError::Storage(error)) => return Err(error.into()),
            Err(TransactionError::Abort(())) => return Err(damaged("its transaction aborted")),
        }
        self.sync()?;
        *books = next;
        Ok(())
    }

    /// Writes entries beside the books, not durably: for an index that is not in use yet.
    pub(crate) fn fill(&self, table: Table, entries: Batch) -> Result<(), StoreError> {
        Ok(self.tree(table)?.apply_batch(entries)?)
    }

    /// Returns when all that was applied would survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.database.sync()
    }

    /// Bytes that sled takes on its disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.database.db.size_on_disk()?)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.database.folder()
    }

    /// What has to succeed after it has been closed, for it to be whole.
    pub(crate) fn ending(&self) -> Result<Ending, StoreError> {
        self.database.ending()
    }

    /// Closes sled, and returns when that has happened in fact.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        drop((self.meta, self.trees));
        self.database.close()
    }

    /// The tree of a table, made if need be.
    fn tree(&self, table: Table) -> Result<Tree, StoreError> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(&table) {
            return Ok(tree.clone());
        }
        drop(trees);
        let tree = self.database.db.open_tree(table.name())?;
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        trees.insert(table, tree.clone());
        Ok(tree)
    }
}

/// Shows what the transaction of a running commit has applied already.
impl View for Index {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<IVec>, StoreError> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        match trees.get(&table) {
            Some(tree) => Ok(tree.get(key)?),
            None => Ok(None),
        }
    }

    fn tables(&self, kind: RangeInclusive<Table>) -> Vec<Table> {
        let trees = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        trees.range(kind).map(|(table, _)| *table).collect()
    }
}

fn damaged_entries() -> StoreError {
    damaged("it lost entries, or has some that were never written")
}

/// Writes these tallies and the number of commits into `meta`.
fn enter<'t>(meta: &mut Batch, commits: u64, tallies: impl Iterator<Item = (Table, &'t Tally)>) {
    meta.insert(SEQUENCE, Sequence { commits }.to_bytes());
    for (table, tally) in tallies {
        let name = format!("{TALLY}{}", table.name());
        meta.insert(name.as_bytes(), tally.to_bytes());
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::BlobHash;
    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;
    use crate::overlay::Overlay;
    use crate::record::{Record, TAIL_LEN, Tombstone};
    use crate::suite::sample::key;

    fn record(n: u64) -> Record {
        Record {
            slot: n,
            hash: BlobHash([0; 32]),
            tail: [0; TAIL_LEN],
            epoch: 0,
        }
    }

    /// An index with two records and a tombstone.
    fn index(folder: &Path) -> Index {
        let index = Index::open(folder, 1 << 20, Arc::new(Disk)).unwrap();
        let identity = Identity {
            format: 1,
            store_id: [0; 16],
        };
        let mut books = Books::default();
        index.found(identity, &books).unwrap();
        let mut overlay = Overlay::new(&index);
        for n in [1, 2] {
            let key = key(n);
            overlay
                .put(Table::Index, key.as_bytes(), &record(n))
                .unwrap();
        }
        let tombstone = Tombstone { epoch: 4 };
        let name = Tombstone::name(&key(3));
        overlay
            .put(Table::Tombstones(4), &name, &tombstone)
            .unwrap();
        let writes = overlay.into_writes();
        index.apply(&mut books, &writes).unwrap();
        index
    }

    #[test]
    fn whatever_sled_loses_or_brings_back_is_reported() {
        // Where sled reads a segment's damage as its end, entries go missing without an error.
        let losses: [fn(&Index) -> sled::Result<()>; 5] = [
            |it| {
                it.database
                    .db
                    .open_tree("index")?
                    .remove(key(1).as_bytes())
                    .map(drop)
            },
            |it| {
                it.database
                    .db
                    .open_tree("index")?
                    .insert(key(9).as_bytes(), record(9).to_bytes())
                    .map(drop)
            },
            |it| {
                it.database
                    .db
                    .open_tree("index")?
                    .insert(key(1).as_bytes(), record(7).to_bytes())
                    .map(drop)
            },
            |it| {
                it.database
                    .db
                    .drop_tree(Table::Tombstones(4).name())
                    .map(drop)
            },
            |it| it.meta.remove(SEQUENCE).map(drop),
        ];
        for (number, lose) in losses.into_iter().enumerate() {
            let folder = TempDir::new().unwrap();
            let intact = index(folder.path());
            assert_eq!(intact.audit(|_, _, _| Ok(())).unwrap().commits, 1);
            lose(&intact).unwrap();
            drop(intact);
            let reopened = Index::open(folder.path(), 1 << 20, Arc::new(Disk)).unwrap();
            let audit = reopened.audit(|_, _, _| Ok(()));
            assert!(
                matches!(audit, Err(StoreError::Corrupt { .. })),
                "loss {number}"
            );
        }
    }

    #[test]
    fn the_first_cell_makes_an_older_index_one_of_the_present_format_and_nothing_else_does() {
        let folder = TempDir::new().unwrap();
        let index = index(folder.path());
        let format = || index.identity().unwrap().unwrap().format;
        let mut books = index.audit(|_, _, _| Ok(())).unwrap();
        let mut apply = |table, key: &[u8], bytes: u64| {
            let mut overlay = Overlay::new(&index);
            overlay.put(table, key, &record(bytes)).unwrap();
            index.apply(&mut books, &overlay.into_writes()).unwrap();
        };
        apply(Table::Index, key(5).as_bytes(), 5);
        assert_eq!(format(), 1);
        apply(Table::Cells, key(5).as_bytes(), 6);
        assert_eq!(format(), FORMAT);
    }
}

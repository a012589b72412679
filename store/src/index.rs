//! What sled keeps: where blobs are, which keys were deleted, and what there ought to be.
//!
//! | tree | holds |
//! | --- | --- |
//! | `index` | key -> [`Record`] |
//! | `tombstones/EEEEEEEE` | hash of the key -> [`Tombstone`]; one tree per epoch, so that a whole epoch goes at once |
//! | `meta` | identity, number of commits, one [`Tally`] for each of the trees above |
//!
//! A commit is one sled transaction over all of them, then sled's `flush`, then
//! `fdatasync` of sled's `db` file: on Linux sled 0.34 flushes with `sync_file_range`, which
//! neither flushes the device's cache nor the file's length. Segments of 8 MiB keep every
//! value inside that one file; a longer value would go to a file that sled never syncs.
//!
//! There is one writer, so what was read before a transaction still holds inside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use larder_protocol::Key;
use rustix::fs::{FlockOperation, flock};
use sled::transaction::TransactionError;
use sled::{Batch, Db, IVec, Transactional, Tree};

use crate::books::{Books, Tally};
use crate::medium::{Medium, sync_folder};
use crate::record::{Identity, Record, Sequence, Tombstone, decode, encode};
use crate::{Place, StoreError};

/// Large enough for any value; see the module's documentation.
const SEGMENT_LEN: usize = 8 << 20;

/// The trees' names, and what those of the epochs begin with.
pub(crate) const INDEX: &str = "index";
const META: &str = "meta";
pub(crate) const TOMBSTONES: &str = "tombstones/";
const TALLY: &str = "tally/";
const IDENTITY: &[u8] = b"store";
const SEQUENCE: &[u8] = b"commits";

/// What sled says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Present(Record),
    Deleted { epoch: u32 },
}

/// A key's state before and after a batch.
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: State,
    pub(crate) after: State,
}

/// sled, opened.
pub(crate) struct Index {
    db: Db,
    /// sled's `db` file, opened once more in order to sync it.
    file: File,
    path: PathBuf,
    medium: Arc<dyn Medium>,
    index: Tree,
    meta: Tree,
    tombstones: RwLock<BTreeMap<u32, Tree>>,
}

impl Index {
    /// Opens sled in `folder`, or creates it there.
    pub(crate) fn open(
        folder: &Path,
        cache_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, StoreError> {
        remove_unfinished_snapshots(folder).map_err(StoreError::io("tidy the index"))?;
        await_release(&folder.join("db")).map_err(StoreError::io("lock the index"))?;
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_LEN)
            // Commits flush; a flusher's thread would only write what no commit asked for.
            .flush_every_ms(None)
            .open()?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(StoreError::io("open the index"))?;
        let mut tombstones = BTreeMap::new();
        for name in db.tree_names() {
            if let Some(epoch) = epoch_of(&name)? {
                tombstones.insert(epoch, db.open_tree(&name)?);
            }
        }
        Ok(Index {
            index: db.open_tree(INDEX)?,
            meta: db.open_tree(META)?,
            tombstones: RwLock::new(tombstones),
            db,
            file,
            path,
            medium,
        })
    }

    /// Which store this is, if it is one yet.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, StoreError> {
        let found = self.meta.get(IDENTITY)?;
        found.map(|bytes| decode(&bytes)).transpose()
    }

    /// Makes a store of an empty index, sled's own files included.
    pub(crate) fn found(&self, identity: Identity) -> Result<(), StoreError> {
        let mut meta = Batch::default();
        meta.insert(IDENTITY, encode(&identity));
        meta.insert(SEQUENCE, encode(&Sequence { commits: 0 }));
        self.meta.apply_batch(meta)?;
        self.sync()?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        File::open(folder.join("conf"))
            .and_then(|conf| conf.sync_all())
            .and_then(|()| sync_folder(folder))
            .map_err(StoreError::io("make the index durable"))
    }

    /// Reads everything once: returns what there ought to be, after checking that it is
    /// there, and shows every record to `visit`.
    pub(crate) fn audit(
        &self,
        mut visit: impl FnMut(&Record) -> Result<(), StoreError>,
    ) -> Result<Books, StoreError> {
        let Some(sequence) = self.meta.get(SEQUENCE)? else {
            return Err(damaged("its number of commits is missing"));
        };
        let Sequence { commits } = decode(&sequence)?;
        let mut books = Books::after(commits);
        for entry in self.meta.scan_prefix(TALLY) {
            let (name, tally) = entry?;
            *books.tally(name.subslice(TALLY.len(), name.len() - TALLY.len())) = decode(&tally)?;
        }

        let mut found = Books::after(commits);
        for entry in &self.index {
            let (key, value) = entry?;
            visit(&decode(&value)?)?;
            found.tally(self.index.name()).add(&key, &value);
        }
        for tree in self.tombstone_trees() {
            for entry in &tree {
                let (name, value) = entry?;
                found.tally(tree.name()).add(&name, &value);
            }
        }
        let books = books.without_empty_trees();
        if found == books {
            Ok(books)
        } else {
            Err(damaged(
                "it lost entries, or has some that were never written",
            ))
        }
    }

    /// Looks a key up. Shows what the transaction of a running commit has applied already.
    pub(crate) fn state(&self, key: &Key) -> Result<State, StoreError> {
        if let Some(record) = self.index.get(key.as_bytes())? {
            return Ok(State::Present(decode(&record)?));
        }
        let name = Tombstone::name(key);
        // Most of what is asked for was deleted of late.
        for tree in self.tombstone_trees().into_iter().rev() {
            if let Some(tombstone) = tree.get(name)? {
                let Tombstone { epoch } = decode(&tombstone)?;
                return Ok(State::Deleted { epoch });
            }
        }
        Ok(State::Absent)
    }

    /// Applies a batch as a whole, durably, and enters it into the books.
    pub(crate) fn apply(&self, books: &mut Books, changes: &[Change]) -> Result<(), StoreError> {
        let mut writes = Writes::new(books);
        for Change { key, before, after } in changes {
            if let State::Present(record) = before {
                writes.remove(&self.index, key.as_bytes(), &encode(record));
            }
            match after {
                State::Absent => {}
                State::Present(record) => {
                    writes.insert(&self.index, key.as_bytes(), encode(record));
                }
                State::Deleted { epoch } => {
                    let tombstone = encode(&Tombstone { epoch: *epoch });
                    writes.insert(
                        &self.tombstones_of(*epoch)?,
                        &Tombstone::name(key),
                        tombstone,
                    );
                }
            }
        }
        let next = writes.apply(&self.meta)?;
        self.sync()?;
        *books = next;
        Ok(())
    }

    /// Returns when all that was applied would survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.medium
            .sync(&self.file, &self.path)
            .map_err(StoreError::io("make the index durable"))
    }

    /// Bytes that sled takes on its disk.
    pub(crate) fn disk_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk()?)
    }

    fn tombstones_of(&self, epoch: u32) -> Result<Tree, StoreError> {
        let trees = self
            .tombstones
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(&epoch) {
            return Ok(tree.clone());
        }
        drop(trees);
        let tree = self.db.open_tree(tombstone_tree(epoch))?;
        let mut trees = self
            .tombstones
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        trees.insert(epoch, tree.clone());
        Ok(tree)
    }

    /// From the earliest epoch to the latest.
    fn tombstone_trees(&self) -> Vec<Tree> {
        let trees = self
            .tombstones
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        trees.values().cloned().collect()
    }
}

/// A transaction in the making: writes to any trees, and what they do to the books.
struct Writes {
    batches: BTreeMap<IVec, (Tree, Batch)>,
    books: Books,
}

impl Writes {
    /// The next commit after those in `books`.
    fn new(books: &Books) -> Self {
        let mut books = books.clone();
        books.commits += 1;
        Writes {
            batches: BTreeMap::new(),
            books,
        }
    }

    /// Writes an entry that is not there yet.
    fn insert(&mut self, tree: &Tree, key: &[u8], value: Vec<u8>) {
        self.books.tally(tree.name()).add(key, &value);
        self.batch(tree).insert(key, value);
    }

    /// Removes an entry that has this value.
    fn remove(&mut self, tree: &Tree, key: &[u8], value: &[u8]) {
        self.books.tally(tree.name()).subtract(key, value);
        self.batch(tree).remove(key);
    }

    fn batch(&mut self, tree: &Tree) -> &mut Batch {
        let (_, batch) = self
            .batches
            .entry(tree.name())
            .or_insert_with(|| (tree.clone(), Batch::default()));
        batch
    }

    /// Applies all of it or nothing, tallies included; returns the new books.
    fn apply(mut self, meta: &Tree) -> Result<Books, StoreError> {
        let commits = self.books.commits;
        let mut entries = Batch::default();
        entries.insert(SEQUENCE, encode(&Sequence { commits }));
        for tree in self.batches.keys() {
            let tally: &Tally = self.books.tally(tree.clone());
            entries.insert([TALLY.as_bytes(), tree].concat(), encode(tally));
        }
        let batches = self.batches.into_values().chain([(meta.clone(), entries)]);
        let (trees, batches): (Vec<Tree>, Vec<Batch>) = batches.unzip();
        let applied = trees[..].transaction(|trees| {
            for (tree, batch) in trees.iter().zip(&batches) {
                tree.apply_batch(batch)?;
            }
            Ok(())
        });
        match applied {
            Ok(()) => Ok(self.books),
            Err(TransactionError::Storage(error)) => Err(error.into()),
            Err(TransactionError::Abort(())) => Err(damaged("its transaction aborted")),
        }
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::corrupt(Place::Index, what)
}

fn tombstone_tree(epoch: u32) -> String {
    format!("{TOMBSTONES}{epoch:08x}")
}

/// The epoch in the name of a tree of tombstones; `None` for any other tree.
fn epoch_of(tree: &[u8]) -> Result<Option<u32>, StoreError> {
    let name = String::from_utf8_lossy(tree);
    let Some(epoch) = name.strip_prefix(TOMBSTONES) else {
        return Ok(None);
    };
    let epoch = u32::from_str_radix(epoch, 16);
    epoch
        .map(Some)
        .map_err(|_| damaged("a tree of tombstones has no epoch"))
}

/// Waits until an index that this process has closed is closed in fact: sled's worker
/// threads hold its file, and with it sled's lock, for a moment longer than its owner.
///
/// No other process can be meant: the store's own lock is ours by now.
fn await_release(db: &Path) -> std::io::Result<()> {
    let file = match File::open(db) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    flock(&file, FlockOperation::LockExclusive)?;
    // Not left to closing, which a child process about to start would put off.
    Ok(flock(&file, FlockOperation::Unlock)?)
}

/// sled writes a snapshot of its page table beside its log and renames it when it is
/// whole; but it would also read one that was left unfinished, and then refuse to open.
fn remove_unfinished_snapshots(folder: &Path) -> std::io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "generating")
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder_protocol::BlobHash;
    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;
    use crate::record::TAIL_LEN;
    use crate::suite::sample::key;

    fn record(n: u64) -> Record {
        Record::new(n, BlobHash([0; 32]), [0; TAIL_LEN])
    }

    /// An index with two records and a tombstone.
    fn index(folder: &Path) -> Index {
        let index = Index::open(folder, 1 << 20, Arc::new(Disk)).unwrap();
        let identity = Identity {
            format: 1,
            store_id: [0; 16],
        };
        index.found(identity).unwrap();
        let change = |n, after| Change {
            key: key(n),
            before: State::Absent,
            after,
        };
        let changes = [
            change(1, State::Present(record(1))),
            change(2, State::Present(record(2))),
            change(3, State::Deleted { epoch: 4 }),
        ];
        index.apply(&mut Books::after(0), &changes).unwrap();
        index
    }

    #[test]
    fn whatever_sled_loses_or_brings_back_is_reported() {
        // Where sled reads a segment's damage as its end, entries go missing without an error.
        let losses: [fn(&Index) -> sled::Result<()>; 5] = [
            |it| it.index.remove(key(1).as_bytes()).map(drop),
            |it| {
                it.index
                    .insert(key(9).as_bytes(), encode(&record(9)))
                    .map(drop)
            },
            |it| {
                it.index
                    .insert(key(1).as_bytes(), encode(&record(7)))
                    .map(drop)
            },
            |it| it.db.drop_tree(tombstone_tree(4)).map(|_| ()),
            |it| it.meta.remove(SEQUENCE).map(drop),
        ];
        for (number, lose) in losses.into_iter().enumerate() {
            let folder = TempDir::new().unwrap();
            let intact = index(folder.path());
            assert_eq!(intact.audit(|_| Ok(())).unwrap().commits, 1);
            lose(&intact).unwrap();
            drop(intact);
            let reopened = Index::open(folder.path(), 1 << 20, Arc::new(Disk)).unwrap();
            let audit = reopened.audit(|_| Ok(()));
            assert!(
                matches!(audit, Err(StoreError::Corrupt { .. })),
                "loss {number}"
            );
        }
    }

    #[test]
    fn a_snapshot_that_sled_left_unfinished_does_not_keep_it_from_opening() {
        let folder = TempDir::new().unwrap();
        drop(index(folder.path()));
        fs::write(
            folder.path().join("snap.FFFFFFFFFFFFFFFF.generating"),
            b"half",
        )
        .unwrap();
        let reopened = Index::open(folder.path(), 1 << 20, Arc::new(Disk)).unwrap();
        assert_eq!(reopened.state(&key(1)).unwrap(), State::Present(record(1)));
    }
}

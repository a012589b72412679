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
use sled::{Batch, Db, Transactional, Tree};

use crate::medium::{Medium, sync_folder};
use crate::record::{Identity, Record, Sequence, Tally, Tombstone, decode, encode};
use crate::{Place, StoreError};

/// Large enough for any value; see the module's documentation.
const SEGMENT_LEN: usize = 8 << 20;

const INDEX: &str = "index";
const META: &str = "meta";
const TOMBSTONES: &str = "tombstones/";
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

/// What the trees ought to hold after the last commit. Owned by the one writer.
#[derive(Clone, Default)]
pub(crate) struct Books {
    pub(crate) commits: u64,
    tallies: BTreeMap<String, Tally>,
}

impl Books {
    pub(crate) fn blobs(&self) -> u64 {
        self.tallies.get(INDEX).map_or(0, |tally| tally.count)
    }

    pub(crate) fn tombstones(&self) -> u64 {
        let epochs = self.tallies.iter();
        epochs
            .filter(|(tree, _)| tree.starts_with(TOMBSTONES))
            .map(|(_, tally)| tally.count)
            .sum()
    }

    fn of(&mut self, tree: &str) -> &mut Tally {
        self.tallies.entry(tree.to_owned()).or_default()
    }
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
        let mut books = Books::default();
        let Some(sequence) = self.meta.get(SEQUENCE)? else {
            return Err(damaged("its number of commits is missing"));
        };
        books.commits = decode::<Sequence>(&sequence)?.commits;
        for entry in self.meta.scan_prefix(TALLY) {
            let (name, tally) = entry?;
            let tree = String::from_utf8_lossy(&name[TALLY.len()..]).into_owned();
            books.tallies.insert(tree, decode(&tally)?);
        }

        let mut found = Books {
            commits: books.commits,
            ..Books::default()
        };
        for entry in &self.index {
            let (key, value) = entry?;
            visit(&decode(&value)?)?;
            found.of(INDEX).add(&key, &value);
        }
        for (epoch, tree) in self.tombstone_trees() {
            for entry in &tree {
                let (name, value) = entry?;
                found.of(&tombstone_tree(epoch)).add(&name, &value);
            }
        }
        // A tree that a cut left empty has no tally yet, and one that lost all has no entry.
        books.tallies.retain(|_, tally| *tally != Tally::default());
        if found.tallies == books.tallies {
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
        for (_, tree) in self.tombstone_trees().into_iter().rev() {
            if let Some(tombstone) = tree.get(name)? {
                let Tombstone { epoch } = decode(&tombstone)?;
                return Ok(State::Deleted { epoch });
            }
        }
        Ok(State::Absent)
    }

    /// Applies a batch as a whole, durably, and enters it into the books.
    pub(crate) fn apply(&self, books: &mut Books, changes: &[Change]) -> Result<(), StoreError> {
        let mut next = books.clone();
        next.commits += 1;
        let mut batches: BTreeMap<String, (Tree, Batch)> = BTreeMap::new();
        let mut write =
            |tree: &Tree, name: &str, key: &[u8], old: Option<Vec<u8>>, new: Option<Vec<u8>>| {
                let (_, batch) = batches
                    .entry(name.to_owned())
                    .or_insert_with(|| (tree.clone(), Batch::default()));
                let tally = next.of(name);
                if let Some(old) = old {
                    tally.subtract(key, &old);
                    batch.remove(key);
                }
                if let Some(new) = new {
                    tally.add(key, &new);
                    batch.insert(key, new);
                }
            };
        for Change { key, before, after } in changes {
            let record = |state: &State| match state {
                State::Present(record) => Some(encode(record)),
                State::Absent | State::Deleted { .. } => None,
            };
            let (old, new) = (record(before), record(after));
            if old.is_some() || new.is_some() {
                write(&self.index, INDEX, key.as_bytes(), old, new);
            }
            if let State::Deleted { epoch } = *after {
                let tree = self.tombstones_of(epoch)?;
                let tombstone = encode(&Tombstone { epoch });
                let name = tombstone_tree(epoch);
                write(&tree, &name, &Tombstone::name(key), None, Some(tombstone));
            }
        }

        let mut meta = Batch::default();
        meta.insert(
            SEQUENCE,
            encode(&Sequence {
                commits: next.commits,
            }),
        );
        for name in batches.keys() {
            let tally = next.tallies.get(name).copied().unwrap_or_default();
            meta.insert(format!("{TALLY}{name}").as_bytes(), encode(&tally));
        }
        batches.insert(META.to_owned(), (self.meta.clone(), meta));

        let (trees, batches): (Vec<Tree>, Vec<Batch>) = batches.into_values().unzip();
        trees[..]
            .transaction(|trees| {
                for (tree, batch) in trees.iter().zip(&batches) {
                    tree.apply_batch(batch)?;
                }
                Ok(())
            })
            .map_err(|error| match error {
                TransactionError::Storage(error) => StoreError::from(error),
                TransactionError::Abort(()) => damaged("its transaction aborted"),
            })?;
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

    fn tombstone_trees(&self) -> Vec<(u32, Tree)> {
        let trees = self
            .tombstones
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        trees
            .iter()
            .map(|(epoch, tree)| (*epoch, tree.clone()))
            .collect()
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
    match File::open(db) {
        Ok(file) => Ok(flock(file, FlockOperation::LockExclusive)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
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

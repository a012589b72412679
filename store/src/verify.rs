//! A store that is not open, checked without changing a byte of it.
//!
//! sled cuts off what it cannot read when it opens a log. So it gets a copy of the index, in a folder of its own, and the
//! slot file is opened to be read only. Everything is read once: every entry of the index, compared with what there
//! ought to be, and every blob, compared with its hash.
//!
//! **Fails** with [`StoreError::Locked`] while the store is in use, [`StoreError::UnknownFormat`], or
//! [`StoreError::Io`] when the copy cannot be made. What is wrong with the store itself is no failure but what was
//! asked for: [`Findings`].

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_protocol::BlobHash;

use crate::cells::Doomed;
use crate::folder::{self, Generation};
use crate::free_slots::FreeSlots;
use crate::index::Index;
use crate::medium::Disk;
use crate::notes;
use crate::record::{FORMAT, Record, Stored};
use crate::sled_engine::{guarded, occupy};
use crate::slot_file::SlotFile;
use crate::table::Table;
use crate::view::View;
use crate::{Epochs, Notes, OpenedClaim, Place, StoreError};

/// sled's cache while a copy is read.
const CACHE_BYTES: u64 = 64 << 20;

/// Damage of one kind that is told one by one; beyond it is counted.
const TOLD: usize = 20;

/// What was found in a store.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong; the first of each kind, when it is many.
    pub damage: Vec<StoreError>,
    /// Whether everything that the index ought to hold is there, and nothing else.
    pub index_is_whole: bool,
    /// Blobs that are what they were when they were stored.
    pub whole_blobs: u64,
    /// Blobs that the index knows and the slot file does not have.
    pub damaged_blobs: u64,
    /// What the store remembers of its node, if that can be read.
    pub notes: Notes,
    /// The epoch that was entered last, if there is one and it can be read.
    pub epochs: Option<Epochs>,
}

impl Findings {
    fn note(&mut self, damage: StoreError) {
        self.damage.push(damage);
    }

    /// Compares a blob with its record.
    fn check(&mut self, slots: Option<&SlotFile>, record: &Record) {
        let read = slots.map(|slots| slots.read(record.slot, &record.tail));
        let hash: Option<Result<BlobHash, StoreError>> = read.map(|read| read.map(|it| it.hash()));
        let damage = match hash {
            Some(Ok(hash)) if hash == record.hash => {
                self.whole_blobs += 1;
                return;
            }
            Some(Err(error)) => Some(error),
            Some(Ok(_)) => Some(StoreError::mismatch(record.slot)),
            // What is wrong with all of them has been said.
            None => None,
        };
        self.damaged_blobs += 1;
        if self.damaged_blobs <= TOLD as u64 {
            self.damage.extend(damage);
        }
    }
}

/// Reads all of the store in `folder`. `scratch` is a folder with room for a copy of the index, in which one is
/// made and removed.
///
/// # Errors
/// See the module's documentation.
pub fn verify(folder: &Path, scratch: &Path) -> Result<Findings, StoreError> {
    let _lock = folder::lock_to_read(folder)?;
    let mut findings = Findings::default();
    let slots = match SlotFile::open_to_read(folder) {
        Ok(slots) => Some(slots),
        Err(error @ StoreError::UnknownFormat { .. }) => return Err(error),
        Err(error) => {
            findings.note(error);
            None
        }
    };
    match Generation::current(folder) {
        Ok(generation) if generation.folder(folder).is_dir() => {
            let copy = Copy::of(&generation.folder(folder), scratch)?;
            let read = guarded(|| read_index(&copy.0, slots.as_ref(), &mut findings));
            match read {
                Ok(()) => {}
                Err(error @ StoreError::UnknownFormat { .. }) => return Err(error),
                Err(error) => {
                    findings.index_is_whole = false;
                    findings.note(error);
                }
            }
        }
        Ok(_) => findings.note(StoreError::corrupt(Place::Index, "its folder is missing")),
        Err(error) => findings.note(error),
    }
    Ok(findings)
}

/// Reads an index and the blobs that it names.
fn read_index(
    index: &Path,
    slots: Option<&SlotFile>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let index = Index::open(index, CACHE_BYTES, Arc::new(Disk))?;
    let lost = || StoreError::corrupt(Place::Index, "it lost everything");
    let identity = index.identity()?.ok_or_else(lost)?;
    if !(1..=FORMAT).contains(&identity.format) {
        return Err(StoreError::UnknownFormat {
            found: identity.format,
            supported: FORMAT,
        });
    }
    if slots.is_some_and(|slots| slots.store_id() != identity.store_id) {
        let what = "it belongs to another store than the index";
        findings.note(StoreError::corrupt(Place::SlotFile, what));
    }
    let capacity = slots.map(SlotFile::extent).transpose()?;
    let mut free = FreeSlots::all(capacity.map_or(0, |(slots, _)| slots));
    let (books, damaged) = index.inspect(|table, key, value| match table {
        Table::Index => {
            let record = Record::from_bytes(value)?;
            if slots.is_some()
                && let Err(error) = occupy(&mut free, record.slot)
            {
                findings.damaged_blobs += 1;
                return Err(error);
            }
            findings.check(slots, &record);
            Ok(())
        }
        Table::Claims => OpenedClaim::from_bytes(value).map(drop),
        Table::Cells => Doomed::default().add_entry(key, value),
        _ => Ok(()),
    })?;
    findings.index_is_whole = damaged.is_empty();
    for (table, error) in damaged {
        findings.note(StoreError::corrupt(
            Place::Index,
            format!("{}: {error}", Named(table)),
        ));
    }
    if let Some(slots) = slots {
        match slots.witnessed() {
            Ok(witnessed) if books.commits < witnessed => {
                findings.index_is_whole = false;
                findings.note(StoreError::older_than_the_slots());
            }
            Ok(_) => {}
            Err(error) => findings.note(error),
        }
    }
    findings.epochs = index.epochs()?;
    findings.notes = notes::read(&index)?;
    Ok(())
}

/// A table, in the words of its operator.
struct Named(Table);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Table::Index => f.write_str("where each blob is"),
            Table::Tombstones(ordinal) => write!(f, "what was deleted in the epoch no. {ordinal}"),
            Table::Rows(epoch) => write!(f, "what was paid with tokens of epoch {epoch}"),
            Table::Claims => f.write_str("tokens that were quoted"),
            Table::Payments => f.write_str("payments for tokens"),
            Table::Ledger => f.write_str("the epoch, and how many tokens there are"),
            Table::Cells => f.write_str("breakglass cells"),
        }
    }
}

/// A copy of an index, gone when this is dropped.
struct Copy(PathBuf);

impl Copy {
    fn of(index: &Path, scratch: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = || StoreError::io("copy the index, in order to read the copy");
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(StoreError::io("draw a name"))?;
        let copy = scratch.join(format!("larder-verify-{:016x}", u64::from_le_bytes(name)));
        // It names what clients have stored: for nobody else to read.
        let made = fs::DirBuilder::new().mode(0o700).create(&copy);
        made.map_err(failed())?;
        let copy = Copy(copy);
        copy_files(index, &copy.0).map_err(failed())?;
        Ok(copy)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // Whoever looks after the scratch folder does it otherwise.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => {
                fs::create_dir(&copy)?;
                copy_files(&path, &copy)?;
            }
            false => {
                fs::copy(&path, &copy)?;
            }
        }
    }
    Ok(())
}

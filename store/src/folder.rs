//! A store's folder: taken by one process, founded once, and opened as a whole.
//!
//! | in the folder | what it is |
//! | --- | --- |
//! | `lock` | empty, locked while the store is open |
//! | `in-use` | whether the store is open, or was not closed in order, see [`in_use`](crate::in_use) |
//! | `blobs.slots` | the slot file |
//! | `index` | sled's folder, before an epoch was entered |
//! | `index-NNNN` | sled's folder, afterwards: decimal, counting up |
//! | `index.current` | which of those: its name and a newline; without it, `index` |
//!
//! Folders of sled that are not the current one are what an interrupted
//! [`rewrite`](crate::rewrite) left; they are removed.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::books::Books;
use crate::index::Index;
use crate::medium::{Medium, sync_folder};
use crate::record::{FORMAT, Identity};
use crate::slot_file::SlotFile;
use crate::{Place, StoreError};

/// The folder, taken by this process until this is dropped.
pub(crate) struct Lock(File);

/// Takes the folder; creates it if need be.
pub(crate) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::io("create the store's folder"))?;
    let file = File::create(folder.join("lock"));
    // Of all that is written it comes first.
    hold(file.map_err(StoreError::io("write to the store's folder"))?)
}

/// Takes the folder as it is, in order to read it: nothing is created.
pub(crate) fn lock_to_read(folder: &Path) -> Result<Option<Lock>, StoreError> {
    let file = match File::open(folder.join("lock")) {
        Ok(file) => file,
        // Nobody has ever opened it; or it is a copy.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open the lock")(error)),
    };
    hold(file).map(Some)
}

fn hold(file: File) -> Result<Lock, StoreError> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock(file)),
        Err(Errno::WOULDBLOCK) => Err(StoreError::Locked),
        Err(error) => Err(StoreError::io("lock the store's folder")(error)),
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do, but for a child process that another thread is just
        // starting: until it runs its own program, it holds a copy of every open file. If
        // unlocking fails, the lock is gone with the last copy.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

/// One of sled's folders: how many came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u32);

const CURRENT: &str = "index.current";

impl Generation {
    /// The one that a store is founded with; no file names it.
    pub(crate) const FIRST: Generation = Generation(0);

    /// The one that is in use.
    pub(crate) fn current(folder: &Path) -> Result<Self, StoreError> {
        let name = match fs::read(folder.join(CURRENT)) {
            Ok(name) => name,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Generation(0)),
            Err(error) => return Err(StoreError::io("ask which index is in use")(error)),
        };
        let named = String::from_utf8_lossy(&name);
        let generation = named.strip_suffix('\n').and_then(Generation::named);
        match generation {
            Some(generation) if generation.folder(folder).is_dir() => Ok(generation),
            Some(_) => Err(StoreError::corrupt(Place::Index, "its folder is missing")),
            None => {
                let what = "index.current names no index";
                Err(StoreError::corrupt(Place::Index, what))
            }
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let number = match name.strip_prefix("index")? {
            "" => 0,
            number => number.strip_prefix('-')?.parse().ok()?,
        };
        let generation = Generation(number);
        (generation.name() == name).then_some(generation)
    }

    fn name(self) -> String {
        match self {
            Generation(0) => "index".to_owned(),
            Generation(number) => format!("index-{number:04}"),
        }
    }

    pub(crate) fn next(self) -> Self {
        Generation(self.0 + 1)
    }

    /// Its place in a store's folder.
    pub(crate) fn folder(self, folder: &Path) -> PathBuf {
        folder.join(self.name())
    }
}

/// Makes another index the current one, durably and at once.
pub(crate) fn switch(
    folder: &Path,
    generation: Generation,
    medium: &dyn Medium,
) -> Result<(), StoreError> {
    let name = format!("{}\n", generation.name());
    sync_folder(folder)
        .and_then(|()| medium.replace(&folder.join(CURRENT), name.as_bytes()))
        .map_err(StoreError::io("switch to the fresh index"))
}

/// Removes all indexes but this one.
pub(crate) fn remove_others(
    folder: &Path,
    generation: Generation,
    medium: &dyn Medium,
) -> Result<(), StoreError> {
    let remove = || {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let other = entry.file_name().to_str().and_then(Generation::named);
            if other.is_some_and(|other| other != generation) {
                medium.remove_folder(&entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(StoreError::io::<std::io::Error>("remove a former index"))
}

/// Opens both files, or creates the store: the index first, so that a slot file without
/// an index is always a loss.
pub(crate) fn open(
    folder: &Path,
    cache_bytes: u64,
    medium: &Arc<dyn Medium>,
) -> Result<(Index, Generation, SlotFile), StoreError> {
    let generation = Generation::current(folder)?;
    let place = generation.folder(folder);
    let index = Index::open(&place, cache_bytes, Arc::clone(medium))?;
    let create = |store_id| {
        SlotFile::create(folder, store_id)
            .and_then(|()| sync_folder(parent(folder)))
            .map_err(StoreError::io("create the slot file"))
    };
    let exists = SlotFile::path(folder)
        .try_exists()
        .map_err(StoreError::io("look for the slot file"))?;
    let identity = match (index.identity()?, exists) {
        (Some(identity), true) => identity,
        (None, true) => return Err(StoreError::corrupt(Place::Index, "it lost everything")),
        (Some(identity), false) => {
            // A founding that was cut short; unless there was something to lose.
            if index.audit(|_, _, _| Ok(()))?.commits > 0 {
                return Err(StoreError::corrupt(Place::SlotFile, "it is missing"));
            }
            create(identity.store_id)?;
            identity
        }
        (None, false) => {
            let mut store_id = [0; 16];
            getrandom::fill(&mut store_id).map_err(StoreError::io("draw a store id"))?;
            let identity = Identity {
                format: FORMAT,
                store_id,
            };
            index.found(identity, &Books::default())?;
            create(store_id)?;
            identity
        }
    };
    if !(1..=FORMAT).contains(&identity.format) {
        return Err(StoreError::UnknownFormat {
            found: identity.format,
            supported: FORMAT,
        });
    }
    let slots = SlotFile::open(folder, Arc::clone(medium))?;
    if slots.store_id() != identity.store_id {
        let what = "it belongs to another store than the index";
        return Err(StoreError::corrupt(Place::SlotFile, what));
    }
    Ok((index, generation, slots))
}

/// Where the folder's own entry is, which may be as new as what is in it.
fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;

    #[test]
    fn a_newer_index_is_named_and_left_alone() {
        let folder = TempDir::new().unwrap();
        let medium: Arc<dyn Medium> = Arc::new(Disk);
        let index = Index::open(&folder.path().join("index"), 1 << 20, Arc::clone(&medium));
        let identity = Identity {
            format: FORMAT + 1,
            store_id: [3; 16],
        };
        index.unwrap().found(identity, &Books::default()).unwrap();
        SlotFile::create(folder.path(), [3; 16]).unwrap();
        match open(folder.path(), 1 << 20, &medium) {
            Err(StoreError::UnknownFormat { found, supported }) => {
                assert_eq!((found, supported), (FORMAT + 1, FORMAT));
            }
            other => panic!("it should be named: {:?}", other.err()),
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_said_to_be() {
        // Not even by the superuser.
        let error = lock(Path::new("/proc/self")).err().unwrap();
        let told = error.to_string();
        assert!(
            told.contains("cannot write to the store's folder: "),
            "{told}"
        );
    }

    #[test]
    fn an_index_has_one_name() {
        for (number, name) in [(0, "index"), (1, "index-0001"), (12_345, "index-12345")] {
            assert_eq!(Generation(number).name(), name);
            assert_eq!(Generation::named(name), Some(Generation(number)));
        }
        for other in [
            "index-",
            "index-1",
            "index-0000",
            "index-+001",
            "indexes",
            "db",
        ] {
            assert_eq!(Generation::named(other), None, "{other}");
        }
    }
}

//! A store's folder: taken by one process, founded once, and opened as a whole.
//!
//! | in the folder | what it is |
//! | --- | --- |
//! | `lock` | empty, locked while the store is open |
//! | `blobs.slots` | the slot file |
//! | `index` | sled's folder |

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::index::Index;
use crate::medium::{Medium, sync_folder};
use crate::record::Identity;
use crate::slot_file::{FORMAT, SlotFile};
use crate::{Place, StoreError};

/// The folder, taken by this process until this is dropped.
pub(crate) struct Lock(File);

/// Takes the folder; creates it if need be.
pub(crate) fn lock(folder: &Path) -> Result<Lock, StoreError> {
    fs::create_dir_all(folder).map_err(StoreError::io("create the store's folder"))?;
    let file = File::create(folder.join("lock")).map_err(StoreError::io("create the lock"))?;
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

/// Opens both files, or creates the store: the index first, so that a slot file without
/// an index is always a loss.
pub(crate) fn open(
    folder: &Path,
    cache_bytes: u64,
    medium: &Arc<dyn Medium>,
) -> Result<(Index, SlotFile), StoreError> {
    let index = Index::open(&folder.join("index"), cache_bytes, Arc::clone(medium))?;
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
            if index.audit(|_| Ok(()))?.commits > 0 {
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
            index.found(identity)?;
            create(store_id)?;
            identity
        }
    };
    if identity.format != FORMAT {
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
    Ok((index, slots))
}

/// Where the folder's own entry is, which may be as new as what is in it.
fn parent(folder: &Path) -> &Path {
    match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

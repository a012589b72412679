//! sled as files on a disk: opened, made durable, closed.
//!
//! On Linux sled 0.34 flushes with `sync_file_range`, which neither flushes the device's cache nor
//! the file's length; so every `flush` is followed by an `fdatasync` of sled's `db` file. Segments
//! of 8 MiB keep every value inside that one file; a longer value would go to a file that sled
//! never syncs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use sled::Db;

use crate::StoreError;
use crate::in_use::Ending;
use crate::medium::{Medium, sync_folder};

/// Large enough for any value; see the module's documentation.
const SEGMENT_LEN: usize = 8 << 20;

/// sled, opened.
pub(crate) struct Database {
    /// For its trees.
    pub(crate) db: Db,
    /// sled's `db` file, opened once more in order to sync it.
    file: File,
    path: PathBuf,
    medium: Arc<dyn Medium>,
}

impl Database {
    /// Opens sled in `folder`, or creates it there.
    pub(crate) fn open(
        folder: &Path,
        cache_bytes: u64,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, StoreError> {
        remove_unfinished_snapshots(folder).map_err(StoreError::io("tidy the index"))?;
        let path = folder.join("db");
        await_release(&path).map_err(StoreError::io("lock the index"))?;
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_LEN)
            // Commits flush; a flusher's thread would only write what no commit asked for.
            .flush_every_ms(None)
            .open()?;
        let file = File::open(&path).map_err(StoreError::io("open the index"))?;
        Ok(Database {
            db,
            file,
            path,
            medium,
        })
    }

    /// Returns when all that was applied would survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush()?;
        self.medium
            .sync(&self.file, &self.path)
            .map_err(StoreError::io("make the index durable"))
    }

    /// What is left to be done once this has been closed: to sync the file again, by a handle that was open before, so
    /// that it hears of whatever sled's closing could not write.
    pub(crate) fn ending(&self) -> Result<Ending, StoreError> {
        let file = self.file.try_clone();
        let file = file.map_err(StoreError::io("close the index"))?;
        let (path, medium) = (self.path.clone(), Arc::clone(&self.medium));
        Ok(Box::new(move || {
            await_release(&path)
                .and_then(|()| medium.sync(&file, &path))
                .map_err(StoreError::io("close the index"))
        }))
    }

    /// The same for a database that is new: sled's other files, and that they are there.
    pub(crate) fn sync_all(&self) -> Result<(), StoreError> {
        self.sync()?;
        let folder = self.folder();
        File::open(folder.join("conf"))
            .and_then(|conf| conf.sync_all())
            .and_then(|()| sync_folder(folder))
            .map_err(StoreError::io("make the index durable"))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Closes sled, and returns when that has happened in fact.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        let path = self.path.clone();
        drop(self);
        await_release(&path).map_err(StoreError::io("close the index"))
    }
}

/// Waits until an index that this process has closed is closed in fact: sled's worker
/// threads hold its file, and with it sled's lock, for a moment longer than its owner.
///
/// No other process can be meant: the store's own lock is ours by now.
pub(crate) fn await_release(db: &Path) -> std::io::Result<()> {
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
    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;

    #[test]
    fn a_snapshot_that_sled_left_unfinished_does_not_keep_it_from_opening() {
        let folder = TempDir::new().unwrap();
        let open = || Database::open(folder.path(), 1 << 20, Arc::new(Disk)).unwrap();
        let database = open();
        database.db.insert(b"key", b"value").unwrap();
        database.close().unwrap();
        let unfinished = folder.path().join("snap.FFFFFFFFFFFFFFFF.generating");
        fs::write(&unfinished, b"half").unwrap();
        let value = open().db.get(b"key").unwrap();
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
        assert!(!unfinished.exists());
    }
}

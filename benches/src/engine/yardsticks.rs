//! What the engine is compared to.
//!
//! * **plain sled** keeps the blobs itself; segments of 8 MiB, `flush` and `fdatasync` for each
//!   batch, the one configuration of it that survived simulated power cuts;
//! * **slot file** is the lower bound: the blobs and one `fdatasync` for each batch, no index, so it
//!   cannot even find what it stored.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::{Blob, Key};
use larder_store::{
    Change, Effect, Engine, Enter, Epochs, Notes, OpenedClaim, Options, Outcome, Reading, Stat,
    StoreError, StoredCell, Usage,
};

use super::Failure;

/// Makes a batch of inserts durable, and can do nothing else.
pub(super) trait Inserts: Send + Sync + 'static {
    fn insert(&self, batch: &[(Key, Blob)]) -> io::Result<()>;
}

/// The engine of a yardstick.
pub(super) struct Yardstick<T>(pub(super) T);

/// sled with the blobs inside.
pub(super) struct PlainSled {
    db: sled::Db,
    file: File,
}

impl PlainSled {
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(Options::default().cache_bytes)
            .segment_size(8 << 20)
            .flush_every_ms(None)
            .open()?;
        let file = File::open(folder.join("db"))?;
        Ok(PlainSled { db, file })
    }
}

impl Inserts for PlainSled {
    fn insert(&self, batch: &[(Key, Blob)]) -> io::Result<()> {
        let mut writes = sled::Batch::default();
        for (key, blob) in batch {
            // Insert-if-absent is part of the work.
            assert!(!self.db.contains_key(key.as_bytes())?);
            writes.insert(&key.as_bytes()[..], &blob.as_bytes()[..]);
        }
        self.db.apply_batch(writes)?;
        self.db.flush()?;
        self.file.sync_data()
    }
}

/// Slots without an index.
pub(super) struct SlotFile {
    file: File,
    next: Mutex<u64>,
}

impl SlotFile {
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let file = options
            .create_new(true)
            .write(true)
            .open(folder.join("slots"))?;
        Ok(SlotFile {
            file,
            next: Mutex::new(0),
        })
    }
}

impl Inserts for SlotFile {
    fn insert(&self, batch: &[(Key, Blob)]) -> io::Result<()> {
        const SLOT: u64 = 16_384;
        const STEP: u64 = 2048;
        let mut next = self.next.lock().map_err(|_| io::ErrorKind::Other)?;
        for (_, blob) in batch {
            if *next % STEP == 0 {
                let flags = rustix::fs::FallocateFlags::empty();
                rustix::fs::fallocate(&self.file, flags, *next * SLOT, STEP * SLOT)?;
            }
            let bytes = &blob.as_bytes()[..16_384];
            self.file.write_all_at(bytes, *next * SLOT)?;
            *next += 1;
        }
        self.file.sync_data()
    }
}

impl<T: Inserts> Engine for Yardstick<T> {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        let inserts = batch.into_iter().map(|effect| match effect.change {
            Change::Insert { key, blob, .. } => Ok((key, blob)),
            _ => Err(StoreError::Stopped),
        });
        let inserts = inserts.collect::<Result<Vec<_>, _>>()?;
        self.0.insert(&inserts).map_err(|source| StoreError::Io {
            doing: "measure a yardstick",
            source,
        })?;
        Ok(vec![Outcome::Inserted; inserts.len()])
    }

    fn read(&self, _key: &Key) -> Result<Reading, StoreError> {
        Err(StoreError::Stopped)
    }

    fn stat(&self, _key: &Key) -> Result<Stat, StoreError> {
        Err(StoreError::Stopped)
    }

    fn cell(&self, _key: &Key, _now: u64) -> Result<Option<StoredCell>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn row(&self, _reference: &Reference) -> Result<Option<Row>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn claim(&self, _tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        Err(StoreError::Stopped)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        Err(StoreError::Stopped)
    }

    fn enter(&self, _next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        Err(StoreError::Stopped)
    }
}

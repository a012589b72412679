//! A disk that refuses: EIO and ENOSPC, at each of the engine's steps.
//!
//! sled's own writes cannot be refused from here; `tests/full_disk.rs` does that.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::medium::{Disk, Medium};
use crate::power_cut::{batch, options, verdict};
use crate::suite::sample::{blob, key};
use crate::{Change, Effect, Engine, Options, Outcome, Reading, SledEngine, StoreError};

/// A disk that answers one operation with an error.
struct RefusingDisk {
    refuses: Refusal,
    armed: Mutex<bool>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Refusal {
    Write,
    SyncOf(&'static str),
    Room,
}

impl RefusingDisk {
    fn new(refuses: Refusal) -> Arc<Self> {
        Arc::new(RefusingDisk {
            refuses,
            armed: Mutex::new(false),
        })
    }

    fn arm(&self, armed: bool) {
        *self.armed.lock().unwrap() = armed;
    }

    fn ask(&self, operation: Refusal, errno: Errno) -> io::Result<()> {
        if *self.armed.lock().unwrap() && operation == self.refuses {
            return Err(errno.into());
        }
        Ok(())
    }
}

impl Medium for RefusingDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.ask(Refusal::Write, Errno::NOSPC)?;
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        for name in ["db", "blobs.slots"] {
            if path.ends_with(name) {
                self.ask(Refusal::SyncOf(name), Errno::IO)?;
            }
        }
        Disk.sync(file, path)
    }

    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        self.ask(Refusal::Room, Errno::NOSPC)?;
        Disk.lengthen(file, from, to)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        Disk.replace(path, content)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.remove_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        Disk.free_bytes(folder)
    }
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_acknowledged_until_reopened() {
    for refusal in [
        Refusal::Write,
        Refusal::SyncOf("blobs.slots"),
        Refusal::SyncOf("db"),
    ] {
        let folder = TempDir::new().unwrap();
        let disk = RefusingDisk::new(refusal);
        let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
        let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
        engine.commit(batch(0)).unwrap();

        disk.arm(true);
        let error = engine.commit(batch(1)).unwrap_err();
        assert!(
            matches!(error, StoreError::Io { .. }),
            "{refusal:?}: {error}"
        );
        disk.arm(false);
        // The disk has recovered, but nobody knows what it forgot.
        assert!(matches!(engine.commit(batch(2)), Err(StoreError::Stopped)));
        // What was durable is served on; what may not be is not spoken of.
        assert_eq!(engine.read(&key(0)).unwrap(), Reading::Found(blob(0)));
        match engine.read(&key(3)) {
            Ok(Reading::Absent) => assert_ne!(refusal, Refusal::SyncOf("db")),
            Err(StoreError::Stopped) => assert_eq!(refusal, Refusal::SyncOf("db")),
            other => panic!("{refusal:?}: {other:?}"),
        }

        drop(engine);
        verdict(folder.path(), 1).unwrap_or_else(|what| panic!("{refusal:?}: {what}"));
        let engine = SledEngine::open(folder.path(), options()).unwrap();
        assert!(engine.commit(batch(5)).is_ok());
    }
}

#[test]
fn a_full_disk_refuses_inserts_and_takes_deletes() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::Room);
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    engine.commit(batch(0)).unwrap();
    engine.commit(batch(1)).unwrap();
    disk.arm(true);
    // Two of the eight slots are left.
    let outcomes = engine.commit(batch(2)).unwrap();
    let expected = [
        Outcome::Inserted,
        Outcome::Inserted,
        Outcome::Full,
        Outcome::Removed,
    ];
    assert_eq!(outcomes, expected);
    let insert = |number| {
        Effect::unpaid(Change::Insert {
            key: key(number),
            blob: blob(number),
            epoch: 0,
        })
    };
    // The delete's slot is free again, and the only one.
    let outcomes = engine.commit(vec![insert(100), insert(101)]).unwrap();
    assert_eq!(outcomes, [Outcome::Inserted, Outcome::Full]);
    disk.arm(false);
    assert_eq!(
        engine.commit(vec![insert(101)]).unwrap(),
        [Outcome::Inserted]
    );
}

#[test]
fn below_the_floor_inserts_are_refused_and_deletes_are_not() {
    let folder = TempDir::new().unwrap();
    let engine = SledEngine::open(folder.path(), options()).unwrap();
    engine.commit(batch(0)).unwrap();
    drop(engine);
    let floor = Options {
        free_space_floor: u64::MAX,
        ..options()
    };
    let engine = SledEngine::open(folder.path(), floor).unwrap();
    let effects = batch(2).split_off(2);
    assert_eq!(
        engine.commit(effects).unwrap(),
        [Outcome::Full, Outcome::Removed]
    );
}

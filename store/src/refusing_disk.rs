//! A disk that refuses: EIO and ENOSPC, at each of the engine's steps; and one that is nearly full.
//!
//! sled's own writes cannot be refused from here; `tests/full_disk.rs` does that.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::medium::{Disk, Medium};
use crate::power_cut::{batch, verdict};
use crate::suite::sample::{blob, entering, key, options};
use crate::suite::scene::{Ready, Scene, TOKENS};
use crate::{
    Change, Effect, Engine, Epochs, Options, Outcome, Payment, Reading, SledEngine, StoreError,
};

/// A disk that answers one operation with an error.
struct RefusingDisk {
    refuses: Refusal,
    armed: Mutex<bool>,
    /// No more bytes than these are free.
    free: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Refusal {
    Write,
    SyncOf(&'static str),
    Room,
    Replacement,
    Removal,
}

impl RefusingDisk {
    fn new(refuses: Refusal) -> Arc<Self> {
        Arc::new(RefusingDisk {
            refuses,
            armed: Mutex::new(false),
            free: AtomicU64::new(u64::MAX),
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
        for name in ["db", "blobs.slots", "in-use"] {
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
        self.ask(Refusal::Replacement, Errno::IO)?;
        Disk.replace(path, content)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        self.ask(Refusal::Removal, Errno::IO)?;
        Disk.remove_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let free = self.free.load(Ordering::Relaxed);
        Ok(Disk.free_bytes(folder)?.min(free))
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

/// What the mark of a store says.
fn mark(folder: &TempDir) -> String {
    let mark = std::fs::read_to_string(folder.path().join("in-use")).unwrap();
    mark.trim_end().to_owned()
}

#[test]
fn while_the_disk_refuses_the_store_stays_shut_and_its_mark_stays() {
    for refusal in [Refusal::SyncOf("db"), Refusal::Write] {
        let folder = TempDir::new().unwrap();
        let disk = RefusingDisk::new(refusal);
        let open = || {
            let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
            SledEngine::open_on(folder.path(), options(), medium)
        };
        let engine = open().unwrap();
        engine.commit(batch(0)).unwrap();
        let in_use = mark(&folder);
        disk.arm(true);
        assert!(engine.commit(batch(1)).is_err());
        drop(engine);
        for _ in 0..3 {
            assert_eq!(mark(&folder), in_use);
            assert!(open().is_err(), "{refusal:?}");
        }
        assert_eq!(mark(&folder), in_use);
        disk.arm(false);
        let engine = open().unwrap();
        assert_eq!(engine.read(&key(0)).unwrap(), Reading::Found(blob(0)));
        drop(engine);
        assert_eq!(mark(&folder), "closed");
        verdict(folder.path(), 1).unwrap();
    }
}

#[test]
fn a_store_is_not_opened_when_its_mark_cannot_be_made_durable() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::SyncOf("in-use"));
    let open = || {
        let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
        SledEngine::open_on(folder.path(), options(), medium)
    };
    drop(open().unwrap());
    disk.arm(true);
    assert!(matches!(open(), Err(StoreError::Io { .. })));
    disk.arm(false);
    assert!(open().is_ok());
}

#[test]
fn a_store_that_could_not_be_made_durable_at_its_end_was_not_closed_in_order() {
    for file in ["db", "blobs.slots"] {
        let folder = TempDir::new().unwrap();
        let disk = RefusingDisk::new(Refusal::SyncOf(file));
        let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
        let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
        engine.commit(batch(0)).unwrap();
        let in_use = mark(&folder);
        disk.arm(true);
        drop(engine);
        assert_eq!(mark(&folder), in_use, "{file}");
        verdict(folder.path(), 1).unwrap();
        assert_eq!(mark(&folder), "closed");
    }
}

#[test]
fn a_full_disk_opens_what_was_open_before_and_says_what_to_do_where_no_mark_can_be_made() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::Room);
    let open = || {
        let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
        SledEngine::open_on(folder.path(), options(), medium)
    };
    drop(open().unwrap());
    disk.arm(true);
    drop(open().unwrap());
    // As an earlier version left it.
    std::fs::remove_file(folder.path().join("in-use")).unwrap();
    for _ in 0..2 {
        let refused = open().err().unwrap();
        assert!(
            matches!(refused, StoreError::NoRoomToOpen { .. }),
            "{refused}"
        );
        assert!(!folder.path().join("in-use").exists());
    }
    disk.arm(false);
    assert!(open().is_ok());
}

fn enter(engine: &SledEngine, epoch: u32) -> Result<Epochs, StoreError> {
    engine
        .enter(entering(0, epoch))
        .map(|entered| entered.unwrap())
}

#[test]
fn inserts_leave_the_room_that_entering_an_epoch_needs() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::Room);
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    engine.commit(batch(0)).unwrap();
    let insert = |n| {
        vec![Effect::unpaid(Change::Insert {
            key: key(n),
            blob: blob(n),
            epoch: 0,
        })]
    };
    let index = || engine.index_bytes().unwrap();
    disk.free.store(index() - 1, Ordering::Relaxed);
    assert_eq!(engine.commit(insert(100)).unwrap(), [Outcome::Full]);
    // What others took of the room is missed before anything is begun.
    let folders = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = folders();
    let refused = enter(&engine, 1);
    assert!(matches!(refused, Err(StoreError::NoRoom { missing: 1 })));
    assert_eq!((folders(), engine.epochs().unwrap()), (before, None));

    disk.free.store(index(), Ordering::Relaxed);
    enter(&engine, 1).unwrap();
    // Nothing of it has stopped the engine.
    disk.free.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(engine.commit(insert(100)).unwrap(), [Outcome::Inserted]);
}

#[test]
fn a_row_or_claim_that_may_not_be_durable_is_not_shown() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::SyncOf("db"));
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    enter(&engine, 1).unwrap();
    let scene = Scene::new(1);
    let open = |n: u8| {
        Effect::unpaid(Change::OpenClaims {
            payment: Payment {
                id: [n; 32],
                tags: vec![scene.tag(n.into())],
                amount: TOKENS,
                expires: 1,
                paid: true,
            },
            now: 0,
        })
    };
    engine.commit(vec![open(0), open(1)]).unwrap();
    let [known, doubtful] = [0, 1].map(|n| scene.purchase(n));
    let settle = |ready: &Ready| vec![Effect::paid(Change::None, ready.entry.clone())];
    engine.commit(settle(&known)).unwrap();

    disk.arm(true);
    assert!(engine.commit(settle(&doubtful)).is_err());
    let stopped = |shown: Result<bool, StoreError>| matches!(shown, Err(StoreError::Stopped));
    let row = |ready: &Ready| engine.row(&ready.references()[0]).map(|row| row.is_some());
    let claim = |n| engine.claim(&scene.tag(n)).map(|claim| claim.is_some());
    assert!(stopped(row(&doubtful)) && stopped(claim(1)));
    assert!(row(&known).unwrap() && claim(0).unwrap());
    // Nor is what the batch did to the tokens.
    assert_eq!(engine.supply().unwrap().outstanding, u128::from(TOKENS));
}

#[test]
fn an_epoch_that_cannot_be_written_down_is_not_entered_and_work_goes_on() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::SyncOf("db"));
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    enter(&engine, 1).unwrap();
    engine.commit(batch(0)).unwrap();
    for _ in 0..2 {
        disk.arm(true);
        assert!(matches!(enter(&engine, 2), Err(StoreError::Io { .. })));
        disk.arm(false);
        assert_eq!(engine.epochs().unwrap().unwrap().ordinal, 1);
    }
    engine.commit(batch(1)).unwrap();
    assert_eq!(enter(&engine, 2).unwrap().ordinal, 2);
    engine.commit(batch(2)).unwrap();
    drop(engine);
    verdict(folder.path(), 3).unwrap();
}

#[test]
fn when_it_is_unknown_which_epoch_it_is_nothing_is_acknowledged_until_reopened() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::Replacement);
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    engine.commit(batch(0)).unwrap();
    disk.arm(true);
    assert!(matches!(enter(&engine, 1), Err(StoreError::Io { .. })));
    disk.arm(false);
    assert!(matches!(engine.commit(batch(1)), Err(StoreError::Stopped)));
    assert!(matches!(enter(&engine, 1), Err(StoreError::Stopped)));
    assert_eq!(engine.read(&key(0)).unwrap(), Reading::Found(blob(0)));
    drop(engine);
    verdict(folder.path(), 1).unwrap();
    let engine = SledEngine::open(folder.path(), options()).unwrap();
    assert_eq!(engine.epochs().unwrap(), None);
    assert_eq!(enter(&engine, 1).unwrap().ordinal, 1);
}

#[test]
fn an_epoch_is_entered_even_if_the_former_index_cannot_be_removed() {
    let folder = TempDir::new().unwrap();
    let disk = RefusingDisk::new(Refusal::Removal);
    let medium: Arc<dyn Medium> = Arc::<RefusingDisk>::clone(&disk);
    let engine = SledEngine::open_on(folder.path(), options(), medium).unwrap();
    engine.commit(batch(0)).unwrap();
    disk.arm(true);
    assert!(matches!(enter(&engine, 1), Err(StoreError::Io { .. })));
    assert_eq!(engine.epochs().unwrap().unwrap().ordinal, 1);
    engine.commit(batch(1)).unwrap();
    drop(engine);
    assert!(folder.path().join("index").exists());
    verdict(folder.path(), 2).unwrap();
    assert!(!folder.path().join("index").exists(), "the opening did it");
}

#[test]
fn a_full_disk_refuses_inserts_and_new_cells_and_takes_deletes_and_opens() {
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
        Outcome::CellsDropped(1),
        Outcome::Full,
    ];
    assert_eq!(outcomes[..6], expected);
    assert!(matches!(outcomes[6], Outcome::CellDoomed(_)));
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
fn below_the_floor_inserts_and_new_cells_are_refused_and_deletes_and_opens_are_not() {
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
    let expected = [
        Outcome::Full,
        Outcome::Removed,
        Outcome::CellsDropped(0),
        Outcome::Full,
        // That of the batch which never was.
        Outcome::Absent,
    ];
    assert_eq!(engine.commit(effects).unwrap(), expected);
    // What is there can be opened, and be replaced in its place.
    let opened = engine.commit(batch(1).split_off(5)).unwrap();
    assert!(matches!(opened[..], [Outcome::CellDoomed(_)]));
    let newer = batch(0).split_off(4).into_iter().map(|mut effect| {
        if let Change::PutCell { sequence, .. } = &mut effect.change {
            *sequence += 1;
        }
        effect
    });
    let outcomes = engine.commit(newer.collect()).unwrap();
    assert_eq!(outcomes, [Outcome::CellStored]);
}

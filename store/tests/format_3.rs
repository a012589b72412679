//! Backward compatibility: a store that version 3 of the index's format wrote, which is version 2
//! and breakglass cells.
//!
//! The files under `tests/fixtures/format-3` are never written again. When the format
//! changes, a new fixture joins them, and this one must still be read, or be refused as
//! [`larder_store::StoreError::UnknownFormat`].
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::fs;
use std::path::{Path, PathBuf};

use larder_credentials::Epoch;
use larder_credentials::ledger::Floor;
use larder_store::suite::sample::{blob, cell, key};
use larder_store::{
    Change, Effect, Engine, Enter, Options, Outcome, Reading, SledEngine, StoredCell,
};

const FILES: [&str; 4] = [
    "blobs.slots",
    "index.current",
    "index-0001/db",
    "index-0001/conf",
];

/// When the doomed cell of the fixture is gone.
const DEADLINE: u64 = 5_000;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-3")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("index-0001")).unwrap();
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

fn open(folder: &Path) -> SledEngine {
    let options = Options {
        cache_bytes: 4 << 20,
        free_space_floor: 0,
        growth_slots: 4,
        ..Options::default()
    };
    SledEngine::open(folder, options).unwrap()
}

fn put(n: u64, sequence: u64) -> Effect {
    Effect::unpaid(Change::PutCell {
        key: key(n),
        sequence,
        cell: Box::new(cell(n)),
        now: 0,
    })
}

fn doom(n: u64) -> Effect {
    Effect::unpaid(Change::DoomCell {
        key: key(n),
        deadline: DEADLINE,
        now: 0,
    })
}

fn enter(epoch: u32) -> Enter {
    Enter {
        floor: Floor {
            oldest: Epoch(epoch),
            current: Epoch(epoch),
        },
        since: 0,
        terms: Vec::new(),
        tombstones_before: 0,
    }
}

fn stored(n: u64, sequence: u64, deadline: Option<u64>) -> StoredCell {
    StoredCell {
        sequence,
        cell: cell(n),
        deadline,
    }
}

#[test]
fn a_store_of_format_3_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), folder.path());
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(0)).unwrap(), Reading::Found(blob(0)));
    let before = DEADLINE - 1;
    let there = |n| engine.cell(&key(n), before).unwrap();
    assert_eq!(there(0), Some(stored(0, 7, None)));
    assert_eq!(there(1), Some(stored(1, 8, Some(DEADLINE))));
    assert_eq!(there(2), Some(stored(2, 9, Some(DEADLINE))));
    assert_eq!(there(3), None);
    assert_eq!(engine.cell(&key(1), DEADLINE).unwrap(), None);
    assert_eq!(engine.usage().unwrap().cells, 3);

    let batch = vec![
        put(0, 6),
        put(2, 10),
        put(3, 0),
        Effect::unpaid(Change::DropCells { now: DEADLINE }),
    ];
    let expected = [
        Outcome::StaleSequence(7),
        Outcome::CellStored,
        Outcome::CellStored,
        Outcome::CellsDropped(1),
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    engine.enter(enter(2)).unwrap().unwrap();
    drop(engine);
    let engine = open(folder.path());
    let there = |n| engine.cell(&key(n), u64::MAX).unwrap();
    assert_eq!(there(0), Some(stored(0, 7, None)));
    assert_eq!(there(1), None);
    assert_eq!(there(2), Some(stored(2, 10, None)));
    assert_eq!(there(3), Some(stored(3, 0, None)));
}

#[test]
#[ignore = "wrote the fixture, once; it refuses to write over one"]
fn write_the_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    let insert = Effect::unpaid(Change::Insert {
        key: key(0),
        blob: blob(0),
        epoch: 0,
    });
    let batch = vec![insert, put(0, 7), put(1, 8), put(2, 9), doom(1), doom(2)];
    engine.commit(batch).unwrap();
    engine.enter(enter(1)).unwrap().unwrap();
    drop(engine);
    fs::create_dir(fixture()).unwrap();
    copy(folder.path(), &fixture());
}

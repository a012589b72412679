//! Backward compatibility: a store that version 1 of the on-disk format wrote.
//!
//! The files under `tests/fixtures/format-1` are never written again. When the format
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
use larder_store::suite::sample::{blob, key};
use larder_store::{Change, Effect, Engine, Enter, Options, Outcome, Reading, SledEngine, Stat};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
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

fn insert(n: u64) -> Effect {
    Effect::unpaid(Change::Insert {
        key: key(n),
        blob: blob(n),
        epoch: 0,
    })
}

fn delete(n: u64, epoch: u32) -> Effect {
    Effect::unpaid(Change::Delete {
        key: key(n),
        blob_hash: blob(n).hash(),
        epoch,
    })
}

#[test]
fn a_store_of_format_1_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("index")).unwrap();
    for file in ["blobs.slots", "index/db", "index/conf"] {
        fs::copy(fixture().join(file), folder.path().join(file)).unwrap();
    }

    let engine = open(folder.path());
    for n in [0, 1] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Deleted);
    }
    for n in [2, 3] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Found(blob(n)));
    }
    assert_eq!(engine.read(&key(4)).unwrap(), Reading::Absent);
    let usage = engine.usage().unwrap();
    assert_eq!((usage.blobs, usage.tombstones), (2, 2));

    let batch = vec![insert(0), delete(3, 8), insert(4), insert(5), insert(6)];
    let expected = [
        Outcome::Deleted,
        Outcome::Removed,
        Outcome::Inserted,
        Outcome::Inserted,
        Outcome::Inserted,
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(3)).unwrap(), Reading::Deleted);
    for n in [2, 4, 5, 6] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Found(blob(n)));
    }

    // Entering an epoch makes it one of the present format.
    let next = Enter {
        floor: Floor {
            oldest: Epoch(1),
            current: Epoch(1),
        },
        since: 0,
        terms: Vec::new(),
        tombstones_before: 8,
    };
    engine.enter(next).unwrap().unwrap();
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Absent);
    assert_eq!(engine.read(&key(3)).unwrap(), Reading::Deleted);
    for n in [2, 4, 5, 6] {
        let blob_hash = blob(n).hash();
        let stat = Stat::Present {
            blob_hash,
            epoch: 0,
        };
        assert_eq!(engine.stat(&key(n)).unwrap(), stat);
    }
}

#[test]
#[ignore = "wrote the fixture, once; it refuses to write over one"]
fn write_the_fixture() {
    let folder = tempfile::tempdir().unwrap();
    let engine = open(folder.path());
    engine.commit((0..4).map(insert).collect()).unwrap();
    engine.commit(vec![delete(0, 0)]).unwrap();
    engine.commit(vec![delete(1, 7)]).unwrap();
    drop(engine);
    fs::create_dir(fixture()).unwrap();
    fs::create_dir(fixture().join("index")).unwrap();
    for file in ["blobs.slots", "index/db", "index/conf"] {
        fs::copy(folder.path().join(file), fixture().join(file)).unwrap();
    }
}

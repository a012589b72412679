//! Version 1: blobs and tombstones, in the folder `index`.

use larder_store::suite::sample::{blob, entering, key};
use larder_store::{Change, Effect, Engine, Enter, Outcome, Reading, Stat};

use crate::{open, store};

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
    let folder = store("format-1", "index");
    let engine = open(&folder);
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
    let engine = open(&folder);
    assert_eq!(engine.read(&key(3)).unwrap(), Reading::Deleted);
    for n in [2, 4, 5, 6] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Found(blob(n)));
    }

    // Entering an epoch makes it one of the present format.
    let next = Enter {
        tombstones_before: 8,
        ..entering(1, 1)
    };
    engine.enter(next).unwrap().unwrap();
    drop(engine);
    let engine = open(&folder);
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

//! What an engine answers, one test each.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_protocol::{BlobHash, ServerKey};

use super::Open;
use super::sample::{blob, entering, key};
use crate::{Change, DoubtedClock, Effect, Engine, Epochs, Notes, Outcome, Reading, Stat};

/// Says that a blob is stored.
fn present(blob_number: u64) -> Stat {
    Stat::Present {
        blob_hash: blob(blob_number).hash(),
        epoch: 0,
    }
}

fn insert(key_number: u64, blob_number: u64) -> Effect {
    Effect::unpaid(Change::Insert {
        key: key(key_number),
        blob: blob(blob_number),
        epoch: 0,
    })
}

fn delete(key_number: u64, blob_number: u64, epoch: u32) -> Effect {
    Effect::unpaid(Change::Delete {
        key: key(key_number),
        blob_hash: blob(blob_number).hash(),
        epoch,
    })
}

/// Commits one effect alone.
pub(super) fn commit(engine: &dyn Engine, effect: Effect) -> Outcome {
    let outcomes = engine.commit(vec![effect]).expect("it commits");
    assert_eq!(outcomes.len(), 1, "one effect, one outcome");
    outcomes.into_iter().next().expect("it is there")
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A blob comes back byte for byte, and its hash without reading it.
pub fn an_inserted_blob_is_read_back(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Absent);
    assert_eq!(engine.stat(&key(1)).unwrap(), Stat::Absent);
    assert_eq!(commit(&*engine, insert(1, 1)), Outcome::Inserted);
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(1)));
    assert_eq!(engine.stat(&key(1)).unwrap(), present(1));
    assert_eq!(engine.read(&key(2)).unwrap(), Reading::Absent);
}

/// A second insert changes nothing and names what is there, the same blob or another.
pub fn a_key_is_inserted_once(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    commit(&*engine, insert(1, 1));
    let exists = Outcome::AlreadyExists(blob(1).hash());
    assert_eq!(commit(&*engine, insert(1, 1)), exists);
    assert_eq!(commit(&*engine, insert(1, 2)), exists);
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(1)));
}

/// A tombstone refuses inserts and answers further deletes.
pub fn a_deleted_key_stays_deleted(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(commit(&*engine, delete(1, 1, 0)), Outcome::Absent);
    commit(&*engine, insert(1, 1));
    assert_eq!(commit(&*engine, delete(1, 1, 0)), Outcome::Removed);
    assert_eq!(commit(&*engine, delete(1, 1, 0)), Outcome::Deleted);
    assert_eq!(commit(&*engine, insert(1, 1)), Outcome::Deleted);
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Deleted);
    assert_eq!(engine.stat(&key(1)).unwrap(), Stat::Deleted);
}

/// A delete that was signed over another blob does nothing.
pub fn a_delete_needs_the_stored_blobs_hash(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    commit(&*engine, insert(1, 1));
    assert_eq!(
        commit(&*engine, delete(1, 2, 0)),
        Outcome::HashMismatch(blob(1).hash())
    );
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(1)));
}

/// A batch is a sequence, not a set.
pub fn effects_on_one_key_in_one_batch_take_place_in_order(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let batch = vec![
        delete(1, 1, 0),
        insert(1, 1),
        insert(2, 2),
        insert(1, 3),
        delete(1, 3, 0),
        delete(1, 1, 0),
        insert(1, 1),
        insert(4, 4),
        insert(4, 5),
    ];
    let expected = [
        Outcome::Absent,
        Outcome::Inserted,
        Outcome::Inserted,
        Outcome::AlreadyExists(blob(1).hash()),
        Outcome::HashMismatch(blob(1).hash()),
        Outcome::Removed,
        Outcome::Deleted,
        Outcome::Inserted,
        Outcome::AlreadyExists(blob(4).hash()),
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Deleted);
    assert_eq!(engine.read(&key(2)).unwrap(), Reading::Found(blob(2)));
    assert_eq!(engine.read(&key(4)).unwrap(), Reading::Found(blob(4)));
}

/// Closing and opening changes nothing, and the room of what was deleted is used again.
pub fn what_was_committed_is_there_after_reopening(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    engine
        .commit((0..20).map(|n| insert(n, n)).collect())
        .unwrap();
    engine
        .commit((0..10).map(|n| delete(n, n, 0)).collect())
        .unwrap();
    drop(engine);
    let engine = open(folder.path());
    engine
        .commit((20..30).map(|n| insert(n, n)).collect())
        .unwrap();
    drop(engine);
    let engine = open(folder.path());
    for n in 0..10 {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Deleted);
    }
    for n in 10..30 {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Found(blob(n)));
    }
}

/// A tombstone holds whichever epoch it was written in.
pub fn tombstones_of_every_epoch_count(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let epochs = [0, 1, 7, u32::MAX];
    for (n, epoch) in (0..).zip(epochs) {
        commit(&*engine, insert(n, n));
        assert_eq!(commit(&*engine, delete(n, n, epoch)), Outcome::Removed);
    }
    drop(engine);
    let engine = open(folder.path());
    for (n, _) in (0..).zip(epochs) {
        assert_eq!(engine.stat(&key(n)).unwrap(), Stat::Deleted);
        assert_eq!(commit(&*engine, insert(n, n)), Outcome::Deleted);
    }
}

/// However many insert one key at once, one of them does, and all others hear whose it is.
pub fn of_racing_inserts_one_wins(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let engine = &engine;
                    move || commit(&**engine, insert(1, n))
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    });
    let winners: Vec<u64> = (0..8)
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Outcome::Inserted)
        .map(|(n, _)| n)
        .collect();
    let [winner] = winners[..] else {
        panic!("{} inserts of one key took place", winners.len());
    };
    let lost = Outcome::AlreadyExists(blob(winner).hash());
    assert_eq!(
        outcomes.iter().filter(|outcome| **outcome == lost).count(),
        7
    );
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(winner)));
}

/// Readers race a writer that deletes and reuses the room at once: they see the key's own
/// blob or none.
pub fn a_read_beside_deletes_never_shows_other_bytes(open: Open) {
    const ROUNDS: u64 = 200;
    const LIVE: u64 = 4;
    let folder = folder();
    let engine = open(folder.path());
    let newest = AtomicU64::new(0);
    let found = AtomicU64::new(0);
    let hashes: Vec<BlobHash> = (0..ROUNDS).map(|n| blob(n).hash()).collect();
    let keys: Vec<_> = (0..ROUNDS).map(key).collect();
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (engine, newest, found) = (&engine, &newest, &found);
            let (hashes, keys) = (&hashes, &keys);
            scope.spawn(move || {
                let mut n = 0;
                while n < ROUNDS - 1 {
                    n = newest.load(Ordering::Acquire);
                    let number = n.saturating_sub(reader);
                    let at = usize::try_from(number).unwrap();
                    match engine.read(&keys[at]).expect("a race is not corruption") {
                        Reading::Found(read) => {
                            assert!(read.hash() == hashes[at], "another blob was served");
                            found.fetch_add(1, Ordering::Relaxed);
                        }
                        Reading::Absent | Reading::Deleted => {}
                    }
                }
            });
        }
        for n in 0..ROUNDS {
            let mut batch = vec![insert(n, n)];
            if let Some(old) = n.checked_sub(LIVE) {
                batch.push(delete(old, old, 0));
            }
            engine.commit(batch).unwrap();
            newest.store(n, Ordering::Release);
        }
    });
    assert!(found.load(Ordering::Relaxed) > 0, "no read met a blob");
}

/// The operator's counts follow inserts and deletes, and survive reopening.
pub fn usage_counts_blobs_and_tombstones(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let counts = |engine: &dyn Engine| {
        let usage = engine.usage().unwrap();
        assert!(usage.disk_bytes > 0 && usage.free_bytes > 0);
        (usage.blobs, usage.tombstones)
    };
    assert_eq!(counts(&*engine), (0, 0));
    engine
        .commit((0..5).map(|n| insert(n, n)).collect())
        .unwrap();
    engine
        .commit(vec![delete(0, 0, 0), delete(1, 1, 3), delete(9, 9, 0)])
        .unwrap();
    assert_eq!(counts(&*engine), (3, 2));
    drop(engine);
    assert_eq!(counts(&*open(folder.path())), (3, 2));
}

/// A store is the first server's that it was said to be, whatever is said afterwards.
pub fn a_store_has_one_owner_for_good(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(engine.notes().unwrap(), Notes::default());
    let [first, second] = [1, 2].map(|number| {
        let server = ServerKey::from_slice(key(number).as_bytes());
        server.expect("a point")
    });
    let own = |server| Effect::unpaid(Change::Own { server });
    let outcomes = engine.commit(vec![own(first), own(second)]).unwrap();
    assert_eq!(outcomes, [Outcome::Settled, Outcome::OwnedByAnother]);
    drop(engine);
    let engine = open(folder.path());
    engine.enter(entering(1, 1)).unwrap().unwrap();
    assert_eq!(commit(&*engine, own(first)), Outcome::Settled);
    assert_eq!(commit(&*engine, own(second)), Outcome::OwnedByAnother);
    assert_eq!(engine.notes().unwrap().owner, Some(first));
}

/// And nothing else of it changes.
pub fn the_present_epoch_can_be_dated_anew_and_a_store_without_any_has_none_then(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let date = || Effect::unpaid(Change::DateEpoch { since: 5 });
    assert_eq!(commit(&*engine, date()), Outcome::Settled);
    assert_eq!(engine.epochs().unwrap(), None);
    let entered = engine.enter(entering(1, 1)).unwrap().unwrap();
    assert_ne!(entered.since, 5);
    assert_eq!(commit(&*engine, date()), Outcome::Settled);
    drop(engine);
    let dated = open(folder.path()).epochs().unwrap();
    assert_eq!(
        dated,
        Some(Epochs {
            since: 5,
            ..entered
        })
    );
}

/// Also when it is earlier than the one before.
pub fn the_time_that_was_noted_last_is_remembered(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let note = |now, doubt| Effect::unpaid(Change::NoteTime { now, doubt });
    let doubted = |says| Some(DoubtedClock { says, steady: 3 });
    for (now, doubt) in [
        (5, None),
        (9, doubted(1)),
        (9, None),
        (8, doubted(2)),
        (7, doubted(1)),
    ] {
        assert_eq!(commit(&*engine, note(now, doubt)), Outcome::Settled);
        let notes = engine.notes().unwrap();
        assert_eq!((notes.time, notes.doubt), (Some(now), doubt));
    }
    engine.enter(entering(1, 1)).unwrap().unwrap();
    drop(engine);
    let notes = open(folder.path()).notes().unwrap();
    assert_eq!((notes.time, notes.doubt), (Some(7), doubted(1)));
}

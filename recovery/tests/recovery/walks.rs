//! Everything comes back from the root key alone.

use std::sync::{Arc, Mutex};

use larder_protocol::{Blob, Key, Op};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::walk::{Found, Progress, Step};
use larder_recovery::{Lane, Provider, Purpose, RecoveryError, Schedule, Sequence, Slot, Walk};
use proptest::prelude::*;

use crate::sequences::value;
use crate::shelf::{Shelf, root};

async fn fill(shelf: &Shelf, lengths: &[usize]) -> Sequence {
    let mut sequence = Sequence::start(&root(1), shelf.connect(1).await);
    for (counter, &len) in lengths.iter().enumerate() {
        sequence
            .append(&value(len, counter as u8))
            .await
            .expect("honest");
    }
    sequence
}

async fn walk(provider: Arc<Provider>) -> (Vec<Step>, Sequence) {
    let mut walk = Walk::new(Sequence::start(&root(1), provider));
    let mut steps = Vec::new();
    while let Some(step) = walk.next().await.expect("honest") {
        steps.push(step);
    }
    (steps, walk.finish())
}

fn head(counter: u64, shelf: &Shelf) -> Key {
    let schedule = Schedule::new(root(1), *shelf.address().server_key());
    let lane = Lane::default();
    schedule.key(&Slot {
        purpose: Purpose::Main,
        lane,
        generation: 0,
        index: counter,
    })
}

#[tokio::test]
async fn a_walk_restores_every_value_in_order_and_ends_where_the_next_one_goes() {
    let shelf = Shelf::new();
    let lengths = [10, 0, 5 * BODY_MAX, BODY_MAX, 3, 40 * BODY_MAX];
    let written = fill(&shelf, &lengths).await;
    let (steps, mut sequence) = walk(shelf.connect(2).await).await;
    let expected: Vec<Step> = lengths
        .iter()
        .enumerate()
        .map(|(counter, &len)| Step {
            counter: counter as u64,
            found: Found::Value(value(len, counter as u8)),
        })
        .collect();
    assert!(steps == expected);
    assert_eq!(sequence.position(), written.position());
    assert_eq!(sequence.append(b"and on").await, Ok(lengths.len() as u64));
}

#[tokio::test]
async fn a_walk_of_nothing_ends_at_the_start() {
    let shelf = Shelf::new();
    let (steps, sequence) = walk(shelf.connect(1).await).await;
    assert!(steps.is_empty());
    assert_eq!(sequence.position(), larder_recovery::Position::START);
}

#[tokio::test]
async fn a_walk_steps_over_deleted_values_and_over_a_forgotten_tombstone() {
    let shelf = Shelf::new();
    let sequence = fill(&shelf, &[5; 60]).await;
    for counter in 10..50 {
        sequence.delete(counter).await.expect("honest");
    }
    let (steps, _) = walk(shelf.connect(2).await).await;
    let deleted = steps
        .iter()
        .filter(|step| step.found == Found::Deleted)
        .count();
    assert_eq!((steps.len(), deleted), (60, 40));

    let shelf = Shelf::new();
    let sequence = fill(&shelf, &[5; 30]).await;
    for counter in 10..20 {
        sequence.delete(counter).await.expect("honest");
    }
    shelf.forget_tombstones();
    let (steps, sequence) = walk(shelf.connect(2).await).await;
    assert_eq!(steps.len(), 20);
    assert_eq!(sequence.position().next, 30);
}

#[tokio::test]
async fn a_delete_that_was_cut_short_is_found_and_can_be_finished() {
    let shelf = Shelf::new();
    let sequence = fill(&shelf, &[5, 3 * BODY_MAX, 5]).await;
    // All but the head: what a kill between the two leaves behind.
    let key = head(1, &shelf);
    let head = shelf.blobs()[&key].clone();
    sequence.delete(1).await.expect("honest");
    shelf.tamper(key, Some(head));
    let (steps, sequence) = walk(shelf.connect(2).await).await;
    assert_eq!(steps[1].found, Found::HalfDeleted);
    assert_eq!(steps.len(), 3);
    assert_eq!(sequence.delete(1).await, Ok(1));
    assert_eq!(sequence.read(1).await, Ok(Found::Deleted));
}

#[tokio::test]
async fn a_provider_that_lost_or_changed_part_of_a_value_is_named_and_the_rest_still_comes_back() {
    let shelf = Shelf::new();
    fill(&shelf, &[5, 3 * BODY_MAX, 5, 5]).await;
    let heads: Vec<Key> = (0..4).map(|counter| head(counter, &shelf)).collect();
    let chunk = *shelf
        .blobs()
        .keys()
        .find(|key| !heads.contains(key))
        .expect("a chunk");
    shelf.tamper(chunk, None);
    let other = shelf.blobs()[&heads[3]].clone();
    shelf.tamper(heads[2], Some(other));
    let (steps, _) = walk(shelf.connect(2).await).await;
    let found: Vec<&Found> = steps.iter().map(|step| &step.found).collect();
    assert_eq!(found[0], &Found::Value(value(5, 0)));
    assert_eq!(found[1], &Found::Lost);
    assert_eq!(found[2], &Found::Foreign);
    assert_eq!(found[3], &Found::Value(value(5, 3)));
}

#[tokio::test]
async fn an_endless_stream_of_foreign_blobs_ends_the_walk() {
    let shelf = Shelf::new();
    let blob = Blob::try_from(vec![5; larder_protocol::BLOB_LEN]).expect("a blob");
    for counter in 0..100 {
        shelf.tamper(head(counter, &shelf), Some(blob.clone()));
    }
    let mut walk = Walk::new(Sequence::start(&root(1), shelf.connect(1).await));
    let error = loop {
        match walk.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RecoveryError::Misbehaved(_)));
}

#[tokio::test]
async fn an_endless_history_of_deletes_is_asked_about_and_can_be_walked_on() {
    let shelf = Shelf::new();
    fill(&shelf, &[5]).await;
    shelf.lies(crate::shelf::Lie::AllDeleted);
    let sequence = Sequence::start(&root(1), shelf.connect(2).await);
    let mut walk = Walk::new(sequence).with_patience(50);
    for asked in 1..4 {
        let error = loop {
            match walk.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended"),
                Err(error) => break error,
            }
        };
        assert_eq!(error, RecoveryError::NothingFound { counters: 50 });
        assert_eq!(walk.position().next, 50 * asked + 1);
    }
}

#[tokio::test]
async fn foreign_blobs_between_deleted_ones_end_the_walk() {
    let shelf = Shelf::new();
    let blob = Blob::try_from(vec![5; larder_protocol::BLOB_LEN]).expect("a blob");
    for counter in (0..200).step_by(2) {
        shelf.tamper(head(counter, &shelf), Some(blob.clone()));
    }
    shelf.lies(crate::shelf::Lie::AllDeleted);
    let mut walk = Walk::new(Sequence::start(&root(1), shelf.connect(1).await));
    let error = loop {
        match walk.next().await {
            Ok(step) => assert!(
                step.is_some_and(|step| step.counter < 50),
                "it goes on for ever"
            ),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RecoveryError::Misbehaved(_)));
}

#[tokio::test]
async fn the_foremost_value_is_finished_before_those_behind_it_are_read() {
    let shelf = Shelf::new();
    fill(&shelf, &[40 * BODY_MAX; 16]).await;
    let before = shelf.count(Op::Lookup);
    let mut walk = Walk::new(Sequence::start(&root(1), shelf.connect(2).await));
    walk.next().await.expect("honest");
    let needed = 41;
    let read = shelf.count(Op::Lookup) - before;
    // Beyond its own blobs only what fills the window, and the heads.
    assert!(
        read <= needed + 32 + 16,
        "{read} look-ups for the first of sixteen values"
    );
}

#[tokio::test]
async fn what_was_read_before_an_error_is_not_read_again() {
    let shelf = Shelf::new();
    fill(&shelf, &[100 * BODY_MAX, 5, 5]).await;
    let before = shelf.count(Op::Lookup);
    let mut walk = Walk::new(Sequence::start(&root(1), shelf.connect(2).await));
    let broken = shelf.clone();
    let mut blobs = 0;
    walk.on_progress(move |_| {
        blobs += 1;
        // One look-up fails for good in the middle of the value.
        broken.loses(if blobs == 60 { 255 } else { 0 }, 0, 1);
    });
    let mut errors = 0;
    let mut values = 0;
    loop {
        match walk.next().await {
            Ok(Some(step)) => values += usize::from(matches!(step.found, Found::Value(_))),
            Ok(None) => break,
            Err(_) => {
                errors += 1;
                shelf.loses(0, 0, 1);
            }
        }
    }
    assert!(errors > 0, "nothing failed");
    assert_eq!(values, 3);
    let read = shelf.count(Op::Lookup) - before;
    // 103 blobs, and the sixteen absent counters behind them.
    assert_eq!(read, 103 + 16, "something was read twice");
}

#[test]
fn a_value_does_not_show_in_debug() {
    let step = Step {
        counter: 1,
        found: Found::Value(b"secret".to_vec()),
    };
    assert_eq!(
        format!("{step:?}"),
        "Step { counter: 1, found: Value(6 bytes) }"
    );
    let conflict = RecoveryError::Conflict {
        counter: 1,
        theirs: Some(b"secret".to_vec()),
    };
    assert!(!format!("{conflict:?}").contains("115"), "a list of bytes");
}

#[tokio::test]
async fn a_provider_that_shows_two_histories_is_caught() {
    // Two shelves of one identity: the same device, restored from a stale copy of the provider.
    let (one, two) = (Shelf::of(1), Shelf::of(1));
    fill(&one, &[5, 6]).await;
    fill(&two, &[7, 8]).await;
    let second = head(1, &one);
    one.tamper(second, Some(two.blobs()[&second].clone()));
    let mut walk = Walk::new(Sequence::start(&root(1), one.connect(2).await));
    assert!(walk.next().await.is_ok());
    assert!(matches!(
        walk.next().await,
        Err(RecoveryError::Misbehaved(_))
    ));
}

#[tokio::test]
async fn a_walk_goes_on_where_it_stopped_and_after_an_error() {
    let shelf = Shelf::new();
    fill(&shelf, &[5_000; 50]).await;
    let provider = shelf.connect(2).await;
    let mut counters = Vec::new();
    let mut sequence = Sequence::start(&root(1), provider.clone());
    // A new walk for every three values, as if the wallet was killed in between.
    loop {
        let mut walk = Walk::new(sequence);
        let mut steps = 0;
        while steps < 3 {
            match walk.next().await {
                Ok(Some(step)) => {
                    counters.push(step.counter);
                    steps += 1;
                }
                Ok(None) => break,
                Err(error) => panic!("{error}"),
            }
        }
        let position = walk.position();
        sequence = Sequence::resume(
            &root(1),
            provider.clone(),
            Purpose::Main,
            Lane::default(),
            position,
        );
        if steps < 3 {
            break;
        }
    }
    assert_eq!(counters, (0..50).collect::<Vec<u64>>());

    let mut walk = Walk::new(Sequence::start(&root(1), provider));
    shelf.loses(255, 255, 1);
    assert!(matches!(
        walk.next().await,
        Err(RecoveryError::Unreachable(_))
    ));
    shelf.loses(0, 0, 1);
    let mut rest = 0;
    while walk.next().await.expect("honest again").is_some() {
        rest += 1;
    }
    assert_eq!(rest, 50);
}

#[tokio::test]
async fn progress_reaches_every_blob_and_byte() {
    let shelf = Shelf::new();
    let lengths = [10, 5 * BODY_MAX + 1, 20];
    fill(&shelf, &lengths).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = seen.clone();
    let mut walk = Walk::new(Sequence::start(&root(1), shelf.connect(2).await));
    walk.on_progress(move |progress: Progress| listener.lock().expect("no panic").push(progress));
    while walk.next().await.expect("honest").is_some() {}
    let seen = seen.lock().expect("no panic");
    let bytes = lengths.iter().sum::<usize>() as u64;
    let blobs = shelf.blobs().len() as u64;
    assert_eq!(
        seen.last(),
        Some(&Progress {
            blobs,
            blobs_known: blobs,
            bytes
        })
    );
    assert_eq!(seen.len() as u64, blobs);
    assert!(
        seen.iter()
            .all(|progress| progress.blobs <= progress.blobs_known)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Random values and deletes under loss, then total loss, against a plain list.
    #[test]
    fn what_was_acknowledged_comes_back(
        seed: u64,
        values in prop::collection::vec((0..3 * BODY_MAX, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let shelf = Shelf::new();
            shelf.loses(60, 60, seed);
            let mut sequence = Sequence::start(&root(1), shelf.connect(seed).await);
            let mut model = Vec::new();
            for (counter, &(len, deleted)) in values.iter().enumerate() {
                let value = value(len, counter as u8);
                sequence.append(&value).await.expect("fifty tries");
                model.push(if deleted { Found::Deleted } else { Found::Value(value) });
            }
            for (counter, found) in model.iter().enumerate() {
                if *found == Found::Deleted {
                    sequence.delete(counter as u64).await.expect("fifty tries");
                }
            }
            drop(sequence);
            let (steps, _) = walk(shelf.connect(seed ^ 1).await).await;
            let found: Vec<Found> = steps.into_iter().map(|step| step.found).collect();
            assert!(found == model, "seed {seed}");
        });
    }
}

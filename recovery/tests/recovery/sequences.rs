//! Values by counter: stored once, read back, deleted, never overwritten.

use larder_protocol::{BlobHash, Op};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::walk::Found;
use larder_recovery::{Lane, Position, Purpose, RecoveryError, Sequence};

use crate::shelf::{Shelf, root};

/// A value that no other length or seed begins like.
pub(crate) fn value(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u64).wrapping_mul(2_654_435_761).to_be_bytes()[5] ^ seed)
        .collect()
}

#[tokio::test]
async fn values_of_every_size_read_back() {
    let shelf = Shelf::new();
    let mut sequence = Sequence::start(&root(1), shelf.connect(1).await);
    let lengths = [
        0,
        1,
        BODY_MAX - 1,
        BODY_MAX,
        BODY_MAX + 1,
        2 * BODY_MAX,
        40 * BODY_MAX + 17,
    ];
    for (counter, len) in lengths.into_iter().enumerate() {
        assert_eq!(
            sequence.append(&value(len, 1)).await,
            Ok(counter as u64),
            "{len}"
        );
    }
    for (counter, len) in lengths.into_iter().enumerate() {
        assert_eq!(
            sequence.read(counter as u64).await,
            Ok(Found::Value(value(len, 1))),
            "{len}"
        );
    }
    assert_eq!(sequence.read(lengths.len() as u64).await, Ok(Found::Absent));
}

#[tokio::test]
async fn continuations_go_before_the_head() {
    let shelf = Shelf::new();
    let mut sequence = Sequence::start(&root(1), shelf.connect(1).await);
    sequence
        .append(&value(3 * BODY_MAX, 1))
        .await
        .expect("honest");
    let last = shelf.log().pop().expect("requests arrived");
    let before = shelf.blobs().len();
    // Without the last request that arrived there is no head, and so no value.
    let body = larder_protocol::envelope::unwrap(&last).expect("an envelope");
    let request = larder_protocol::Request::decode(body).expect("a request");
    shelf.tamper(*request.call.key().expect("an insert"), None);
    assert_eq!((before, shelf.blobs().len()), (4, 3));
    assert_eq!(sequence.read(0).await, Ok(Found::Absent));
}

#[tokio::test]
async fn a_deleted_value_is_gone_with_all_its_blobs_and_its_counter_is_never_used_again() {
    let shelf = Shelf::new();
    let mut sequence = Sequence::start(&root(1), shelf.connect(1).await);
    sequence
        .append(&value(3 * BODY_MAX, 1))
        .await
        .expect("honest");
    assert_eq!(sequence.delete(0).await, Ok(4));
    assert!(shelf.blobs().is_empty());
    assert_eq!(sequence.read(0).await, Ok(Found::Deleted));
    assert_eq!(sequence.delete(0).await, Ok(0), "again");
    assert_eq!(sequence.delete(7).await, Ok(0), "never written");

    let mut forgetful = Sequence::start(&root(1), shelf.connect(2).await);
    let result = forgetful.append(b"over a tombstone").await;
    assert_eq!(
        result,
        Err(RecoveryError::Conflict {
            counter: 0,
            theirs: None
        })
    );
}

#[tokio::test]
async fn a_second_device_gets_a_conflict_with_what_the_first_one_wrote_and_writes_nothing() {
    let shelf = Shelf::new();
    let [mut first, mut second] =
        [shelf.connect(1).await, shelf.connect(2).await].map(|p| Sequence::start(&root(1), p));
    for theirs in [value(10, 1), value(3 * BODY_MAX, 2)] {
        let counter = first.append(&theirs).await.expect("first");
        let before = shelf.blobs();
        let conflict = RecoveryError::Conflict {
            counter,
            theirs: Some(theirs.clone()),
        };
        assert_eq!(second.append(b"other").await, Err(conflict));
        assert!(shelf.blobs() == before);
        // The same value is no conflict: it might as well be our own lost try.
        assert_eq!(second.append(&theirs).await, Ok(counter));
    }
}

#[tokio::test]
async fn lanes_purposes_and_roots_do_not_see_each_other() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let lanes = [
        (1, Purpose::Main, Lane::default()),
        (1, Purpose::Channel, Lane::default()),
        (1, Purpose::Channel, Lane([1; 32])),
        (2, Purpose::Main, Lane::default()),
    ];
    for (seed, purpose, lane) in lanes {
        let start = Position::START;
        let mut sequence = Sequence::resume(&root(seed), provider.clone(), purpose, lane, start);
        assert_eq!(sequence.append(b"mine").await, Ok(0));
    }
    assert_eq!(shelf.blobs().len(), lanes.len());
}

#[tokio::test]
async fn a_sequence_goes_on_from_a_kept_position() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let mut sequence = Sequence::start(&root(1), provider.clone());
    sequence.append(b"one").await.expect("honest");
    let position = sequence.position();
    assert_ne!(position.previous, BlobHash([0; 32]));
    let mut again = Sequence::resume(&root(1), provider, Purpose::Main, Lane::default(), position);
    assert_eq!(again.append(b"two").await, Ok(1));
}

#[tokio::test]
async fn lost_requests_and_answers_lose_nothing_and_repeat_nothing() {
    for seed in 0..20 {
        let shelf = Shelf::new();
        shelf.loses(80, 80, seed);
        let mut sequence = Sequence::start(&root(1), shelf.connect(seed).await);
        for counter in 0..10 {
            let value = value(counter as usize * 9_000, 1);
            assert_eq!(sequence.append(&value).await, Ok(counter), "seed {seed}");
        }
        let inserted = shelf.blobs().len();
        for counter in 0..10 {
            let expected = value(counter as usize * 9_000, 1);
            assert_eq!(
                sequence.read(counter).await,
                Ok(Found::Value(expected)),
                "seed {seed}"
            );
            sequence.delete(counter).await.expect("retried");
        }
        assert!(inserted > 10 && shelf.blobs().is_empty(), "seed {seed}");
    }
}

#[tokio::test]
async fn an_append_that_failed_is_done_again_without_leaving_anything_behind() {
    for seed in 0..20 {
        let shelf = Shelf::new();
        let mut sequence = Sequence::start(&root(1), shelf.connect(seed).await);
        // Every answer is lost: the blobs are there, and nobody knows.
        shelf.loses(0, 255, seed);
        let value = value(4 * BODY_MAX + 5_000 * (seed as usize % 2), 1);
        assert!(sequence.append(&value).await.is_err());
        shelf.loses(0, 0, seed);
        // The wallet was killed meanwhile, and remembers nothing.
        let mut sequence = Sequence::start(&root(1), shelf.connect(seed + 100).await);
        assert_eq!(sequence.append(&value).await, Ok(0), "seed {seed}");
        assert_eq!(
            shelf.blobs().len(),
            5,
            "seed {seed}: blobs that no head names"
        );
        assert_eq!(
            sequence.read(0).await,
            Ok(Found::Value(value)),
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn a_conflict_costs_no_upload_and_leaves_nothing_behind() {
    let shelf = Shelf::new();
    let [mut first, mut second] =
        [shelf.connect(1).await, shelf.connect(2).await].map(|p| Sequence::start(&root(1), p));
    first.append(b"theirs").await.expect("first");
    let before = shelf.blobs();
    let (large, theirs) = (value(9 * BODY_MAX, 1), Some(b"theirs".to_vec()));
    let conflict = Err(RecoveryError::Conflict {
        counter: 0,
        theirs: theirs.clone(),
    });
    let inserts = shelf.count(Op::Insert);
    assert_eq!(second.append(&large).await, conflict);
    assert_eq!(shelf.count(Op::Insert), inserts, "it looked first");

    // The same, but the other device is faster by a hair: while the chunks are on their way.
    let race = Shelf::new();
    let mut third = Sequence::start(&root(1), race.connect(3).await);
    let (key, blob) = before.iter().next().expect("one blob");
    race.other_device(5, *key, blob.clone());
    assert_eq!(third.append(&large).await, conflict);
    assert!(race.blobs() == before, "its chunks are still there");
}

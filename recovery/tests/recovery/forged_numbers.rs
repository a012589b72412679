//! Numbers as large as they get, in registers that the root key did write: none is believed before memory is used
//! for it, and none makes anybody count beyond the end.

use std::collections::HashMap;
use std::future::Future;

use larder_protocol::BlobHash;
use larder_recovery::log::anchor::anchor_slot;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{Link, Registers};
use larder_recovery::seal::{BODY_MAX, Contents, Kind, seal};
use larder_recovery::{Found, Lane, Purpose, RecoveryError, Schedule, Sequence, Slot};
use proptest::prelude::*;
use proptest::sample::select;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::sea::Sea;
use crate::shelf::{Shelf, root};

const ENTROPY: [u8; 32] = [5; 32];

/// What numbers may be taken for: none, one, limits, and beyond.
const NUMBERS: [u64; 10] = [
    0,
    1,
    1 << 16,
    1 << 30,
    (1 << 30) + 1,
    1 << 40,
    (1 << 40) + 1,
    1 << 62,
    u64::MAX - 1,
    u64::MAX,
];

/// Runs what waits for nobody outside.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a thread").block_on(future)
}

fn contents(kind: Kind, previous: Link, body: Vec<u8>) -> Contents {
    Contents {
        kind,
        writer: [3; 16],
        previous: BlobHash(previous.0),
        body,
    }
}

fn chunks(len: u64, last: Link) -> Vec<u8> {
    [&ENTROPY[..], &len.to_be_bytes(), &last.0].concat()
}

fn segment(len: u64) -> Vec<u8> {
    [&[0], &9_u64.to_be_bytes()[..], &[8; 32], &len.to_be_bytes()].concat()
}

/// A map whose newest anchor names this snapshot, and says that it is so long.
async fn rolled_up(records: u64, len: Option<u64>, snapshot: &[u8]) -> Sea {
    let sea = Sea::calm();
    let mut last = Link::default();
    for (body, index) in snapshot.chunks(BODY_MAX).zip(0..) {
        let slot = Slot {
            purpose: Purpose::Chunk,
            lane: Lane(ENTROPY),
            generation: 0,
            index,
        };
        let chunk = contents(Kind::Chunk, last, body.to_vec());
        last = Link::of(&slot, &chunk);
        sea.insert(slot, &chunk).await.expect("calm");
    }
    let len = len.unwrap_or(snapshot.len() as u64);
    let manifest = [&records.to_be_bytes()[..], &[4; 16], &chunks(len, last)].concat();
    let anchor = contents(Kind::Anchor, Link::default(), manifest);
    sea.insert(anchor_slot(1), &anchor).await.expect("calm");
    sea
}

/// A state with these numbers and one value in chunks.
fn state(numbers: [u64; 4], version: u64, serial: u64, len: u64) -> Vec<u8> {
    let mut state: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    state.extend([version, serial].into_iter().flat_map(u64::to_be_bytes));
    state.extend([1, 0, 1, b'k']);
    state.extend(chunks(len, Link::default()));
    state
}

/// Does with a map what there is to do, with bounded steps, whatever it says.
async fn lives(sea: &Sea) -> Result<(), RecoveryError> {
    let map = Map::open(sea.registers(), &mut StdRng::seed_from_u64(1), None).await?;
    map.take_over().await?;
    let write = |key: &str| Write::put(key, Expect::Any, "1");
    map.commit(Commit::of([write("k"), write("other")]))
        .await
        .map_err(|_| RecoveryError::Following)?;
    let slots = map.slots().take(1_000).count() as u64;
    assert!(slots <= map.blobs());
    for _ in 0..3 {
        map.log().upkeep(10).await?;
    }
    map.roll_up().await?;
    map.log().upkeep(10).await?;
    let again = Map::open(sea.registers(), &mut StdRng::seed_from_u64(2), None).await?;
    assert!(again.commits() == map.commits());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn a_snapshot_with_any_numbers_is_read_or_refused_in_bounded_work(
        records in select(&NUMBERS[..]),
        claimed in proptest::option::of(select(&NUMBERS[..])),
        count in select(&[0, 1, 2, 3, u32::MAX][..]),
        segments in proptest::collection::vec(select(&NUMBERS[..]), 0..3),
        numbers in proptest::array::uniform4(select(&NUMBERS[..])),
        version in select(&NUMBERS[..]),
        serial in select(&NUMBERS[..]),
        len in select(&NUMBERS[..]),
    ) {
        let garbage: Vec<u8> = segments.iter().flat_map(|len| segment(*len)).collect();
        let snapshot = [
            &count.to_be_bytes()[..],
            &garbage,
            &state(numbers, version, serial, len),
        ].concat();
        let requests = at_once(async {
            let sea = rolled_up(records, claimed, &snapshot).await;
            let lived = lives(&sea).await;
            if lived == Ok(()) && count as usize == segments.len() {
                let all = numbers.into_iter().chain([records, version, serial]);
                assert!(all.max() <= Some(1 << 62), "it could not have counted on");
                assert!(segments.iter().all(|len| *len <= 1 << 40));
            }
            sea.requests()
        });
        prop_assert!(requests < 1_000, "{requests}");
    }

    #[test]
    fn an_entry_with_any_lengths_is_read_or_refused_in_bounded_work(
        lens in proptest::collection::vec(select(&NUMBERS[..]), 1..120),
        in_commit: bool,
    ) {
        let requests = at_once(async {
            let sea = Sea::calm();
            let seal_slot = Slot {
                purpose: Purpose::Log,
                lane: Lane::default(),
                generation: 0,
                index: 0,
            };
            let seal = contents(Kind::Seal, Link::default(), vec![0]);
            sea.insert(seal_slot, &seal).await.expect("calm");
            let link = Link::of(&seal_slot, &seal);
            // Records in chunks that nobody stored; or one commit of values in such.
            let body: Vec<u8> = if in_commit {
                let mut commit = vec![0];
                for (len, n) in lens.iter().zip(0_u8..) {
                    commit.extend([1, 0, 1, n]);
                    commit.extend(chunks(*len, Link::default()));
                }
                let len = commit.len() as u16;
                [&[0][..], &len.to_be_bytes(), &commit].concat()
            } else {
                lens.iter().flat_map(|len| [vec![1], chunks(*len, Link::default())].concat()).collect()
            };
            let entry_slot = Slot { lane: Lane(link.0), ..seal_slot };
            let entry = contents(Kind::Entry, link, body);
            sea.insert(entry_slot, &entry).await.expect("calm");
            drop(lives(&sea).await);
            sea.requests()
        });
        prop_assert!(requests < 1_000, "{requests}");
    }
}

#[tokio::test]
async fn a_list_of_the_longest_segments_is_deleted_a_few_slots_at_a_time() {
    let segments: Vec<u8> = (0..100).flat_map(|_| segment(1 << 40)).collect();
    let snapshot = [&100_u32.to_be_bytes()[..], &segments, &[0; 32]].concat();
    let sea = rolled_up(0, None, &snapshot).await;
    let map = Map::open(sea.registers(), &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("it is a list");
    let before = sea.requests();
    assert_eq!(map.log().upkeep(20).await, Ok(true));
    assert_eq!(sea.requests() - before, 20);
}

#[tokio::test]
async fn a_value_that_claims_to_be_as_long_as_values_get_is_looked_for_in_one_window() {
    let shelf = Shelf::new();
    let provider = shelf.connect(1).await;
    let schedule = Schedule::new(root(1), *provider.server_key());
    let slot = |index| Slot {
        purpose: Purpose::Main,
        lane: Lane::default(),
        generation: 0,
        index,
    };
    let mut blobs = HashMap::new();
    for (len, index) in NUMBERS.into_iter().zip(0..) {
        let tail = vec![7; (len % BODY_MAX as u64) as usize % 16_000];
        let body = [&ENTROPY[..], &len.to_be_bytes(), &[6; 32], &tail].concat();
        let head = contents(Kind::Head, Link::default(), body);
        blobs.insert(
            schedule.key(&slot(index)),
            seal(&schedule, &slot(index), &head),
        );
    }
    blobs
        .into_iter()
        .for_each(|(key, blob)| shelf.tamper(key, Some(blob)));
    let sequence = Sequence::start(&root(1), provider);
    for index in 0..NUMBERS.len() as u64 {
        let before = shelf.log().len();
        let found = sequence.read(index).await.expect("it answers");
        assert!(matches!(found, Found::Lost | Found::Foreign), "{found:?}");
        assert!(shelf.log().len() - before <= 1 + 64);
    }
}

//! The versioned map: what it promises itself. What VSS and LSS promise is in `vss_rules` and `lss_rules`.

use std::sync::Arc;

use futures_util::future::{join_all, join4};
use futures_util::lock::Mutex;
use larder_protocol::BlobHash;
use larder_recovery::log::map::{Commit, CommitError, Current, Expect, Map, Write};
use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::seal::{BODY_MAX, Contents};
use larder_recovery::{Purpose, RecoveryError, Removed, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::sea::{Sea, Task, round_trips, run};

pub(crate) async fn open(sea: &Sea, seed: u64) -> Map {
    let map = Map::open(sea.registers(), &mut StdRng::seed_from_u64(seed), None).await;
    map.expect("an honest one answers")
}

/// A map that writes.
pub(crate) async fn lead(sea: &Sea, seed: u64) -> Map {
    let map = open(sea, seed).await;
    map.take_over().await.expect("an honest one answers");
    map
}

pub(crate) async fn alone() -> Map {
    lead(&Sea::calm(), 1).await
}

pub(crate) async fn put(
    map: &Map,
    key: &str,
    expect: Expect,
    value: &str,
) -> Result<u64, CommitError> {
    map.commit(Commit::of([Write::put(key, expect, value)]))
        .await
}

pub(crate) async fn delete(map: &Map, key: &str, expect: Expect) -> Result<u64, CommitError> {
    map.commit(Commit::of([Write::delete(key, expect)])).await
}

pub(crate) async fn has(map: &Map, key: &str) -> (u64, Option<String>) {
    let current = map.get(key).await.expect("an honest one answers");
    let value = current
        .value
        .map(|value| String::from_utf8(value).expect("text"));
    (current.version, value)
}

pub(crate) fn current(key: &str, version: u64, value: Option<&str>) -> Current {
    Current {
        key: key.to_owned(),
        version,
        value: value.map(|value| value.as_bytes().to_vec()),
    }
}

pub(crate) fn conflict(items: impl Into<Vec<Current>>) -> Result<u64, CommitError> {
    Err(CommitError::Conflict {
        items: items.into(),
        global: None,
    })
}

pub(crate) async fn roll_up(map: &Map) {
    map.roll_up().await.expect("an honest one answers");
    while map.log().upkeep(100).await.expect("an honest one answers") {}
}

#[tokio::test]
async fn a_commit_that_names_a_key_twice_or_a_key_that_is_too_long_is_refused() {
    let map = alone().await;
    let twice = [
        Write::put("k", Expect::Any, "1"),
        Write::delete("k", Expect::Any),
    ];
    assert_eq!(
        map.commit(Commit::of(twice)).await,
        Err(CommitError::Repeated)
    );
    let long = put(&map, &"k".repeat(1_025), Expect::Any, "1").await;
    let (max, got) = (1_024, 1_025);
    assert_eq!(
        long,
        Err(CommitError::Failed(RecoveryError::TooLong { max, got }))
    );
    assert_eq!(map.commits(), 0);
}

#[tokio::test]
async fn concurrent_commits_to_one_version_have_one_winner() {
    let map = alone().await;
    let results = join_all((0..200).map(|_| put(&map, "k", Expect::Version(0), "a"))).await;
    assert_eq!(results[0], Ok(1));
    for result in &results[1..] {
        assert_eq!(*result, conflict([current("k", 1, Some("a"))]));
    }
}

#[test]
fn what_waits_while_a_window_is_in_flight_shares_the_next_entry() {
    let sea = Sea::smooth(1);
    let commits = {
        let sea = sea.clone();
        Task::new(async move {
            let map = lead(&sea, 1).await;
            let before = sea.requests();
            let results = join_all((0..400).map(|_| put(&map, "k", Expect::Any, "b"))).await;
            assert!(
                results.into_iter().map(Result::unwrap).eq(1..401),
                "in order"
            );
            // Sixteen alone, and the others in as many entries as they take room.
            assert!(sea.requests() - before <= 16 + 2);
            assert_eq!(
                open(&sea, 2).await.get("k").await.map(|k| k.version),
                Ok(400)
            );
        })
    };
    run(&sea, vec![commits], &mut StdRng::seed_from_u64(1));
}

#[test]
fn a_restore_of_a_thousand_entries_takes_less_than_a_twentieth_of_as_many_round_trips() {
    let sea = Sea::smooth(1);
    sea.calms_down();
    let write = {
        let sea = sea.clone();
        Task::new(async move {
            let map = lead(&sea, 1).await;
            for n in 0..1_000 {
                put(&map, &format!("k/{n}"), Expect::Any, "x")
                    .await
                    .expect("no condition");
            }
        })
    };
    run(&sea, vec![write], &mut StdRng::seed_from_u64(1));
    sea.gets_rough();
    let restore = {
        let sea = sea.clone();
        Task::new(async move {
            let map = open(&sea, 2).await;
            assert_eq!(map.commits(), 1_000);
        })
    };
    let round_trips = round_trips(&[sea], restore);
    println!("{round_trips} round trips");
    assert!(round_trips <= 50);
}

#[tokio::test]
async fn a_snapshot_remembers_the_versions_of_4096_deleted_keys_and_no_version_comes_twice() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    for _ in 0..3 {
        put(&map, "first", Expect::Any, "a")
            .await
            .expect("no condition");
    }
    delete(&map, "first", Expect::Version(3))
        .await
        .expect("it has");
    put(&map, "second", Expect::Any, "a")
        .await
        .expect("no condition");
    delete(&map, "second", Expect::Any)
        .await
        .expect("no condition");
    let many = |write: fn(String) -> Write| {
        Commit::of(
            (0..4_095)
                .map(|n| write(format!("n/{n}")))
                .collect::<Vec<_>>(),
        )
    };
    let puts = many(|key| Write::put(key, Expect::Absent, "x"));
    map.commit(puts).await.expect("they are");
    let deletes = many(|key| Write::delete(key, Expect::Version(1)));
    map.commit(deletes).await.expect("they have");
    roll_up(&map).await;
    let restored = lead(&sea, 2).await;
    assert_eq!(has(&restored, "second").await, (2, None), "still known");
    assert_eq!(has(&restored, "first").await, (0, None), "forgotten");
    put(&restored, "first", Expect::Version(0), "b")
        .await
        .expect("it has");
    assert_eq!(
        has(&restored, "first").await.0,
        5,
        "above all that was forgotten"
    );
    let stale = put(&restored, "first", Expect::Version(3), "c").await;
    assert_eq!(stale, conflict([current("first", 5, Some("b"))]));
}

#[tokio::test]
async fn a_device_that_slept_through_a_roll_up_is_fenced_and_finds_everything_when_it_takes_over() {
    let sea = Sea::calm();
    let old = lead(&sea, 1).await;
    let large = "o".repeat(BODY_MAX);
    put(&old, "k", Expect::Any, &large)
        .await
        .expect("no condition");
    let new = lead(&sea, 2).await;
    put(&new, "k", Expect::Version(1), "new")
        .await
        .expect("it has");
    roll_up(&new).await;
    // What it does next is no overwrite, large or small, and no success.
    for value in ["mine", &large] {
        let fenced = put(&old, "k", Expect::Version(1), value).await;
        let Err(CommitError::Failed(RecoveryError::Fenced(fence))) = fenced else {
            panic!("{fenced:?}")
        };
        assert_eq!(fence.records, 1);
        assert!(fence.seal.is_none(), "it was rolled up");
    }
    old.take_over().await.expect("an honest one answers");
    let theirs = conflict([current("k", 2, Some("new"))]);
    assert_eq!(put(&old, "k", Expect::Version(1), "mine").await, theirs);
    assert_eq!(put(&old, "k", Expect::Version(2), "mine").await, Ok(3));
    let fenced = new.confirm().await;
    let Err(RecoveryError::Fenced(fence)) = fenced else {
        panic!("{fenced:?}")
    };
    let seal = fence.seal.expect("it is still there");
    assert_ne!(seal.previous, BlobHash([0; 32]));
    new.refresh().await.expect("an honest one answers");
    assert_eq!(has(&new, "k").await, (3, Some("mine".to_owned())));
    assert_eq!(
        put(&new, "k", Expect::Any, "x")
            .await
            .map_err(|error| error.to_string()),
        Err(RecoveryError::Fenced(fence_of(&new).await).to_string()),
        "reading on is not taking over"
    );
}

async fn fence_of(map: &Map) -> Box<larder_recovery::log::Fence> {
    match map.confirm().await {
        Err(RecoveryError::Fenced(fence)) => fence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_roll_up_leaves_nothing_behind_but_what_the_new_generation_needs() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let large = "x".repeat(5 * BODY_MAX);
    for n in 0..40 {
        put(&map, "large", Expect::Any, &large)
            .await
            .expect("no condition");
        put(&map, &format!("k/{n}"), Expect::Any, "x")
            .await
            .expect("no condition");
        if n % 6 == 5 {
            roll_up(&map).await;
        }
    }
    let other = lead(&sea, 2).await;
    roll_up(&other).await;
    let mut left = [0; 3];
    for slot in sea.full() {
        left[match slot.purpose {
            Purpose::Anchor => 0,
            Purpose::Chunk => 1,
            _ => 2,
        }] += 1;
    }
    // Anchor 7 = 111b keeps 4, 6 and 7; then 8 = 1000b only itself. Five chunks of the value, one
    // of the snapshot; and no entry at all.
    assert_eq!(map.log().generation() + 1, other.log().generation());
    let anchors = other.log().generation().count_ones();
    assert_eq!(left, [anchors, 6, 0]);
}

#[tokio::test]
async fn many_devices_that_ask_whether_they_are_the_newest_are_told_so_or_fenced() {
    let sea = Sea::calm();
    let one = open(&sea, 1).await;
    assert_eq!(one.confirm().await, Err(RecoveryError::Following));
    assert_eq!(
        put(&one, "k", Expect::Any, "a").await,
        Err(RecoveryError::Following.into())
    );
    one.take_over().await.expect("an honest one answers");
    assert_eq!(one.confirm().await, Ok(()));
    let two = open(&sea, 2).await;
    assert_eq!(one.confirm().await, Ok(()), "a reader fences nobody");
    two.take_over().await.expect("an honest one answers");
    assert!(matches!(one.confirm().await, Err(RecoveryError::Fenced(_))));
}

#[tokio::test]
async fn a_reader_that_finds_a_large_value_deleted_reads_on() {
    let sea = Sea::calm();
    let writer = lead(&sea, 1).await;
    let large = |letter: &str| letter.repeat(2 * BODY_MAX);
    put(&writer, "k", Expect::Any, &large("a"))
        .await
        .expect("no condition");
    let reader = open(&sea, 2).await;
    assert_eq!(has(&reader, "k").await, (1, Some(large("a"))));
    put(&writer, "k", Expect::Any, &large("b"))
        .await
        .expect("no condition");
    assert_eq!(has(&reader, "k").await.0, 1, "it does not know");
    roll_up(&writer).await;
    assert_eq!(has(&reader, "k").await, (2, Some(large("b"))));
}

#[tokio::test]
async fn a_record_that_is_no_commit_ends_the_map_before_it_and_for_good() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let reader = open(&sea, 2).await;
    put(&map, "k", Expect::Any, "a")
        .await
        .expect("no condition");
    let record = map.log().record(vec![9], Vec::new()).await.expect("short");
    let ticket = map.log().submit(record).expect("it writes");
    map.log()
        .settle(ticket)
        .await
        .expect("an honest one answers");
    for _ in 0..2 {
        let refreshed = reader.refresh().await;
        assert!(matches!(refreshed, Err(RecoveryError::Misbehaved(_))));
        let taken = reader.take_over().await;
        assert!(matches!(taken, Err(RecoveryError::Misbehaved(_))));
    }
    assert_eq!(map.confirm().await, Ok(()), "it fenced nobody");
    let failed = put(&reader, "k", Expect::Any, "b").await;
    assert_eq!(failed, Err(RecoveryError::Following.into()));
    let mut rng = StdRng::seed_from_u64(3);
    let opened = Map::open(sea.registers(), &mut rng, None).await;
    assert!(matches!(opened.err(), Some(RecoveryError::Misbehaved(_))));
}

#[tokio::test]
async fn a_large_commit_that_came_too_late_leaves_nothing_behind() {
    let sea = Sea::calm();
    let old = lead(&sea, 1).await;
    put(&old, "k", Expect::Any, "a")
        .await
        .expect("no condition");
    let new = lead(&sea, 2).await;
    let before = sea.full().len();
    // Once it learns that it is fenced, then when it knows, then on a condition.
    let large = "x".repeat(3 * BODY_MAX);
    for _ in 0..2 {
        let late = put(&old, "k", Expect::Any, &large).await;
        assert!(matches!(
            late,
            Err(CommitError::Failed(RecoveryError::Fenced(_)))
        ));
    }
    let late = put(&new, "k", Expect::Version(7), &large).await;
    assert_eq!(late, conflict([current("k", 1, Some("a"))]));
    for map in [&old, &new] {
        while map.log().upkeep(100).await.expect("an honest one answers") {}
    }
    assert_eq!(sea.full().len(), before);
}

/// Registers whose chunks nobody reads while the gate is locked.
struct Gated {
    registers: Arc<dyn Registers>,
    gate: Mutex<()>,
}

impl Registers for Gated {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        self.registers.insert(slot, contents)
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            if slot.purpose == Purpose::Chunk {
                drop(self.gate.lock().await);
            }
            self.registers.lookup(slot).await
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.registers.delete(slot)
    }
}

#[tokio::test]
async fn a_value_that_is_replaced_and_deleted_while_its_writer_reads_it_is_read_anew() {
    let gated = Arc::new(Gated {
        registers: Sea::calm().registers(),
        gate: Mutex::new(()),
    });
    let map = Map::open(gated.clone(), &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("an honest one answers");
    map.take_over().await.expect("an honest one answers");
    put(&map, "k", Expect::Any, &"a".repeat(2 * BODY_MAX))
        .await
        .expect("no condition");
    let gate = gated.gate.lock().await;
    let replace = async {
        put(&map, "k", Expect::Any, "b")
            .await
            .expect("no condition");
        roll_up(&map).await;
        drop(gate);
    };
    let stale = put(&map, "k", Expect::Version(7), "x");
    let (got, read, stale, ()) = join4(map.get("k"), map.read(""), stale, replace).await;
    assert!(got == Ok(current("k", 2, Some("b"))));
    assert!(read == Ok(vec![current("k", 2, Some("b"))]));
    assert_eq!(stale, conflict([current("k", 2, Some("b"))]));
}

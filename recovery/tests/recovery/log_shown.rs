//! What a program shows of a map: its history, its sizes, its price; and how it tells a liar.

use std::sync::Arc;

use larder_recovery::log::history::{Changed, Committed};
use larder_recovery::log::map::{Commit, Expect, Map, Write, blobs};
use larder_recovery::log::register::Answer;
use larder_recovery::log::{Log, Look, Put, ReadOnly, Registers};
use larder_recovery::seal::{BODY_MAX, Contents};
use larder_recovery::{RecoveryError, Removed, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::sea::Sea;

pub(crate) async fn lead(registers: Arc<dyn Registers>, seed: u64) -> Result<Map, RecoveryError> {
    let map = Map::open(registers, &mut StdRng::seed_from_u64(seed), None).await?;
    map.take_over().await?;
    Ok(map)
}

pub(crate) async fn commit(map: &Map, writes: impl Into<Vec<Write>>) {
    let committed = map.commit(Commit::of(writes)).await;
    committed.expect("no condition");
}

pub(crate) fn put(key: &str, len: usize) -> Write {
    Write::put(key, Expect::Any, vec![7; len])
}

fn changed(key: &str, size: Option<u64>) -> Changed {
    Changed {
        key: key.to_owned(),
        size,
    }
}

#[tokio::test]
async fn history_names_every_commit_since_the_newest_anchor_and_who_writes() {
    let sea = Sea::calm();
    let map = lead(sea.registers(), 1).await.expect("an honest one");
    commit(&map, [put("before", 1)]).await;
    map.roll_up().await.expect("an honest one");
    commit(&map, [put("a", 3), put("b", 20_000)]).await;
    let other = lead(sea.registers(), 2).await.expect("an honest one");
    commit(&other, [Write::delete("a", Expect::Any)]).await;

    let rng = &mut StdRng::seed_from_u64(3);
    let before = sea.requests();
    let read = Map::open_with_history(sea.registers(), rng, None).await;
    let (shown, read) = read.expect("an honest one");
    let asked = sea.requests() - before;
    Map::open(sea.registers(), rng, None)
        .await
        .expect("an honest one");
    assert_eq!(
        sea.requests() - before,
        2 * asked,
        "it costs no look-up more"
    );
    assert!(shown.get("b").await.expect("an honest one").version == 1);
    let changes = [
        vec![changed("a", Some(3)), changed("b", Some(20_000))],
        vec![changed("a", None)],
    ];
    let commits: Vec<Committed> = (2..)
        .zip(changes)
        .map(|(number, changes)| Committed { number, changes })
        .collect();
    assert_eq!((read.generation, read.commits), (1, commits));
    assert_eq!(read.last_writer, Some(other.log().writer()));
    assert_ne!(read.last_writer, Some(map.log().writer()));
}

#[tokio::test]
async fn a_commit_takes_as_many_blobs_as_the_price_says() {
    for len in [0, 4_096, 4_097, BODY_MAX, BODY_MAX + 1, 5 * BODY_MAX] {
        let sea = Sea::calm();
        let map = lead(sea.registers(), 1).await.expect("an honest one");
        let before = sea.full().len() as u64;
        commit(&map, [put("a", len)]).await;
        let after = sea.full().len() as u64;
        assert_eq!(after - before, blobs(len as u64), "{len}");
        assert_eq!(map.list("a", None, 1)[0].size, len as u64);
    }
}

#[tokio::test]
async fn what_an_earlier_session_saw_deleted_is_neither_looked_at_again_nor_carried_on() {
    let sea = Sea::calm();
    let map = lead(sea.registers(), 1).await.expect("an honest one");
    commit(&map, [put("a", 1)]).await;
    map.roll_up().await.expect("an honest one");
    while map.log().upkeep(100).await.expect("an honest one") {}
    let due = async |seed, tidy: bool| {
        let next = lead(sea.registers(), seed).await.expect("an honest one");
        if tidy {
            next.log().assume_tidy();
        }
        next.log().upkeep(0).await.expect("an honest one")
    };
    // The snapshot says what was due when it was written.
    assert!(due(2, false).await);
    assert!(!due(3, true).await);
}

#[tokio::test]
async fn what_is_put_off_is_due_again_after_the_next_roll_up() {
    let sea = Sea::calm();
    let map = lead(sea.registers(), 1).await.expect("an honest one");
    commit(&map, [put("a", 3 * BODY_MAX)]).await;
    commit(&map, [put("a", 1)]).await;
    map.roll_up().await.expect("an honest one");
    let next = lead(sea.registers(), 2).await.expect("an honest one");
    next.log().put_off();
    next.roll_up().await.expect("an honest one");
    while next.log().upkeep(100).await.expect("an honest one") {}
    let left = sea.full().len();
    let last = lead(sea.registers(), 3).await.expect("an honest one");
    while last.log().upkeep(100).await.expect("an honest one") {}
    // It has put a seal there itself. The chunks of the value went, with the entries of the first generation.
    assert!(
        sea.full().len() <= left + 1 - 3,
        "{left} {}",
        sea.full().len()
    );
}

#[tokio::test]
async fn a_reader_that_leaves_no_mark_stops_where_a_roll_up_lacks_its_anchor() {
    let mut stopped = 0;
    for cut in 0..4 {
        let sea = Sea::calm();
        let map = lead(sea.registers(), 1).await.expect("an honest one");
        commit(&map, [put("a", 1)]).await;
        sea.cut_after(cut, false);
        let rolled_up = map.roll_up().await.is_ok();
        sea.power_is_back();
        let before = sea.full();
        let registers = Arc::new(ReadOnly::new(sea.registers()));
        let log = Log::open(registers, &mut StdRng::seed_from_u64(2), None).await;
        let log = log.expect("an honest one");
        if let Err(error) = log.follow().await {
            assert_eq!((error, rolled_up), (RecoveryError::Following, false));
            stopped += 1;
        }
        assert_eq!((log.records(), sea.full().len()), (1, before.len()));
        // Any other reader completes it.
        let map = Map::open(sea.registers(), &mut StdRng::seed_from_u64(3), None).await;
        assert!(map.is_ok());
    }
    assert_eq!(stopped, 1);
}

/// Says of every register that it was deleted, to whoever fills it, and that it is empty, to whoever asks.
struct Liar;

impl Registers for Liar {
    fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async { Ok(Put::Tombstoned) })
    }

    fn lookup(&self, _: Slot) -> Answer<'_, Look> {
        Box::pin(async { Ok(Look::Absent) })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        Box::pin(async { Ok(Removed::Before) })
    }
}

#[tokio::test]
async fn a_take_over_that_is_told_taken_and_empty_in_turn_ends() {
    let led = lead(Arc::new(Liar), 1).await.err();
    assert!(matches!(led, Some(RecoveryError::Misbehaved(_))), "{led:?}");
}

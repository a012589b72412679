//! A register of several providers that is deleted stays so, and leaves nothing behind.

use std::sync::Arc;

use larder_protocol::BlobHash;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::seal::{BODY_MAX, Contents, Kind};
use larder_recovery::{Lane, Purpose, RecoveryError, Removed, Slot};

use crate::log_shown::{commit, lead, put};
use crate::sea::Sea;

pub(crate) const SLOT: Slot = Slot {
    purpose: Purpose::Log,
    lane: Lane([0; 32]),
    generation: 0,
    index: 0,
};

pub(crate) fn contents(kind: Kind) -> Contents {
    Contents {
        kind,
        writer: [1; 16],
        previous: BlobHash([0; 32]),
        body: vec![0],
    }
}

fn three() -> (Vec<Sea>, Arc<Quorum>) {
    let seas: Vec<Sea> = (0..3).map(|_| Sea::calm()).collect();
    let quorum = Quorum::new(seas.iter().map(Sea::registers), Policy::majority(3));
    (seas, Arc::new(quorum.expect("majorities overlap")))
}

#[tokio::test]
async fn a_provider_that_forgot_the_delete_and_one_that_missed_the_value_let_nothing_in_again() {
    let entry = contents(Kind::Entry);
    for (missed, forgot) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        let (seas, quorum) = three();
        let empty = seas[forgot].backup();
        seas[missed].is_down(true);
        assert_eq!(quorum.insert(SLOT, &entry).await, Ok(Put::Already));
        seas[missed].is_down(false);
        assert_eq!(quorum.delete(SLOT).await, Ok(Removed::Now));
        seas[forgot].rolls_back(empty);
        // From a session that slept through all of it.
        let put = quorum.insert(SLOT, &entry).await;
        assert_eq!(put, Ok(Put::Tombstoned), "{missed} {forgot}");
        // What the forgetful one took goes again.
        assert_eq!(quorum.delete(SLOT).await, Ok(Removed::Now));
        assert!(seas.iter().all(|sea| sea.full().is_empty()));
    }
}

#[tokio::test]
async fn a_delete_that_ends_anywhere_and_is_done_again_leaves_no_blob_of_any_round() {
    let seal = contents(Kind::Seal);
    let mut interrupted = 0;
    for cut in 0..14 {
        for last_counts in [false, true] {
            let (seas, quorum) = three();
            assert_eq!(quorum.insert(SLOT, &seal).await, Ok(Put::Already));
            quorum.catch_up().await.expect("all answer");
            assert_eq!(seas[0].full().len(), 3, "a void, a choice and a vote");
            seas.iter().for_each(|sea| sea.cut_after(cut, last_counts));
            let deleted = quorum.delete(SLOT).await;
            interrupted += u32::from(deleted.is_err());
            seas.iter().for_each(Sea::power_is_back);
            // Meanwhile it is there or deleted, never something else.
            let look = quorum.lookup(SLOT).await;
            assert!(look == Ok(Look::Found(seal.clone())) || look == Ok(Look::Deleted));
            assert!(quorum.delete(SLOT).await.is_ok());
            assert!(seas.iter().all(|sea| sea.full().is_empty()), "{cut}");
            assert!(quorum.lookup(SLOT).await == Ok(Look::Deleted));
            let put = quorum.insert(SLOT, &contents(Kind::Entry)).await;
            assert_eq!(put, Ok(Put::Tombstoned));
        }
    }
    assert!(interrupted > 5);
}

#[tokio::test]
async fn what_was_never_there_is_deleted_without_a_trace() {
    let (seas, quorum) = three();
    assert_eq!(quorum.delete(SLOT).await, Ok(Removed::NeverThere));
    assert!(quorum.lookup(SLOT).await == Ok(Look::Absent));
    assert!(seas.iter().all(|sea| sea.full().is_empty()));
}

#[tokio::test]
async fn with_fewer_answers_than_the_policy_asks_for_nothing_is_concluded() {
    let (seas, quorum) = three();
    let unreachable = |error: &RecoveryError| matches!(error, RecoveryError::Unreachable(_));
    seas[0].is_down(true);
    seas[1].is_down(true);
    assert!(quorum.lookup(SLOT).await.is_err_and(|e| unreachable(&e)));
    assert!(quorum.delete(SLOT).await.is_err_and(|e| unreachable(&e)));
    let entry = contents(Kind::Entry);
    let put = quorum.insert(SLOT, &entry).await;
    assert!(put.is_err_and(|e| unreachable(&e)));
    // It got through to one, and whoever reads completes it.
    seas[0].is_down(false);
    assert!(quorum.lookup(SLOT).await == Ok(Look::Found(entry)));
    assert_eq!((seas[0].full().len(), seas[2].full().len()), (1, 1));
}

#[tokio::test]
async fn a_provider_that_was_down_deletes_what_the_others_have_deleted() {
    for down in 0..3 {
        let (seas, quorum) = three();
        let seal = contents(Kind::Seal);
        assert_eq!(quorum.insert(SLOT, &seal).await, Ok(Put::Already));
        quorum.catch_up().await.expect("all answer");
        seas[down].is_down(true);
        assert_eq!(quorum.delete(SLOT).await, Ok(Removed::Now));
        seas[down].is_down(false);
        assert_eq!(seas[down].full().len(), 3);
        quorum.catch_up().await.expect("all answer");
        assert!(seas.iter().all(|sea| sea.full().is_empty()));
    }
}

#[tokio::test]
async fn a_provider_that_says_deleted_of_what_is_there_has_nothing_deleted_elsewhere() {
    for liar in 0..3 {
        let (seas, quorum) = three();
        let entry = contents(Kind::Entry);
        assert_eq!(quorum.insert(SLOT, &entry).await, Ok(Put::Already));
        quorum.catch_up().await.expect("all answer");
        seas[liar].rolls_back([(SLOT, None)].into());
        let healed = quorum.heal([SLOT]).await.expect("all answer");
        assert_eq!(healed.left, 1, "the liar does not have it");
        assert!(quorum.lookup(SLOT).await == Ok(Look::Found(entry)));
    }
}

#[tokio::test]
async fn deletes_that_one_misses_again_cost_the_others_a_few_requests_and_are_kept_for_later() {
    let (seas, quorum) = three();
    let map = lead(quorum.clone(), 1).await.expect("honest ones");
    commit(&map, [put("large", 100 * BODY_MAX)]).await;
    commit(&map, [put("large", 1)]).await;
    quorum.catch_up().await.expect("all answer");
    seas[2].is_down(true);
    map.roll_up().await.expect("enough answer");
    while map.log().upkeep(100).await.expect("enough answer") {}
    let left = |sea: &Sea| sea.full().len();
    assert!(left(&seas[2]) > 100 && left(&seas[0]) < 20);
    drop(map);

    // It stays down; each session would do all of that again for nothing.
    for seed in 2..5 {
        let quorum = Quorum::new(seas.iter().map(Sea::registers), Policy::majority(3));
        let quorum = Arc::new(quorum.expect("majorities overlap"));
        let next = lead(quorum.clone(), seed).await.expect("enough answer");
        let before = seas[0].requests();
        let has_missed = || quorum.undeleted()[2] > 0;
        assert_eq!(next.log().repeat(has_missed).await, Ok(false));
        let asked = seas[0].requests() - before;
        assert!((8..50).contains(&asked), "{asked}");
        assert_eq!(next.log().upkeep(100).await, Ok(false), "nothing is due");
        next.roll_up().await.expect("enough answer");
        while next.log().upkeep(100).await.expect("enough answer") {}
    }
    seas[2].is_down(false);
    let quorum = Quorum::new(seas.iter().map(Sea::registers), Policy::majority(3));
    let quorum = Arc::new(quorum.expect("majorities overlap"));
    let last = lead(quorum.clone(), 5).await.expect("all answer");
    let has_missed = || quorum.undeleted()[2] > 0;
    assert_eq!(last.log().repeat(has_missed).await, Ok(true));
    assert!(left(&seas[2]) < 20, "{}", left(&seas[2]));
}

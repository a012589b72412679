//! A wallet that begins with one provider, pays for one, and adds others later.

use std::sync::Arc;

use larder_recovery::Removed;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::seal::{BODY_MAX, Kind};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::quorum_deletes::{SLOT, contents};
use crate::sea::Sea;

fn only(sea: &Sea) -> Arc<Quorum> {
    Arc::new(Quorum::new([sea.registers()], Policy::majority(1)).expect("one of one"))
}

async fn lead(registers: Arc<dyn Registers>, seed: u64) -> Map {
    let map = Map::open(registers, &mut StdRng::seed_from_u64(seed), None).await;
    let map = map.expect("an honest one answers");
    map.take_over().await.expect("an honest one answers");
    map
}

async fn put(map: &Map, key: &str, value: impl Into<Vec<u8>>) {
    let commit = Commit::of([Write::put(key, Expect::Any, value)]);
    map.commit(commit).await.expect("no condition");
}

async fn get(map: &Map, key: &str) -> Option<Vec<u8>> {
    map.get(key).await.expect("an honest one answers").value
}

/// A life with two take-overs, a large value and a roll-up.
async fn life(registers: Arc<dyn Registers>) {
    let one = lead(registers.clone(), 1).await;
    put(&one, "a", "1").await;
    put(&one, "b", vec![1; 2 * BODY_MAX]).await;
    let two = lead(registers, 2).await;
    put(&two, "a", "2").await;
    two.roll_up().await.expect("an honest one answers");
    put(&two, "c", "3").await;
}

#[tokio::test]
async fn a_quorum_of_one_holds_the_same_in_the_same_places_as_a_single_provider_and_asks_as_often()
{
    let (alone, of_one) = (Sea::calm(), Sea::calm());
    life(alone.registers()).await;
    life(only(&of_one)).await;
    assert!(alone.backup() == of_one.backup());
    assert_eq!(alone.requests(), of_one.requests());
}

#[tokio::test]
async fn an_entry_at_one_of_two_providers_gives_way_to_a_seal_that_the_other_took_when_it_was_alone()
 {
    let seas = [Sea::calm(), Sea::calm()];
    let both = || seas.iter().map(Sea::registers);
    let both = Quorum::new(both(), Policy::majority(2)).expect("two of two");
    let (entry, seal) = (contents(Kind::Entry), contents(Kind::Seal));
    seas[1].is_down(true);
    assert!(both.insert(SLOT, &entry).await.is_err());
    seas[1].is_down(false);
    assert_eq!(only(&seas[1]).insert(SLOT, &seal).await, Ok(Put::Already));
    assert_eq!(both.insert(SLOT, &entry).await, Ok(Put::Occupied));
    assert!(both.lookup(SLOT).await == Ok(Look::Found(seal)));
    // Two values, a choice and a vote each.
    assert_eq!(seas.each_ref().map(|sea| sea.full().len()), [3, 3]);
    assert_eq!(both.delete(SLOT).await, Ok(Removed::Now));
    assert_eq!(seas.each_ref().map(|sea| sea.full().len()), [0, 0]);
}

#[tokio::test]
async fn a_log_of_a_single_provider_goes_on_with_two_more_and_without_the_first() {
    let seas: Vec<Sea> = (0..3).map(|_| Sea::calm()).collect();
    life(seas[0].registers()).await;
    let mut quorum = only(&seas[0]);
    for (n, sea) in seas.iter().enumerate().skip(1) {
        quorum = Arc::new(quorum.joined_by(sea.registers()).expect("majorities"));
        let map = lead(quorum.clone(), 10 + n as u64).await;
        put(&map, "n", [n as u8]).await;
        let healed = quorum.heal(map.slots()).await.expect("all answer");
        assert!(healed.copied[n] > 0 && healed.left == 0);
        map.roll_up().await.expect("all answer");
    }
    let quorum = Arc::new(quorum.left_by(0).expect("majorities"));
    seas[0].is_down(true);
    let map = lead(quorum.clone(), 20).await;
    put(&map, "d", "4").await;
    let healed = quorum.heal(map.slots()).await.expect("both answer");
    assert_eq!(healed.left, 0);
    // And back to a single one.
    let quorum = Arc::new(quorum.left_by(0).expect("one of one"));
    seas[1].is_down(true);
    let map = lead(quorum, 21).await;
    assert_eq!(get(&map, "a").await, Some(b"2".to_vec()));
    assert_eq!(get(&map, "b").await, Some(vec![1; 2 * BODY_MAX]));
    assert_eq!(get(&map, "c").await, Some(b"3".to_vec()));
    assert_eq!(get(&map, "n").await, Some(vec![2]));
    assert_eq!(get(&map, "d").await, Some(b"4".to_vec()));
}

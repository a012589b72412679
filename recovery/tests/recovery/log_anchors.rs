//! Finding the newest anchor, ten million roll-ups later.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use larder_protocol::BlobHash;
use larder_recovery::log::anchor::{anchor_slot, kept, newest, retired};
use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::seal::{Contents, Kind};
use larder_recovery::{RecoveryError, Removed, Slot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROLL_UPS: u64 = 10_000_000;

/// What a client that rolls up for ever has with a storage node.
#[derive(Default)]
struct Anchors {
    newest: u64,
    there: HashSet<u64>,
    /// Whether the storage node still knows what was deleted.
    forgets: bool,
    lookups: AtomicU64,
}

impl Anchors {
    fn roll_up(&mut self, forgotten: impl Fn(u64) -> bool) {
        self.newest += 1;
        self.there.insert(self.newest);
        for index in retired(self.newest).filter(|&index| !forgotten(index)) {
            assert!(self.there.remove(&index), "{index} was kept until now");
        }
    }
}

impl Anchors {
    fn look(&self, slot: Slot) -> Look {
        assert_eq!(slot, anchor_slot(slot.index));
        self.lookups.fetch_add(1, Ordering::Relaxed);
        match slot.index {
            index if self.there.contains(&index) => Look::Found(Contents {
                kind: Kind::Anchor,
                writer: [0; 16],
                previous: BlobHash([0; 32]),
                body: index.to_be_bytes().to_vec(),
            }),
            index if index > self.newest || self.forgets => Look::Absent,
            _ => Look::Deleted,
        }
    }
}

impl Registers for Anchors {
    fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
        panic!("a search writes nothing")
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move { Ok(self.look(slot)) })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        panic!("a search deletes nothing")
    }
}

/// Finds the newest anchor and returns how many look-ups it took.
async fn find(anchors: &Anchors, hint: Option<u64>) -> u64 {
    anchors.lookups.store(0, Ordering::Relaxed);
    let found = newest(anchors, hint).await.expect("an honest one answers");
    let (index, contents) = found.map_or((0, None), |(index, contents)| (index, Some(contents)));
    assert_eq!(index, anchors.newest);
    assert!(contents.is_none_or(|contents| contents.body == index.to_be_bytes()));
    anchors.lookups.load(Ordering::Relaxed)
}

#[test]
fn anchor_22_keeps_16_20_and_22() {
    assert_eq!(kept(22).collect::<Vec<_>>(), [22, 20, 16]);
    assert_eq!(retired(24).collect::<Vec<_>>(), [23, 22, 20]);
    assert_eq!(
        retired(23).count() + retired(1).count() + kept(0).count(),
        0
    );
}

#[tokio::test]
async fn ten_million_roll_ups_keep_24_anchors_and_the_newest_is_found_in_63_look_ups() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut anchors = Anchors::default();
    // Every so often an anchor is left over, for good.
    let left_over = |index: u64| index.wrapping_mul(0x9e37_79b9) % 1_000 == 7;
    let mut left = 0;
    let (mut most_kept, mut most_looked, mut most_hinted) = (0, 0, 0);
    while anchors.newest < ROLL_UPS {
        anchors.roll_up(left_over);
        let n = anchors.newest;
        left += retired(n).filter(|&index| left_over(index)).count();
        most_kept = most_kept.max(anchors.there.len() - left);
        // Where all bits change, at the end, and at random in between.
        if n.is_power_of_two() || (n + 1).is_power_of_two() || n == ROLL_UPS || n % 4_999 == 7 {
            anchors.forgets = rng.random();
            most_looked = most_looked.max(find(&anchors, None).await);
            most_hinted = most_hinted.max(find(&anchors, Some(n)).await);
            assert_eq!(most_hinted, 2);
            // A hint that is a little old, for as long as deletes are remembered.
            anchors.forgets = false;
            find(&anchors, Some(n.saturating_sub(rng.random_range(0..40)))).await;
        }
    }
    println!(
        "{most_kept} kept, {left} left over, {most_looked} look-ups, {most_hinted} with a hint"
    );
    assert!(left > 5_000);
    assert!(most_kept <= 24 && most_looked <= 63);
}

#[tokio::test]
async fn that_there_was_none_yet_is_confirmed_by_one_look_up() {
    let mut anchors = Anchors::default();
    assert_eq!(find(&anchors, Some(0)).await, 1);
    for _ in 0..20 {
        anchors.roll_up(|_| false);
        find(&anchors, Some(0)).await;
    }
}

#[tokio::test]
async fn anchors_that_were_never_deleted_lead_nobody_astray() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut anchors = Anchors {
            forgets: rng.random(),
            ..Anchors::default()
        };
        let (some, of) = (rng.random_range(0..8), rng.random_range(1..8));
        for _ in 0..rng.random_range(1..600) {
            anchors.roll_up(|index| index.wrapping_mul(0x9e37_79b9) % of < some);
            find(&anchors, None).await;
        }
    }
}

#[tokio::test]
async fn an_anchor_that_is_deleted_for_nothing_is_looked_for_twice() {
    let anchors = Anchors {
        newest: 6,
        ..Anchors::default()
    };
    let found = newest(&anchors, None).await;
    assert!(matches!(found, Err(RecoveryError::Misbehaved(_))));
    assert_eq!(anchors.lookups.load(Ordering::Relaxed), 2 * 40);
}

#[tokio::test]
async fn a_storage_node_that_says_of_every_anchor_that_it_was_deleted_is_given_up() {
    let all = Anchors {
        newest: u64::MAX,
        ..Anchors::default()
    };
    for hint in [None, Some(0), Some(1), Some(1 << 39)] {
        let found = newest(&all, hint).await;
        assert!(matches!(found, Err(RecoveryError::Misbehaved(_))));
        let lookups = all.lookups.swap(0, Ordering::Relaxed);
        assert!(lookups <= 2 * 82, "{lookups} with {hint:?}");
    }
}

/// Another device rolls up while one looks, up to so many times in all.
struct Race(Mutex<(Anchors, StdRng, u32)>);

impl Registers for Race {
    fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
        panic!("a search writes nothing")
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            let (anchors, rng, left) = &mut *self.0.lock().expect("no test panics in here");
            while *left > 0 && rng.random_ratio(1, 8) {
                *left -= 1;
                anchors.roll_up(|_| false);
            }
            Ok(anchors.look(slot))
        })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        panic!("a search deletes nothing")
    }
}

#[tokio::test]
async fn a_search_that_roll_ups_overtake_calls_nobody_a_liar() {
    for seed in 0..3_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut anchors = Anchors::default();
        for _ in 0..rng.random_range(0..40) {
            anchors.roll_up(|_| false);
        }
        let (before, roll_ups) = (anchors.newest, rng.random_range(0..15));
        let race = Race(Mutex::new((anchors, rng, roll_ups)));
        let found = newest(&race, None).await.expect("an honest one answers");
        let found = found.map_or(0, |(index, _)| index);
        let newest = race.0.lock().expect("no test panics in here").0.newest;
        assert!((before..=newest).contains(&found), "{seed}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_ours_are_not_taken_for_no_anchor() {
    struct Foreign;
    impl Registers for Foreign {
        fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
            panic!("a search writes nothing")
        }
        fn lookup(&self, _: Slot) -> Answer<'_, Look> {
            Box::pin(async { Ok(Look::Foreign) })
        }
        fn delete(&self, _: Slot) -> Answer<'_, Removed> {
            panic!("a search deletes nothing")
        }
    }
    let foreign: Arc<dyn Registers> = Arc::new(Foreign);
    let found = newest(foreign.as_ref(), None).await;
    assert!(matches!(found, Err(RecoveryError::Misbehaved(_))));
}

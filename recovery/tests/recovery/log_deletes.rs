//! Garbage goes one by one, at drawn times; it does not grow for ever, and nothing is deleted twice or in vain.

use std::collections::HashSet;
use std::sync::Arc;

use larder_recovery::log::cache::{Cached, MemoryStorage};
use larder_recovery::log::map::Map;
use larder_recovery::log::{Due, Registers, pace};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::{Removed, Slot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::log_shown::{commit, lead, put};
use crate::sea::{Asked, Noted, Sea};
use crate::shelf::root;

/// A wallet that runs now and then, and what its device keeps.
struct Wallet {
    sea: Sea,
    noted: Arc<Noted>,
    cached: Arc<Cached>,
    left: Vec<u8>,
    generation: u64,
    rng: StdRng,
}

impl Wallet {
    fn new(seed: u64) -> Self {
        let sea = Sea::calm();
        let noted = Noted::new(sea.registers());
        let storage = Arc::new(MemoryStorage::new());
        Wallet {
            cached: Arc::new(Cached::new(&root(1), noted.clone(), storage)),
            noted,
            sea,
            left: Vec::new(),
            generation: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    async fn begin(&mut self) -> Map {
        let hint = Some(self.generation);
        let map = Map::open(self.cached.clone(), &mut self.rng, hint).await;
        let map = map.expect("an honest one");
        if let Some(left) = Due::from_bytes(&self.left, &mut self.rng) {
            map.log().resume(left);
        }
        map.take_over().await.expect("an honest one");
        map
    }

    /// One that writes a value; says whether it deleted something.
    async fn command(&mut self, len: usize) -> bool {
        let map = self.begin().await;
        commit(&map, [put("value", len)]).await;
        if map.log().length() >= 32 {
            map.roll_up().await.expect("an honest one");
        }
        self.generation = map.log().generation();
        let mut due = map.log().take_due();
        let one = due.count() > 0 && pace::one(&mut self.rng);
        self.delete(&mut due, u64::from(one)).await;
        one
    }

    /// The daily upkeep, which reads no log; returns how much it deleted.
    async fn day(&mut self) -> u64 {
        let mut due = Due::from_bytes(&self.left, &mut self.rng).expect("kept");
        let part = pace::daily_part(due.count(), &mut self.rng);
        self.delete(&mut due, part).await;
        part
    }

    async fn delete(&mut self, due: &mut Due, part: u64) {
        for _ in 0..part {
            let slot = due.pop().expect("as many are due");
            let removed = self.cached.delete(slot).await;
            assert_eq!(removed, Ok(Removed::Now), "once, and not in vain");
        }
        self.left = due.to_bytes();
    }

    fn due(&mut self) -> u64 {
        Due::from_bytes(&self.left, &mut self.rng).map_or(0, |due| due.count())
    }
}

#[tokio::test]
async fn commands_that_delete_one_at_most_and_a_daily_part_keep_up_with_what_they_leave_behind() {
    for seed in 0..4 {
        let mut wallet = Wallet::new(seed);
        let (mut deleted, mut most, mut kept) = (0, 0, 0);
        for number in 0..500 {
            let one = wallet.command(100).await;
            deleted += u64::from(one);
            kept += u64::from(!one);
            if number % 3 == 0 {
                deleted += wallet.day().await;
            }
            most = most.max(wallet.due());
        }
        // Each leaves two registers behind, and a roll-up a few more.
        assert!(most < 80, "{most} waited");
        assert!(wallet.sea.full().len() < 120);
        assert!(deleted > 900 && kept > 100, "{deleted} {kept}");
        let asked = wallet.noted.take();
        let lookups = asked.iter().filter(|(asked, _)| *asked == Asked::Lookup);
        // The end of the log, and none for a delete.
        assert!(lookups.count() <= 2 * 500);
    }
}

#[tokio::test]
async fn what_a_large_value_left_is_gone_within_days() {
    let mut wallet = Wallet::new(7);
    wallet.command(100 * BODY_MAX).await;
    for _ in 0..15 {
        wallet.command(100).await;
    }
    assert!(wallet.due() > 100);
    for _ in 0..7 {
        wallet.day().await;
        wallet.command(100).await;
    }
    assert!(wallet.due() < 20, "{}", wallet.due());
}

#[tokio::test]
async fn who_runs_once_a_day_beside_deletes_the_larger_part_of_it() {
    let mut wallet = Wallet::new(9);
    for _ in 0..16 {
        wallet.command(5_000).await;
    }
    let before = wallet.due();
    assert!(before > 20);
    for _ in 0..6 {
        wallet.day().await;
    }
    assert!(wallet.due() < before / 6, "{} of {before}", wallet.due());
    let map = wallet.begin().await;
    assert_eq!(map.commits(), 16);
}

#[tokio::test]
async fn a_device_that_lost_what_it_had_left_deletes_all_of_it_again_and_none_that_counts() {
    let mut wallet = Wallet::new(11);
    for _ in 0..17 {
        wallet.command(5_000).await;
    }
    wallet.left.clear();
    let map = wallet.begin().await;
    let named: HashSet<Slot> = map.slots().collect();
    while map.log().upkeep(10).await.expect("an honest one") {}
    assert!(wallet.sea.full().iter().all(|slot| named.contains(slot)));
    drop(map);
    wallet.left.clear();
    assert_eq!(wallet.begin().await.commits(), 17);
}

#[tokio::test]
async fn a_program_that_runs_deletes_one_by_one_at_drawn_times_until_nothing_is_left() {
    let sea = Sea::calm();
    let noted = Noted::new(sea.registers());
    let map = lead(noted.clone(), 1).await.expect("an honest one");
    commit(&map, [put("value", 60 * BODY_MAX)]).await;
    commit(&map, [put("value", 1)]).await;
    map.roll_up().await.expect("an honest one");
    let deletes = |noted: &Noted| {
        let asked = noted.take().into_iter();
        let deletes = asked.filter(|(asked, _)| *asked == Asked::Delete);
        deletes.count()
    };
    let begun = 1_000_000;
    let (mut now, mut gaps) = (begun, HashSet::new());
    let mut rng = StdRng::seed_from_u64(1);
    let mut last = begun;
    noted.take();
    while !map.log().due().is_empty() {
        let next = map.log().spread(now, None).await.expect("an honest one");
        let deleted = deletes(&noted);
        assert!(deleted <= 1, "one at a time");
        if deleted == 1 {
            gaps.insert(now - last);
            last = now;
        }
        assert!(next > now && next <= now + 3_600);
        // Who asks too early is told the same.
        let early = now + (next - now) * rng.random_range(0..10) / 10;
        assert_eq!(map.log().spread(early, None).await, Ok(next));
        assert_eq!(deletes(&noted), 0);
        now = next;
    }
    let took = now - begun;
    assert!(
        (24 * 3_600..7 * 24 * 3_600).contains(&took),
        "{took} seconds"
    );
    assert!(gaps.len() > 40, "drawn anew each time");

    // Before refunds fall all of it is gone.
    commit(&map, [put("value", 60 * BODY_MAX)]).await;
    commit(&map, [put("value", 1)]).await;
    map.roll_up().await.expect("an honest one");
    let fall = now + 3_600;
    while !map.log().due().is_empty() {
        now = map
            .log()
            .spread(now, Some(fall))
            .await
            .expect("an honest one");
    }
    assert!(
        now < fall + 120,
        "{} seconds late",
        now.saturating_sub(fall)
    );
}

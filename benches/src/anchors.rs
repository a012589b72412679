//! What it takes to find the newest anchor of a log among ten million roll-ups.
//!
//! The search is the real one; the storage node is a set of numbers. Now and then a delete of an old
//! anchor never happens, as after a crash of the wallet, and sometimes the storage node has forgotten what
//! was deleted. Every search that finds another anchor than the newest is counted.

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_recovery::log::anchor::{kept, newest, retired};
use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::seal::{Contents, Kind};
use larder_recovery::{Removed, Slot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::report::{Bar, Report};

const ROLL_UPS: u64 = 10_000_000;
const SEED: u64 = 1;

/// One search in so many roll-ups, and one wherever all bits change.
const SEARCHED: u32 = 8;

/// One anchor in so many is left over.
const LEFT_OVER: u32 = 50;

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "{ROLL_UPS} roll-ups, seed {SEED}; a search after one in {SEARCHED} at random and around every power \
         of two; one anchor in {LEFT_OVER} was never deleted; simulated registers, real search"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let found = runtime.block_on(roll_up_and_search())?;
    report.value("anchors: searches", found.searches as f64, "searches");
    let counts: [(&str, f64, &str, f64); 4] = [
        (
            "searches for the newest that found another",
            found.wrong as f64,
            "searches",
            0.0,
        ),
        (
            "the newest, without a hint, at most",
            found.without as f64,
            "look-ups",
            63.0,
        ),
        (
            "the newest, with a fresh hint, at most",
            found.with as f64,
            "look-ups",
            4.0,
        ),
        (
            "retained on purpose, at most",
            found.kept as f64,
            "anchors",
            24.0,
        ),
    ];
    for (figure, count, unit, bar) in counts {
        report.count(&format!("anchors: {figure}"), count, unit, Bar::AtMost(bar));
    }
    report.value(
        "anchors: left over in the end",
        found.left as f64,
        "anchors",
    );
    Ok(())
}

/// What was found; of look-ups and of anchors kept the most at any time.
#[derive(Default)]
struct Found {
    searches: u64,
    wrong: u64,
    without: u64,
    with: u64,
    kept: usize,
    left: usize,
}

async fn roll_up_and_search() -> Result<Found, Box<dyn Error>> {
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut anchors = Anchors::default();
    let mut found = Found::default();
    for n in 1..=ROLL_UPS {
        anchors.newest = n;
        anchors.there.insert(n);
        for old in retired(n) {
            if !rng.random_ratio(1, LEFT_OVER) {
                anchors.there.remove(&old);
            }
        }
        let turning = n.is_power_of_two() || (n + 1).is_power_of_two() || n == ROLL_UPS;
        if turning || rng.random_ratio(1, SEARCHED) {
            anchors.forgets = rng.random();
            found.without = found
                .without
                .max(anchors.search(None, &mut found.wrong).await?);
            found.with = found
                .with
                .max(anchors.search(Some(n), &mut found.wrong).await?);
            let there = kept(n).filter(|index| anchors.there.contains(index));
            found.kept = found.kept.max(there.count());
            found.searches += 2;
        }
    }
    found.left = anchors.there.len() - kept(ROLL_UPS).count();
    Ok(found)
}

/// What a wallet that rolls up for ever has with a storage node.
#[derive(Default)]
struct Anchors {
    newest: u64,
    there: HashSet<u64>,
    /// Whether the storage node has forgotten what was deleted.
    forgets: bool,
    lookups: AtomicU64,
}

impl Anchors {
    /// Returns how many look-ups it took, and counts it as wrong if it found another than the newest.
    async fn search(&self, hint: Option<u64>, wrong: &mut u64) -> Result<u64, Box<dyn Error>> {
        self.lookups.store(0, Ordering::Relaxed);
        let found = newest(self, hint).await?;
        let index = found.map_or(0, |(index, _)| index);
        *wrong += u64::from(index != self.newest);
        Ok(self.lookups.load(Ordering::Relaxed))
    }
}

impl Registers for Anchors {
    fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async { Ok(Put::Occupied) })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let look = match slot.index {
            index if self.there.contains(&index) => Look::Found(Contents {
                kind: Kind::Anchor,
                writer: [0; 16],
                previous: larder_protocol::BlobHash([0; 32]),
                body: Vec::new(),
            }),
            index if index > self.newest || self.forgets => Look::Absent,
            _ => Look::Deleted,
        };
        Box::pin(async move { Ok(look) })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        Box::pin(async { Ok(Removed::NeverThere) })
    }
}

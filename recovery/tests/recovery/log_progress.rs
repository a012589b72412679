//! What a listener hears of a restore.

use std::sync::{Arc, Mutex};

use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::progress::{Progress, Watched};
use larder_recovery::seal::BODY_MAX;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_map::{lead, put, roll_up};
use crate::sea::Sea;

/// Restores, and returns all that a listener hears.
async fn restore(sea: &Sea) -> Vec<Progress> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let watched = Watched::new(sea.registers(), move |progress| {
        hears.lock().expect("no panic").push(progress);
    });
    let map = Map::open(Arc::new(watched), &mut StdRng::seed_from_u64(9), None).await;
    drop(map.expect("an honest one answers"));
    Arc::into_inner(heard)
        .expect("nobody listens any more")
        .into_inner()
        .expect("no panic")
}

#[tokio::test]
async fn a_restore_says_how_long_the_snapshot_is_before_it_reads_it_and_counts_every_blob() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    // Values below 4 KiB are in the snapshot.
    for n in 0..20 {
        let value = "x".repeat(4_000);
        put(&map, &format!("{n}"), Expect::Any, &value)
            .await
            .expect("no condition");
    }
    for _ in 0..5 {
        roll_up(&map).await;
    }
    for _ in 0..7 {
        put(&map, "k", Expect::Any, "x")
            .await
            .expect("no condition");
    }
    let heard = restore(&sea).await;
    let blobs = (20 * 4_000_u64).div_ceil(BODY_MAX as u64);
    // Anchors 4 and 5 are found; nothing is read before the latter.
    let known = heard.iter().position(|p| p.snapshot_of.is_some());
    assert_eq!(known, Some(0));
    for (n, progress) in heard[1..].iter().enumerate() {
        let n = n as u64;
        let expected = Progress {
            snapshot: n.min(blobs),
            snapshot_of: Some(blobs),
            entries: n.saturating_sub(blobs),
            chunks: 0,
        };
        assert_eq!(*progress, expected);
    }
    assert_eq!(heard.len() as u64, 2 + blobs + 7);
}

#[tokio::test]
async fn before_the_first_roll_up_there_is_no_total_and_large_records_are_counted_too() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let put = |n| Write::put(format!("{n}"), Expect::Absent, "x".repeat(4_000));
    let large = Commit::of((0..5).map(put).collect::<Vec<_>>());
    map.commit(large).await.expect("they are");
    let heard = restore(&sea).await;
    let counts = heard.iter().map(|p| (p.snapshot_of, p.entries, p.chunks));
    // A seal, an entry that names the record, and what it names.
    let expected = [(None, 1, 0), (None, 2, 0), (None, 2, 1), (None, 2, 2)];
    assert!(counts.eq(expected));
}

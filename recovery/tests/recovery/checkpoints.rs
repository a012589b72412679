//! Who is shown an older state, or another history, and remembers the newer one: by a point of its own, by a checkpoint, or
//! by the cell and its page.

use std::sync::Arc;

use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{Log, OneProvider};
use larder_recovery::{Checkpoint, RecoveryError, Vouched};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::loss::{Wallet, has_all, nothing_left, read, start_over};
use crate::shelf::{Shelf, root};
use larder_recovery::MemoryJournal;
use larder_recovery::breakglass::Wrote;

async fn device(shelf: &Shelf, seed: u64) -> Map {
    let registers = Arc::new(OneProvider::new(&root(1), shelf.connect(seed).await));
    let mut rng = StdRng::seed_from_u64(seed);
    let map = Map::open(registers, &mut rng, None).await;
    map.expect("honest")
}

async fn put(map: &Map, key: &str, value: impl Into<Vec<u8>>) {
    // Another one may have written since.
    let _ = map.confirm().await;
    map.take_over().await.expect("honest");
    let write = Write::put(key, Expect::Any, value.into());
    map.commit(Commit::of([write])).await.expect("no condition");
}

fn checkpoint(log: &Log) -> Checkpoint {
    Checkpoint::new(&root(1), &log.point())
}

fn is_older(error: &RecoveryError, counted: &str) -> bool {
    matches!(error, RecoveryError::OlderState { of, shown, seen } if *of == counted && shown < seen)
}

#[tokio::test]
async fn who_wrote_and_who_read_are_at_one_point_over_take_overs_chunks_and_roll_ups() {
    let shelf = Shelf::new();
    let (device_1, device_2) = (device(&shelf, 1).await, device(&shelf, 2).await);
    let mut seen = vec![checkpoint(device_1.log())];
    for round in 0..4 {
        put(&device_1, "small", [round]).await;
        put(&device_2, "large", vec![round; 70_000]).await;
        if round == 2 {
            device_2.roll_up().await.expect("honest");
        }
        let fenced = device_1.confirm().await;
        assert!(matches!(fenced, Err(RecoveryError::Fenced(_))));
        device_1.refresh().await.expect("honest");
        assert_eq!(device_1.log().point(), device_2.log().point());
        seen.push(checkpoint(device_1.log()));
    }
    let lost = device(&shelf, 3).await;
    assert_eq!(lost.log().point(), device_1.log().point());
    // Behind the roll-up there is a history to compare, before it a number.
    let vouched = seen.iter().map(|seen| seen.check(&root(1), lost.log()));
    let vouched: Vec<Vouched> = vouched.map(|vouched| vouched.expect("passed")).collect();
    let (number, history) = (Vouched::Number, Vouched::History);
    assert_eq!(vouched, [number, number, number, history, history]);
    assert_eq!(seen[4].records(), 8);
}

#[tokio::test]
async fn an_older_state_is_refused_by_whoever_saw_a_newer_one() {
    let shelf = Shelf::new();
    let device_1 = device(&shelf, 1).await;
    put(&device_1, "a", "1").await;
    let backup = shelf.blobs();
    let (before, point) = (checkpoint(device_1.log()), device_1.log().point());
    put(&device_1, "a", "2").await;
    shelf.rolls_back(backup);
    let lost = device(&shelf, 2).await;
    let error = checkpoint(device_1.log()).check(&root(1), lost.log());
    assert!(is_older(&error.expect_err("it is older"), "commits"));
    let error = lost.log().passes(&device_1.log().point());
    assert!(is_older(&error.expect_err("it is older"), "commits"));
    // What was seen before that is there.
    assert_eq!(before.check(&root(1), lost.log()), Ok(Vouched::History));
    assert_eq!(lost.log().passes(&point), Ok(()));
}

#[tokio::test]
async fn a_history_that_went_on_from_an_older_state_is_told_from_the_one_that_was_seen() {
    let shelf = Shelf::new();
    let device_1 = device(&shelf, 1).await;
    put(&device_1, "a", "1").await;
    let backup = shelf.blobs();
    put(&device_1, "a", "2").await;
    let (seen, point) = (checkpoint(device_1.log()), device_1.log().point());
    shelf.rolls_back(backup);
    // Without a witness it is believed, and becomes longer than what was lost.
    let lost = device(&shelf, 2).await;
    put(&lost, "a", "3").await;
    let parted = Err(RecoveryError::OtherHistory { records: 2 });
    assert_eq!(lost.log().passes(&point), parted);
    assert_eq!(seen.check(&root(1), lost.log()).map(drop), parted);
    put(&lost, "a", "4").await;
    let read = device(&shelf, 3).await;
    assert_eq!(seen.check(&root(1), read.log()).map(drop), parted);
    // Past a roll-up only the number is left.
    lost.roll_up().await.expect("honest");
    let read = device(&shelf, 4).await;
    assert_eq!(seen.check(&root(1), read.log()), Ok(Vouched::Number));
}

#[tokio::test]
async fn a_checkpoint_of_another_root_key_convicts_nobody() {
    let shelf = Shelf::new();
    let map = device(&shelf, 1).await;
    put(&map, "a", "1").await;
    let foreign = Checkpoint::new(&root(2), &map.log().point());
    assert_eq!(
        foreign.check(&root(1), map.log()),
        Err(RecoveryError::ForeignCheckpoint)
    );
}

/// A wallet whose page and cell are newer than what this is told to show of its log: the last four keys are missing.
#[tokio::test]
async fn a_log_that_is_older_than_the_page_says_is_refused_until_all_of_it_is_shown() {
    let mut wallet = Wallet::new(3, 4).await;
    let older = wallet.shelf.keys();
    wallet.put(4).await;
    let log = wallet.shelf.keys();
    wallet.until(Wrote::Page).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let whole = shelf.fork();
    let pages = shelf.keys();
    let shown = pages
        .iter()
        .filter(|key| older.contains(key) || !log.contains(key));
    shelf.shows_only(&shown.copied().collect());

    let (purse, kept) = (MemoryJournal::new(), MemoryJournal::new());
    let (_, restore) = start_over(&shelf, &purse, &kept).await;
    let error = read(&restore).await.map(drop).expect_err("it is older");
    assert!(is_older(&error, "commits"), "{error}");
    assert!(!restore.lacks_page());
    drop(restore);
    // What it said not to be there is not believed the next time.
    shelf.shows_again(&whole);
    let (_, restore) = start_over(&shelf, &purse, &kept).await;
    let map = read(&restore).await.expect("all of it");
    has_all(&map, keys).await;
    assert_eq!(restore.check(map.log()), Ok(map.log().records()));
}

#[tokio::test]
async fn an_anchor_that_is_older_than_the_cell_says_is_refused_and_a_page_that_is_kept_back_is_missed()
 {
    let mut wallet = Wallet::new(3, 4).await;
    let older = wallet.shelf.keys();
    wallet.put(4).await;
    wallet.map.roll_up().await.expect("honest");
    wallet.until(Wrote::Page).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, _) = wallet.lose();
    shelf.shows_only(&older);
    let (_, restore) = nothing_left(&shelf).await;
    let error = read(&restore).await.map(drop).expect_err("it is older");
    assert!(is_older(&error, "roll-ups"), "{error}");
    assert!(restore.lacks_page());
}

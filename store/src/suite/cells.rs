//! What an engine does with breakglass cells, one test each.

use larder_credentials::ledger::Declined;

use super::Open;
use super::behaviour::{commit, folder};
use super::sample::{cell, entering, key};
use super::scene::{Scene, TOKENS};
use crate::{Change, Effect, Engine, Enter, Outcome, Payment, StoredCell};

/// Unix seconds, now.
const NOW: u64 = 1_000;
/// When what is doomed now will be gone.
const DEADLINE: u64 = 2_000;

fn put_at(key_number: u64, sequence: u64, cell_number: u64, now: u64) -> Change {
    Change::PutCell {
        key: key(key_number),
        sequence,
        cell: Box::new(cell(cell_number)),
        now,
    }
}

fn put(key_number: u64, sequence: u64, cell_number: u64) -> Effect {
    Effect::unpaid(put_at(key_number, sequence, cell_number, NOW))
}

fn doom(key_number: u64, now: u64) -> Effect {
    Effect::unpaid(Change::DoomCell {
        key: key(key_number),
        deadline: now + (DEADLINE - NOW),
        now,
    })
}

fn drop_gone(now: u64) -> Effect {
    Effect::unpaid(Change::DropCells { now })
}

fn stored(sequence: u64, cell_number: u64, deadline: Option<u64>) -> StoredCell {
    StoredCell {
        sequence,
        cell: cell(cell_number),
        deadline,
    }
}

fn doomed(sequence: u64, cell_number: u64) -> Outcome {
    Outcome::CellDoomed(Box::new(stored(sequence, cell_number, Some(DEADLINE))))
}

/// Lower sequences, and others of the same, change nothing and hear what is there.
pub fn a_cell_only_goes_forward(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(engine.cell(&key(1), NOW).unwrap(), None);
    for (sequence, number, outcome) in [
        (0, 1, Outcome::CellStored),
        (7, 2, Outcome::CellStored),
        (7, 2, Outcome::CellStored),
        (7, 3, Outcome::StaleSequence(7)),
        (6, 3, Outcome::StaleSequence(7)),
        (0, 1, Outcome::StaleSequence(7)),
        (u64::MAX, 4, Outcome::CellStored),
        (8, 5, Outcome::StaleSequence(u64::MAX)),
    ] {
        assert_eq!(commit(&*engine, put(1, sequence, number)), outcome);
    }
    drop(engine);
    let engine = open(folder.path());
    let newest = stored(u64::MAX, 4, None);
    assert_eq!(engine.cell(&key(1), NOW).unwrap(), Some(newest));
    assert_eq!(engine.cell(&key(2), NOW).unwrap(), None);
    // A blob may be under the same key, and neither knows of the other.
    assert_eq!(engine.stat(&key(1)).unwrap(), crate::Stat::Absent);
}

/// Whoever opens a second time gains no time, also after a restart.
pub fn a_doom_does_not_move_and_outlives_the_store_being_closed(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(commit(&*engine, doom(1, NOW)), Outcome::Absent);
    commit(&*engine, put(1, 5, 1));
    assert_eq!(commit(&*engine, doom(1, NOW)), doomed(5, 1));
    assert_eq!(commit(&*engine, doom(1, NOW + 500)), doomed(5, 1));
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(commit(&*engine, doom(1, DEADLINE - 1)), doomed(5, 1));
    let there = stored(5, 1, Some(DEADLINE));
    assert_eq!(engine.cell(&key(1), DEADLINE - 1).unwrap(), Some(there));
}

/// Not read, not opened, and in nobody's way: whatever its sequence was.
pub fn a_cell_is_gone_at_its_deadline_for_every_call_whether_or_not_it_was_dropped(open: Open) {
    for dropped in [false, true] {
        let folder = folder();
        let engine = open(folder.path());
        commit(&*engine, put(1, 5, 1));
        commit(&*engine, doom(1, NOW));
        // Down when the time is over, and for long after.
        drop(engine);
        let engine = open(folder.path());
        if dropped {
            let outcome = commit(&*engine, drop_gone(DEADLINE));
            assert_eq!(outcome, Outcome::CellsDropped(1));
        }
        assert_eq!(engine.cell(&key(1), DEADLINE).unwrap(), None);
        assert_eq!(commit(&*engine, doom(1, DEADLINE)), Outcome::Absent);
        let again = Effect::unpaid(put_at(1, 4, 2, DEADLINE));
        assert_eq!(commit(&*engine, again), Outcome::CellStored);
        // The new one is not the old one's to take along.
        let outcome = commit(&*engine, drop_gone(u64::MAX));
        assert_eq!(outcome, Outcome::CellsDropped(0));
        let there = stored(4, 2, None);
        assert_eq!(engine.cell(&key(1), u64::MAX).unwrap(), Some(there));
    }
}

/// A put that was seen before is no sign of life.
pub fn a_higher_sequence_clears_the_doom_and_the_same_does_not(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    commit(&*engine, put(1, 5, 1));
    commit(&*engine, doom(1, NOW));
    assert_eq!(commit(&*engine, put(1, 5, 1)), Outcome::StaleSequence(5));
    assert_eq!(commit(&*engine, put(1, 4, 1)), Outcome::StaleSequence(5));
    let there = stored(5, 1, Some(DEADLINE));
    assert_eq!(engine.cell(&key(1), NOW).unwrap(), Some(there));
    assert_eq!(commit(&*engine, put(1, 6, 1)), Outcome::CellStored);
    let outcome = commit(&*engine, drop_gone(u64::MAX));
    assert_eq!(outcome, Outcome::CellsDropped(0));
    let there = Some(stored(6, 1, None));
    assert_eq!(engine.cell(&key(1), u64::MAX).unwrap(), there);
    drop(engine);
    assert_eq!(open(folder.path()).cell(&key(1), u64::MAX).unwrap(), there);
}

/// A batch is a sequence, not a set.
pub fn opens_and_puts_in_one_batch_take_place_in_order(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let batch = vec![
        doom(1, NOW),
        put(1, 5, 1),
        doom(1, NOW),
        put(1, 4, 2),
        put(1, 6, 3),
        doom(1, NOW),
        drop_gone(DEADLINE - 1),
        put(2, 1, 4),
        drop_gone(DEADLINE),
        doom(1, NOW),
    ];
    let expected = [
        Outcome::Absent,
        Outcome::CellStored,
        doomed(5, 1),
        Outcome::StaleSequence(5),
        Outcome::CellStored,
        doomed(6, 3),
        Outcome::CellsDropped(0),
        Outcome::CellStored,
        Outcome::CellsDropped(1),
        Outcome::Absent,
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.cell(&key(1), 0).unwrap(), None);
    let there = stored(1, 4, None);
    assert_eq!(engine.cell(&key(2), NOW).unwrap(), Some(there));
}

/// Bytes go when the time is over, more than one go's worth of them, and are counted until then.
pub fn cells_are_dropped_when_they_are_gone_and_no_others(open: Open) {
    const CELLS: u64 = 1_030;
    let folder = folder();
    let engine = open(folder.path());
    let cells = |engine: &dyn Engine| engine.usage().unwrap().cells;
    let puts = (0..CELLS).map(|n| put(n, 1, n % 5)).collect();
    engine.commit(puts).unwrap();
    // All but the first two are opened, the last of them later.
    let dooms = (2..CELLS).map(|n| doom(n, NOW + u64::from(n + 1 == CELLS)));
    engine.commit(dooms.collect()).unwrap();
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(cells(&*engine), CELLS);
    let dropped = |now| match commit(&*engine, drop_gone(now)) {
        Outcome::CellsDropped(dropped) => dropped as u64,
        other => panic!("{other:?}"),
    };
    assert_eq!(dropped(DEADLINE - 1), 0);
    let mut gone = 0;
    loop {
        match dropped(DEADLINE) {
            0 => break,
            some => gone += some,
        }
    }
    assert_eq!(gone, CELLS - 3);
    assert_eq!(cells(&*engine), 3);
    assert_eq!(dropped(DEADLINE + 1), 1);
    assert_eq!(cells(&*engine), 2);
    assert_eq!(dropped(u64::MAX), 0);
}

/// An epoch's end takes rows and tombstones, and no cell; a doom stays what it is.
pub fn cells_outlive_epochs(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    engine
        .commit(vec![put(1, 5, 1), put(2, 5, 2), doom(2, NOW)])
        .unwrap();
    for epoch in 1..4 {
        let next = Enter {
            since: NOW,
            tombstones_before: epoch,
            ..entering(epoch, epoch)
        };
        engine.enter(next).unwrap().unwrap();
    }
    let check = |engine: &dyn Engine| {
        let there = stored(5, 1, None);
        assert_eq!(engine.cell(&key(1), NOW).unwrap(), Some(there));
        let there = stored(5, 2, Some(DEADLINE));
        assert_eq!(engine.cell(&key(2), NOW).unwrap(), Some(there));
    };
    check(&*engine);
    drop(engine);
    let engine = open(folder.path());
    check(&*engine);
    let outcome = commit(&*engine, drop_gone(DEADLINE));
    assert_eq!(outcome, Outcome::CellsDropped(1));
}

/// A declined payment puts nothing, a stale put costs nothing, and a good one is both.
pub fn a_cell_and_what_pays_for_it_take_place_together(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    engine.enter(entering(1, 1)).unwrap().unwrap();
    let scene = Scene::new(1);
    let payment = Payment {
        id: [1; 32],
        tags: vec![scene.tag(0)],
        amount: TOKENS,
        expires: u64::MAX,
        paid: true,
    };
    let opened = Change::OpenClaims { payment, now: NOW };
    commit(&*engine, Effect::unpaid(opened));
    let bought = scene.purchase(0);
    commit(&*engine, Effect::paid(Change::None, bought.entry));
    let spent = scene.spend(&bought.pair, 0);
    let paid =
        |sequence, number| Effect::paid(put_at(1, sequence, number, NOW), spent.entry.clone());
    let row = |engine: &dyn Engine| engine.row(&spent.references()[0]).unwrap().is_some();

    commit(&*engine, put(1, 5, 1));
    assert_eq!(commit(&*engine, paid(4, 2)), Outcome::StaleSequence(5));
    assert!(!row(&*engine), "what was not put was paid for");
    assert_eq!(commit(&*engine, paid(6, 2)), Outcome::CellStored);
    assert!(row(&*engine));
    let Outcome::Declined(declined) = commit(&*engine, paid(7, 3)) else {
        panic!("a pair paid twice");
    };
    assert!(matches!(*declined, Declined::Seen(_)));
    let there = stored(6, 2, None);
    assert_eq!(engine.cell(&key(1), NOW).unwrap(), Some(there));
}

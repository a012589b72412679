//! Version 3: breakglass cells beside what version 2 has.

use larder_store::suite::sample::{blob, cell, entering, key};
use larder_store::{Change, Effect, Engine, Outcome, Reading, StoredCell};

use crate::{open, store};

/// When the doomed cell of the fixture is gone.
const DEADLINE: u64 = 5_000;

fn put(n: u64, sequence: u64) -> Effect {
    Effect::unpaid(Change::PutCell {
        key: key(n),
        sequence,
        cell: Box::new(cell(n)),
        now: 0,
    })
}

fn stored(n: u64, sequence: u64, deadline: Option<u64>) -> StoredCell {
    StoredCell {
        sequence,
        cell: cell(n),
        deadline,
    }
}

#[test]
fn a_store_of_format_3_is_read_and_written_on() {
    let folder = store("format-3", "index-0001");
    let engine = open(&folder);
    assert_eq!(engine.read(&key(0)).unwrap(), Reading::Found(blob(0)));
    let before = DEADLINE - 1;
    let there = |n| engine.cell(&key(n), before).unwrap();
    assert_eq!(there(0), Some(stored(0, 7, None)));
    assert_eq!(there(1), Some(stored(1, 8, Some(DEADLINE))));
    assert_eq!(there(2), Some(stored(2, 9, Some(DEADLINE))));
    assert_eq!(there(3), None);
    assert_eq!(engine.cell(&key(1), DEADLINE).unwrap(), None);
    assert_eq!(engine.usage().unwrap().cells, 3);

    let batch = vec![
        put(0, 6),
        put(2, 10),
        put(3, 0),
        Effect::unpaid(Change::DropCells { now: DEADLINE }),
    ];
    let expected = [
        Outcome::StaleSequence(7),
        Outcome::CellStored,
        Outcome::CellStored,
        Outcome::CellsDropped(1),
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    engine.enter(entering(2, 2)).unwrap().unwrap();
    drop(engine);
    let engine = open(&folder);
    let there = |n| engine.cell(&key(n), u64::MAX).unwrap();
    assert_eq!(there(0), Some(stored(0, 7, None)));
    assert_eq!(there(1), None);
    assert_eq!(there(2), Some(stored(2, 10, None)));
    assert_eq!(there(3), Some(stored(3, 0, None)));
}

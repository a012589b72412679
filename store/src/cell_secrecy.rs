//! Nothing that is stored ties a cell to what its owner does otherwise.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::folder::Generation;
use crate::index::Index;
use crate::medium::Disk;
use crate::suite::sample::{blob, cell, entering, key, options};
use crate::suite::scene::{Scene, TOKENS};
use crate::table::Table;
use crate::{Change, Effect, Engine, Enter, Outcome, Payment, SledEngine};

const CELLS: u64 = 6;

fn open(folder: &Path) -> SledEngine {
    SledEngine::open(folder, options()).unwrap()
}

fn put(n: u64, now: u64) -> Change {
    Change::PutCell {
        key: key(n),
        sequence: n,
        cell: Box::new(cell(n)),
        now,
    }
}

fn enter(engine: &SledEngine, epoch: u32) {
    let next = Enter {
        since: u64::from(epoch),
        ..entering(1, epoch)
    };
    engine.enter(next).unwrap().unwrap();
}

/// Every entry of a closed store, table by table.
fn entries(folder: &Path) -> Vec<(Table, Vec<u8>, Vec<u8>)> {
    let index = Generation::current(folder).unwrap().folder(folder);
    let index = Index::open(&index, 1 << 20, Arc::new(Disk)).unwrap();
    let mut entries = Vec::new();
    index
        .audit(|table, key, value| {
            entries.push((table, key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
    entries
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

/// One owner puts among inserts, one cell after the other, in several epochs, and pays for each.
/// The other puts them all at once, in another order, long before, and does nothing else. Neither
/// can be told from the cells, and nothing but the cells names a cell.
#[test]
fn the_cells_are_the_same_bytes_whatever_else_was_done_and_when() {
    let (busy, idle) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let engine = open(busy.path());
    for n in 0..CELLS {
        let epoch = 1 + u32::try_from(n).unwrap() / 2;
        if n % 2 == 0 {
            enter(&engine, epoch);
        }
        let scene = Scene::new(epoch);
        let payment = Payment {
            id: [u8::try_from(n).unwrap(); 32],
            tags: vec![scene.tag(n)],
            amount: TOKENS,
            expires: u64::MAX,
            paid: true,
        };
        let insert = Change::Insert {
            key: key(100 + n),
            blob: blob(100 + n),
            epoch,
        };
        let batch = vec![
            Effect::unpaid(Change::OpenClaims { payment, now: 0 }),
            Effect::unpaid(insert),
            Effect::paid(put(n, 1_000 * n), scene.purchase(n).entry),
        ];
        let outcomes = engine.commit(batch).unwrap();
        assert_eq!(outcomes[2], Outcome::CellStored);
    }
    drop(engine);
    let engine = open(idle.path());
    let puts = (0..CELLS).rev().map(|n| Effect::unpaid(put(n, 7)));
    engine.commit(puts.collect()).unwrap();
    drop(engine);

    let (busy, idle) = (entries(busy.path()), entries(idle.path()));
    let cells = |entries: &[(Table, Vec<u8>, Vec<u8>)]| {
        let of_cells = entries.iter().filter(|(table, ..)| *table == Table::Cells);
        of_cells.cloned().collect::<Vec<_>>()
    };
    assert_eq!(cells(&busy).len() as u64, CELLS);
    assert_eq!(cells(&busy), cells(&idle));
    let tables = |wanted: fn(&Table) -> bool| busy.iter().filter(move |(table, ..)| wanted(table));
    assert_eq!(tables(|table| *table == Table::Index).count() as u64, CELLS);
    assert!(tables(|table| matches!(table, Table::Rows(_))).count() as u64 == CELLS);
    for (table, name, value) in tables(|table| *table != Table::Cells) {
        for n in 0..CELLS {
            let (key, cell) = (key(n), cell(n));
            for secret in [&key.as_bytes()[1..], &cell.0[..16], &cell.hash().0[..]] {
                let told = contains(name, secret) || contains(value, secret);
                assert!(!told, "{table:?} knows of cell {n}");
            }
        }
    }
}

//! When the real storage node is asked to put a cell, and when for something of the primary store, by
//! its own clock, over many epochs of a wallet that writes all the time and stays restorable. Whoever
//! reads these times finds nothing that ties a cell to a write.
//!
//! Each detector is shown first that it finds what was put there to be found. All times follow from
//! seeds.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::MemoryJournal;
use larder_recovery::breakglass::{Extent, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::total_loss::{EPOCH_SECONDS, START, World, buy, root};

const EPOCH: u64 = EPOCH_SECONDS as u64;
const EPOCHS: u64 = 12;
/// Writes to the primary store in each of them.
const WRITES: usize = 12;

/// A cell so soon behind a write, or before one, is of whoever did that.
const CLOSE: u64 = 60;

/// What ties these cells to these writes or to each other, if anything does. Times are seconds of
/// the whole history, whose epochs all are as long.
fn tie(cells: &[u64], writes: &[u64]) -> Option<&'static str> {
    let epochs: BTreeSet<_> = cells.iter().map(|cell| (cell - START) / EPOCH).collect();
    if epochs.len() < cells.len() {
        return Some("two in one epoch");
    }
    let close = |cell: &u64| writes.iter().any(|write| write.abs_diff(*cell) < CLOSE);
    if cells.iter().any(close) {
        return Some("close to a write");
    }
    let since_last = |cell: &u64| {
        let before = writes.iter().filter(|write| *write <= cell).max();
        cell - before.unwrap_or(&START)
    };
    if !scattered(cells.iter().map(since_last), EPOCH / 32) {
        return Some("at a fixed distance behind a write");
    }
    let offset = |cell: &u64| (cell - START) % EPOCH;
    if !scattered(cells.iter().map(offset), EPOCH / 16) {
        return Some("at a fixed time of the epoch");
    }
    None
}

/// Whether these span so much, without the two least and the two greatest.
fn scattered(times: impl Iterator<Item = u64>, span: u64) -> bool {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    let inner = times.get(2..times.len().saturating_sub(2));
    let ends = inner.and_then(|inner| inner.first().zip(inner.last()));
    ends.is_some_and(|(first, last)| last - first >= span)
}

/// Seconds of an epoch, as drawn from this generator, in order.
fn moments(rng: &mut StdRng, count: usize) -> Vec<u64> {
    let mut moments: Vec<u64> = (0..count).map(|_| rng.random_range(0..EPOCH)).collect();
    moments.sort_unstable();
    moments
}

#[test]
fn what_would_tie_a_cell_to_a_write_is_found() {
    let mut rng = StdRng::seed_from_u64(3);
    let starts = (0..EPOCHS).map(|epoch| START + epoch * EPOCH);
    let writes: Vec<Vec<u64>> = starts
        .clone()
        .map(|start| {
            moments(&mut rng, WRITES)
                .iter()
                .map(|at| start + at)
                .collect()
        })
        .collect();
    let all = writes.concat();
    let behind_a_write = |pause: u64| -> Vec<u64> {
        let last = writes.iter().map(|of_epoch| of_epoch[WRITES / 2] + pause);
        last.collect()
    };
    assert_eq!(tie(&behind_a_write(5), &all), Some("close to a write"));
    let fixed = Some("at a fixed distance behind a write");
    assert_eq!(tie(&behind_a_write(CLOSE + 5), &all), fixed);
    let noon: Vec<u64> = starts.clone().map(|start| start + EPOCH / 2).collect();
    assert_eq!(tie(&noon, &all), Some("at a fixed time of the epoch"));
    let twice: Vec<u64> = starts
        .flat_map(|start| [start + 5, start + EPOCH / 2])
        .collect();
    assert_eq!(tie(&twice, &[]), Some("two in one epoch"));
}

#[tokio::test]
async fn no_cell_of_a_wallet_that_writes_all_the_time_is_tied_to_a_write_by_its_time() {
    let world = World::new();
    let provider = world.connect(&MemoryJournal::new(), 1).await;
    for id in 1..=2 {
        buy(&provider, id, 6_000).await;
    }
    let registers = OneProvider::new(&root(), provider.clone());
    let mut rng = StdRng::seed_from_u64(1);
    let map = Map::open(Arc::new(registers), &mut rng, None).await;
    let map = map.expect("up");
    map.take_over().await.expect("up");
    // Before the first epoch that counts: the first cell is due at once.
    let mut next = 0;
    let mut cells = 0;
    for epoch in 0..=EPOCHS {
        if epoch > 0 {
            world.next_epoch();
        }
        let start = START + epoch * EPOCH;
        let mut writes = moments(&mut rng, WRITES)
            .into_iter()
            .map(|at| start + at)
            .peekable();
        loop {
            let write = writes.peek().copied().unwrap_or(u64::MAX);
            let now = write.min(next).max(start);
            if now >= start + EPOCH {
                break;
            }
            world.is_now(now);
            if writes.next_if(|at| *at <= now).is_some() {
                let key = rng.random_range(0..8_u8);
                let write = Write::put(format!("k/{key}"), Expect::Any, [key; 100]);
                map.commit(Commit::of([write])).await.expect("no condition");
            }
            let extent = Extent::of(&map, Vec::new());
            let standing = provider.stay_restorable(now, &extent).await.expect("up");
            assert_eq!(standing.missing, 0);
            cells += u64::from(standing.wrote == Some(Wrote::Cell));
            next = standing.next.max(now + u64::from(standing.wrote.is_none()));
        }
        world.is_now(start);
    }
    assert_eq!(cells, 1 + EPOCHS);

    let asked = world.asked();
    let of = |wanted: &dyn Fn(Op) -> bool| -> Vec<u64> {
        let found = asked
            .iter()
            .filter(|(at, op)| *at >= START + EPOCH && wanted(*op));
        found.map(|(at, _)| *at).collect()
    };
    let put = of(&|op| op == Op::BreakglassPut);
    let primary = of(&|op| matches!(op, Op::Insert | Op::Delete | Op::Lookup));
    assert_eq!(put.len() as u64, EPOCHS);
    assert!(primary.len() > WRITES * EPOCHS as usize);
    assert_eq!(tie(&put, &primary), None);
}

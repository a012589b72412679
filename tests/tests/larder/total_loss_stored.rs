//! What the real storage node has on its disk of a wallet that stays restorable for some epochs: nothing in the
//! cell store is also in the primary one, whoever looks for it. When a cell is put is in
//! [`cell_times`](crate::cell_times).

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;

use larder_recovery::MemoryJournal;
use larder_recovery::breakglass::{Extent, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::processes::copy;
use crate::total_loss::{EPOCH_SECONDS, START, World, buy, root};
use crate::unlinkable::{Truth, records};

const EPOCHS: u64 = 3;

/// Bytes that are in two places by no chance.
const TELLING: usize = 16;

/// Whether a string of so many bytes is in both. Numbers have many zeros, and tell nothing.
fn share(one: &[u8], other: &[u8]) -> bool {
    let is_number = |part: &&[u8]| part.iter().filter(|byte| **byte == 0).count() >= 6;
    let parts: HashSet<&[u8]> = one
        .windows(TELLING)
        .filter(|part| !is_number(part))
        .collect();
    other.windows(TELLING).any(|part| parts.contains(part))
}

#[tokio::test]
async fn nothing_that_is_stored_of_a_cell_is_stored_of_anything_else() {
    let world = World::new();
    let provider = world.connect(&MemoryJournal::new(), 1).await;
    buy(&provider, 1, 12_000).await;
    let registers = OneProvider::new(&root(), provider.clone());
    let mut rng = StdRng::seed_from_u64(1);
    let map = Map::open(Arc::new(registers), &mut rng, None).await;
    let map = map.expect("up");
    map.take_over().await.expect("up");
    let mut now = START;
    for epoch in 0..EPOCHS {
        if epoch > 0 {
            world.next_epoch();
            now += u64::from(EPOCH_SECONDS);
        }
        let mut wrote = None;
        while wrote != Some(Wrote::Cell) {
            world.is_now(now);
            let write = Write::put("k", Expect::Any, [epoch as u8; 100]);
            map.commit(Commit::of([write])).await.expect("no condition");
            let extent = Extent::of(&map, Vec::new());
            let standing = provider.stay_restorable(now, &extent).await.expect("up");
            (wrote, now) = (standing.wrote, now.max(standing.next));
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    world.stop();
    copy(world.folder(), folder.path());

    let (cells, others): (Vec<_>, Vec<_>) = records(folder.path(), &Truth::default())
        .into_iter()
        .partition(|record| record.tree == "cells");
    let [cell] = &cells[..] else {
        panic!("{} cells", cells.len())
    };
    let slots = fs::read(folder.path().join("blobs.slots")).expect("the slot file");
    let rows = others
        .iter()
        .filter(|other| other.tree.starts_with("rows/"));
    assert!(rows.count() > 10, "what paid is there, too");
    assert!(slots.len() > 10 * 16_384, "and what was stored");
    // Its key, and what is under it.
    for bytes in [&cell.key, &cell.value] {
        // What would tell is found: anywhere, and in any part.
        let planted = [&slots[..20_000], &bytes[10..10 + TELLING], &slots[20_000..]].concat();
        assert!(share(bytes, &planted));
        assert!(!share(bytes, &slots));
        let told = others.iter().find(|other| share(bytes, &other.bytes()));
        assert_eq!(told.map(|other| &other.tree), None);
    }
}

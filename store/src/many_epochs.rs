//! The room that epochs took is given back.
//!
//! Rows are what an epoch leaves behind. Real ones take milliseconds each, so that copies
//! of one under other references go straight into the index.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder_credentials::ledger::Writes;
use larder_credentials::{Epoch, ROW_BYTES, Row};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::folder::Generation;
use crate::index::Index;
use crate::medium::Disk;
use crate::overlay::Overlay;
use crate::suite::sample::{entering, options};
use crate::suite::scene::Scene;
use crate::{Engine, SledEngine};

const EPOCHS: u32 = 12;
const ROWS: u32 = 4_000;

/// Where a row's epoch and references are.
const EPOCH_AT: usize = 74;
const REFERENCES_AT: usize = 78;

/// A row with references of its own, in this epoch.
fn row(template: &[u8; ROW_BYTES], epoch: u32, number: u32) -> Row {
    let mut bytes = *template;
    bytes[EPOCH_AT..REFERENCES_AT].copy_from_slice(&epoch.to_le_bytes());
    for which in [0_u8, 1] {
        let reference = Sha256::new()
            .chain_update(epoch.to_le_bytes())
            .chain_update(number.to_le_bytes())
            .chain_update([which])
            .finalize();
        let at = REFERENCES_AT + usize::from(which) * 32;
        bytes[at..at + 32].copy_from_slice(&reference);
    }
    Row::decode(&bytes).unwrap()
}

/// Adds an epoch's rows to a closed store.
fn fill(folder: &Path, template: &[u8; ROW_BYTES], epoch: u32) {
    let place = Generation::current(folder).unwrap().folder(folder);
    let index = Index::open(&place, options().cache_bytes, Arc::new(Disk)).unwrap();
    let mut books = index.audit(|_, _, _| Ok(())).unwrap();
    let numbers: Vec<u32> = (0..ROWS).collect();
    for batch in numbers.chunks(250) {
        let mut overlay = Overlay::new(&index);
        for number in batch {
            let row = row(template, epoch, *number);
            overlay.insert_row(&row).unwrap();
        }
        index.apply(&mut books, &overlay.into_writes()).unwrap();
    }
}

/// Bytes of the files in a folder and those in it.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => size(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}

fn enter(folder: &Path, epoch: u32) {
    let engine = SledEngine::open(folder, options()).unwrap();
    let next = entering(Epoch(epoch).oldest_live(1).0, epoch);
    engine.enter(next).unwrap().unwrap();
}

#[test]
fn the_disk_that_an_epoch_took_is_free_after_its_end() {
    let scene = Scene::new(1);
    let template = scene.spend(&scene.purchase(0).pair, 0).entry.row().encode();
    let folder = TempDir::new().unwrap();
    let (mut full, mut left) = (Vec::new(), Vec::new());
    for epoch in 1..=EPOCHS {
        enter(folder.path(), epoch);
        left.push(size(folder.path()));
        fill(folder.path(), &template, epoch);
        full.push(size(folder.path()));
    }
    println!("bytes before each epoch's end: {full:?}");
    println!("bytes after entering each:     {left:?}");
    // From the third on, as much ends as began.
    for epoch in 2..left.len() {
        assert!(left[epoch] < full[epoch - 1], "epoch {epoch} freed nothing");
        assert!(left[epoch] <= left[2] * 5 / 4, "epoch {epoch} left more");
        assert!(full[epoch] <= full[2] * 5 / 4, "epoch {epoch} took more");
    }
}

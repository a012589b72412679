//! Backward compatibility: stores that each version of the on-disk format wrote.
//!
//! The files under `tests/fixtures` are never written again. When the format changes, a new fixture
//! joins them, and these must still be read, or be refused as
//! [`larder_store::StoreError::UnknownFormat`]. What made them, in the order of the calls:
//!
//! | fixture | calls |
//! | --- | --- |
//! | `format-1` | insert 0 to 3; delete 0 in epoch 0, 1 in epoch 7 |
//! | `format-2` | enter 11; open a paid and an unpaid payment of two claims, buy with one; insert 0 to 3, delete 0; enter 12; insert 4 and pay for it, delete 1 |
//! | `format-3` | insert 0; put cells 0 to 2, doom 1 and 2; enter 1 |
//!
//! `format-2/references` are the two references of what paid for blob 4. The program of today cannot
//! write the first two any more; what wrote each is `write_the_fixture` in the history of its test,
//! at commits `2582b81`, `53778b4` and `eddc2d6`.
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

mod format_1;
mod format_2;
mod format_3;

use std::fs;
use std::path::{Path, PathBuf};

use larder_store::SledEngine;
use larder_store::suite::sample::options;
use tempfile::TempDir;

fn fixture(format: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(format)
}

/// A copy of the store of this format, which has its index in the folder `index`.
fn store(format: &str, index: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join(index)).unwrap();
    let [db, conf] = ["db", "conf"].map(|file| format!("{index}/{file}"));
    let mut files = vec!["blobs.slots", &db, &conf];
    if index != "index" {
        files.push("index.current");
    }
    for file in files {
        fs::copy(fixture(format).join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn open(store: &TempDir) -> SledEngine {
    SledEngine::open(store.path(), options()).unwrap()
}

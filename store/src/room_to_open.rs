//! The room that opening a store takes, and what is said when it is not there.
//!
//! sled writes its snapshot anew at every opening, and its own error names neither cause nor cure.

use std::fs;
use std::io;
use std::path::Path;

use crate::StoreError;
use crate::folder::Generation;

/// What all else that is written takes at most: the mark, and a few blocks.
const BESIDE_THE_SNAPSHOT: u64 = 1 << 20;

/// Says what to do when it is for want of room that a store cannot be opened.
pub(crate) fn or_no_room(folder: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            StoreError::NoRoomToOpen {
                needed: BESIDE_THE_SNAPSHOT + snapshot_bytes(folder),
            }
        }
        other => other,
    }
}

/// The snapshot of the time before, as far as that can be told.
fn snapshot_bytes(folder: &Path) -> u64 {
    let index = Generation::current(folder).map(|current| current.folder(folder));
    let Some(files) = index.ok().and_then(|index| fs::read_dir(index).ok()) else {
        return 0;
    };
    let bytes = files.flatten().filter_map(|file| {
        let is_snapshot = file.file_name().as_encoded_bytes().starts_with(b"snap.");
        file.metadata().ok().filter(|_| is_snapshot)
    });
    bytes.map(|file| file.len()).sum()
}

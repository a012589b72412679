//! `blobs.slots`: fixed slots for the first 16,384 bytes of every blob.
//!
//! Integers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `LARDSLOT` |
//! | 8 | 4 | format version |
//! | 12 | 4 | slot length, 16,384 |
//! | 16 | 16 | store id, the same in the index |
//! | 32 | 32 | SHA-256 of bytes 0 to 31; up to here every version agrees |
//! | 4,096 | 8 + 32 | witness of even commits: number of commits, SHA-256 of store id and number |
//! | 8,192 | 8 + 32 | witness of odd commits |
//! | 16,384 (n + 1) | 16,384 | slot n |
//!
//! **The witness** says how many batches the index held when they were durable. sled takes
//! a truncated log for one that ended early; an index behind its witness gives that away.
//! It costs no wait of its own: it rides on the next batch's `fdatasync`, or on the
//! kernel's pace, and two blocks take turns so that a torn one is only an older one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_protocol::{BLOB_LEN, Blob};
use sha2::{Digest, Sha256};

use crate::medium::{Disk, Medium, sync_folder};
use crate::record::TAIL_LEN;
use crate::{Place, StoreError};

/// The format of the slot file that this program reads and writes; the index has its own.
const FORMAT: u32 = 1;

/// Bytes in a slot.
pub(crate) const SLOT_LEN: usize = 16_384;

const MAGIC: &[u8; 8] = b"LARDSLOT";
const SLOT: u64 = SLOT_LEN as u64;
const SECTION: u64 = 4096;
const HEADER_LEN: usize = 64;
const WITNESS_LEN: usize = 40;

/// The open slot file. It knows nothing of which slots are in use.
pub(crate) struct SlotFile {
    file: File,
    path: PathBuf,
    medium: Arc<dyn Medium>,
    store_id: [u8; 16],
}

impl SlotFile {
    /// The file's place in a store's folder.
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join("blobs.slots")
    }

    /// Creates a file without slots, whole or not at all.
    pub(crate) fn create(folder: &Path, store_id: [u8; 16]) -> io::Result<()> {
        let unfinished = folder.join("blobs.slots.new");
        let file = File::create(&unfinished)?;
        file.set_len(SLOT)?;
        file.write_all_at(&header(store_id), 0)?;
        file.write_all_at(&witness(store_id, 0), SECTION)?;
        file.sync_all()?;
        std::fs::rename(unfinished, Self::path(folder))?;
        sync_folder(folder)
    }

    /// Opens the file and checks its header.
    pub(crate) fn open(folder: &Path, medium: Arc<dyn Medium>) -> Result<Self, StoreError> {
        Self::open_with(OpenOptions::new().read(true).write(true), folder, medium)
    }

    /// The same, and it cannot be written to.
    pub(crate) fn open_to_read(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(OpenOptions::new().read(true), folder, Arc::new(Disk))
    }

    fn open_with(
        options: &OpenOptions,
        folder: &Path,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::corrupt(Place::SlotFile, what);
        let path = Self::path(folder);
        let file = options
            .open(&path)
            .map_err(StoreError::io("open the slot file"))?;
        let mut found = [0; HEADER_LEN];
        read_exact(&file, &mut found, 0, Place::SlotFile)?;
        if found[..8] != MAGIC[..] {
            return Err(damaged("it does not begin as a slot file"));
        }
        if found[32..] != Sha256::digest(&found[..32])[..] {
            return Err(damaged("its header does not match its checksum"));
        }
        let format = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
        if format != FORMAT {
            return Err(StoreError::UnknownFormat {
                found: format,
                supported: FORMAT,
            });
        }
        let mut store_id = [0; 16];
        store_id.copy_from_slice(&found[16..32]);
        if found != header(store_id) {
            return Err(damaged("its slots have another length"));
        }
        Ok(SlotFile {
            file,
            path,
            medium,
            store_id,
        })
    }

    pub(crate) fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    /// Slots that fit the file's present length, and that length in bytes.
    pub(crate) fn extent(&self) -> Result<(u64, u64), StoreError> {
        let metadata = self.file.metadata();
        let len = metadata
            .map_err(StoreError::io("measure the slot file"))?
            .len();
        Ok((len.saturating_sub(SLOT) / SLOT, len))
    }

    /// Makes room for `slots` slots after the first `from`.
    pub(crate) fn lengthen(&self, from: u64, slots: u64) -> io::Result<()> {
        self.medium
            .lengthen(&self.file, (from + 1) * SLOT, (from + 1 + slots) * SLOT)
    }

    /// Writes what of a blob belongs into a slot; durable after [`SlotFile::sync`].
    pub(crate) fn write(&self, slot: u64, blob: &Blob) -> Result<(), StoreError> {
        self.medium
            .write_at(&self.file, &blob.as_bytes()[..SLOT_LEN], (slot + 1) * SLOT)
            .map_err(StoreError::io("write a slot"))
    }

    /// Reads a slot and appends the tail; the result is not yet checked against its hash.
    pub(crate) fn read(&self, slot: u64, tail: &[u8; TAIL_LEN]) -> Result<Blob, StoreError> {
        let mut bytes = vec![0; BLOB_LEN];
        read_exact(
            &self.file,
            &mut bytes[..SLOT_LEN],
            (slot + 1) * SLOT,
            Place::Slot(slot),
        )?;
        bytes[SLOT_LEN..].copy_from_slice(tail);
        Blob::try_from(bytes)
            .map_err(|_| StoreError::corrupt(Place::Slot(slot), "it is not as long as a blob"))
    }

    /// Returns when all that was written would survive a power cut.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.medium
            .sync(&self.file, &self.path)
            .map_err(StoreError::io("make the slot file durable"))
    }

    /// The number of commits that the index is known to have held, durably.
    pub(crate) fn witnessed(&self) -> Result<u64, StoreError> {
        let mut newest = None;
        for section in [SECTION, 2 * SECTION] {
            let mut found = [0; WITNESS_LEN];
            read_exact(&self.file, &mut found, section, Place::SlotFile)?;
            let mut commits = [0; 8];
            commits.copy_from_slice(&found[..8]);
            let commits = u64::from_le_bytes(commits);
            if found == witness(self.store_id, commits) {
                newest = newest.max(Some(commits));
            }
        }
        newest
            .ok_or_else(|| StoreError::corrupt(Place::SlotFile, "both its witnesses are illegible"))
    }

    /// Writes down that the index holds this many commits, durably.
    pub(crate) fn witness(&self, commits: u64) -> Result<(), StoreError> {
        let section = SECTION * (1 + commits % 2);
        self.medium
            .write_at(&self.file, &witness(self.store_id, commits), section)
            .map_err(StoreError::io("write the slot file's witness"))
    }
}

fn header(store_id: [u8; 16]) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&(SLOT_LEN as u32).to_le_bytes());
    bytes[16..32].copy_from_slice(&store_id);
    let checksum = Sha256::digest(&bytes[..32]);
    bytes[32..].copy_from_slice(&checksum);
    bytes
}

fn witness(store_id: [u8; 16], commits: u64) -> [u8; WITNESS_LEN] {
    let mut bytes = [0; WITNESS_LEN];
    bytes[..8].copy_from_slice(&commits.to_le_bytes());
    let checksum = Sha256::new()
        .chain_update(store_id)
        .chain_update(&bytes[..8])
        .finalize();
    bytes[8..].copy_from_slice(&checksum);
    bytes
}

fn read_exact(file: &File, bytes: &mut [u8], offset: u64, place: Place) -> Result<(), StoreError> {
    file.read_exact_at(bytes, offset)
        .map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => StoreError::corrupt(place, "the file ends before it"),
            _ => StoreError::Io {
                doing: "read the slot file",
                source,
            },
        })
}

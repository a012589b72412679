//! Room for blobs: free slots, and a longer slot file when there are none.
//!
//! What blobs may not have is the floor, and the bytes of the index once more: entering an epoch
//! writes it anew beside the old one, and a store that cannot would be stuck in its epoch.

use std::io;
use std::path::Path;

use crate::StoreError;
use crate::free_slots::FreeSlots;
use crate::index::Index;
use crate::medium::Medium;
use crate::slot_file::{SLOT_LEN, SlotFile};

/// The room that a batch may use.
pub(crate) struct Room<'e> {
    pub(crate) folder: &'e Path,
    pub(crate) medium: &'e dyn Medium,
    pub(crate) slots: &'e SlotFile,
    pub(crate) free: &'e mut FreeSlots,
    /// Bytes that stay free on the disk, beside those that the index takes.
    pub(crate) floor: u64,
    pub(crate) index: &'e Index,
    /// Slots by which the file grows.
    pub(crate) growth: u64,
    /// Whether the disk has bytes above its floor, and how many; unknown before it is asked.
    pub(crate) above_floor: Option<Option<u64>>,
}

impl Room<'_> {
    /// Whether there is room for a blob; makes the file longer if need be.
    pub(crate) fn any(&mut self) -> Result<bool, StoreError> {
        let Some(bytes) = self.above_floor()? else {
            return Ok(false);
        };
        if self.free.any() {
            return Ok(true);
        }
        let left = bytes.checked_sub(self.growth * SLOT_LEN as u64);
        self.above_floor = Some(left);
        if left.is_none() {
            return Ok(false);
        }
        match self.slots.lengthen(self.free.slots(), self.growth) {
            Ok(()) => self.free.grow(self.free.slots() + self.growth),
            // Nothing was written yet, so a full disk is no reason to stop.
            Err(error) if is_full(&error) => self.above_floor = Some(None),
            Err(error) => return Err(StoreError::io("lengthen the slot file")(error)),
        }
        Ok(self.free.any())
    }

    /// Whether there is room for a value that needs no slot.
    pub(crate) fn for_record(&mut self) -> Result<bool, StoreError> {
        Ok(self.above_floor()?.is_some())
    }

    /// The disk's bytes above its floor; asked once.
    fn above_floor(&mut self) -> Result<Option<u64>, StoreError> {
        if let Some(known) = self.above_floor {
            return Ok(known);
        }
        let reserved = self.floor.saturating_add(self.index.disk_bytes()?);
        let free = self.medium.free_bytes(self.folder);
        let free = free.map_err(StoreError::io("ask for the disk's free space"))?;
        let above_floor = free.checked_sub(reserved);
        self.above_floor = Some(above_floor);
        Ok(above_floor)
    }

    /// Takes a slot that [`Room::any`] has promised.
    pub(crate) fn take(&mut self) -> Option<u64> {
        self.free.take()
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

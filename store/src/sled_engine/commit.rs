//! One commit.
//!
//! | step | what a crash after it leaves |
//! | --- | --- |
//! | write the blobs into free slots | bytes in slots that no record names |
//! | `fdatasync` of the slot file | the same |
//! | one sled transaction over all trees, `flush` | the batch, or nothing of it |
//! | `fdatasync` of sled's file | the batch |
//! | witness, release of emptied slots, acknowledgement | the batch |
//!
//! The index never names bytes that are not on the disk. A slot is reused only after the
//! batch that emptied it is durable. The first error stops the engine; see
//! [`StoreError::Stopped`].

use super::{Shown, SledEngine, Writer};
use crate::judge::Judge;
use crate::overlay::{Overlay, Write};
use crate::room::Room;
use crate::table::Table;
use crate::{Effect, Outcome, StoreError};

impl SledEngine {
    /// Judges a batch and makes what becomes of it durable; nobody else holds the writer.
    pub(super) fn commit_alone(
        &self,
        writer: &mut Writer,
        batch: Vec<Effect>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let index = self.index();
        let mut judge = Judge {
            overlay: Overlay::new(&index),
            room: Room {
                folder: &self.folder,
                medium: &*self.medium,
                slots: &self.slots,
                free: &mut writer.free,
                floor: self.options.free_space_floor,
                index: &index,
                growth: self.options.growth_slots,
                above_floor: None,
            },
            unpaid: &mut writer.unpaid,
            open_claims: self.options.open_claims,
            doomed: &mut writer.doomed,
            blobs: Default::default(),
            emptied: Vec::new(),
        };
        let outcomes = batch.into_iter().map(|effect| judge.decide(effect));
        let outcomes = outcomes.collect::<Result<Vec<Outcome>, StoreError>>()?;
        let Judge {
            overlay,
            blobs,
            emptied,
            ..
        } = judge;
        let writes = overlay.into_writes();
        if writes.is_empty() {
            return Ok(outcomes);
        }
        for (slot, blob) in blobs.values() {
            self.slots.write(*slot, blob)?;
        }
        if !blobs.is_empty() {
            self.slots.sync()?;
        }
        self.in_flight.depart(writes.iter().filter_map(name));
        index.apply(&mut writer.books, &writes)?;
        self.slots.witness(writer.books.commits)?;
        self.show(Shown::of(&index, &writer.books)?);
        self.in_flight.land();
        for slot in emptied {
            writer.free.release(slot);
        }
        Ok(outcomes)
    }
}

/// The name under which a reader would ask for what is written.
fn name(write: &Write) -> Option<Vec<u8>> {
    match write.table {
        Table::Index | Table::Rows(_) | Table::Claims | Table::Cells => Some(write.key.clone()),
        // A tombstone is written when its key leaves the index; the rest is not read.
        Table::Tombstones(_) | Table::Payments | Table::Ledger => None,
    }
}

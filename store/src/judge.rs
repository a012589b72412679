//! What becomes of a batch's effects: judged in order, each on top of those before it.
//!
//! Nothing is written here. The overlay gathers what sled will hear of, `blobs` what the slot
//! file will.

use std::collections::HashMap;

use larder_protocol::{Blob, Key};

use crate::cells::{self, Doomed};
use crate::claims::{self, Unpaid};
use crate::ledger_record::EPOCHS;
use crate::notes;
use crate::overlay::Overlay;
use crate::record::{Record, TAIL_LEN, Tombstone, damaged};
use crate::room::Room;
use crate::slot_file::SLOT_LEN;
use crate::table::Table;
use crate::view::{State, View};
use crate::{Change, Effect, Epochs, Outcome, StoreError, StoredCell};

/// A batch under judgement.
pub(crate) struct Judge<'e> {
    pub(crate) overlay: Overlay<'e>,
    pub(crate) room: Room<'e>,
    pub(crate) unpaid: &'e mut Unpaid,
    /// The most claims that may wait for their payment.
    pub(crate) open_claims: usize,
    pub(crate) doomed: &'e mut Doomed,
    /// New blobs, and their slots.
    pub(crate) blobs: HashMap<Key, (u64, Blob)>,
    /// Slots that nothing names once the batch is durable.
    pub(crate) emptied: Vec<u64>,
}

impl Judge<'_> {
    /// Decides one effect and takes what it does into the batch.
    pub(crate) fn decide(
        &mut self,
        Effect { change, entry }: Effect,
    ) -> Result<Outcome, StoreError> {
        if let Some(outcome) = self.refuse(&change)? {
            return Ok(outcome);
        }
        // What a declined entry writes is no part of it: that issuance halts.
        if let Some(entry) = entry
            && let Err(declined) = entry.apply(&mut self.overlay)?
        {
            return Ok(Outcome::Declined(Box::new(declined)));
        }
        self.carry_out(change)
    }

    /// Why a change does not take place; `None` when it does.
    fn refuse(&mut self, change: &Change) -> Result<Option<Outcome>, StoreError> {
        match change {
            Change::None => Ok(None),
            Change::Insert { key, .. } => Ok(match self.overlay.state(key)? {
                State::Deleted => Some(Outcome::Deleted),
                State::Present(record) => Some(Outcome::AlreadyExists(record.hash)),
                State::Absent if self.room.any()? => None,
                State::Absent => Some(Outcome::Full),
            }),
            Change::Delete { key, blob_hash, .. } => Ok(match self.overlay.state(key)? {
                State::Deleted => Some(Outcome::Deleted),
                State::Absent => Some(Outcome::Absent),
                State::Present(record) if record.hash == *blob_hash => None,
                State::Present(record) => Some(Outcome::HashMismatch(record.hash)),
            }),
            Change::OpenClaims { payment, now } => claims::refuse_to_open(
                &mut self.overlay,
                self.unpaid,
                self.open_claims,
                payment,
                *now,
            ),
            Change::MarkPaid { payment } => Ok(match self.overlay.payment(payment)? {
                Some(_) => None,
                None => Some(Outcome::UnknownPayment),
            }),
            Change::PutCell {
                key,
                sequence,
                cell,
                now,
            } => Ok(match cells::standing(&self.overlay, key, *now)? {
                Some(there) if there.is_what_was_put(*sequence, cell.hash()) => None,
                Some(there) if there.sequence >= *sequence => {
                    Some(Outcome::StaleSequence(there.sequence))
                }
                Some(_) => None,
                None if self.room.for_record()? => None,
                None => Some(Outcome::Full),
            }),
            Change::DoomCell { key, now, .. } => {
                let there = cells::standing(&self.overlay, key, *now)?;
                Ok(there.is_none().then_some(Outcome::Absent))
            }
            Change::Own { server } => notes::refuse_to_own(&self.overlay, server),
            Change::DropCells { .. } | Change::DateEpoch { .. } | Change::NoteTime { .. } => {
                Ok(None)
            }
        }
    }

    /// Does what was not refused.
    fn carry_out(&mut self, change: Change) -> Result<Outcome, StoreError> {
        match change {
            Change::None => Ok(Outcome::Settled),
            Change::Insert { key, blob, epoch } => {
                let Some(slot) = self.room.take() else {
                    return Err(damaged("a free slot is gone"));
                };
                let record = record_of(slot, &blob, epoch);
                self.overlay.put(Table::Index, key.as_bytes(), &record)?;
                self.blobs.insert(key, (slot, blob));
                Ok(Outcome::Inserted)
            }
            Change::Delete { key, epoch, .. } => {
                if let State::Present(record) = self.overlay.state(&key)? {
                    self.emptied.push(record.slot);
                }
                // If this very batch brought it, it need not be written.
                self.blobs.remove(&key);
                self.overlay.remove(Table::Index, key.as_bytes())?;
                let name = Tombstone::name(&key);
                let table = Table::Tombstones(epoch);
                self.overlay.put(table, &name, &Tombstone { epoch })?;
                Ok(Outcome::Removed)
            }
            Change::OpenClaims { payment, .. } => {
                claims::open(&mut self.overlay, self.unpaid, &payment)?;
                Ok(Outcome::Opened)
            }
            Change::MarkPaid { payment } => {
                claims::mark_paid(&mut self.overlay, self.unpaid, &payment)?;
                Ok(Outcome::Paid)
            }
            Change::PutCell {
                key,
                sequence,
                cell,
                ..
            } => {
                let cell = StoredCell {
                    sequence,
                    cell: *cell,
                    deadline: None,
                };
                cells::put(&mut self.overlay, self.doomed, key, &cell)
            }
            Change::DoomCell { key, deadline, now } => {
                cells::doom(&mut self.overlay, self.doomed, key, deadline, now)
            }
            Change::DropCells { now } => cells::drop_gone(&mut self.overlay, self.doomed, now),
            Change::Own { server } => {
                notes::own(&mut self.overlay, &server)?;
                Ok(Outcome::Settled)
            }
            Change::DateEpoch { since } => {
                if let Some(epochs) = self.overlay.epochs()? {
                    let dated = Epochs { since, ..epochs };
                    self.overlay.put(Table::Ledger, EPOCHS, &dated)?;
                }
                Ok(Outcome::Settled)
            }
            Change::NoteTime { now, doubt } => {
                notes::note_time(&mut self.overlay, now, doubt)?;
                Ok(Outcome::Settled)
            }
        }
    }
}

fn record_of(slot: u64, blob: &Blob, epoch: u32) -> Record {
    let mut tail = [0; TAIL_LEN];
    tail.copy_from_slice(&blob.as_bytes()[SLOT_LEN..]);
    Record {
        slot,
        hash: blob.hash(),
        tail,
        epoch,
    }
}

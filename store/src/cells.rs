//! Breakglass cells: one value under a key, which only goes forward, and which is doomed once
//! somebody opened it.
//!
//! | a cell | what becomes of it |
//! | --- | --- |
//! | put | stays, until a put of a higher sequence takes its place |
//! | opened | doomed: gone at its deadline, whoever asks; a put of a higher sequence clears that |
//! | gone | its bytes are removed by the next [`Change::DropCells`](crate::Change::DropCells) |
//!
//! A cell's record says nothing else: not when it was written, in which epoch or what paid for
//! it, so that the table tells nothing of what its owner does in the others. Of a cell that is
//! gone nothing is remembered, not even its sequence.
//!
//! The doomed ones are kept in memory by their deadlines: 41 bytes of every cell that somebody
//! has paid for and opened within the last days.

use std::collections::BTreeSet;

use larder_protocol::{BlobHash, CELL_BYTES, Cell, Key};

use crate::overlay::Overlay;
use crate::record::{Stored, damaged, decode_fields, encode_fields};
use crate::table::Table;
use crate::view::View;
use crate::{Outcome, StoreError};

/// Cells that are removed in one go; the next go takes the rest.
pub(crate) const MOST_AT_ONCE: usize = 1024;

/// A cell as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCell {
    /// The sequence that it was put under.
    pub sequence: u64,
    /// What was put.
    pub cell: Cell,
    /// When it is gone, in Unix seconds; `None` while nobody has opened it.
    pub deadline: Option<u64>,
}

impl StoredCell {
    /// Whether a put of this sequence and cell has nothing left to do: it is there, and to stay.
    #[must_use]
    pub fn is_what_was_put(&self, sequence: u64, cell: BlobHash) -> bool {
        self.deadline.is_none() && self.sequence == sequence && self.cell.hash() == cell
    }

    fn is_gone(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

/// Sequence, cell, deadline or 0.
type Fields = (u64, [u8; CELL_BYTES], u64);

impl Stored for StoredCell {
    fn to_bytes(&self) -> Vec<u8> {
        let deadline = self.deadline.unwrap_or_default();
        let fields: Fields = (self.sequence, self.cell.0, deadline);
        encode_fields(1, &fields)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let (sequence, cell, deadline): Fields = decode_fields(1, bytes)?;
        Ok(StoredCell {
            sequence,
            cell: Cell(cell),
            deadline: (deadline > 0).then_some(deadline),
        })
    }
}

/// The doomed cells, the next to go first.
#[derive(Debug, Default)]
pub(crate) struct Doomed(BTreeSet<(u64, Key)>);

impl Doomed {
    /// Takes a cell in, if it is one.
    pub(crate) fn add(&mut self, key: Key, cell: &StoredCell) {
        self.0.extend(cell.deadline.map(|deadline| (deadline, key)));
    }

    /// The same of an entry as sled has it.
    pub(crate) fn add_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let key = Key::from_slice(key).map_err(|_| damaged("a cell under something else"))?;
        self.add(key, &StoredCell::from_bytes(value)?);
        Ok(())
    }

    fn remove(&mut self, key: Key, cell: &StoredCell) {
        if let Some(deadline) = cell.deadline {
            self.0.remove(&(deadline, key));
        }
    }

    /// The next cell that is gone by now.
    fn gone(&self, now: u64) -> Option<Key> {
        let (deadline, key) = self.0.first()?;
        (*deadline <= now).then_some(*key)
    }
}

/// The cell under a key, unless it is gone.
pub(crate) fn standing(
    view: &impl View,
    key: &Key,
    now: u64,
) -> Result<Option<StoredCell>, StoreError> {
    let cell: Option<StoredCell> = view.value(Table::Cells, key.as_bytes())?;
    Ok(cell.filter(|cell| !cell.is_gone(now)))
}

/// Puts a cell that was not refused.
pub(crate) fn put(
    overlay: &mut Overlay<'_>,
    doomed: &mut Doomed,
    key: Key,
    cell: &StoredCell,
) -> Result<Outcome, StoreError> {
    // The one that was there, gone or not.
    if let Some(before) = overlay.value(Table::Cells, key.as_bytes())? {
        doomed.remove(key, &before);
    }
    overlay.put(Table::Cells, key.as_bytes(), cell)?;
    Ok(Outcome::CellStored)
}

/// Dooms the cell under a key, unless it is doomed already.
pub(crate) fn doom(
    overlay: &mut Overlay<'_>,
    doomed: &mut Doomed,
    key: Key,
    deadline: u64,
    now: u64,
) -> Result<Outcome, StoreError> {
    let Some(mut cell) = standing(overlay, &key, now)? else {
        return Ok(Outcome::Absent);
    };
    if cell.deadline.is_none() {
        // 0 would say that it is not doomed.
        cell.deadline = Some(deadline.max(1));
        doomed.add(key, &cell);
        overlay.put(Table::Cells, key.as_bytes(), &cell)?;
    }
    Ok(Outcome::CellDoomed(Box::new(cell)))
}

/// Removes what is gone, [`MOST_AT_ONCE`] at most.
pub(crate) fn drop_gone(
    overlay: &mut Overlay<'_>,
    doomed: &mut Doomed,
    now: u64,
) -> Result<Outcome, StoreError> {
    let mut dropped = 0;
    while let Some(key) = doomed.gone(now).filter(|_| dropped < MOST_AT_ONCE) {
        doomed.0.pop_first();
        overlay.remove(Table::Cells, key.as_bytes())?;
        dropped += 1;
    }
    Ok(Outcome::CellsDropped(dropped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_laid_out_as_documented_and_holds_nothing_else() {
        let mut stored = StoredCell {
            sequence: 0x0102,
            cell: Cell([7; CELL_BYTES]),
            deadline: None,
        };
        let bytes = stored.to_bytes();
        assert_eq!(bytes.len(), 1 + 8 + 256 + 8);
        assert_eq!(bytes[..10], [1, 2, 1, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(bytes[265..], [0; 8]);
        assert_eq!(StoredCell::from_bytes(&bytes).unwrap(), stored);
        stored.deadline = Some(0x0304);
        let doomed = stored.to_bytes();
        assert_eq!(doomed[..265], bytes[..265]);
        assert_eq!(doomed[265..], [4, 3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(StoredCell::from_bytes(&doomed).unwrap(), stored);
    }

    #[test]
    fn what_was_put_is_there_only_while_it_is_to_stay() {
        let cell = Cell([7; CELL_BYTES]);
        let mut stored = StoredCell {
            sequence: 5,
            cell: cell.clone(),
            deadline: None,
        };
        assert!(stored.is_what_was_put(5, cell.hash()));
        assert!(!stored.is_what_was_put(4, cell.hash()));
        assert!(!stored.is_what_was_put(5, Cell([8; CELL_BYTES]).hash()));
        stored.deadline = Some(9);
        assert!(!stored.is_what_was_put(5, cell.hash()));
    }
}

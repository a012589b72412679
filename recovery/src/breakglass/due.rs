//! When what keeps a wallet restorable is written.
//!
//! When each is due is drawn from the root key and the epoch, so that nobody else can tell:
//!
//! | what | when |
//! | --- | --- |
//! | deleting pages that no cell names | in the first quarter of an epoch, like reissues |
//! | the page | in the second quarter |
//! | the cell | in the three eighths behind it |
//!
//! A page waits until no pair is left that is due to be moved into its epoch, one at a time, but not longer than the
//! second quarter: then the rest is moved in one go.
//!
//! A cell is not written behind a write to the primary store, but after a pause that is drawn for each; the
//! purse's journal knows the last one, whatever process it was. A wallet that never rests writes its cell
//! anyway, at a drawn time at most an eighth of an epoch late, if it is there at that time. A program that
//! comes later, right behind a write, is told to come again in some minutes: one that only ever runs right
//! behind a write never writes a cell. So neither what the cell store holds nor when it was written ties
//! it to anything else. Before the first cell, after a restore, and when a whole epoch went by without
//! one, none of this waits for its part of the epoch: the page is due at once, and the cell behind the same
//! pauses.

use super::standing::Wrote;
use crate::purse::Purse;
use crate::{Provider, RecoveryError};

/// Something to be written.
pub(super) struct Due {
    pub(super) at: u64,
    pub(super) what: Wrote,
    /// A whole epoch went by without a cell, or there is none.
    pub(super) overdue: bool,
}

impl Provider {
    /// What is to be written, in order; nothing during a restore.
    pub(super) fn due(&self, purse: &Purse, now: u64) -> Result<Vec<Due>, RecoveryError> {
        let epochs = purse.epochs().filter(|_| purse.restoring().is_none());
        let Some(((epoch_now, _), seen)) = epochs.zip(purse.epoch_seen()) else {
            return Ok(Vec::new());
        };
        let epoch = u64::from(self.record().epoch_seconds);
        let current = u64::from(epoch_now.0);
        let cells = purse.with_cells(|cells| {
            let cell = cells.written.filter(|written| written.tokens > 0);
            // What the page of a wallet that was lost lists has been taken.
            let taken = cells.written.filter(|written| written.tokens == 0);
            let page = cells
                .newest_page()
                .filter(|page| taken.is_none_or(|taken| *page > taken.page));
            (
                cell.map(|cell| cell.sequence >> 16),
                page.map(|page| page >> 16),
                !cells.old_pages().is_empty(),
            )
        });
        let (cell, page, old) = cells;
        // A wallet that runs at the same time of each epoch only may miss what is drawn for ever.
        let overdue = cell.is_none_or(|cell| cell + 1 < current);
        let within = |label: &[u8], from: u64, span: u64| match overdue {
            true => now,
            false => seen + from + purse.draw(label, epoch_now, 0) % (span + 1),
        };
        let mut due = Vec::new();
        // In an epoch behind that of the cell that replaced what names them.
        let is_due = cell.is_none_or(|cell| cell < current);
        if old && is_due && cell.is_some() {
            let at = within(b"drop", 0, epoch / 4);
            due.push(Due {
                at,
                what: Wrote::Drop,
                overdue,
            });
        }
        // And a cell that waited for the end of its pause takes the page of the epoch before.
        if page.is_none_or(|page| page + u64::from(overdue) < current) {
            let at = within(b"page", epoch / 4, epoch / 4);
            due.push(Due {
                at,
                what: Wrote::Page,
                overdue,
            });
        }
        if is_due {
            let at = within(b"cell", epoch / 2, epoch * 3 / 8);
            let at = (!overdue).then_some(at);
            let at = purse.rest(now, at)?;
            due.push(Due {
                at,
                what: Wrote::Cell,
                overdue,
            });
        }
        // What is due is due in this order.
        due.sort_by_key(|due| due.at.max(now));
        Ok(due)
    }
}

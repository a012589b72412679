//! sled's trees, by what they hold.

use std::ops::RangeInclusive;

use crate::{Place, StoreError};

/// A tree that is under a tally. Their order is that of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Key -> where its blob is.
    Index,
    /// Hash of a key -> that it was deleted; one tree for each ordinal.
    Tombstones(u32),
    /// Reference -> replacement row; one tree for each credential epoch.
    Rows(u32),
    /// Tag -> claim.
    Claims,
    /// Payment -> tags of its claims.
    Payments,
    /// Supply and epoch.
    Ledger,
    /// Key -> breakglass cell.
    Cells,
}

const INDEX: &str = "index";
const TOMBSTONES: &str = "tombstones/";
const ROWS: &str = "rows/";
const CLAIMS: &str = "claims";
const PAYMENTS: &str = "payments";
const LEDGER: &str = "ledger";
const CELLS: &str = "cells";

impl Table {
    pub(crate) const ALL_TOMBSTONES: RangeInclusive<Table> =
        Table::Tombstones(0)..=Table::Tombstones(u32::MAX);
    pub(crate) const ALL_ROWS: RangeInclusive<Table> = Table::Rows(0)..=Table::Rows(u32::MAX);

    /// The tree's name; epochs in hexadecimal.
    pub(crate) fn name(self) -> String {
        match self {
            Table::Index => INDEX.to_owned(),
            Table::Tombstones(ordinal) => format!("{TOMBSTONES}{ordinal:08x}"),
            Table::Rows(epoch) => format!("{ROWS}{epoch:08x}"),
            Table::Claims => CLAIMS.to_owned(),
            Table::Payments => PAYMENTS.to_owned(),
            Table::Ledger => LEDGER.to_owned(),
            Table::Cells => CELLS.to_owned(),
        }
    }

    /// The table in the tree of this name; `None` when it is under no tally.
    pub(crate) fn of(name: &[u8]) -> Result<Option<Table>, StoreError> {
        let name = String::from_utf8_lossy(name);
        let epoch = |digits: &str| {
            u32::from_str_radix(digits, 16)
                .map_err(|_| StoreError::corrupt(Place::Index, "a tree's name has no epoch"))
        };
        Ok(Some(match &*name {
            INDEX => Table::Index,
            CLAIMS => Table::Claims,
            PAYMENTS => Table::Payments,
            LEDGER => Table::Ledger,
            CELLS => Table::Cells,
            other => {
                if let Some(ordinal) = other.strip_prefix(TOMBSTONES) {
                    Table::Tombstones(epoch(ordinal)?)
                } else if let Some(number) = other.strip_prefix(ROWS) {
                    Table::Rows(epoch(number)?)
                } else {
                    return Ok(None);
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_known_by_its_name_again() {
        let tables = [
            Table::Index,
            Table::Tombstones(0),
            Table::Tombstones(u32::MAX),
            Table::Rows(0x1f),
            Table::Claims,
            Table::Payments,
            Table::Ledger,
            Table::Cells,
        ];
        for table in tables {
            assert_eq!(Table::of(table.name().as_bytes()).unwrap(), Some(table));
        }
        assert_eq!(Table::Tombstones(31).name(), "tombstones/0000001f");
        assert_eq!(Table::of(b"meta").unwrap(), None);
        assert!(Table::of(b"rows/").is_err());
    }
}

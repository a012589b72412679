//! What the trees ought to hold: kept by every commit, checked at every opening.
//!
//! sled takes a damaged log for one that ended early, and would go on without what it lost.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::table::Table;

/// The state of affairs after the last commit. Owned by the one writer.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Batches committed.
    pub(crate) commits: u64,
    tallies: BTreeMap<Table, Tally>,
}

impl Books {
    /// Books in which nothing but the number of commits is entered yet.
    pub(crate) fn after(commits: u64) -> Self {
        Books {
            commits,
            ..Books::default()
        }
    }

    /// The tally of a table.
    pub(crate) fn tally(&mut self, table: Table) -> &mut Tally {
        self.tallies.entry(table).or_default()
    }

    /// All tallies.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (Table, &Tally)> {
        self.tallies.iter().map(|(table, tally)| (*table, tally))
    }

    /// Entries in all of these tables.
    pub(crate) fn count(&self, tables: RangeInclusive<Table>) -> u64 {
        let tallies = self.tallies.range(tables);
        tallies.map(|(_, tally)| tally.count).sum()
    }

    /// Forgets about empty trees: one without entries need not have been entered.
    pub(crate) fn without_empty_trees(mut self) -> Self {
        self.tallies.retain(|_, tally| *tally != Tally::default());
        self
    }
}

/// What a tree ought to hold: the number of its entries, and the sum (mod 2^128) of their
/// SHA-256 hashes' first 16 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tally {
    count: u64,
    digest: u128,
}

impl Tally {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(Self::digest(key, value));
    }

    pub(crate) fn subtract(&mut self, key: &[u8], value: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(Self::digest(key, value));
    }

    fn digest(key: &[u8], value: &[u8]) -> u128 {
        // Keys of one tree have one length, so nothing need separate them from values.
        let hash = Sha256::new()
            .chain_update(key)
            .chain_update(value)
            .finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        u128::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_depends_on_every_entry_and_on_no_order() {
        let entries: [(&[u8], &[u8]); 3] = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")];
        let mut forwards = Tally::default();
        let mut backwards = Tally::default();
        for (key, value) in entries {
            forwards.add(key, value);
        }
        for (key, value) in entries.into_iter().rev() {
            backwards.add(key, value);
        }
        assert_eq!(forwards, backwards);

        backwards.subtract(b"b", b"2");
        assert_ne!(forwards, backwards);
        backwards.add(b"b", b"3");
        assert_ne!(forwards, backwards, "an entry's value counts");
        for (key, value) in [(b"a", b"1"), (b"b", b"3"), (b"c", b"3")] {
            backwards.subtract(key, value);
        }
        assert_eq!(backwards, Tally::default());
    }
}

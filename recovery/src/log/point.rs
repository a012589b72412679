//! A place in the history that can be recognised later on.
//!
//! The history only grows, and nobody without the root key adds to it. So a storage node that keeps something back can
//! show an older state and nothing else; and where a wallet has believed that and gone on from there, two histories
//! that part. Whoever remembers how many records there were notices the first, and whoever remembers their chain the
//! second:
//!
//! ```text
//! chain 0 = 16 zeros
//! chain n = SHA-256("larder/chain/1" ‖ chain n-1 ‖ record n as its entry names it)[..16]
//! ```
//!
//! It goes over records alone, so it is the same whoever wrote them, in how many entries, and with whatever providers. An anchor
//! names the chain it begins with, so that reading goes on from there. Chains from before the newest anchor are not there any
//! more: of a point that far back only the number can be checked.
//!
//! A point says how many commits there were, and to whoever guesses all records that they are these. What leaves the
//! wallet in the clear is a [`Checkpoint`](crate::Checkpoint).

use std::fmt;

use sha2::{Digest, Sha256};

use super::entry::Packed;

/// Bytes of a point.
pub(crate) const POINT_BYTES: usize = 8 + 16;

/// What all records so far add up to.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chain(pub(crate) [u8; 16]);

impl Chain {
    /// The chain behind one more record.
    pub(crate) fn behind(&self, record: &Packed) -> Self {
        let mut bytes = Vec::with_capacity(record.packed_len());
        record.write(&mut bytes);
        let hash = Sha256::new()
            .chain_update(b"larder/chain/1")
            .chain_update(self.0)
            .chain_update(&bytes);
        let mut chain = Chain::default();
        chain.0.copy_from_slice(&hash.finalize()[..16]);
        chain
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chain(..)")
    }
}

/// So many records, and these; the default is the very beginning, where every history passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point {
    pub(crate) records: u64,
    pub(crate) chain: Chain,
}

impl Point {
    /// How many there were.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number, big-endian, and the chain: for a device's own notes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; POINT_BYTES] {
        let mut bytes = [0; POINT_BYTES];
        bytes[..8].copy_from_slice(&self.records.to_be_bytes());
        bytes[8..].copy_from_slice(&self.chain.0);
        bytes
    }

    /// Reads the same back.
    #[must_use]
    pub fn from_bytes(bytes: [u8; POINT_BYTES]) -> Self {
        let (mut records, mut chain) = ([0; 8], Chain::default());
        records.copy_from_slice(&bytes[..8]);
        chain.0.copy_from_slice(&bytes[8..]);
        Point {
            records: u64::from_be_bytes(records),
            chain,
        }
    }
}

//! Epochs as the store counts and remembers them.
//!
//! The numbers of credential epochs rise, but not by ones: an operator may close many at
//! once. So the store counts those it has **entered**, and the ages of blobs and tombstones
//! are differences of that count.

use larder_credentials::Epoch;
use larder_credentials::ledger::Floor;

/// The epoch that was entered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    /// Which credentials are good, and in which epoch new ones are issued.
    pub floor: Floor,
    /// How many epochs the store has entered, this one included.
    pub ordinal: u32,
    /// When it was entered, in Unix seconds.
    pub since: u64,
    /// What holds in it, as [`Enter::terms`] said.
    pub terms: Vec<u8>,
}

/// The epoch to enter next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enter {
    /// Its number must be later than any that was entered. What was closed stays closed,
    /// whatever this says.
    pub floor: Floor,
    /// Unix seconds, now. Unpaid claims that expired a day before go; used ones go when they
    /// had expired when the present epoch was entered, too, and their rows are not live.
    pub since: u64,
    /// What holds in the epoch, at most [`Enter::MAX_TERMS`] bytes; the store does not look
    /// into it.
    pub terms: Vec<u8>,
    /// Tombstones of lower ordinals go; their keys can be inserted again.
    pub tombstones_before: u32,
}

impl Enter {
    /// The most that [`Enter::terms`] may have, in bytes.
    pub const MAX_TERMS: usize = 4096;
}

impl Epochs {
    /// That of a store which has entered none.
    pub(crate) const NONE: Epochs = Epochs {
        floor: Floor {
            oldest: Epoch(0),
            current: Epoch(0),
        },
        ordinal: 0,
        since: 0,
        terms: Vec::new(),
    };
}

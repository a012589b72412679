//! What a roll-up leaves behind, and how it goes.
//!
//! What is due is written into the snapshot of the generation that made it so, and is deleted from
//! then on in shuffled order, a few at a time (`due`): a crash forgets at most which of them are gone, and deleting
//! twice does no harm. Anchors that are no prefix of the newest are due too.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | 0: a segment; 1: chunks; 2: an anchor; 3: what is behind the seal of a segment |
//! | 8 + 32 + 8 | generation, lane and length of a segment |
//! | 72 | chunks |
//! | 8 | index of an anchor |
//! | 8 + 32 + 8 + 8 | generation, lane, first index behind the seal, and how many |

use std::ops::Range;

use super::anchor::anchor_slot;
use super::cursor::WINDOW;
use super::entry::{Chunks, take};
use crate::value::chunk_slot;
use crate::{Lane, Purpose, Slot};

/// The longest segment: an entry a millisecond for 34 years.
pub(crate) const SEGMENT_MAX: u64 = 1 << 40;

/// Slots that are to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// The first so many slots of a segment.
    Segment {
        generation: u64,
        lane: Lane,
        len: u64,
    },
    Chunks(Chunks),
    Anchor(u64),
    /// What a writer had in flight when another device took over. Some may be empty.
    Behind {
        generation: u64,
        lane: Lane,
        from: u64,
        len: u64,
    },
}

impl Garbage {
    pub(crate) fn slots(self) -> impl Iterator<Item = Slot> {
        self.some(0..self.count())
    }

    /// How many there are.
    pub(crate) fn count(self) -> u64 {
        match self {
            Garbage::Segment { len, .. } | Garbage::Behind { len, .. } => len,
            Garbage::Chunks(chunks) => chunks.count(),
            Garbage::Anchor(_) => 1,
        }
    }

    /// Those from one place to another.
    pub(crate) fn some(self, places: Range<u64>) -> impl Iterator<Item = Slot> {
        places.map(move |place| match self {
            Garbage::Segment {
                generation, lane, ..
            } => entry_slot(generation, lane, place),
            Garbage::Chunks(chunks) => chunk_slot(chunks.entropy, place),
            Garbage::Anchor(index) => anchor_slot(index),
            Garbage::Behind {
                generation,
                lane,
                from,
                ..
            } => entry_slot(generation, lane, from.saturating_add(place)),
        })
    }

    /// Bytes that it takes.
    pub(crate) fn len(self) -> usize {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes.len()
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Garbage::Segment {
                generation,
                lane,
                len,
            } => {
                out.push(0);
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(&lane.0);
                out.extend_from_slice(&len.to_be_bytes());
            }
            Garbage::Chunks(chunks) => {
                out.push(1);
                chunks.write(out);
            }
            Garbage::Anchor(index) => {
                out.push(2);
                out.extend_from_slice(&index.to_be_bytes());
            }
            Garbage::Behind {
                generation,
                lane,
                from,
                len,
            } => {
                out.push(3);
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(&lane.0);
                out.extend_from_slice(&from.to_be_bytes());
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let garbage = match take(bytes)? {
            [0] => Garbage::Segment {
                generation: u64::from_be_bytes(take(bytes)?),
                lane: Lane(take(bytes)?),
                len: u64::from_be_bytes(take(bytes)?),
            },
            [1] => Garbage::Chunks(Chunks::read(bytes)?),
            [2] => Garbage::Anchor(u64::from_be_bytes(take(bytes)?)),
            [3] => {
                let behind = Garbage::Behind {
                    generation: u64::from_be_bytes(take(bytes)?),
                    lane: Lane(take(bytes)?),
                    from: u64::from_be_bytes(take(bytes)?),
                    len: u64::from_be_bytes(take(bytes)?),
                };
                // No writer has more in flight.
                matches!(behind, Garbage::Behind { len, .. } if len <= WINDOW as u64)
                    .then_some(behind)?
            }
            _ => return None,
        };
        (garbage.count() <= SEGMENT_MAX).then_some(garbage)
    }
}

/// Where an entry or a seal is.
pub(crate) fn entry_slot(generation: u64, lane: Lane, index: u64) -> Slot {
    Slot {
        purpose: Purpose::Log,
        lane,
        generation,
        index,
    }
}

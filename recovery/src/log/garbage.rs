//! What a roll-up leaves behind, and how it goes.
//!
//! What is due is written into the snapshot of the generation that made it so, and is deleted from
//! then on in shuffled order, a few at a time: a crash forgets at most which of them are gone, and deleting
//! twice does no harm. Anchors that are no prefix of the newest are due too.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | 0: a segment; 1: chunks; 2: an anchor; 3: what is behind the seal of a segment |
//! | 8 + 32 + 8 | generation, lane and length of a segment |
//! | 72 | chunks |
//! | 8 | index of an anchor |
//! | 8 + 32 + 8 + 8 | generation, lane, first index behind the seal, and how many |

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::anchor::anchor_slot;
use super::chunk;
use super::cursor::WINDOW;
use super::entry::{Chunks, take};
use crate::seal::BODY_MAX;
use crate::{Lane, Purpose, Slot};

/// Bytes of the names of what is put off: a blob of a snapshot.
const PUT_OFF_MAX: usize = BODY_MAX;

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
    pub(crate) fn slots(self) -> Box<dyn Iterator<Item = Slot>> {
        match self {
            Garbage::Segment {
                generation,
                lane,
                len,
            } => Box::new((0..len).map(move |index| entry_slot(generation, lane, index))),
            Garbage::Chunks(chunks) => Box::new(chunk::slots(chunks)),
            Garbage::Anchor(index) => Box::new(std::iter::once(anchor_slot(index))),
            Garbage::Behind {
                generation,
                lane,
                from,
                len,
            } => Box::new((0..len).map_while(move |ahead| {
                let index = from.checked_add(ahead)?;
                Some(entry_slot(generation, lane, index))
            })),
        }
    }

    /// Bytes that it takes.
    fn len(self) -> usize {
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
        Some(match take(bytes)? {
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
        })
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

/// What is due, and the order it goes in.
pub(crate) struct Due {
    /// Not all of it is deleted; the first `shuffled` of them are in `slots`.
    items: Vec<Garbage>,
    shuffled: usize,
    slots: Vec<Slot>,
    /// Handed out and not reported back.
    out: usize,
    /// Left for another session, the oldest first.
    put_off: Vec<Garbage>,
    rng: StdRng,
}

impl Due {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Due {
            items: Vec::new(),
            shuffled: 0,
            slots: Vec::new(),
            out: 0,
            put_off: Vec::new(),
            rng: StdRng::from_seed(seed),
        }
    }

    pub(crate) fn push(&mut self, garbage: Garbage) {
        if !self.items.contains(&garbage) {
            self.items.push(garbage);
        }
    }

    /// All of it is gone.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
        self.slots.clear();
        self.shuffled = 0;
    }

    /// None of it is handed out by this session. Who may never come back is not waited for with a list without end.
    pub(crate) fn put_off(&mut self) {
        self.put_off.append(&mut self.items);
        self.clear();
        let mut len = 0;
        let newest = self.put_off.iter().rev().take_while(|item| {
            len += item.len();
            len <= PUT_OFF_MAX
        });
        let forgotten = self.put_off.len() - newest.count();
        self.put_off.drain(..forgotten);
    }

    /// What the next snapshot has to name.
    pub(crate) fn all(&self) -> Vec<Garbage> {
        [self.put_off.as_slice(), &self.items].concat()
    }

    /// What is not known to be gone.
    pub(crate) fn left(&self) -> Vec<Slot> {
        let rest = self.put_off.iter().chain(&self.items[self.shuffled..]);
        let rest = rest.flat_map(|item| item.slots());
        self.slots.iter().copied().chain(rest).collect()
    }

    /// The next slots to delete.
    pub(crate) fn take(&mut self, at_most: usize) -> Vec<Slot> {
        if self.slots.is_empty() && self.out == 0 {
            self.items.drain(..self.shuffled);
            self.shuffled = self.items.len();
            self.slots = self.items.iter().flat_map(|item| item.slots()).collect();
            self.slots.shuffle(&mut self.rng);
        }
        let slots = self
            .slots
            .split_off(self.slots.len().saturating_sub(at_most));
        self.out += slots.len();
        slots
    }

    /// One that was handed out is gone, or is to be handed out again.
    pub(crate) fn put_back(&mut self, slot: Slot, gone: bool) {
        self.out = self.out.saturating_sub(1);
        if !gone {
            self.slots.push(slot);
        }
    }

    /// Whether anything is left, as far as this session knows.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.out == 0 && self.shuffled == self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_is_put_off_without_end_the_newest_is_kept() {
        let mut due = Due::new([0; 32]);
        let segment = |generation| Garbage::Segment {
            generation,
            lane: Lane([0; 32]),
            len: 18,
        };
        for generation in 0..1_000 {
            due.push(segment(generation));
            due.put_off();
        }
        let kept = due.all();
        let newest = 1_000 - kept.len() as u64..1_000;
        assert_eq!(kept, newest.map(segment).collect::<Vec<_>>());
        let bytes = kept.iter().map(|item| item.len()).sum::<usize>();
        assert!(bytes <= PUT_OFF_MAX && bytes + segment(0).len() > PUT_OFF_MAX);
    }

    #[test]
    fn the_order_of_deletes_is_neither_that_of_the_slots_nor_the_same_again() {
        let order = |seed| {
            let mut due = Due::new([seed; 32]);
            due.push(Garbage::Segment {
                generation: 0,
                lane: Lane([0; 32]),
                len: 100,
            });
            due.take(100).iter().map(|slot| slot.index).collect()
        };
        let [one, other]: [Vec<u64>; 2] = [1, 2].map(order);
        let ascending: Vec<u64> = (0..100).collect();
        let descending: Vec<u64> = (0..100).rev().collect();
        assert!(one != ascending && one != descending && one != other);
        let mut sorted = one;
        sorted.sort_unstable();
        assert_eq!(sorted, ascending);
    }
}

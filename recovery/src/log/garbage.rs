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

use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::anchor::anchor_slot;
use super::cursor::WINDOW;
use super::entry::{Chunks, take};
use crate::seal::BODY_MAX;
use crate::value::chunk_slot;
use crate::{Lane, Purpose, Slot};

/// Bytes of the names of what is put off: a blob of a snapshot.
const PUT_OFF_MAX: usize = BODY_MAX;

/// Slots of what is due that are in memory at once. A name of 49 bytes may stand for a trillion.
const SLOTS_AT_ONCE: u64 = 1 << 16;

/// The longest segment: an entry a millisecond for 34 years.
const SEGMENT_MAX: u64 = 1 << 40;

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
    fn some(self, places: Range<u64>) -> impl Iterator<Item = Slot> {
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

/// What is due, and the order it goes in.
pub(crate) struct Due {
    /// Not all of it is deleted.
    items: Vec<Garbage>,
    /// What is in `slots` or gone: so many items, and of the one behind them so many slots.
    shuffled: (usize, u64),
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
            shuffled: (0, 0),
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
        self.shuffled = (0, 0);
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
    pub(crate) fn left(&self) -> impl Iterator<Item = Slot> {
        let (whole, some) = self.shuffled;
        let rest = self.items.iter().skip(whole).enumerate();
        let rest = rest.flat_map(move |(at, item)| {
            let from = if at == 0 { some } else { 0 };
            item.some(from..item.count())
        });
        let put_off = self.put_off.iter().flat_map(|item| item.slots());
        self.slots.iter().copied().chain(put_off).chain(rest)
    }

    /// The next slots to delete.
    pub(crate) fn take(&mut self, at_most: usize) -> Vec<Slot> {
        if self.slots.is_empty() && self.out == 0 {
            self.shuffle();
        }
        let slots = self
            .slots
            .split_off(self.slots.len().saturating_sub(at_most));
        self.out += slots.len();
        slots
    }

    /// Takes as many of the slots as there is room for, from the first on.
    fn shuffle(&mut self) {
        let (whole, mut from) = std::mem::take(&mut self.shuffled);
        self.items.drain(..whole);
        let mut room = SLOTS_AT_ONCE;
        for item in &self.items {
            let to = item.count().min(from.saturating_add(room));
            self.slots.extend(item.some(from..to));
            room -= to - from;
            if to < item.count() {
                self.shuffled.1 = to;
                break;
            }
            self.shuffled.0 += 1;
            from = 0;
        }
        self.slots.shuffle(&mut self.rng);
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
        self.slots.is_empty() && self.out == 0 && self.shuffled.0 == self.items.len()
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
    fn a_trillion_slots_are_handed_out_from_a_few_in_memory_and_named_all_the_while() {
        let segment = |len| Garbage::Segment {
            generation: 0,
            lane: Lane([0; 32]),
            len,
        };
        let mut due = Due::new([0; 32]);
        let all = [Garbage::Anchor(1), segment(SEGMENT_MAX), Garbage::Anchor(2)];
        all.into_iter().for_each(|item| due.push(item));
        assert_eq!(due.take(10).len(), 10);
        assert_eq!(due.slots.len() as u64, SLOTS_AT_ONCE - 10);
        assert!(due.all() == all && !due.is_empty());

        let mut due = Due::new([0; 32]);
        let items = [segment(SLOTS_AT_ONCE + 5), Garbage::Anchor(1)];
        items.into_iter().for_each(|item| due.push(item));
        let mut gone = std::collections::HashSet::new();
        while !due.is_empty() {
            assert_eq!(due.all(), items);
            for slot in due.take(10_000) {
                assert!(gone.insert(slot), "handed out twice");
                due.put_back(slot, true);
            }
        }
        assert_eq!(gone.len() as u64, SLOTS_AT_ONCE + 5 + 1);
    }

    #[test]
    fn a_segment_is_as_long_as_segments_get_or_none() {
        for (len, is_one) in [
            (0, true),
            (SEGMENT_MAX, true),
            (SEGMENT_MAX + 1, false),
            (u64::MAX, false),
        ] {
            let mut bytes = Vec::new();
            let lane = Lane([0; 32]);
            let generation = 0;
            Garbage::Segment {
                generation,
                lane,
                len,
            }
            .write(&mut bytes);
            assert_eq!(
                Garbage::read(&mut bytes.as_slice()).is_some(),
                is_one,
                "{len}"
            );
        }
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

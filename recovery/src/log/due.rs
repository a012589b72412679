//! What is due to be deleted, and the order it goes in.
//!
//! What came first goes first, shuffled among what came with it. What is left when a command ends is kept in a file of the
//! device ([`Due::to_bytes`]) and goes on with the next ([`Log::resume`](super::Log::resume)). A device without that file has
//! the list in the snapshot, and deletes again what is gone: that costs its price, and does no harm.
//!
//! In bytes (integers big-endian):
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | generation that it was left in |
//! | 4 | how many items are begun, `b` |
//! | per item: 49, 73, 9 or 57 | its slots, as in a snapshot |
//! | of the first `b` items: 8 + 8 | from which of its slots to which they were drawn; those behind are left, those before gone |
//! | n / 8, rounded up | a bit per slot between, the lowest first: whether it is left |

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{CryptoRng, SeedableRng};

use super::entry::take;
use super::garbage::Garbage;
use crate::Slot;
use crate::seal::BODY_MAX;

/// Bytes of the names of what is put off: a blob of a snapshot.
const PUT_OFF_MAX: usize = BODY_MAX;

/// Slots of what is due that are in memory at once. A name of 49 bytes may stand for a trillion.
const SLOTS_AT_ONCE: u64 = 1 << 16;

/// Registers that are still to be deleted.
#[derive(Clone)]
pub struct Due {
    /// Where it was left; that of the log while it is in use.
    pub(super) generation: u64,
    /// Not all of it is deleted.
    items: Vec<Garbage>,
    /// What is in `slots` or gone: so many items, and of the one behind them so many slots.
    shuffled: (usize, u64),
    /// From which of the first item's slots on.
    from: u64,
    slots: Vec<Slot>,
    /// Handed out and not reported back.
    out: usize,
    /// Left for another session, the oldest first.
    put_off: Vec<Garbage>,
    rng: StdRng,
    /// When the next one is to be deleted, in unix seconds, as drawn when so many were due.
    pub(super) next_at: Option<(u64, u64)>,
}

impl Due {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Due {
            generation: 0,
            items: Vec::new(),
            shuffled: (0, 0),
            from: 0,
            slots: Vec::new(),
            out: 0,
            put_off: Vec::new(),
            rng: StdRng::from_seed(seed),
            next_at: None,
        }
    }

    /// What an earlier session has left, from a file; `None` when it is none.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8], rng: &mut (impl CryptoRng + ?Sized)) -> Option<Self> {
        let bytes = &mut bytes;
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let mut due = Due::new(seed);
        due.generation = u64::from_be_bytes(take(bytes)?);
        let begun = u32::from_be_bytes(take(bytes)?) as usize;
        let mut room = SLOTS_AT_ONCE;
        while !bytes.is_empty() {
            let item = Garbage::read(bytes)?;
            if due.items.len() < begun {
                let (from, to) = (take(bytes)?, take(bytes)?);
                let (from, to) = (u64::from_be_bytes(from), u64::from_be_bytes(to));
                let is_first = due.items.is_empty();
                let drawn = to.checked_sub(from).filter(|_| is_first || from == 0)?;
                room = room.checked_sub(drawn)?;
                let (bits, rest) = bytes.split_at_checked(drawn.div_ceil(8) as usize)?;
                *bytes = rest;
                let is_left = |at: usize| bits[at / 8] >> (at % 8) & 1 == 1;
                // The last one may be drawn in part.
                if due.shuffled.1 > 0 || to > item.count() {
                    return None;
                }
                let left = item.some(from..to).enumerate();
                let left = left.filter(|(at, _)| is_left(*at));
                due.slots.extend(left.map(|(_, slot)| slot));
                match to == item.count() {
                    true => due.shuffled.0 += 1,
                    false if to == 0 => return None,
                    false => due.shuffled.1 = to,
                }
                if is_first {
                    due.from = from;
                }
            }
            due.items.push(item);
        }
        due.slots.shuffle(&mut due.rng);
        (begun <= due.items.len()).then_some(due)
    }

    /// For a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let left: HashSet<Slot> = self.slots.iter().copied().collect();
        let (whole, some) = self.shuffled;
        let begun = whole + usize::from(some > 0);
        let mut bytes = self.generation.to_be_bytes().to_vec();
        bytes.extend_from_slice(&(begun as u32).to_be_bytes());
        for (at, item) in self.items[..begun].iter().enumerate() {
            let from = if at == 0 { self.from } else { 0 };
            let to = if at < whole { item.count() } else { some };
            item.write(&mut bytes);
            bytes.extend_from_slice(&from.to_be_bytes());
            bytes.extend_from_slice(&to.to_be_bytes());
            let mut bits = vec![0; to.saturating_sub(from).div_ceil(8) as usize];
            for (at, slot) in item.some(from..to).enumerate() {
                bits[at / 8] |= u8::from(left.contains(&slot)) << (at % 8);
            }
            bytes.extend_from_slice(&bits);
        }
        let rest = self.put_off.iter().chain(&self.items[begun..]);
        rest.for_each(|item| item.write(&mut bytes));
        bytes
    }

    /// How many registers.
    #[must_use]
    pub fn count(&self) -> u64 {
        let (whole, some) = self.shuffled;
        let rest = self.put_off.iter().chain(&self.items[whole..]);
        let rest = rest.map(|item| item.count());
        let drawn = self.slots.len() as u64;
        rest.fold(drawn, u64::saturating_add).saturating_sub(some)
    }

    /// Those registers.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        let (whole, some) = self.shuffled;
        let rest = self.items.iter().skip(whole).enumerate();
        let rest = rest.flat_map(move |(at, item)| {
            let from = if at == 0 { some } else { 0 };
            item.some(from..item.count())
        });
        let put_off = self.put_off.iter().flat_map(|item| item.slots());
        self.slots.iter().copied().chain(put_off).chain(rest)
    }

    /// Takes the next one out, to be deleted; to be [put back](Due::put_back) if that fails.
    pub fn pop(&mut self) -> Option<Slot> {
        let slot = self.take(1).pop()?;
        self.out = self.out.saturating_sub(1);
        Some(slot)
    }

    /// One that was taken out is still there.
    pub fn put_back(&mut self, slot: Slot) {
        self.slots.insert(0, slot);
    }

    pub(super) fn push(&mut self, garbage: Garbage) {
        if !self.items.contains(&garbage) {
            self.items.push(garbage);
        }
    }

    /// Goes on with what an earlier session has left of it. In the same generation that is all there is; in a later
    /// one the list may name more, of which this device may have deleted some.
    pub(super) fn resume(&mut self, left: Due, generation: u64) {
        if left.generation > generation {
            // The log is older than that, as after a rollback that the user has accepted: there all of it may count.
            return;
        }
        let listed = std::mem::replace(self, left);
        if self.generation != generation {
            listed.items.into_iter().for_each(|item| self.push(item));
        }
        self.generation = generation;
    }

    /// All of it is gone.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.slots.clear();
        (self.shuffled, self.from) = ((0, 0), 0);
    }

    /// None of it is handed out by this session. Who may never come back is not waited for with a list without end.
    pub(super) fn put_off(&mut self) {
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
    pub(super) fn all(&self) -> Vec<Garbage> {
        [self.put_off.as_slice(), &self.items].concat()
    }

    /// The next slots to delete.
    pub(super) fn take(&mut self, at_most: usize) -> Vec<Slot> {
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
        self.from = from;
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
    pub(super) fn report(&mut self, slot: Slot, gone: bool) {
        self.out = self.out.saturating_sub(1);
        if !gone {
            self.slots.push(slot);
        }
    }

    /// Whether nothing is left, as far as this session knows.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.out == 0 && self.shuffled.0 == self.items.len()
    }

    pub(super) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }
}

#[cfg(test)]
mod tests {
    use super::super::garbage::SEGMENT_MAX;
    use super::*;
    use crate::Lane;

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
                due.report(slot, true);
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

    #[test]
    fn what_is_left_reads_back_as_the_same_registers_and_older_ones_go_first() {
        let rng = &mut StdRng::seed_from_u64(3);
        let segment = |generation, len| Garbage::Segment {
            generation,
            lane: Lane([1; 32]),
            len,
        };
        let mut due = Due::new([0; 32]);
        due.generation = 4;
        due.push(segment(0, 40));
        due.push(Garbage::Anchor(9));
        let mut gone = HashSet::new();
        for _ in 0..17 {
            gone.insert(due.pop().expect("41 are due"));
        }
        due.push(segment(1, 5));
        for _ in 0..3 {
            assert_eq!(due.count(), 41 - gone.len() as u64 + 5);
            let read = Due::from_bytes(&due.to_bytes(), rng).expect("it was written");
            let sorted = |due: &Due| {
                let mut slots: Vec<_> = due
                    .slots()
                    .map(|slot| (slot.generation, slot.index))
                    .collect();
                slots.sort_unstable();
                slots
            };
            assert_eq!((sorted(&read), read.generation), (sorted(&due), 4));
            due = read;
            for _ in 0..3 {
                let next = due.pop().expect("some are left");
                assert!(
                    next.generation == 0 && gone.insert(next),
                    "once each, the older first"
                );
            }
            let back = due.pop().expect("some are left");
            due.put_back(back);
        }
        while let Some(slot) = due.pop() {
            assert!(gone.insert(slot));
        }
        assert_eq!((gone.len(), due.count()), (46, 0));
        assert!(due.is_empty());
    }

    #[test]
    fn what_is_left_of_an_older_generation_goes_on_beside_what_the_newer_one_lists() {
        let rng = &mut StdRng::seed_from_u64(3);
        let chunks = |entropy, len| {
            Garbage::Chunks(crate::log::entry::Chunks {
                entropy: [entropy; 32],
                len,
                last: crate::log::Link::default(),
            })
        };
        let mut old = Due::new([0; 32]);
        old.push(chunks(1, 5 * BODY_MAX as u64));
        old.pop().expect("five");
        old.push(chunks(2, 1));
        let listed = || {
            let mut listed = Due::new([0; 32]);
            [chunks(1, 5 * BODY_MAX as u64), chunks(3, 1)]
                .into_iter()
                .for_each(|item| listed.push(item));
            listed
        };
        let left =
            || Due::from_bytes(&old.to_bytes(), &mut StdRng::seed_from_u64(1)).expect("written");
        let (mut same, mut later) = (listed(), listed());
        same.resume(left(), 0);
        assert_eq!(same.count(), 4 + 1);
        // What was left in a history that is given up counts in the one before it.
        let (mut given_up, mut before) = (left(), listed());
        given_up.generation = 7;
        before.resume(given_up, 6);
        assert!(before.slots().eq(listed().slots()));
        later.resume(left(), 1);
        assert_eq!(later.count(), 4 + 1 + 1);
        assert_eq!(
            Due::from_bytes(&later.to_bytes(), rng)
                .expect("written")
                .generation,
            1
        );
    }

    proptest::proptest! {
        #[test]
        fn bytes_are_what_is_left_in_one_form_or_none(
            bytes in proptest::collection::vec(0u8..4, 0..200),
            begun in 0u8..3,
        ) {
            let mut bytes = bytes;
            if bytes.len() > 12 {
                bytes[8..12].copy_from_slice(&[0, 0, 0, begun]);
            }
            if let Some(due) = Due::from_bytes(&bytes, &mut StdRng::seed_from_u64(1)) {
                let again = Due::from_bytes(&due.to_bytes(), &mut StdRng::seed_from_u64(1));
                assert_eq!(again.map(|due| due.to_bytes()), Some(due.to_bytes()));
            }
        }
    }
}

//! Which slots are free: one bit per slot, and nothing else in memory per blob.

/// A bitmap of free slots; gives out the lowest, so that the file stays dense.
#[derive(Default)]
pub(crate) struct FreeSlots {
    /// Bit `slot % 64` of word `slot / 64` is set when the slot is free.
    words: Vec<u64>,
    slots: u64,
    free: u64,
    /// No word below this one has a free slot.
    lowest: usize,
}

impl FreeSlots {
    /// All of `slots` slots, free.
    pub(crate) fn all(slots: u64) -> Self {
        let mut all = FreeSlots::default();
        all.grow(slots);
        all
    }

    /// Adds free slots up to a number of `slots`.
    pub(crate) fn grow(&mut self, slots: u64) {
        for slot in self.slots..slots {
            if slot % 64 == 0 {
                self.words.push(0);
            }
            self.slots = slot + 1;
            self.release(slot);
        }
    }

    /// Slots there are, free or not.
    pub(crate) fn slots(&self) -> u64 {
        self.slots
    }

    /// Whether a slot can be taken.
    pub(crate) fn any(&self) -> bool {
        self.free > 0
    }

    /// Takes the lowest free slot.
    pub(crate) fn take(&mut self) -> Option<u64> {
        let word = (self.lowest..self.words.len()).find(|&word| self.words[word] != 0)?;
        self.lowest = word;
        let slot = word as u64 * 64 + u64::from(self.words[word].trailing_zeros());
        self.occupy(slot).then_some(slot)
    }

    /// Takes this slot; `false` when it is not free or does not exist.
    pub(crate) fn occupy(&mut self, slot: u64) -> bool {
        let (word, bit) = Self::place(slot);
        if slot >= self.slots || self.words[word] & bit == 0 {
            return false;
        }
        self.words[word] &= !bit;
        self.free -= 1;
        true
    }

    /// Gives back a slot that was taken.
    pub(crate) fn release(&mut self, slot: u64) {
        let (word, bit) = Self::place(slot);
        debug_assert!(self.words[word] & bit == 0, "a slot is released once");
        self.words[word] |= bit;
        self.free += 1;
        self.lowest = self.lowest.min(word);
    }

    fn place(slot: u64) -> (usize, u64) {
        ((slot / 64) as usize, 1 << (slot % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_given_out_from_the_lowest_and_only_once() {
        let mut free = FreeSlots::all(130);
        let taken: Vec<u64> = std::iter::from_fn(|| free.take()).collect();
        assert_eq!(taken, (0..130).collect::<Vec<_>>());
        assert!(!free.any());
        free.release(129);
        free.release(3);
        assert_eq!(
            (free.take(), free.take(), free.take()),
            (Some(3), Some(129), None)
        );
    }

    #[test]
    fn growing_keeps_what_is_taken() {
        let mut free = FreeSlots::all(1);
        assert_eq!(free.take(), Some(0));
        free.grow(3);
        assert_eq!(
            (free.take(), free.take(), free.take()),
            (Some(1), Some(2), None)
        );
        assert_eq!(free.slots(), 3);
    }

    #[test]
    fn a_slot_is_occupied_once_and_only_if_it_exists() {
        let mut free = FreeSlots::all(2);
        assert!(free.occupy(1));
        assert!(!free.occupy(1));
        assert!(!free.occupy(2));
        assert_eq!(free.take(), Some(0));
    }
}

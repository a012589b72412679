//! Bounded queues, one per peer, that share one bound.
//!
//! Promises: memory is bounded whatever peers do; taking goes round robin, so a peer that
//! floods waits for its own flood and nobody else does; when all queues together are full,
//! a peer with a short queue still gets in, at the cost of the one with the longest.
//!
//! Fails by refusing: [`Refused`] says whether the peer is unknown or its share is used up.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Why an item was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// No such peer (any more).
    Unknown,
    /// The peer has as much waiting as it may have.
    Full,
}

/// One queue per key, round robin between them.
pub(crate) struct FairQueues<K, T> {
    lanes: HashMap<K, Lane<T>>,
    /// Keys with something waiting, in the order of their turns. May name a key whose lane
    /// was emptied by [`FairQueues::pop`] in the meantime; each key at most once.
    turns: VecDeque<K>,
    waiting: usize,
    per_key: usize,
    total: usize,
}

struct Lane<T> {
    items: VecDeque<T>,
    in_turns: bool,
}

impl<K: Copy + Eq + Hash, T> FairQueues<K, T> {
    /// At most `per_key` items for one key and `total` for all of them together.
    pub(crate) fn new(per_key: usize, total: usize) -> Self {
        FairQueues {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waiting: 0,
            per_key,
            total,
        }
    }

    /// Items waiting under all keys.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Begins to accept items under `key`.
    pub(crate) fn open(&mut self, key: K) {
        self.lanes.entry(key).or_insert_with(|| Lane {
            items: VecDeque::new(),
            in_turns: false,
        });
    }

    /// Forgets `key` and returns how many items were lost with it.
    pub(crate) fn close(&mut self, key: &K) -> usize {
        let Some(lane) = self.lanes.remove(key) else {
            return 0;
        };
        if lane.in_turns {
            self.turns.retain(|other| other != key);
        }
        self.waiting -= lane.items.len();
        lane.items.len()
    }

    /// Queues an item; returns how many of another key's it displaced (none or one).
    pub(crate) fn push(&mut self, key: &K, item: T) -> Result<usize, Refused> {
        self.push_with(key, || item)
    }

    /// Queues an item that is made only if there is room for it.
    pub(crate) fn push_with(
        &mut self,
        key: &K,
        item: impl FnOnce() -> T,
    ) -> Result<usize, Refused> {
        let share = self.lanes.get(key).ok_or(Refused::Unknown)?.items.len();
        if share >= self.per_key {
            return Err(Refused::Full);
        }
        let mut displaced = 0;
        if self.waiting >= self.total {
            let longest = self.lanes.values_mut().max_by_key(|lane| lane.items.len());
            match longest {
                // The newest goes: the others of that lane have waited longer for their turn.
                Some(lane) if lane.items.len() > share + 1 => {
                    displaced = usize::from(lane.items.pop_back().is_some());
                    self.waiting -= displaced;
                }
                _ => return Err(Refused::Full),
            }
        }
        let lane = self.lanes.get_mut(key).ok_or(Refused::Unknown)?;
        lane.items.push_back(item());
        self.waiting += 1;
        if !lane.in_turns {
            lane.in_turns = true;
            self.turns.push_back(*key);
        }
        Ok(displaced)
    }

    /// Takes the oldest item of the key whose turn it is.
    pub(crate) fn pop_next(&mut self) -> Option<(K, T)> {
        while let Some(key) = self.turns.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            let item = lane.items.pop_front();
            lane.in_turns = !lane.items.is_empty();
            if lane.in_turns {
                self.turns.push_back(key);
            }
            if let Some(item) = item {
                self.waiting -= 1;
                return Some((key, item));
            }
        }
        None
    }

    /// Takes the oldest item under `key`, whoever's turn it is.
    pub(crate) fn pop(&mut self, key: &K) -> Option<T> {
        let item = self.lanes.get_mut(key)?.items.pop_front()?;
        self.waiting -= 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(per_key: usize, total: usize) -> FairQueues<char, u32> {
        let mut queues = FairQueues::new(per_key, total);
        for key in ['a', 'b', 'c'] {
            queues.open(key);
        }
        queues
    }

    #[test]
    fn a_flooding_peer_waits_for_its_own_flood_only() {
        let mut queues = queues(100, 1_000);
        for i in 0..100 {
            queues.push(&'a', i).unwrap();
        }
        queues.push(&'b', 1_000).unwrap();
        queues.push(&'c', 2_000).unwrap();
        let first: Vec<char> = (0..4)
            .filter_map(|_| queues.pop_next())
            .map(|p| p.0)
            .collect();
        assert_eq!(first, ['a', 'b', 'c', 'a']);
        assert_eq!(queues.waiting(), 98);
    }

    #[test]
    fn one_peer_cannot_use_more_than_its_share() {
        let mut queues = queues(2, 100);
        assert_eq!(queues.push(&'a', 1), Ok(0));
        assert_eq!(queues.push(&'a', 2), Ok(0));
        assert_eq!(queues.push(&'a', 3), Err(Refused::Full));
        assert_eq!(queues.waiting(), 2);
    }

    #[test]
    fn when_all_is_full_the_longest_queue_makes_room_for_a_short_one() {
        let mut queues = queues(10, 4);
        for i in 0..4 {
            queues.push(&'a', i).unwrap();
        }
        assert_eq!(queues.push(&'a', 9), Err(Refused::Full));
        assert_eq!(queues.push(&'b', 9), Ok(1));
        assert_eq!(queues.push(&'b', 9), Ok(1));
        assert_eq!(queues.waiting(), 4);
        // Even shares: nobody is displaced for somebody with as much waiting.
        assert_eq!(queues.push(&'b', 9), Err(Refused::Full));
        assert_eq!(queues.pop(&'a'), Some(0));
    }

    #[test]
    fn a_closed_peer_leaves_nothing_behind() {
        let mut queues = queues(10, 10);
        for _ in 0..1_000 {
            queues.open('a');
            queues.push(&'a', 1).unwrap();
            assert_eq!(queues.close(&'a'), 1);
        }
        assert_eq!(queues.waiting(), 0);
        assert!(queues.turns.is_empty());
        assert_eq!(queues.push(&'a', 1), Err(Refused::Unknown));
        assert_eq!(queues.pop_next(), None);
    }

    #[test]
    fn taking_out_of_turn_keeps_the_count() {
        let mut queues = queues(10, 10);
        queues.push(&'a', 1).unwrap();
        queues.push(&'b', 2).unwrap();
        assert_eq!(queues.pop(&'a'), Some(1));
        assert_eq!(queues.pop(&'a'), None);
        assert_eq!(queues.pop_next(), Some(('b', 2)));
        assert_eq!(queues.waiting(), 0);
        queues.push(&'a', 3).unwrap();
        assert_eq!(queues.pop_next(), Some(('a', 3)));
    }
}

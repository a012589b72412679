//! What waits for a verifier. Checking several requests at once is cheaper than one by one, and
//! nobody waits for company: a verifier that is free takes its share of what there is.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// More at once gain little, and those at the end would wait for all before them.
const MOST_AT_ONCE: usize = 16;

/// A queue that is taken from in fair shares. Whoever pushes sees to its bound.
pub(crate) struct Waiting<T> {
    takers: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    queue: VecDeque<T>,
    closed: bool,
}

impl<T> Waiting<T> {
    pub(crate) fn new(takers: usize) -> Self {
        Waiting {
            takers: takers.max(1),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, item: T) {
        self.lock().queue.push_back(item);
        self.changed.notify_one();
    }

    /// Waits until there is something, and takes a taker's share of it, the oldest first.
    /// `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.queue.is_empty() {
            if state.closed {
                return None;
            }
            state = (self.changed.wait(state)).unwrap_or_else(PoisonError::into_inner);
        }
        let share = state.queue.len().div_ceil(self.takers).min(MOST_AT_ONCE);
        Some(state.queue.drain(..share).collect())
    }

    /// Ends the takers, once they have taken what is there.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No panic can leave the queue half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taker_gets_its_share_one_alone_gets_at_most_sixteen_and_nobody_more_than_there_is() {
        let shares = |takers, waiting: usize| {
            let queue = Waiting::new(takers);
            (0..waiting).for_each(|item| queue.push(item));
            queue.close();
            std::iter::from_fn(|| queue.take())
                .map(|batch| batch.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(shares(2, 1), [1]);
        assert_eq!(shares(2, 5), [3, 1, 1]);
        assert_eq!(shares(1, 40), [16, 16, 8]);
        assert_eq!(shares(4, 64)[..3], [16, 12, 9]);
    }

    #[test]
    fn whoever_waits_is_woken_by_what_comes_and_by_the_end() {
        let queue = std::sync::Arc::new(Waiting::new(1));
        let taker = std::thread::spawn({
            let queue = queue.clone();
            move || {
                std::iter::from_fn(|| queue.take())
                    .flatten()
                    .collect::<Vec<_>>()
            }
        });
        queue.push(1);
        queue.push(2);
        queue.close();
        assert_eq!(taker.join().unwrap(), [1, 2]);
    }
}

//! Waiting together.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Everybody who waits. An answer wakes them all, as whoever polled last may have lost interest.
pub(super) struct Crowd(Mutex<Vec<Waker>>);

impl Crowd {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Crowd(Mutex::new(Vec::new())))
    }

    pub(super) fn join(&self, waker: &Waker) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|there| there.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    pub(super) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Crowd {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

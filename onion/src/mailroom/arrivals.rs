//! Waking whoever waits for a message that has arrived.
//!
//! One thread is woken for one message. So those who wait for different messages must not
//! wait together, or one is woken for what it does not want, and the one that wants it sleeps on.

use std::sync::{Condvar, MutexGuard, PoisonError};

use super::Wanted;

#[derive(Default)]
pub(super) struct Arrivals {
    any: Condvar,
    with_pass: Condvar,
    without_pass: Condvar,
}

impl Arrivals {
    /// Waits until something wanted may have arrived.
    pub(super) fn wait<'a, T>(
        &self,
        wanted: Wanted,
        state: MutexGuard<'a, T>,
    ) -> MutexGuard<'a, T> {
        let arrived = match wanted {
            Wanted::All => &self.any,
            Wanted::WithPass => &self.with_pass,
            Wanted::WithoutPass => &self.without_pass,
        };
        arrived.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// A message has arrived.
    pub(super) fn tell(&self, with_pass: bool) {
        match with_pass {
            true => self.with_pass.notify_one(),
            false => self.without_pass.notify_one(),
        }
        self.any.notify_one();
    }

    /// Whoever waits is to look again.
    pub(super) fn tell_all(&self) {
        self.any.notify_all();
        self.with_pass.notify_all();
        self.without_pass.notify_all();
    }
}

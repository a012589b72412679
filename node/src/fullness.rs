//! What is remembered of a full store, so that inserts are refused before anybody has checked
//! their proofs.
//!
//! The store alone knows whether there is room, and only when it commits. So what it said holds for a
//! minute, or until a blob is stored or removed; then the next insert asks it again.

use std::sync::atomic::{AtomicU64, Ordering};

/// For how long the store's word counts, in seconds.
const HOLDS: u64 = 60;

/// Whether the store was full of late.
#[derive(Default)]
pub(crate) struct Fullness {
    /// Unix seconds; 0 when nothing is remembered.
    until: AtomicU64,
}

impl Fullness {
    /// The store had no room.
    pub(crate) fn note(&self, now: u64) {
        self.until
            .store(now.saturating_add(HOLDS), Ordering::Relaxed);
    }

    /// There may be room again.
    pub(crate) fn forget(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// Whether an insert would find no room. A clock that was set back does not make it last.
    pub(crate) fn at(&self, now: u64) -> bool {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(now);
        (1..=HOLDS).contains(&left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_is_remembered_for_a_minute_or_until_there_is_room() {
        let full = Fullness::default();
        assert!(!full.at(0));
        full.note(100);
        assert!(full.at(100) && full.at(159) && !full.at(160));
        assert!(!full.at(99), "the clock was set back");
        full.forget();
        assert!(!full.at(100));
    }
}

//! What may be asked for nothing: so much in each second, and the rest is dropped before anybody
//! looks at it.

use std::sync::{Mutex, PoisonError};

/// So many of something in each second of a clock.
pub(crate) struct Allowance {
    per_second: u32,
    second: Mutex<Second>,
}

/// The second that was seen last, and what is left of it.
struct Second {
    at: u64,
    left: u32,
}

impl Allowance {
    pub(crate) fn new(per_second: u32) -> Self {
        Allowance {
            per_second,
            second: Mutex::new(Second {
                at: 0,
                left: per_second,
            }),
        }
    }

    /// Takes one, if there is one left in this second. A clock that is set, either way, begins a
    /// new one.
    pub(crate) fn take(&self, now: u64) -> bool {
        // No panic can leave the second half-changed.
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        if second.at != now {
            *second = Second {
                at: now,
                left: self.per_second,
            };
        }
        match second.left.checked_sub(1) {
            Some(left) => {
                second.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_and_nothing_is_saved_up() {
        let allowance = Allowance::new(3);
        let taken = |now| (0..10).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(0), 0);
        assert_eq!(taken(1), 3);
        assert_eq!(taken(100), 3, "nothing was saved up");
        assert_eq!(taken(50), 3, "a clock that was set back blocks nobody");
        assert_eq!((0..5).filter(|_| Allowance::new(0).take(1)).count(), 0);
    }
}

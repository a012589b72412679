//! What time a node believes it is: that of its clock, as long as it can be.
//!
//! A machine without a battery starts in 1970 until it hears from the network, and one whose battery fails
//! may start in any year. Whatever depends on the time would take harm: an epoch entered by such a clock, and
//! another one when it is put right, void tokens that nobody has used; cells that are doomed would be gone early. So
//! the store remembers what time it was, noted every hour and at the end, and the clock is believed only as far as it
//! agrees with that:
//!
//! | the clock | then |
//! | --- | --- |
//! | within a day of what it should be, by the last note and the time that has passed since | it is believed |
//! | at a start, ahead by no more than an epoch or a day | it is believed: the node was off |
//! | otherwise: set back, or far ahead | it is doubted, and time goes on from the last note as the machine runs |
//! | doubted, and has gone on steadily for a day in which the node ran, however often it was restarted | it is believed: the last note was wrong, or the node was off for long |
//! | doubted, and the operator vouches for it (`--trust-clock`) | it is believed |
//! | before [`EARLIEST`], or from [`LATEST`] on | it is never believed |
//!
//! A day's doubt costs a day: an epoch lasts so much longer. A wrong time that is believed costs tokens. So what is not
//! certain waits.
//!
//! **Fails** at a start with [`NodeError::Clock`] when the clock cannot be right and nothing is remembered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use larder_store::DoubtedClock;

use crate::NodeError;
use crate::clock::{Clock, utc};

/// When there was no Larder yet: 1 January 2025. A clock before it was never set.
pub(crate) const EARLIEST: u64 = 1_735_689_600;

/// When a clock is known to be wrong: 1 January 2090. Those that have lost their battery start in 2099, among others, and
/// an epoch is named after its time in 32 bits, which end in 2106: after the last there is no other.
pub(crate) const LATEST: u64 = 3_786_912_000;

/// How far off the clock may be and be believed, and for how long it has to go on steadily when it is not.
pub(crate) const DAY: u64 = 24 * 60 * 60;

/// How far a steady clock may stray while it is doubted: whoever sets it begins anew.
const STRAY: u64 = 60 * 60;

/// The time that is believed.
pub(crate) struct BelievedTime {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// What time it was,
    seconds: u64,
    /// when the machine had run for so long.
    at: Duration,
    /// How far ahead the clock may be: of a node that has just started nobody knows how long it was off.
    ahead: u64,
    doubt: Option<Doubt>,
}

/// A clock that is not believed.
#[derive(Clone, Copy)]
struct Doubt {
    /// What it said first,
    seconds: u64,
    /// when the machine had run for so long.
    at: Duration,
    /// For how many seconds it was steady when the node ran before.
    before: u64,
}

impl Doubt {
    /// Goes on where the node stopped, unless the clock has been set since: nobody knows how long the node was off, but
    /// not for so long.
    fn resumed(noted: DoubtedClock, clock: u64, running: Duration, off: u64) -> Option<Self> {
        let went_on = noted.says.saturating_sub(STRAY)..=noted.says.saturating_add(off);
        went_on.contains(&clock).then_some(Doubt {
            seconds: clock,
            at: running,
            before: noted.steady,
        })
    }

    /// For how many seconds it has been steady.
    fn steady_for(&self, running: Duration) -> u64 {
        let now = running.saturating_sub(self.at).as_secs();
        self.before.saturating_add(now)
    }
}

impl BelievedTime {
    /// Goes on from what time it was when it was noted, and from what was thought of the clock then. That of a node that was off for `off` seconds is not
    /// doubted.
    ///
    /// # Errors
    /// [`NodeError::Clock`].
    pub(crate) fn open(
        clock: Arc<dyn Clock>,
        noted: Option<u64>,
        doubted: Option<DoubtedClock>,
        off: u64,
    ) -> Result<Self, NodeError> {
        let (seconds, running) = (clock.now(), clock.running());
        let begins = noted.is_none() || clock.is_vouched_for();
        if begins {
            could_be(seconds)?;
        }
        let ahead = off.max(DAY);
        let doubt = doubted.filter(|_| !begins);
        let doubt = doubt.and_then(|doubt| Doubt::resumed(doubt, seconds, running, ahead));
        let state = State {
            seconds: noted.filter(|_| !begins).unwrap_or(seconds),
            at: running,
            ahead,
            doubt,
        };
        if state.doubt.is_some() {
            tracing::warn!("this machine's clock was not believed when the node stopped");
        }
        let time = BelievedTime {
            clock,
            state: Mutex::new(state),
        };
        time.now();
        Ok(time)
    }

    /// Whether the clock is doubted now.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.now();
        self.lock().doubt.is_some()
    }

    /// The clock, if it is doubted now: for the next start.
    pub(crate) fn doubted(&self) -> Option<DoubtedClock> {
        self.now();
        let doubt = self.lock().doubt;
        doubt.map(|doubt| DoubtedClock {
            says: self.clock.now(),
            steady: doubt.steady_for(self.clock.running()),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // It is replaced in one step, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for BelievedTime {
    fn now(&self) -> u64 {
        let (clock, running) = (self.clock.now(), self.clock.running());
        self.lock().read(clock, running)
    }

    fn running(&self) -> Duration {
        self.clock.running()
    }
}

impl State {
    /// What time it is, when the clock says this and the machine has run for so long.
    fn read(&mut self, clock: u64, running: Duration) -> u64 {
        let due = after(self.seconds, running.saturating_sub(self.at));
        let near = clock.saturating_add(DAY) >= due && clock <= due.saturating_add(self.ahead);
        if near && could_be(clock).is_ok() {
            if self.doubt.is_some() {
                tracing::info!("this machine's clock is believed again");
            }
        } else if !self.has_proved_steady(clock, running) {
            return due;
        } else {
            tracing::warn!(
                "this machine's clock says {} and has gone on steadily for a day, so it is believed \
                 from now on: by what the store remembered, it was {}",
                utc(clock),
                utc(due)
            );
        }
        *self = State {
            seconds: clock,
            at: running,
            ahead: DAY,
            doubt: None,
        };
        clock
    }

    /// Whether a clock that is doubted has shown by its own course that it can be right.
    fn has_proved_steady(&mut self, clock: u64, running: Duration) -> bool {
        let steady = self.doubt.filter(|doubt| {
            let due = after(doubt.seconds, running.saturating_sub(doubt.at));
            due.abs_diff(clock) <= STRAY
        });
        if let Some(doubt) = steady {
            return doubt.steady_for(running) >= DAY && could_be(clock).is_ok();
        }
        self.doubt = Some(Doubt {
            seconds: clock,
            at: running,
            before: 0,
        });
        let due = after(self.seconds, running.saturating_sub(self.at));
        tracing::warn!(
            "this machine's clock says {}, and by what the store remembers it is {}: the clock is not \
             believed before it has gone on steadily for a day, and until then no epoch begins or \
             ends by it. If it is wrong, set it; if it is right, start once with --trust-clock",
            utc(clock),
            utc(due)
        );
        false
    }
}

/// A time so much later.
fn after(seconds: u64, passed: Duration) -> u64 {
    seconds.saturating_add(passed.as_secs())
}

/// Whether a clock that says this can be right.
///
/// # Errors
/// [`NodeError::Clock`] when it cannot.
pub(crate) fn could_be(seconds: u64) -> Result<(), NodeError> {
    let why = match seconds {
        EARLIEST..LATEST => return Ok(()),
        LATEST.. => "too far ahead to be true",
        _ => "when there was no larderd yet",
    };
    Err(NodeError::Clock(format!("it says {}, {why}", utc(seconds))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const WEEK: u64 = 7 * DAY;

    /// A clock that is set by hand, on a machine that runs for as long as it is told.
    #[derive(Default)]
    struct Set(Mutex<(u64, u64)>, bool);

    impl Set {
        fn at(clock: u64) -> Arc<Self> {
            Arc::new(Set(Mutex::new((clock, 0)), false))
        }

        /// Time passes.
        fn pass(&self, seconds: u64) {
            let mut set = self.0.lock().unwrap();
            *set = (set.0 + seconds, set.1 + seconds);
        }

        /// Somebody sets the clock.
        fn set(&self, clock: u64) {
            self.0.lock().unwrap().0 = clock;
        }
    }

    impl Clock for Set {
        fn now(&self) -> u64 {
            self.0.lock().unwrap().0
        }

        fn running(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }

        fn is_vouched_for(&self) -> bool {
            self.1
        }
    }

    fn open(clock: &Arc<Set>, noted: u64) -> BelievedTime {
        BelievedTime::open(clock.clone(), Some(noted), None, WEEK).unwrap()
    }

    #[test]
    fn a_clock_that_agrees_is_believed_and_so_is_one_of_a_node_that_was_off_for_an_epoch() {
        for off in [0, 3_600, DAY, WEEK] {
            let clock = Set::at(NOW + off);
            let time = open(&clock, NOW);
            assert_eq!(time.now(), NOW + off);
            clock.pass(30 * DAY);
            assert_eq!(
                time.now(),
                NOW + off + 30 * DAY,
                "however rarely it is asked"
            );
            // As summer time, or a service that sets it right.
            clock.set(NOW + off + 30 * DAY - 3_600);
            assert_eq!(time.now(), NOW + off + 30 * DAY - 3_600);
            assert!(!time.is_in_doubt());
        }
    }

    #[test]
    fn a_machine_that_starts_in_1970_goes_on_from_the_last_note_until_it_is_set_right() {
        let clock = Set::at(5);
        let time = open(&clock, NOW);
        assert_eq!(time.now(), NOW);
        clock.pass(40);
        assert_eq!(time.now(), NOW + 40);
        // The node was off for three days, which it learns now.
        clock.set(NOW + 3 * DAY);
        assert_eq!(time.now(), NOW + 3 * DAY);
        assert!(!time.is_in_doubt());
        // Once set right it does not wander: what was good for a start is too much now.
        clock.set(NOW + 6 * DAY);
        assert_eq!(time.now(), NOW + 3 * DAY);
    }

    #[test]
    fn a_clock_that_jumps_is_believed_after_a_day_in_which_it_went_on_steadily() {
        for jumped in [
            NOW + 400 * DAY,
            NOW - 400 * DAY,
            NOW + WEEK + 1,
            NOW - DAY - 1,
        ] {
            let clock = Set::at(jumped);
            let time = open(&clock, NOW);
            assert_eq!(time.now(), NOW);
            clock.pass(DAY - 1);
            assert_eq!(time.now(), NOW + DAY - 1);
            // Whoever sets it begins anew.
            clock.set(jumped - 30 * DAY);
            assert_eq!(time.now(), NOW + DAY - 1);
            clock.set(jumped + DAY - 1);
            assert_eq!(time.now(), NOW + DAY - 1);
            clock.pass(DAY - 1);
            assert_eq!(time.now(), NOW + 2 * DAY - 2);
            clock.pass(1);
            assert_eq!(time.now(), jumped + 2 * DAY - 1);
            assert!(!time.is_in_doubt());
        }
    }

    #[test]
    fn a_clock_that_was_never_set_or_is_beyond_its_time_is_never_believed_however_steady() {
        for wrong in [5, LATEST, 4_400_000_000, u64::MAX - 40 * DAY] {
            let clock = Set::at(wrong);
            let time = open(&clock, NOW);
            for day in 1..30 {
                clock.pass(DAY);
                assert_eq!(time.now(), NOW + day * DAY);
            }
            assert!(time.is_in_doubt());
            for vouched in [false, true] {
                let clock = Arc::new(Set(Mutex::new((wrong, 0)), vouched));
                let noted = vouched.then_some(NOW);
                let refused = BelievedTime::open(clock, noted, None, WEEK);
                assert!(matches!(refused, Err(NodeError::Clock(_))));
            }
        }
    }

    #[test]
    fn what_a_clock_has_proved_outlives_a_restart_unless_it_was_set_meanwhile() {
        let jumped = NOW + 400 * DAY;
        let clock = Set::at(jumped);
        let time = open(&clock, NOW);
        clock.pass(DAY / 2);
        let (noted, doubted) = (time.now(), time.doubted());
        let restart = |clock: u64| {
            let clock = Set::at(clock);
            let time = BelievedTime::open(clock.clone(), Some(noted), doubted, WEEK).unwrap();
            clock.pass(DAY / 2);
            (time.now(), time.doubted().map(|doubt| doubt.steady))
        };
        // Off for an hour, or for as long as nobody wonders about.
        for off in [0, 3_600, WEEK] {
            let now = jumped + DAY / 2 + off;
            assert_eq!(restart(now), (now + DAY / 2, None));
        }
        // Set by somebody, or as it always is after a boot.
        for other in [jumped - DAY, jumped + 2 * WEEK, 5] {
            assert_eq!(restart(other), (NOW + DAY, Some(DAY / 2)));
        }
    }

    #[test]
    fn a_clock_that_the_operator_vouches_for_is_believed_at_once() {
        for clock in [NOW - 400 * DAY, NOW + 400 * DAY] {
            let vouched = Arc::new(Set(Mutex::new((clock, 0)), true));
            assert_eq!(open(&vouched, NOW).now(), clock);
        }
    }
}

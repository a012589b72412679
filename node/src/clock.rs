//! What time it is, as an argument: a test holds it still.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Unix seconds, as whoever set the clock would have it.
    fn now(&self) -> u64;

    /// The time since some moment in the past, which nobody sets.
    fn running(&self) -> Duration;

    /// Whether the operator has checked it, so that what the store remembers does not count against it.
    fn is_vouched_for(&self) -> bool {
        false
    }
}

/// The time of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

/// The time of this machine, which the operator has checked.
#[derive(Debug, Clone, Copy)]
pub struct VouchedClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        // A machine that believes to live before 1970 is told of by everything else.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    fn running(&self) -> Duration {
        static FIRST_ASKED: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST_ASKED.elapsed()
    }
}

impl Clock for VouchedClock {
    fn now(&self) -> u64 {
        SystemClock.now()
    }

    fn running(&self) -> Duration {
        SystemClock.running()
    }

    fn is_vouched_for(&self) -> bool {
        true
    }
}

/// A time as people read it: `2027-01-15 08:00 UTC`.
pub(crate) fn utc(seconds: u64) -> String {
    let (days, minutes) = (seconds / 86_400, seconds / 60 % 1_440);
    // Days since 1 March of the year 0, in eras of 400 years: the leap day is a year's last.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = match month {
        0..=9 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    let year = 400 * era + year + carry;
    let (hour, minute) = (minutes / 60, minutes % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
pub(crate) mod test {
    use std::time::Duration;

    use super::Clock;

    /// A clock that stands still.
    pub(crate) struct At(pub(crate) u64);

    impl Clock for At {
        fn now(&self) -> u64 {
            self.0
        }

        fn running(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn a_time_is_written_as_people_read_it() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00 UTC"),
            (1_800_000_000, "2027-01-15 08:00 UTC"),
            (4_102_444_800, "2100-01-01 00:00 UTC"),
        ] {
            assert_eq!(super::utc(seconds), text);
        }
    }
}

//! What time it is, as an argument: a test holds it still.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Unix seconds.
    fn now(&self) -> u64;
}

/// The time of this machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        // A machine that believes to live before 1970 is told of by everything else.
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }
}

#[cfg(test)]
pub(crate) mod test {
    use super::Clock;

    /// A clock that stands still.
    pub(crate) struct At(pub(crate) u64);

    impl Clock for At {
        fn now(&self) -> u64 {
            self.0
        }
    }
}

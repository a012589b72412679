//! A token bucket: what every implementation that limits onion messages uses.
//!
//! No clock: time is an argument, counted from any fixed moment.

use std::time::Duration;

/// So many messages per second, so many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Messages per second in the long run.
    pub per_second: f64,
    /// Messages that may go back to back.
    pub burst: f64,
}

impl Rate {
    /// Core Lightning: one message per 250 ms and peer, four at once (`connectd`).
    pub const CLN: Rate = Rate {
        per_second: 4.0,
        burst: 4.0,
    };
    /// eclair: `onion-messages.max-per-peer-per-second`.
    pub const ECLAIR: Rate = Rate {
        per_second: 10.0,
        burst: 10.0,
    };
    /// LND: 512 kbit/s and 262,144 bytes at once per peer, in big messages.
    pub const LND: Rate = Rate {
        per_second: 64_000.0 / BIG_MESSAGE,
        burst: 262_144.0 / BIG_MESSAGE,
    };
}

/// Bytes of a big onion message: type, blinding point, length, packet (BOLT 4).
const BIG_MESSAGE: f64 = 2.0 + 33.0 + 2.0 + 32_834.0;

/// Tokens that refill with time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    level: f64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Duration) -> Self {
        Bucket {
            rate,
            level: rate.burst,
            at: now,
        }
    }

    /// Whether a token is there.
    pub(crate) fn has(&mut self, now: Duration) -> bool {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.rate.per_second;
        self.level = (self.level + gained).min(self.rate.burst);
        self.at = self.at.max(now);
        self.level >= 1.0
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let has = self.has(now);
        if has {
            self.level -= 1.0;
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::full(Rate::CLN, Duration::ZERO);
        let mut given = 0;
        for ms in 0..10_000 {
            given += u32::from(bucket.take(Duration::from_millis(ms)));
        }
        assert_eq!(given, 4 + 39);
    }
}

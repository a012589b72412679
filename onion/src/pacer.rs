//! How much to have in flight towards one first hop, and when to give a message up.
//!
//! Relays drop silently, for two different reasons, and each needs its own answer:
//!
//! * *Queues.* LDK holds eight big messages per next hop. That is a limit on what is in
//!   flight, and a **window** finds it: it starts at 4, grows by one per window of answers,
//!   halves on a loss, and never passes 8.
//! * *Rates.* CLN passes 4 messages a second, eclair 10, LND 2 big ones. At a round trip of
//!   100 ms even a window of one offers 10 a second, and most of them would be dropped and
//!   sent again. So a loss also sets a **ceiling** on sends per second, a little below what
//!   was answered of late; the ceiling then grows with every answer, slowly at first, and
//!   soon is forgotten where no rate is limited.
//!
//! Where a ceiling does not help, because messages get lost at any rate, it is given up for a
//! while, and the window alone decides.
//!
//! One loss or ten from the same flight are one cut, and an answer that arrives after all
//! undoes it. A state machine without clock or socket: time is an argument, counted from any
//! fixed moment.

use std::time::Duration;

/// What bounds a [`Pacer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacerLimits {
    /// Messages in flight at the start.
    pub(crate) start: f64,
    /// Messages in flight at most.
    pub(crate) max: f64,
    /// No message is given up earlier than this.
    pub(crate) min_timeout: Duration,
    /// When to give a message up while no round trip was measured yet.
    pub(crate) first_timeout: Duration,
}

/// The answer to "may I send?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Yes.
    Now,
    /// Not before this time.
    At(Duration),
    /// Not before something comes back or is given up.
    Full,
}

/// What a pacer has learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Messages that may be in flight.
    pub window: f64,
    /// Messages that are in flight.
    pub in_flight: usize,
    /// Messages per second this hop seems to pass; `None` while no limit shows.
    pub per_second: Option<f64>,
    /// The smoothed round trip, once there was one.
    pub round_trip: Option<Duration>,
}

/// Give a message up after so many smoothed round trips.
const PATIENCE: u32 = 4;
/// A cut sets the ceiling to this share of what was answered.
const BELOW_MEASURED: f64 = 0.95;
/// The ceiling grows by this share per answer, and twice as fast after every
/// [`GROWTH_DOUBLES`] answers without a loss.
const GROWTH: f64 = 0.01;
const MAX_GROWTH: f64 = 0.25;
const GROWTH_DOUBLES: u32 = 16;
/// A ceiling under which a loss follows within so many outcomes did not help, and when that
/// happened so often in a row, it is given up for so many outcomes, then twice as many.
const SOON: u32 = 12;
const STRIKES: u32 = 5;
const FREE_FOR: u32 = 64;
const MAX_FREE_FOR: u32 = 4_096;
/// The slowest ceiling, in sends per second: a hop must have a chance to recover.
const MIN_CEILING: f64 = 0.5;

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    limits: PacerLimits,
    window: f64,
    in_flight: usize,
    round_trip: Option<Duration>,
    ceiling: Option<f64>,
    /// The ceiling allows the next send at this time.
    next_send: Duration,
    measured: Measured,
    /// Answers since the last cut.
    clean: u32,
    /// Ceilings in a row that did not help.
    strikes: u32,
    /// Outcomes during which no ceiling is set, and how many there are to be next time.
    free: u32,
    free_next: u32,
    /// What is sent before this time belongs to the last cut.
    cut_at: Duration,
    before_cut: Option<(f64, Option<f64>)>,
}

/// Answers per second of the time in which we wanted to send, older ones weighing less.
#[derive(Clone, Debug, Default)]
struct Measured {
    answers: f64,
    /// Seconds, up to `until`.
    busy: f64,
    until: Duration,
}

impl Measured {
    /// The time up to `now` was spent sending or being held back.
    fn busy_until(&mut self, now: Duration) {
        self.busy += now.saturating_sub(self.until).as_secs_f64();
        self.until = self.until.max(now);
    }

    /// Nobody wanted to send up to `now`.
    fn idle_until(&mut self, now: Duration) {
        self.until = self.until.max(now);
    }

    fn per_second(&self) -> Option<f64> {
        (self.answers > 0.0 && self.busy > 0.0).then(|| self.answers / self.busy)
    }

    fn age(&mut self) {
        self.answers /= 4.0;
        self.busy /= 4.0;
    }
}

impl Pacer {
    pub(crate) fn new(limits: PacerLimits) -> Self {
        Pacer {
            limits,
            window: limits.start.min(limits.max),
            in_flight: 0,
            round_trip: None,
            ceiling: None,
            next_send: Duration::ZERO,
            measured: Measured::default(),
            clean: 0,
            strikes: 0,
            free: 0,
            free_next: FREE_FOR,
            cut_at: Duration::ZERO,
            before_cut: None,
        }
    }

    /// Whether a message may be sent at `now`.
    pub(crate) fn ready(&self, now: Duration) -> Ready {
        if self.in_flight as f64 + 1.0 > self.window {
            Ready::Full
        } else if self.ceiling.is_some() && self.next_send > now {
            Ready::At(self.next_send)
        } else {
            Ready::Now
        }
    }

    /// A message goes out.
    pub(crate) fn sent(&mut self, now: Duration) {
        if self.in_flight == 0 {
            // Held back until `next_send`; from then on nobody wanted to send.
            self.measured.busy_until(self.next_send.min(now));
            self.measured.idle_until(now);
        } else {
            self.measured.busy_until(now);
        }
        self.in_flight += 1;
        if let Some(ceiling) = self.ceiling {
            self.next_send = self.next_send.max(now) + Duration::from_secs_f64(1.0 / ceiling);
        } else {
            self.next_send = now;
        }
    }

    /// A message was not sent after all, or nobody waits for its answer any more.
    pub(crate) fn abandoned(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The message sent at `sent_at` was answered in time.
    pub(crate) fn answered(&mut self, now: Duration, sent_at: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.learn(now, sent_at);
        self.window = (self.window + 1.0 / self.window).min(self.limits.max);
    }

    /// The message sent at `sent_at`, which had been given up, was answered after all. The
    /// cut it had caused was a mistake.
    pub(crate) fn answered_late(&mut self, now: Duration, sent_at: Duration) {
        self.learn(now, sent_at);
        if sent_at < self.cut_at
            && let Some((window, ceiling)) = self.before_cut.take()
        {
            self.window = self.window.max(window);
            self.ceiling = ceiling;
        }
    }

    /// The message sent at `sent_at` is given up.
    pub(crate) fn lost(&mut self, now: Duration, sent_at: Duration) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if sent_at < self.cut_at {
            return;
        }
        self.measured.busy_until(now);
        self.before_cut = Some((self.window, self.ceiling));
        self.cut_at = now;
        self.window = (self.window / 2.0).max(1.0);
        self.cut_ceiling();
        self.clean = 0;
        self.measured.age();
    }

    fn cut_ceiling(&mut self) {
        self.free = self.free.saturating_sub(1);
        if self.free > 0 {
            return;
        }
        let helped = self.ceiling.is_none() || self.clean >= SOON;
        self.strikes = if helped { 0 } else { self.strikes + 1 };
        if self.strikes == STRIKES {
            self.strikes = 0;
            self.ceiling = None;
            self.free = self.free_next;
            self.free_next = (self.free_next * 2).min(MAX_FREE_FOR);
            return;
        }
        let measured = self.measured.per_second();
        self.ceiling = measured.map(|rate| (rate * BELOW_MEASURED).max(MIN_CEILING));
    }

    fn learn(&mut self, now: Duration, sent_at: Duration) {
        self.measured.busy_until(now);
        self.measured.answers += 1.0;
        let sample = now.saturating_sub(sent_at);
        let smoothed = self
            .round_trip
            .map_or(sample, |mean| (mean * 7 + sample) / 8);
        self.round_trip = Some(smoothed);
        if let Some(ceiling) = &mut self.ceiling {
            let doublings = self.clean / GROWTH_DOUBLES;
            *ceiling *= 1.0 + (GROWTH * f64::from(1 << doublings.min(8))).min(MAX_GROWTH);
            // Far beyond what the window can send it says nothing any more.
            if *ceiling * smoothed.as_secs_f64() > 4.0 * self.limits.max {
                self.ceiling = None;
            }
        }
        self.clean += 1;
        self.free = self.free.saturating_sub(1);
    }

    /// How long to wait for an answer.
    pub(crate) fn timeout(&self) -> Duration {
        match self.round_trip {
            Some(mean) => (mean * PATIENCE).max(self.limits.min_timeout),
            None => self.limits.first_timeout,
        }
    }

    /// What it has learnt.
    pub(crate) fn pace(&self) -> Pace {
        Pace {
            window: self.window,
            in_flight: self.in_flight,
            per_second: self.ceiling,
            round_trip: self.round_trip,
        }
    }
}

#[cfg(test)]
mod tests;

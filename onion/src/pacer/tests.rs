//! A pacer against simulated relays: a bucket, a queue or neither, behind a line with a
//! round trip. Simulated time, seeded jitter; no clock, no luck.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::bucket::{Bucket, Rate};

const LIMITS: PacerLimits = PacerLimits {
    start: 4.0,
    max: 8.0,
    min_timeout: Duration::from_millis(500),
    first_timeout: Duration::from_secs(2),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What happens to a message that is sent.
struct Relay {
    bucket: Option<Bucket>,
    /// Share of messages lost for no reason.
    loss: f64,
    round_trip: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer { sent_at: Duration, id: u64 },
    Timeout { sent_at: Duration, id: u64 },
}

/// A client that always has something to send.
struct Client {
    pacer: Pacer,
    relay: Relay,
    rng: StdRng,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, Event)>>,
    awaited: std::collections::HashSet<u64>,
    sent: u64,
    answered: u64,
}

impl Client {
    fn new(relay: Relay, seed: u64) -> Self {
        Client {
            pacer: Pacer::new(LIMITS),
            relay,
            rng: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            awaited: std::collections::HashSet::new(),
            sent: 0,
            answered: 0,
        }
    }

    fn limited(rate: Rate, round_trip: Duration, seed: u64) -> Self {
        let relay = Relay {
            bucket: Some(Bucket::full(rate, Duration::ZERO)),
            loss: 0.0,
            round_trip,
        };
        Client::new(relay, seed)
    }

    fn send(&mut self) {
        let (now, id) = (self.now, self.sent);
        self.pacer.sent(now);
        self.sent += 1;
        self.awaited.insert(id);
        let timeout = Event::Timeout { sent_at: now, id };
        self.events
            .push(Reverse((now + self.pacer.timeout(), timeout)));
        let passes = self
            .relay
            .bucket
            .as_mut()
            .is_none_or(|bucket| bucket.take(now));
        if passes && !self.rng.random_bool(self.relay.loss) {
            let jitter = self.rng.random_range(0.8..1.2);
            let at = now + self.relay.round_trip.mul_f64(jitter);
            self.events
                .push(Reverse((at, Event::Answer { sent_at: now, id })));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answer { sent_at, id } => {
                self.answered += 1;
                if self.awaited.remove(&id) {
                    self.pacer.answered(self.now, sent_at);
                } else {
                    self.pacer.answered_late(self.now, sent_at);
                }
            }
            Event::Timeout { sent_at, id } => {
                if self.awaited.remove(&id) {
                    self.pacer.lost(self.now, sent_at);
                }
            }
        }
    }

    /// Runs until `end` and returns what was sent and answered meanwhile.
    fn run_until(&mut self, end: Duration) -> (u64, u64) {
        let before = (self.sent, self.answered);
        loop {
            let free_at = match self.pacer.ready(self.now) {
                Ready::Now => {
                    self.send();
                    continue;
                }
                Ready::At(time) => time,
                Ready::Full => Duration::MAX,
            };
            let next_event = self.events.peek().map_or(Duration::MAX, |next| next.0.0);
            let next = free_at.min(next_event);
            if next >= end {
                self.now = end;
                return (self.sent - before.0, self.answered - before.1);
            }
            self.now = next;
            if next_event <= next
                && let Some(Reverse((_, event))) = self.events.pop()
            {
                self.handle(event);
            }
        }
    }
}

/// Share of `rate` that was used, and share of sends that were lost, in the time from
/// `from` to `to`.
fn use_and_waste(client: &mut Client, rate: Rate, from: Duration, to: Duration) -> (f64, f64) {
    client.run_until(from);
    let (sent, answered) = client.run_until(to);
    let possible = (to - from).as_secs_f64() * rate.per_second;
    let lost = sent.saturating_sub(answered);
    (answered as f64 / possible, lost as f64 / sent as f64)
}

#[test]
fn every_known_rate_limit_is_used_fully_without_a_retry_storm() {
    for rate in [Rate::CLN, Rate::ECLAIR, Rate::LND] {
        for round_trip in [20, 100, 400] {
            for seed in 0..10 {
                let case = format!("{rate:?}, {round_trip} ms, seed {seed}");
                let mut client = Client::limited(rate, ms(round_trip), seed);
                let (used, wasted) = use_and_waste(&mut client, rate, ms(10_000), ms(310_000));
                assert!(used > 0.95, "{case}: used {used}");
                assert!(wasted < 0.1, "{case}: wasted {wasted}");
            }
        }
    }
}

#[test]
fn a_rate_limit_is_found_within_ten_seconds() {
    for rate in [Rate::CLN, Rate::ECLAIR, Rate::LND] {
        let mut client = Client::limited(rate, ms(100), 1);
        let (used, wasted) = use_and_waste(&mut client, rate, ms(0), ms(10_000));
        assert!(used > 0.9, "{rate:?}: used {used}");
        assert!(wasted < 0.3, "{rate:?}: wasted {wasted}");
    }
}

fn unlimited(loss: f64) -> Client {
    let relay = Relay {
        bucket: None,
        loss,
        round_trip: ms(50),
    };
    Client::new(relay, 7)
}

#[test]
fn a_relay_without_limit_gets_a_full_window_and_no_ceiling() {
    let mut client = unlimited(0.0);
    let (sent, answered) = client.run_until(ms(10_000));
    // Eight per 50 ms, less the start.
    assert!(answered > 1_500, "{answered}");
    assert_eq!(sent - answered, 8);
    assert_eq!(client.pacer.pace().per_second, None);
    assert_eq!(client.pacer.pace().window, 8.0);
}

#[test]
fn a_loss_now_and_then_is_not_taken_for_a_rate_limit() {
    let full = unlimited(0.0).run_until(ms(60_000)).1;
    let lossy = unlimited(0.005).run_until(ms(60_000)).1;
    assert!(lossy * 10 > full * 6, "{lossy} of {full}");
}

#[test]
fn losses_at_any_rate_are_not_taken_for_a_rate_limit() {
    for loss in [0.05, 0.1, 0.2, 0.36, 0.5] {
        let mut client = unlimited(loss);
        let (_, answered) = client.run_until(ms(300_000));
        // What one message after the other would reach, each loss costing its timeout.
        let each = (1.0 - loss) * 0.05 + loss * 0.5;
        let one_by_one = 300.0 * (1.0 - loss) / each;
        assert!(answered as f64 > one_by_one, "{loss}: {answered}");
    }
}

#[test]
fn a_limit_that_is_lifted_is_forgotten() {
    let mut client = Client::limited(Rate::CLN, ms(50), 3);
    client.run_until(ms(30_000));
    assert!(client.pacer.pace().per_second.unwrap() < 5.0);
    client.relay.bucket = None;
    client.run_until(ms(60_000));
    assert_eq!(client.pacer.pace().per_second, None);
    assert_eq!(client.pacer.pace().window, 8.0);
}

#[test]
fn a_relay_that_passes_nothing_is_hardly_tried() {
    let mut client = unlimited(0.0);
    client.run_until(ms(10_000));
    client.relay.loss = 1.0;
    client.run_until(ms(20_000));
    let (sent, answered) = client.run_until(ms(80_000));
    assert_eq!(answered, 0);
    assert!(sent < 130, "{sent} sends in a minute");
}

#[test]
fn losses_of_one_flight_are_one_cut() {
    let mut pacer = Pacer::new(LIMITS);
    for _ in 0..4 {
        pacer.sent(ms(0));
    }
    for _ in 0..4 {
        pacer.lost(ms(2_000), ms(0));
    }
    assert_eq!(pacer.pace().window, 2.0);
    assert_eq!(pacer.pace().in_flight, 0);
}

#[test]
fn a_late_answer_undoes_the_cut_and_teaches_patience() {
    let mut pacer = Pacer::new(LIMITS);
    pacer.sent(ms(0));
    pacer.lost(ms(2_000), ms(0));
    assert_eq!(pacer.pace().window, 2.0);
    pacer.answered_late(ms(3_000), ms(0));
    assert_eq!(pacer.pace().window, 4.0);
    assert_eq!(pacer.timeout(), ms(12_000));
}

#[test]
fn time_in_which_nobody_wanted_to_send_says_nothing_about_a_rate() {
    let mut pacer = Pacer::new(LIMITS);
    for second in 0..60 {
        let now = ms(second * 1_000);
        pacer.sent(now);
        pacer.answered(now + ms(50), now);
    }
    pacer.sent(ms(60_000));
    pacer.lost(ms(60_500), ms(60_000));
    // Not the one message per second that were asked for.
    assert!(pacer.pace().per_second.unwrap() > 10.0);
}

#[test]
fn a_place_given_back_is_free_again() {
    let mut pacer = Pacer::new(LIMITS);
    for _ in 0..4 {
        pacer.sent(ms(0));
    }
    assert_eq!(pacer.ready(ms(0)), Ready::Full);
    pacer.abandoned();
    assert_eq!(pacer.ready(ms(0)), Ready::Now);
}

//! What free opens of breakglass cells take from those who pay, when they come at ten times what
//! a storage node can serve.
//!
//! One desk on a real store, as where requests are [turned away](super::refused). First, on a desk
//! without an allowance, what it costs to serve an open: that is what a storage node *can* serve.
//! Then, on a desk as it is configured by default, paid inserts one after the other, and beside
//! them opens at ten times that rate, by the clock of the process's own CPU time: what arrived
//! while something else was done waits in an inbox as long as an intake's, what finds no room in
//! there is dropped unseen, and all that waits is handed to the desk before the next insert is.
//! The desk's seconds are those of the same clock.
//!
//! Two floods: of garbage, which is an open with a signature of noise, and of opens that are well
//! signed, for cells that do not exist. Peeling is left out on both sides: it is done before
//! anybody can know what a message is. What it takes at the intake is measured by
//! [`floods`](super::floods).

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cpu_time::ProcessTime;
use larder_node::clock::{Clock, SystemClock};
use larder_node::{Breakglass, Desk};
use larder_onion::ServiceConfig;
use larder_protocol::{BreakglassOpen, Call, Done, Key, Nonce, Payment, Refusal, Reply};
use secp256k1::{Keypair, SECP256K1, SecretKey};

use super::refused::{REQUESTS, Scene};
use super::wallet::{contents, reply};
use crate::engine::status;
use crate::report::{Bar, Report, cpu_of, spread};

const ROUNDS: usize = 5;
/// Honest inserts of a round: so many times [`REQUESTS`].
const BATCHES: usize = 4;
/// How much more comes than can be served.
const TIMES: f64 = 10.0;
/// Opens that are served where the allowance is wide.
const SERVED: usize = 2_048;

/// The nonce of every request of this set.
const NONCE: Nonce = Nonce([0x5a; 32]);

/// The time of what is measured.
struct Measured {
    start: u64,
    /// Microseconds of CPU since then.
    micros: AtomicU64,
}

impl Clock for Measured {
    fn now(&self) -> u64 {
        self.start + self.micros.load(Ordering::Relaxed) / 1_000_000
    }

    fn running(&self) -> Duration {
        Duration::from_secs(self.now())
    }
}

impl Measured {
    fn new() -> Arc<Self> {
        Arc::new(Measured {
            start: SystemClock.now(),
            micros: AtomicU64::new(0),
        })
    }
}

/// Opens of one kind, and what was measured of them.
struct Kind {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    due: Result<Done, Refusal>,
    /// Microseconds of CPU for each that is served, by round.
    served: Vec<f64>,
    /// Microseconds of CPU for an honest insert beside the flood, by round.
    beside: Vec<f64>,
    arrived: u64,
    answered: u64,
    unseen: u64,
}

/// Opens on their way to a desk.
struct Flood<'k> {
    kind: &'k mut Kind,
    clock: &'k Measured,
    /// Microseconds from one to the next.
    every: f64,
    /// Microseconds that the flood has lasted.
    lasted: f64,
    /// When what was measured last was over.
    since: ProcessTime,
    /// Those that arrived and were either handed over or dropped.
    handled: u64,
}

/// Takes the figures.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    let allowance = Breakglass::default();
    report.note(&format!(
        "free opens: {ROUNDS} interleaved rounds of {} paid inserts, alone and beside a flood of \
         {TIMES} times what the same core could serve; {} opens a second are looked at",
        BATCHES as u64 * REQUESTS,
        allowance.opens_per_second
    ));
    let wide = Breakglass {
        opens_per_second: u32::MAX,
        ..allowance
    };
    let serving = Scene::set(wide, Measured::new())?;
    let clock = Measured::new();
    let mut scene = Scene::set(allowance, clock.clone())?;
    let mut kinds = kinds(&serving.desk).ok_or("the opens cannot be made")?;
    let (mut alone, mut grown) = (Vec::new(), 0.0_f64);
    for round in 0..=ROUNDS {
        // A pair has tokens for some rounds, and not for all.
        let mut pairs = scene.buy(REQUESTS).ok_or("no pairs")?;
        for kind in &mut kinds {
            kind.serve(&serving.desk)?;
        }
        let mut took = 0.0;
        for _ in 0..BATCHES {
            let inserts = scene.prepare(pairs).ok_or("the inserts cannot be made")?;
            let played = scene.play(inserts, |_| {});
            let (each, back) = played.ok_or("an honest insert was refused")?;
            (took, pairs) = (took + each, back);
        }
        alone.push(took / BATCHES as f64);
        for kind in &mut kinds {
            let served = kind.served.last().copied().unwrap_or_default();
            let before = resident_mib()?;
            let mut flood = Flood::new(kind, &clock, served / TIMES);
            let mut took = 0.0;
            for _ in 0..BATCHES {
                let inserts = scene.prepare(pairs).ok_or("the inserts cannot be made")?;
                flood.since = ProcessTime::now();
                let played = scene.play(inserts, |desk| flood.pour(desk));
                let (each, back) = played.ok_or("an honest insert was refused")?;
                (took, pairs) = (took + each, back);
            }
            kind.beside.push(took / BATCHES as f64);
            if round > 0 {
                grown = grown.max(resident_mib()? - before);
            }
        }
        if round == 0 {
            // The first one warms caches and tables.
            alone.clear();
            kinds.iter_mut().for_each(Kind::forget);
        }
    }
    print(report, &mut alone, &mut kinds, grown);
    Ok(())
}

fn resident_mib() -> Result<f64, Box<dyn Error>> {
    Ok(status("/proc/self/status", "VmRSS:")? as f64 / 1024.0)
}

fn print(report: &mut Report, alone: &mut [f64], kinds: &mut [Kind], grown: f64) {
    let (insert, low, high) = spread(alone);
    let name = format!("an honest paid insert, no flood [{low:.1}-{high:.1}]");
    report.value(&name, insert, "us CPU");
    for kind in kinds {
        let (served, low, high) = spread(&mut kind.served);
        let name = format!("a free open, {}: served [{low:.1}-{high:.1}]", kind.name);
        let yardstick = ("honest inserts", insert);
        report.ratio(&name, served, "us CPU", yardstick, Some(Bar::AtMost(1.0)));
        let inserts = (ROUNDS * BATCHES) as f64 * REQUESTS as f64;
        let each = |count: u64| count as f64 / inserts;
        let name = format!("flood, {}: arrived", kind.name);
        report.value(&name, each(kind.arrived), "per honest insert");
        let name = format!("flood, {}: answered", kind.name);
        report.value(&name, each(kind.answered), "per honest insert");
        let name = format!("flood, {}: found no room to wait", kind.name);
        report.value(&name, each(kind.unseen), "per honest insert");
        let (beside, low, high) = spread(&mut kind.beside);
        let (rate, low, high) = (1e6 / beside, 1e6 / high, 1e6 / low);
        let name = format!(
            "flood, {}: honest paid inserts beside it [{low:.0}-{high:.0}]",
            kind.name
        );
        report.ratio(
            &name,
            rate,
            "per second of CPU",
            ("their rate without it", 1e6 / insert),
            Some(Bar::AtLeast(0.5)),
        );
    }
    let name = "floods: what the process grew by during one, at most";
    report.count(name, grown, "MiB", Bar::AtMost(16.0));
}

/// What is poured, as it has to be answered where it is served.
fn kinds(desk: &Desk) -> Option<Vec<Kind>> {
    let server = desk.server_key();
    let requests = |garbage: bool| -> Option<Vec<Vec<u8>>> {
        let calls = (0..256).map(|number: u32| {
            let mut secret = [2; 32];
            secret[28..].copy_from_slice(&number.to_be_bytes());
            let secret = SecretKey::from_slice(&secret).ok()?;
            let keypair = Keypair::from_secret_key(SECP256K1, &secret);
            let open = match garbage {
                true => BreakglassOpen {
                    key: Key::from(keypair.public_key()),
                    signature: [number as u8; 64],
                },
                false => BreakglassOpen::sign(&keypair, &server, NONCE),
            };
            contents(Call::BreakglassOpen(open), Payment::None)
        });
        calls.collect()
    };
    let blob_hash = larder_protocol::BlobHash([0; 32]);
    let bad = Err(Refusal::BadSignature { blob_hash });
    Some(vec![
        Kind::new("garbage", requests(true)?, bad),
        Kind::new(
            "well signed, no cell",
            requests(false)?,
            Err(Refusal::Absent),
        ),
    ])
}

impl Kind {
    fn new(name: &'static str, requests: Vec<Vec<u8>>, due: Result<Done, Refusal>) -> Self {
        Kind {
            name,
            requests,
            due,
            served: Vec::new(),
            beside: Vec::new(),
            arrived: 0,
            answered: 0,
            unseen: 0,
        }
    }

    fn forget(&mut self) {
        self.served.clear();
        self.beside.clear();
        (self.arrived, self.answered, self.unseen) = (0, 0, 0);
    }

    /// Measures what an open costs that is served. Each has to be answered as it should be.
    fn serve(&mut self, desk: &Desk) -> Result<(), Box<dyn Error>> {
        let mut last = Vec::new();
        let took = cpu_of(|| {
            for request in self.requests.iter().cycle().take(SERVED) {
                last = desk.answer(request);
            }
        });
        let outcome = reply(&last).map(|reply| reply.outcome);
        if outcome.as_ref().map(Reply::code) != Some(Reply::code(&self.due)) {
            return Err(format!("{}: answered {outcome:?}", self.name).into());
        }
        self.served.push(took.as_secs_f64() * 1e6 / SERVED as f64);
        Ok(())
    }
}

impl<'k> Flood<'k> {
    fn new(kind: &'k mut Kind, clock: &'k Measured, every: f64) -> Self {
        Flood {
            kind,
            clock,
            every,
            lasted: 0.0,
            since: ProcessTime::now(),
            handled: 0,
        }
    }

    /// Hands over what has arrived since the last time.
    fn pour(&mut self, desk: &Desk) {
        let took = self.since.elapsed();
        self.since = ProcessTime::now();
        self.lasted += took.as_secs_f64() * 1e6;
        let micros = took.as_micros() as u64;
        self.clock.micros.fetch_add(micros, Ordering::Relaxed);
        let new = (self.lasted / self.every) as u64 - self.handled;
        self.handled += new;
        let room = ServiceConfig::new([0; 32]).inbox_total.div_ceil(2) as u64;
        let waiting = new.min(room);
        self.kind.arrived += new;
        self.kind.unseen += new - waiting;
        for request in self.kind.requests.iter().cycle().take(waiting as usize) {
            let answer = desk.answer(request);
            self.kind.answered += u64::from(!answer.is_empty());
        }
    }
}

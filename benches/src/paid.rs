//! What payment costs: the same work on a node that is paid and on one that is not, side by
//! side, what it takes a paid node to turn requests away, and what floods of free ones take from
//! those who pay.
//!
//! As in the `transport` set client, stock LDK relay and storage node are three processes and
//! share the machine. The client builds its requests before the clock starts, so that what is
//! measured is the storage node ([`client`]). Runs on both nodes take turns.

pub(crate) mod client;
pub(crate) mod flooder;
pub(crate) mod floods;
mod opens;
mod refused;
mod threads;
mod wallet;

use std::error::Error;

use crate::actor::Actor;
use crate::report::{Bar, Report, cpu_of, spread};
use crate::roles::ADDRESS;
use crate::yardstick::{ECDSA, Ecdsa};
use client::{Order, Outcome};
use wallet::Work;

const ROUNDS: usize = 3;

/// What warms up tables, windows and caches, and is not measured.
const WARMING: Setting = Setting {
    name: "warming",
    in_flight: 8,
    blobs: 32,
};

/// How many requests are under way at once, and for how many blobs.
const SETTINGS: [Setting; 3] = [
    Setting {
        name: "alone",
        in_flight: 1,
        blobs: 48,
    },
    Setting {
        name: "8 in flight",
        in_flight: 8,
        blobs: 192,
    },
    Setting {
        name: "64 in flight",
        in_flight: 64,
        blobs: 192,
    },
];

const WORKS: [(&str, Work); 3] = [
    ("insert", Work::Insert),
    ("look-up", Work::Lookup),
    ("delete", Work::Delete),
];

struct Setting {
    name: &'static str,
    in_flight: usize,
    blobs: u64,
}

/// What one run came to.
struct Sample {
    outcome: Outcome,
    /// CPU milliseconds of the storage node for each request that was done.
    cpu: f64,
}

/// A storage node, and the client that works on it.
struct Cast {
    client: Actor,
    node: Actor,
    /// Ends with the others.
    _relay: Actor,
    /// The next blob.
    next: u64,
}

/// The runs of one kind of work in one setting, on one node.
type Samples = Vec<Sample>;
/// Those of all settings and all kinds of work.
type Runs = [[Samples; 3]; 3];

/// What is read off one run.
type Value = fn(&Sample) -> f64;
type Count = fn(&Outcome) -> usize;

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "{ROUNDS} rounds on fresh processes, paid and unpaid in turn; {} requests in a run, {} \
         alone; requests are built before the clock starts; lowest and highest in brackets; \
         latency from the client's request to its answer, through the relay and back; of 64 in \
         flight the client lets out 16 at once, as many as a stock relay takes",
        SETTINGS[2].blobs, SETTINGS[0].blobs
    ));
    let ecdsa = Ecdsa::new().ok_or("no secret key")?;
    let (mut ecdsa_ms, mut unpaid, mut paid) = (Vec::new(), runs(), runs());
    for _ in 0..ROUNDS {
        Cast::of("node")?.play(&mut unpaid)?;
        Cast::of("paid-node")?.play(&mut paid)?;
        let took = cpu_of(|| assert!((0..2_000).all(|_| ecdsa.verifies())));
        ecdsa_ms.push(took.as_secs_f64() * 1e3 / 2_000.0);
    }
    let (ecdsa_ms, ..) = spread(&mut ecdsa_ms);
    report.value(ECDSA, ecdsa_ms * 1e3, "us CPU");
    for (at, setting) in SETTINGS.iter().enumerate() {
        for (work, what) in WORKS.iter().enumerate() {
            let name = format!("{}: {}", setting.name, what.0);
            print(report, &name, &unpaid[at][work], &paid[at][work]);
        }
        let added = cpu(&paid[at][0]).0 - cpu(&unpaid[at][0]).0;
        // None where it is loaded: the bar for batches of 16 is held to in `credentials`, and
        // what comes through one stock relay makes smaller ones.
        let bar = (setting.in_flight == 1).then_some(Bar::AtMost(60.0));
        let name = format!("{}: what payment adds to an insert", setting.name);
        let yardstick = ("ECDSA verifications", ecdsa_ms);
        report.ratio(&name, added, "ms CPU", yardstick, bar);
    }
    bytes(report, &unpaid, &paid);
    refused::run(report)?;
    opens::run(report)?;
    floods::run(report)
}

fn runs() -> Runs {
    SETTINGS.map(|_| WORKS.map(|_| Vec::new()))
}

/// Prints one kind of work in one setting, paid against unpaid.
fn print(report: &mut Report, name: &str, unpaid: &Samples, paid: &Samples) {
    let figures: [(&str, &str, Value); 4] = [
        ("rate", "per second", |sample| {
            sample.outcome.latencies.len() as f64 / sample.outcome.seconds
        }),
        ("CPU of the node", "ms each", |sample| sample.cpu),
        ("median latency", "ms", |sample| quantile(sample, 0.5)),
        ("p90 latency", "ms", |sample| quantile(sample, 0.9)),
    ];
    for (what, unit, value) in figures {
        let ((free, ..), (paid, low, high)) = (median(unpaid, value), median(paid, value));
        let figure = format!("{name}, {what} [{low:.1}-{high:.1}]");
        let against = format!("unpaid ({free:.2})");
        report.ratio(&figure, paid, unit, (&against, free), None);
    }
    let sum = |value: Count| -> usize {
        let samples = unpaid.iter().chain(paid);
        samples.map(|sample| value(&sample.outcome)).sum()
    };
    let (asked, done) = (sum(|o| o.asked), sum(|o| o.latencies.len()));
    let again = sum(|o| o.sent as usize) - done;
    let figure = format!("{name}, sent again, paid and unpaid");
    report.value(&figure, again as f64 * 1e3 / done as f64, "per mille");
    let figure = format!("{name}, finally lost, paid and unpaid");
    let lost = (asked - done) as f64;
    report.count(&figure, lost, "requests", Bar::AtMost(0.0));
}

/// Prints how long requests and replies are, and how much of that is credentials.
fn bytes(report: &mut Report, unpaid: &Runs, paid: &Runs) {
    let lengths: [(&str, f64, Count); 2] = [
        ("request", 1_500.0, |outcome| outcome.request_bytes),
        ("reply", 400.0, |outcome| outcome.reply_bytes),
    ];
    for (at, (what, _)) in WORKS.iter().enumerate() {
        for (which, bar, length) in lengths {
            let of = |runs: &Runs| {
                let lengths = runs[0][at].iter().map(|sample| length(&sample.outcome));
                lengths.max().unwrap_or_default() as f64
            };
            let (free, paid) = (of(unpaid), of(paid));
            let against = format!("unpaid ({free})");
            let figure = format!("{what}, {which} without padding");
            report.ratio(&figure, paid, "bytes", (&against, free), None);
            let figure = format!("{what}, {which}: of that for payment");
            report.count(&figure, paid - free, "bytes", Bar::AtMost(bar));
        }
    }
}

fn cpu(samples: &Samples) -> (f64, f64, f64) {
    median(samples, |sample| sample.cpu)
}

/// Median, lowest and highest.
fn median(samples: &Samples, value: Value) -> (f64, f64, f64) {
    spread(&mut samples.iter().map(value).collect::<Vec<f64>>())
}

/// The latency that this part of the requests did not exceed.
fn quantile(sample: &Sample, part: f64) -> f64 {
    let mut latencies = sample.outcome.latencies.clone();
    latencies.sort_by(f64::total_cmp);
    let at = latencies.len() as f64 * part;
    latencies.get(at as usize).copied().unwrap_or(f64::NAN)
}

impl Cast {
    /// Fresh processes, and a pair for every request of a run where the node is paid.
    fn of(node: &str) -> Result<Self, Box<dyn Error>> {
        let relay = Actor::cast("relay", &[])?;
        let lsp = relay.address.clone();
        let mut node = Actor::cast(node, &[&lsp])?;
        let address = node.ask(ADDRESS)?;
        let client = Actor::cast("paying-client", &[&lsp, &address])?;
        let mut cast = Cast {
            client,
            node,
            _relay: relay,
            next: 0,
        };
        let most = SETTINGS.iter().map(|setting| setting.blobs).max();
        cast.tell(Order::Buy(most.unwrap_or_default()))?;
        Ok(cast)
    }

    /// Stores, looks up and deletes in every setting.
    fn play(mut self, runs: &mut Runs) -> Result<(), Box<dyn Error>> {
        self.work_through(&WARMING)?;
        for (setting, runs) in SETTINGS.iter().zip(runs) {
            for (sample, run) in self.work_through(setting)?.into_iter().zip(runs) {
                run.push(sample);
            }
        }
        Ok(())
    }

    /// One run for each kind of work, on new blobs.
    fn work_through(&mut self, setting: &Setting) -> Result<Vec<Sample>, Box<dyn Error>> {
        let (first, count) = (self.next, setting.blobs);
        self.next += count;
        let in_flight = setting.in_flight;
        let mut samples = Vec::new();
        for (_, work) in WORKS {
            self.tell(Order::Prepare { work, first, count })?;
            let before = self.node.cpu()?;
            let seconds = client::FOREVER;
            let outcome = self.tell(Order::Run { in_flight, seconds })?;
            let took = self.node.cpu()? - before;
            samples.push(Sample {
                cpu: took * 1e3 / outcome.latencies.len() as f64,
                outcome,
            });
        }
        Ok(samples)
    }

    fn tell(&mut self, order: Order) -> Result<Outcome, Box<dyn Error>> {
        let answer = self.client.ask(&serde_json::to_string(&order)?)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

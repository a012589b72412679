//! Round trips over onion messages: client, stock LDK relay and service in three processes.
//!
//! Two services take turns at the far end: an echo, which answers every request with its own
//! contents and shows what the transport costs, and the storage node, which stores and returns
//! blobs durably. A blob's 16,433 bytes travel each way, or in the one direction that matters; every
//! onion is of the big class. The difference between the two is what a storage node does on top.

pub(crate) mod client;

use std::error::Error;

use crate::actor::Actor;
use crate::report::{Bar, Report, spread};
use client::{Outcome, Run, Work};

const ROUND_TRIPS: usize = 800;
const RUNS: usize = 3;

/// What is varied: requests in flight at the client, and how many of them it lets out per
/// connection (of which it has two).
const SETTINGS: [(&str, usize, u16); 3] = [
    ("8 in flight", 8, 8),
    ("64 in flight", 64, 8),
    ("64 in flight, window of 64", 64, 64),
];

/// What is asked of whom.
const SERVICES: [(&str, &str, Work); 3] = [
    ("echo", "echoes", Work::Echo),
    ("insert", "inserts", Work::Inserts),
    ("look-up", "look-ups", Work::Lookups),
];

/// What one run came to.
struct Sample {
    outcome: Outcome,
    /// CPU milliseconds per round trip: client, relay, service.
    cpu: [f64; 3],
}

impl Sample {
    fn rate(&self) -> f64 {
        self.outcome.answered as f64 / self.outcome.seconds
    }
}

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "{ROUND_TRIPS} round trips per run, {RUNS} interleaved runs; lowest and highest in \
         brackets; the echo is the null handler on the same endpoint"
    ));
    for (name, in_flight, window) in SETTINGS {
        let mut samples = SERVICES.map(|_| Vec::new());
        for _ in 0..RUNS {
            let run = |work| Run {
                work,
                in_flight,
                window,
                round_trips: ROUND_TRIPS,
            };
            let [echo, inserts, lookups] = &mut samples;
            echo.extend(sample("echo", &[run(Work::Echo)])?);
            let mut both = sample("node", &[run(Work::Inserts), run(Work::Lookups)])?.into_iter();
            inserts.extend(both.next());
            lookups.extend(both.next());
        }
        print(report, name, &samples);
    }
    Ok(())
}

/// Prints the figures of one setting.
fn print(report: &mut Report, name: &str, samples: &[Vec<Sample>; 3]) {
    let median = |samples: &[Sample], value: &dyn Fn(&Sample) -> f64| {
        spread(&mut samples.iter().map(value).collect::<Vec<f64>>())
    };
    let (echo_rate, ..) = median(&samples[0], &Sample::rate);
    let (echo_cpu, ..) = median(&samples[0], &|sample| sample.cpu[2]);
    for ((what, many, work), samples) in SERVICES.iter().zip(samples) {
        let (rate, low, high) = median(samples, &Sample::rate);
        let figure = format!("{name}: {many} [{low:.0}-{high:.0}]");
        match work {
            Work::Echo => report.value(&figure, rate, "per second"),
            Work::Inserts | Work::Lookups => {
                // Durable inserts at 64 in flight are what the design sets a bar for.
                let bar = (matches!(work, Work::Inserts) && name != SETTINGS[0].0)
                    .then_some(Bar::AtLeast(0.85));
                report.ratio(&figure, rate, "per second", ("echoes", echo_rate), bar);
            }
        }
        let (again, low, high) = median(samples, &|sample| {
            let again = sample.outcome.sent - sample.outcome.answered as u64;
            again as f64 * 1_000.0 / sample.outcome.answered as f64
        });
        let figure = format!("{name}: {many} sent again [{low:.0}-{high:.0}]");
        report.value(&figure, again, "per mille");
        for (index, role) in ["client", "relay", "service"].iter().enumerate() {
            let (cpu, low, high) = median(samples, &|sample| sample.cpu[index]);
            let figure = format!("{name}: {what}, CPU of the {role} [{low:.2}-{high:.2}]");
            match (index, work) {
                (2, Work::Inserts) => {
                    report.ratio(&figure, cpu, "ms each", ("echo", echo_cpu), None);
                }
                (2, Work::Lookups) => {
                    let bar = Some(Bar::AtMost(1.25));
                    report.ratio(&figure, cpu, "ms each", ("echo", echo_cpu), bar);
                }
                _ => report.value(&figure, cpu, "ms each"),
            }
        }
        let lost = samples
            .iter()
            .map(|sample| ROUND_TRIPS - sample.outcome.answered);
        let figure = format!("{name}: {many} finally lost");
        let lost = lost.sum::<usize>() as f64;
        report.count(&figure, lost, "requests", Bar::AtMost(0.0));
    }
}

/// Three fresh processes, some runs one after the other.
fn sample(service: &str, runs: &[Run]) -> Result<Vec<Sample>, Box<dyn Error>> {
    let mut relay = Actor::cast("relay", &[])?;
    let lsp = relay.address.clone();
    let mut service = Actor::cast(service, &[&lsp])?;
    let mut client = Actor::cast("client", &[&lsp, &service.address])?;

    let mut samples = Vec::new();
    for run in runs {
        let before = [client.cpu()?, relay.cpu()?, service.cpu()?];
        let outcome: Outcome = serde_json::from_str(&client.ask(&serde_json::to_string(run)?)?)?;
        let after = [client.cpu()?, relay.cpu()?, service.cpu()?];
        let each =
            |index: usize| (after[index] - before[index]) * 1_000.0 / outcome.answered as f64;
        samples.push(Sample {
            cpu: [each(0), each(1), each(2)],
            outcome,
        });
    }
    Ok(samples)
}

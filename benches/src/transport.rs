//! Round trips over onion messages: client, stock LDK relay and service in three processes.
//!
//! The service answers every request with its own contents, so what is measured is the
//! transport: this is the yardstick for whatever a storage node does on top. Contents are a
//! blob's 16,433 bytes each way, in the big packet class.

mod actor;
mod roles;

use std::error::Error;

use crate::report::{Bar, Report, spread};
use actor::Actor;
pub(crate) use roles::play_if_cast;
use roles::{Outcome, Run};

const ROUND_TRIPS: usize = 1_500;
const RUNS: usize = 3;

/// What is varied: requests in flight at the client, and how many of them it lets out per
/// connection (of which it has two).
const SETTINGS: [(&str, usize, u16); 3] = [
    ("8 in flight", 8, 8),
    ("64 in flight", 64, 8),
    ("64 in flight, window of 64", 64, 64),
];

/// What one run came to.
struct Sample {
    outcome: Outcome,
    /// CPU milliseconds per round trip: client, relay, service.
    cpu: [f64; 3],
}

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "{ROUND_TRIPS} round trips of 16,433 bytes each way per run, {RUNS} interleaved runs; \
         lowest and highest in brackets"
    ));
    let mut samples = SETTINGS.map(|_| Vec::new());
    for _ in 0..RUNS {
        for (setting, samples) in SETTINGS.iter().zip(&mut samples) {
            let run = Run {
                in_flight: setting.1,
                window: setting.2,
                round_trips: ROUND_TRIPS,
            };
            samples.push(sample(&run)?);
        }
    }
    for ((name, ..), samples) in SETTINGS.iter().zip(&samples) {
        let mut figure = |what: &str, unit, value: &dyn Fn(&Sample) -> f64| {
            let mut values: Vec<f64> = samples.iter().map(value).collect();
            let (median, low, high) = spread(&mut values);
            let figure = format!("{name}: {what} [{low:.2}-{high:.2}]");
            report.value(&figure, median, unit);
        };
        figure("round trips", "per second", &|sample| {
            sample.outcome.answered as f64 / sample.outcome.seconds
        });
        figure("sent again", "per mille", &|sample| {
            let again = sample.outcome.sent - sample.outcome.answered as u64;
            again as f64 * 1_000.0 / sample.outcome.answered as f64
        });
        for (index, role) in ["client", "relay", "service"].iter().enumerate() {
            figure(&format!("CPU of the {role}"), "ms each", &|sample| {
                sample.cpu[index]
            });
        }
        let lost = samples
            .iter()
            .map(|sample| ROUND_TRIPS - sample.outcome.answered);
        let figure = format!("{name}: finally lost");
        report.count(
            &figure,
            lost.sum::<usize>() as f64,
            "requests",
            Bar::AtMost(0.0),
        );
    }
    Ok(())
}

/// Three fresh processes, one run.
fn sample(run: &Run) -> Result<Sample, Box<dyn Error>> {
    let mut relay = Actor::cast("relay", &[])?;
    let lsp = relay.address.clone();
    let mut service = Actor::cast("echo", &[&lsp])?;
    let mut client = Actor::cast("client", &[&lsp, &service.address])?;

    let before = [client.cpu()?, relay.cpu()?, service.cpu()?];
    let outcome: Outcome = serde_json::from_str(&client.ask(&serde_json::to_string(run)?)?)?;
    let after = [client.cpu()?, relay.cpu()?, service.cpu()?];
    let each = |index: usize| (after[index] - before[index]) * 1_000.0 / outcome.answered as f64;
    Ok(Sample {
        cpu: [each(0), each(1), each(2)],
        outcome,
    })
}

//! Durable inserts of 16,433 bytes: the engine against plain sled and a bare slot file, all three
//! behind the same [`Committer`].
//!
//! One insert alone waits for two files where plain sled waits for one; that is the price
//! of writing each byte once, and it has no bar. With many in flight they share the wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use larder_protocol::{BLOB_LEN, Blob, Key};
use larder_store::suite::sample;
use larder_store::{Change, Committer, Effect, Engine, Limits, Options, Outcome, SledEngine};
use serde::{Deserialize, Serialize};

use super::yardsticks::{PlainSled, SlotFile, Yardstick};
use super::{Failure, Task, apart, peak_mib, status};
use crate::report::{Bar, Report, cpu_of, spread};

const ROUNDS: usize = 3;

/// In flight, and how many inserts are measured. The first has to hold its bars.
const LOADS: [(usize, usize); 2] = [(64, 12_000), (1, 600)];

const CONTESTANTS: [&str; 3] = ["engine", "plain sled", "slot file"];

#[derive(Serialize, Deserialize)]
pub(super) struct Load {
    contestant: String,
    in_flight: usize,
    inserts: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    inserts_per_second: f64,
    cpu_us: f64,
    written_per_byte: f64,
    resident_mib: f64,
}

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    for (in_flight, inserts) in LOADS {
        report.note(&format!(
            "{inserts} inserts of {BLOB_LEN} bytes, {in_flight} in flight; median of {ROUNDS} interleaved runs"
        ));
        let mut samples: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for contestant in CONTESTANTS {
                let load = Load {
                    contestant: contestant.to_owned(),
                    in_flight,
                    inserts,
                };
                let measured = apart(&Task::Insert(load))?;
                samples.entry(contestant).or_default().push(measured);
            }
        }
        figures(report, in_flight, in_flight == LOADS[0].0, &samples);
    }
    Ok(())
}

/// What is compared: a name, a unit, which part of the measurement, and on which side of
/// plain sled it has to be.
type Figure = (
    &'static str,
    &'static str,
    fn(&Measured) -> f64,
    Option<Bar>,
);

const FIGURES: [Figure; 4] = [
    (
        "durable inserts",
        "inserts/s",
        |m| m.inserts_per_second,
        Some(Bar::AtLeast(1.0)),
    ),
    ("CPU per insert", "us", |m| m.cpu_us, Some(Bar::AtMost(1.0))),
    (
        "bytes written per byte",
        "B/B",
        |m| m.written_per_byte,
        Some(Bar::AtMost(1.0)),
    ),
    ("peak resident memory", "MiB", |m| m.resident_mib, None),
];

fn figures(
    report: &mut Report,
    in_flight: usize,
    barred: bool,
    samples: &BTreeMap<&str, Vec<Measured>>,
) {
    for (name, unit, part, bar) in FIGURES {
        let median = |contestant: &str| {
            let mut values: Vec<f64> = samples[contestant].iter().map(part).collect();
            spread(&mut values)
        };
        let (value, low, high) = median("engine");
        let (sled, sled_low, sled_high) = median("plain sled");
        let (slots, slots_low, slots_high) = median("slot file");
        let figure = format!("engine: {name}, {in_flight} in flight");
        report.ratio(
            &figure,
            value,
            unit,
            ("plain sled", sled),
            bar.filter(|_| barred),
        );
        report.ratio(&figure, value, unit, ("slot file", slots), None);
        report.note(&format!(
            "spread: {low:.2} to {high:.2}; plain sled {sled:.2} ({sled_low:.2} to {sled_high:.2}); \
             slot file {slots:.2} ({slots_low:.2} to {slots_high:.2})"
        ));
    }
}

/// Has one contestant do its inserts in this process.
pub(super) fn measure(load: &Load) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let engine: Arc<dyn Engine> = match load.contestant.as_str() {
        "engine" => Arc::new(SledEngine::open(folder.path(), Options::default())?),
        "plain sled" => Arc::new(Yardstick(PlainSled::open(folder.path())?)),
        _ => Arc::new(Yardstick(SlotFile::open(folder.path())?)),
    };
    let keys: Vec<Key> = (0..load.inserts as u64).map(sample::key).collect();
    let committer = Committer::start(engine, Limits::default())?;
    // The first batches create files and trees; they are not what is measured.
    let (warm_up, keys) = keys.split_at(load.inserts / 20);
    insert_all(&committer, warm_up, load.in_flight)?;
    let written = written()?;
    let started = Instant::now();
    let mut outcome = Ok(());
    let cpu = cpu_of(|| outcome = insert_all(&committer, keys, load.in_flight));
    let wall = started.elapsed();
    outcome?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (inserts, written) = (keys.len() as f64, (self::written()? - written) as f64);
    Ok(Measured {
        inserts_per_second: inserts / wall.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / inserts,
        written_per_byte: written / (inserts * BLOB_LEN as f64),
        resident_mib: peak_mib()?,
    })
}

/// Inserts a blob under every key, with so many in flight at any time.
fn insert_all(committer: &Committer, keys: &[Key], in_flight: usize) -> Result<(), Failure> {
    let template = sample::blob(0).as_bytes().to_vec();
    let (done, finished) = channel();
    let submit = |key: &Key| -> Result<(), Failure> {
        let mut bytes = template.clone();
        bytes[..Key::LEN].copy_from_slice(key.as_bytes());
        let effect = Effect::unpaid(Change::Insert {
            key: *key,
            blob: Blob::try_from(bytes)?,
            epoch: 0,
        });
        let done = done.clone();
        // Nobody listens any more only when the run has failed already.
        let report = Box::new(move |outcome| drop(done.send(outcome)));
        Ok(committer.submit(effect, report)?)
    };
    let (first, rest) = keys.split_at(in_flight.min(keys.len()));
    first.iter().try_for_each(submit)?;
    let mut rest = rest.iter();
    for _ in keys {
        if finished.recv()?? != Outcome::Inserted {
            return Err("an insert was refused".into());
        }
        rest.next().map_or(Ok(()), submit)?;
    }
    Ok(())
}

/// Bytes that this process has caused to be written to the disk.
fn written() -> Result<u64, Failure> {
    status("/proc/self/io", "write_bytes:")
}

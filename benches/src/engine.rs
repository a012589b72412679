//! Durable inserts of 16,433 bytes: the engine against plain sled and a bare slot file.
//!
//! All three run behind the same [`Committer`], in a process of their own each time, so
//! that CPU time, bytes written and resident memory are theirs alone. The yardsticks:
//!
//! * **plain sled** keeps the blobs itself; segments of 8 MiB, `flush` and `fdatasync` for
//!   each batch, the one configuration of it that survived simulated power cuts;
//! * **slot file** is the lower bound: the blobs and one `fdatasync` for each batch, no
//!   index, so it cannot even find what it stored.
//!
//! One insert alone waits for two files where plain sled waits for one; that is the price
//! of writing each byte once, and it has no bar. With many in flight they share the wait.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::{BLOB_LEN, Blob, Key};
use larder_store::suite::sample;
use larder_store::{
    Change, Committer, Effect, Engine, Enter, Epochs, Limits, OpenedClaim, Options, Outcome,
    Reading, SledEngine, Stat, StoreError, StoredCell, Usage,
};
use serde::{Deserialize, Serialize};

use crate::report::{Bar, Report, cpu_of, spread};

const ROUNDS: usize = 3;

/// In flight, and how many inserts are measured. The first has to hold its bars.
const LOADS: [(usize, usize); 2] = [(64, 12_000), (1, 600)];

const CONTESTANTS: [&str; 3] = ["engine", "plain sled", "slot file"];

/// Set in the environment of a process that measures one contestant once.
const TASK: &str = "LARDER_BENCH_ENGINE";

#[derive(Serialize, Deserialize)]
struct Task {
    contestant: String,
    in_flight: usize,
    inserts: usize,
}

#[derive(Serialize, Deserialize)]
struct Measured {
    inserts_per_second: f64,
    cpu_us: f64,
    written_per_byte: f64,
    resident_mib: f64,
}

type Failure = Box<dyn std::error::Error>;

/// Takes the figures of this set, or one of them if this process was started for that.
pub(crate) fn run(report: &mut Report) -> Result<(), Failure> {
    if let Ok(task) = std::env::var(TASK) {
        let measured = measure(&serde_json::from_str(&task)?)?;
        println!("{}", serde_json::to_string(&measured)?);
        return Ok(());
    }
    for (in_flight, inserts) in LOADS {
        report.note(&format!(
            "{inserts} inserts of {BLOB_LEN} bytes, {in_flight} in flight; median of {ROUNDS} interleaved runs"
        ));
        let mut samples: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
        for _ in 0..ROUNDS {
            for contestant in CONTESTANTS {
                let measured = measure_apart(contestant, in_flight, inserts)?;
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

fn measure_apart(contestant: &str, in_flight: usize, inserts: usize) -> Result<Measured, Failure> {
    let task = Task {
        contestant: contestant.to_owned(),
        in_flight,
        inserts,
    };
    let output = Command::new(std::env::current_exe()?)
        .args(["engine", "--json"])
        .env(TASK, serde_json::to_string(&task)?)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // The child prints what every run prints first; its last line is ours.
    let line = text
        .lines()
        .next_back()
        .ok_or("a measurement printed nothing")?;
    serde_json::from_str(line).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("measuring {contestant} failed: {line} {said}").into()
    })
}

fn measure(task: &Task) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let engine: Arc<dyn Engine> = match task.contestant.as_str() {
        "engine" => Arc::new(SledEngine::open(folder.path(), Options::default())?),
        "plain sled" => Arc::new(PlainSled::open(folder.path())?),
        _ => Arc::new(SlotFile::open(folder.path())?),
    };
    let keys: Vec<Key> = (0..task.inserts as u64).map(sample::key).collect();
    let committer = Committer::start(engine, Limits::default())?;
    // The first batches create files and trees; they are not what is measured.
    let (warm_up, keys) = keys.split_at(task.inserts / 20);
    insert_all(&committer, warm_up, task.in_flight)?;
    let written = written()?;
    let started = Instant::now();
    let mut outcome = Ok(());
    let cpu = cpu_of(|| outcome = insert_all(&committer, keys, task.in_flight));
    let wall = started.elapsed();
    outcome?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (inserts, written) = (keys.len() as f64, (self::written()? - written) as f64);
    Ok(Measured {
        inserts_per_second: inserts / wall.as_secs_f64(),
        cpu_us: cpu.as_secs_f64() * 1e6 / inserts,
        written_per_byte: written / (inserts * BLOB_LEN as f64),
        resident_mib: status("/proc/self/status", "VmHWM:")? as f64 / 1024.0,
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

/// A number that Linux tells of this process.
pub(crate) fn status(file: &str, field: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let value = value.ok_or_else(|| format!("no {field} in {file}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

/// sled with the blobs inside.
struct PlainSled {
    db: sled::Db,
    file: File,
}

impl PlainSled {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(Options::default().cache_bytes)
            .segment_size(8 << 20)
            .flush_every_ms(None)
            .open()?;
        let file = File::open(folder.join("db"))?;
        Ok(PlainSled { db, file })
    }
}

/// Slots without an index.
struct SlotFile {
    file: File,
    next: Mutex<u64>,
}

impl SlotFile {
    fn open(folder: &Path) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        let file = options
            .create_new(true)
            .write(true)
            .open(folder.join("slots"))?;
        Ok(SlotFile {
            file,
            next: Mutex::new(0),
        })
    }
}

fn io(source: std::io::Error) -> StoreError {
    StoreError::Io {
        doing: "measure a yardstick",
        source,
    }
}

impl Engine for PlainSled {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        let mut writes = sled::Batch::default();
        let outcomes = vec![Outcome::Inserted; batch.len()];
        for effect in batch {
            if let Change::Insert { key, blob, .. } = effect.change {
                // Insert-if-absent is part of the work.
                let found = self.db.contains_key(key.as_bytes());
                assert!(!found.map_err(std::io::Error::from).map_err(io)?);
                writes.insert(&key.as_bytes()[..], &blob.as_bytes()[..]);
            }
        }
        self.db
            .apply_batch(writes)
            .map_err(|error| io(error.into()))?;
        self.db.flush().map_err(|error| io(error.into()))?;
        self.file.sync_data().map_err(io)?;
        Ok(outcomes)
    }

    fn read(&self, _key: &Key) -> Result<Reading, StoreError> {
        Err(StoreError::Stopped)
    }

    fn stat(&self, _key: &Key) -> Result<Stat, StoreError> {
        Err(StoreError::Stopped)
    }

    fn cell(&self, _key: &Key, _now: u64) -> Result<Option<StoredCell>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn row(&self, _reference: &Reference) -> Result<Option<Row>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn claim(&self, _tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        Err(StoreError::Stopped)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn enter(&self, _next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        Err(StoreError::Stopped)
    }
}

impl Engine for SlotFile {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        const SLOT: u64 = 16_384;
        const STEP: u64 = 2048;
        let mut next = self.next.lock().map_err(|_| StoreError::Stopped)?;
        let outcomes = vec![Outcome::Inserted; batch.len()];
        for effect in batch {
            if let Change::Insert { blob, .. } = effect.change {
                if *next % STEP == 0 {
                    let flags = rustix::fs::FallocateFlags::empty();
                    rustix::fs::fallocate(&self.file, flags, *next * SLOT, STEP * SLOT)
                        .map_err(|error| io(error.into()))?;
                }
                let bytes = &blob.as_bytes()[..16_384];
                self.file.write_all_at(bytes, *next * SLOT).map_err(io)?;
                *next += 1;
            }
        }
        self.file.sync_data().map_err(io)?;
        Ok(outcomes)
    }

    fn read(&self, _key: &Key) -> Result<Reading, StoreError> {
        Err(StoreError::Stopped)
    }

    fn stat(&self, _key: &Key) -> Result<Stat, StoreError> {
        Err(StoreError::Stopped)
    }

    fn cell(&self, _key: &Key, _now: u64) -> Result<Option<StoredCell>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn row(&self, _reference: &Reference) -> Result<Option<Row>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn claim(&self, _tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        Err(StoreError::Stopped)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn enter(&self, _next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        Err(StoreError::Stopped)
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        Err(StoreError::Stopped)
    }
}

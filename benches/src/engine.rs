//! The storage engine: what an insert costs, and what many records do.
//!
//! Whatever takes memory or CPU time is measured in a process of its own, so that both are its own
//! alone.

mod inserts;
mod records;
mod yardsticks;

use std::path::PathBuf;
use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::report::Report;

type Failure = Box<dyn std::error::Error>;

/// Set in the environment of a process that takes one measurement and prints it.
const TASK: &str = "LARDER_BENCH_ENGINE";

#[derive(Serialize, Deserialize)]
enum Task {
    Insert(inserts::Load),
    OpenAndUse { folder: PathBuf, records: u64 },
}

/// Takes the figures of this set, or one of them if this process was started for that.
pub(crate) fn run(report: &mut Report) -> Result<(), Failure> {
    if let Ok(task) = std::env::var(TASK) {
        let measured = match serde_json::from_str(&task)? {
            Task::Insert(load) => serde_json::to_string(&inserts::measure(&load)?)?,
            Task::OpenAndUse { folder, records } => {
                serde_json::to_string(&records::resident_mib(&folder, records)?)?
            }
        };
        println!("{measured}");
        return Ok(());
    }
    inserts::run(report)?;
    records::run(report)
}

/// Has another process of this program do a task.
fn apart<T: DeserializeOwned>(task: &Task) -> Result<T, Failure> {
    let output = Command::new(std::env::current_exe()?)
        .args(["engine", "--json"])
        .env(TASK, serde_json::to_string(task)?)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // The child prints what every run prints first; its last line is ours.
    let line = text
        .lines()
        .next_back()
        .ok_or("a measurement printed nothing")?;
    serde_json::from_str(line).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("a measurement failed: {line} {said}").into()
    })
}

/// The largest resident memory of this process so far.
fn peak_mib() -> Result<f64, Failure> {
    Ok(status("/proc/self/status", "VmHWM:")? as f64 / 1024.0)
}

/// A number that Linux tells of this process.
pub(crate) fn status(file: &str, field: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let value = value.ok_or_else(|| format!("no {field} in {file}"))?;
    Ok(value.trim().trim_end_matches(" kB").parse()?)
}

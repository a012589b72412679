//! `cargo run --release -p larder-bench -- SET [--json]`
//!
//! A figure counts when it is a ratio taken in one run on one machine, or a count.
//! Each set is a module with one `run(&mut Report)`; benchmarks are programs, never
//! timed tests.

mod engine;
mod report;

use clap::{Parser, ValueEnum};
use report::Report;

#[derive(Parser)]
#[command(name = "larder-bench", about = "Larder against yardsticks, as ratios")]
struct Args {
    /// The set of figures to take.
    set: Set,
    /// Print one JSON object per figure and line, for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Set {
    /// Durable inserts, against plain sled and a bare slot file.
    Engine,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut report = Report::new(args.json);
    match args.set {
        Set::Engine => engine::run(&mut report)?,
    }
    report.finish();
    Ok(())
}

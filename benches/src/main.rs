//! `cargo run --release -p larder-bench -- SET [--json]`; `just bench` takes all sets and makes a page.
//!
//! A figure counts when it is a ratio taken in one run on one machine, or a count.
//! Each set is a module with one `run(&mut Report)`; benchmarks are programs, never
//! timed tests. A bar that is missed makes the program fail.

mod actor;
mod anchors;
mod credentials;
mod engine;
mod forgetful;
mod page;
mod paid;
mod privacy;
mod report;
mod restore;
mod roles;
mod transport;
mod yardstick;

use std::path::Path;
use std::process::ExitCode;

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
    /// Anonymous credentials, in ECDSA verifications.
    Credentials,
    /// Durable inserts, against plain sled and a bare slot file; what a million records take in
    /// memory (79 MiB when it was last measured), and how long commits wait for an epoch. Takes minutes.
    Engine,
    /// Round trips through a stock LDK relay, in separate processes.
    Transport,
    /// Paid operations beside unpaid ones, and what it takes to turn requests away.
    Paid,
    /// Of these, the floods of free requests alone.
    Floods,
    /// What a storage node can tell of 8 and of 20 wallets. Takes minutes.
    Privacy,
    /// A restore from the root key, against as many round trips one after the other.
    Restore,
    /// Finding the newest anchor of a log among ten million.
    Anchors,
    /// No figures: turns those on standard input into `target/benchmarks/benchmarks.md`.
    Page,
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    if roles::play_if_cast()? {
        return Ok(ExitCode::SUCCESS);
    }
    let args = Args::parse();
    if let Set::Page = args.set {
        page::write(std::io::stdin().lock(), Path::new("target/benchmarks"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::new(args.json);
    match args.set {
        Set::Page => {}
        Set::Credentials => credentials::run(&mut report)?,
        Set::Engine => engine::run(&mut report)?,
        Set::Paid => paid::run(&mut report)?,
        Set::Floods => paid::floods::run(&mut report)?,
        Set::Privacy => privacy::run(&mut report)?,
        Set::Restore => restore::run(&mut report)?,
        Set::Anchors => anchors::run(&mut report)?,
        Set::Transport => transport::run(&mut report)?,
    }
    Ok(report.finish())
}

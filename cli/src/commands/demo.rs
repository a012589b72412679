//! `larder demo`: the whole life in one process, over real sockets.
//!
//! A stock relay plays the LSP; a storage node with its store connects to it; a wallet connects
//! to nothing else. The wallet stores a sequence of updates, loses everything but its root key,
//! restores, compares every byte, deletes a third and shows that it is gone.

mod parties;
mod table;
mod updates;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_recovery::walk::Found;
use larder_recovery::{Provider, RootKey, Sequence, Spent, Walk};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::demo::parties::Parties;
use crate::commands::demo::table::Table;
use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, bytes, count};
use crate::progress;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file to store as a sequence of updates; without one the demo makes wallet states
    path: Option<PathBuf>,
}

/// What one phase took.
#[derive(Clone, Copy)]
pub(crate) struct Phase {
    name: &'static str,
    blobs: u64,
    bytes: u64,
    spent: Spent,
    time: Duration,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), CliError> {
    let (source, updates) = match &args.path {
        Some(path) => {
            let content = std::fs::read(path).map_err(CliError::file("read", path))?;
            (path.display().to_string(), updates::cut(&content))
        }
        None => (
            "wallet states made up for the demo".to_owned(),
            updates::wallet_states(),
        ),
    };

    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|error| CliError::Failed(format!("cannot wait for Ctrl-C: {error}")))?;
    let parties = Parties::start().await?;
    let lived = tokio::select! {
        lived = live(&parties, &source, &updates, output) => lived,
        _ = interrupts.recv() => Err(CliError::Failed("interrupted".to_owned())),
    };
    // However it went, the store goes.
    parties.shutdown().await;
    lived
}

async fn live(
    parties: &Parties,
    source: &str,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<(), CliError> {
    let total: u64 = updates.iter().map(|update| update.len() as u64).sum();
    output.say(&format!("LSP relay     {}", parties.relay.address()));
    output.say(&format!("storage node  {}", parties.node.address()));
    output.say("wallet        connects to the LSP relay and to nobody else");
    output.say(&format!(
        "data          {source}: {} updates, {}\n",
        updates.len(),
        bytes(total)
    ));

    // The one thing the user keeps.
    let kept = RootKey::generate(&mut StdRng::from_os_rng()).reveal();
    let root = |text: &str| {
        text.parse::<RootKey>()
            .map_err(|error| CliError::Failed(error.to_string()))
    };
    let mut phases = Vec::new();

    let wallet = parties.wallet().await?;
    phases.push(store(&root(&kept)?, &wallet, parties, updates, output).await?);
    // Total loss: connections, node ids, counters, cache. Only the root key's text is left.
    wallet.close().await;
    output.say("the wallet is gone; only its root key is left\n");

    let wallet = parties.wallet().await?;
    let blobs = parties.node.usage()?.blobs;
    let (phase, sequence) = restore(&root(&kept)?, &wallet, updates, blobs, output).await?;
    phases.push(phase);
    output.say(&format!("every byte of {} is back\n", bytes(total)));

    phases.push(delete(&sequence, &wallet, parties, updates, output).await?);
    show_gone(&root(&kept)?, &wallet, updates).await?;
    output.say("what was deleted is gone, and everything else is still there\n");

    let table = Table::new(&phases, parties)?;
    drop(sequence);
    wallet.close().await;
    output.result(&json!({ "source": source, "demo": table.json() }), || {
        table.text()
    })
}

async fn store(
    root: &RootKey,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let before = wallet.transport.spent();
    let bar = progress::bar("storing", updates.len() as u64, output.json);
    let mut sequence = Sequence::start(root, wallet.provider.clone());
    let mut stored = 0;
    for update in updates {
        sequence.append(update).await?;
        stored += update.len() as u64;
        bar.inc(1);
        bar.set_message(format!("updates, {}", bytes(stored)));
    }
    bar.finish();
    let blobs = parties.node.usage()?.blobs;
    let spent = since(before, wallet.transport.spent());
    Ok(Phase {
        name: "stored",
        blobs,
        bytes: stored,
        spent,
        time: begun.elapsed(),
    })
}

async fn restore(
    root: &RootKey,
    wallet: &Connection,
    updates: &[Vec<u8>],
    blobs: u64,
    output: &Output,
) -> Result<(Phase, Sequence), CliError> {
    let begun = Instant::now();
    let before = wallet.transport.spent();
    let bar = progress::bar("restoring", blobs, output.json);
    let mut walk = Walk::new(Sequence::start(root, wallet.provider.clone()));
    walk.on_progress({
        let bar = bar.clone();
        move |progress| {
            bar.set_position(progress.blobs);
            bar.set_message(format!("blobs, {}", bytes(progress.bytes)));
        }
    });
    let (mut same, mut restored) = (0, 0);
    while let Some(step) = walk.next().await? {
        let original = usize::try_from(step.counter)
            .ok()
            .and_then(|at| updates.get(at));
        match (step.found, original) {
            (Found::Value(value), Some(original)) if value == *original => {
                same += 1;
                restored += value.len() as u64;
            }
            _ => return Err(failed(format!("update {} came back changed", step.counter))),
        }
    }
    bar.finish();
    if same != updates.len() {
        return Err(failed(format!(
            "{same} of {} updates came back",
            updates.len()
        )));
    }
    let spent = since(before, wallet.transport.spent());
    let phase = Phase {
        name: "restored",
        blobs,
        bytes: restored,
        spent,
        time: begun.elapsed(),
    };
    Ok((phase, walk.finish()))
}

/// Deletes every third update, the first one included.
async fn delete(
    sequence: &Sequence,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let before = wallet.transport.spent();
    let stored = parties.node.usage()?.blobs;
    let bar = progress::bar("deleting", updates.len().div_ceil(3) as u64, output.json);
    let (mut blobs, mut size) = (0, 0);
    for (counter, update) in updates.iter().enumerate().step_by(3) {
        blobs += sequence.delete(counter as u64).await?;
        size += update.len() as u64;
        bar.inc(1);
        bar.set_message("updates".to_owned());
    }
    bar.finish();
    let left = parties.node.usage()?.blobs;
    if stored - left != blobs {
        return Err(failed(format!(
            "{blobs} blobs were deleted, {} are gone",
            stored - left
        )));
    }
    let spent = since(before, wallet.transport.spent());
    Ok(Phase {
        name: "deleted",
        blobs,
        bytes: size,
        spent,
        time: begun.elapsed(),
    })
}

/// Walks once more with a wallet that knows nothing.
async fn show_gone(
    root: &RootKey,
    wallet: &Connection,
    updates: &[Vec<u8>],
) -> Result<(), CliError> {
    let provider: Arc<Provider> = wallet.provider.clone();
    let mut walk = Walk::new(Sequence::start(root, provider));
    let mut seen = 0;
    while let Some(step) = walk.next().await? {
        let at = seen;
        seen += 1;
        let right = step.counter == at as u64
            && match step.found {
                Found::Deleted => at % 3 == 0,
                Found::Value(value) => at % 3 != 0 && value == updates[at],
                _ => false,
            };
        if !right {
            return Err(failed(format!(
                "update {} is not as it should be",
                step.counter
            )));
        }
    }
    // Deleted updates at the very end leave tombstones, too.
    match seen == updates.len() {
        true => Ok(()),
        false => Err(failed(format!(
            "{seen} of {} updates were there",
            updates.len()
        ))),
    }
}

fn since(before: Spent, now: Spent) -> Spent {
    Spent {
        round_trips: now.round_trips - before.round_trips,
        retries: now.retries - before.retries,
    }
}

fn failed(what: String) -> CliError {
    CliError::Failed(format!("the demo failed: {what}; please report it"))
}

impl Phase {
    fn cells(&self) -> [String; 6] {
        [
            self.name.to_owned(),
            count(self.blobs),
            bytes(self.bytes),
            count(self.spent.round_trips),
            count(self.spent.retries),
            format!("{:.2} s", self.time.as_secs_f64()),
        ]
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "phase": self.name,
            "blobs": self.blobs,
            "bytes": self.bytes,
            "round_trips": self.spent.round_trips,
            "retries": self.spent.retries,
            "seconds": self.time.as_secs_f64(),
        })
    }
}

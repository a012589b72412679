//! `larder demo`: the whole life in one process, over real sockets.
//!
//! A stock relay plays the LSP; a storage node with its store connects to it; a wallet connects
//! to nothing else. The wallet buys tokens for a voucher, stores a sequence of updates, loses
//! everything but its root key, buys once more, restores, compares every byte, deletes a third
//! for a refund and shows that it is gone. In the end the storage node's books must balance.

mod parties;
mod table;
mod till;
mod updates;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_recovery::walk::Found;
use larder_recovery::{Price, Provider, RootKey, Sequence, Spent, Walk, price};
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
    tokens: Tokens,
    time: Duration,
}

/// What one phase did to the purse, in tokens.
#[derive(Clone, Copy)]
struct Tokens {
    spent: u64,
    refunded: u64,
    left: u64,
}

/// What becomes of all tokens.
#[derive(Clone, Copy)]
pub(crate) struct Books {
    bought: [u64; 2],
    lost: u64,
    held: u64,
    /// As the storage node counts them.
    outstanding: u64,
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

    let wallet = parties.wallet(root(&kept)?).await?;
    let costs = Costs::of(&wallet, updates)?;
    let first = till::buy(parties, &wallet, costs.to_store).await?;
    output.say(&format!(
        "the wallet got {} tokens for a voucher",
        count(first)
    ));
    phases.push(store(&root(&kept)?, &wallet, parties, updates, output).await?);
    let lost = held(&wallet);
    till::check_books(parties, lost, 0)?;
    // Total loss: connections, node ids, counters, cache, purse. Only the root key's text is left.
    wallet.close().await;
    parties.lose_wallet()?;
    output.say(&format!(
        "the wallet is gone, and {} tokens with it; only its root key is left\n\
         (a root key brings back what was stored; tokens, in a later version)\n",
        count(lost)
    ));

    let wallet = parties.wallet(root(&kept)?).await?;
    let second = till::buy(parties, &wallet, costs.to_restore).await?;
    output.say(&format!(
        "a new one got {} tokens for a voucher",
        count(second)
    ));
    let blobs = parties.node.usage()?.blobs;
    let (phase, sequence) = restore(&root(&kept)?, &wallet, updates, blobs, output).await?;
    phases.push(phase);
    output.say(&format!("every byte of {} is back\n", bytes(total)));

    phases.push(delete(&sequence, &wallet, parties, updates, output).await?);
    show_gone(&root(&kept)?, &wallet, updates).await?;
    output.say("what was deleted is gone, and everything else is still there\n");

    let held = held(&wallet);
    let books = Books {
        bought: [first, second],
        lost,
        held,
        outstanding: till::check_books(parties, held, lost)?,
    };
    let table = Table::new(&phases, books, parties)?;
    drop(sequence);
    wallet.close().await;
    output.result(&json!({ "source": source, "demo": table.json() }), || {
        table.text()
    })
}

/// What the demo needs, in tokens.
struct Costs {
    to_store: u64,
    /// And to delete a third, and to walk once more.
    to_restore: u64,
}

impl Costs {
    fn of(wallet: &Connection, updates: &[Vec<u8>]) -> Result<Self, CliError> {
        let record = wallet.provider.record();
        let prices: Option<Vec<Price>> = updates
            .iter()
            .map(|update| price(&record, update.len() as u64))
            .collect();
        let prices = prices.ok_or_else(|| failed("the storage node is not paid".to_owned()))?;
        let sum = |part: fn(&Price) -> u64| prices.iter().map(part).sum::<u64>();
        // Walks look a little further than the last value, and races cost a look-up.
        let with_reserve = |tokens: u64| tokens + tokens / 10 + 200;
        Ok(Costs {
            to_store: with_reserve(sum(|price| price.store)),
            to_restore: with_reserve(sum(|price| 2 * price.read + price.delete)),
        })
    }
}

fn held(wallet: &Connection) -> u64 {
    wallet.holdings().unwrap_or_default().tokens
}

/// What the purse paid since, all refunds included.
fn paid(wallet: &Connection, before: u64, refunded: u64) -> Tokens {
    let left = held(wallet);
    Tokens {
        spent: (before + refunded).saturating_sub(left),
        refunded,
        left,
    }
}

async fn store(
    root: &RootKey,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let (before, purse) = (wallet.transport.spent(), held(wallet));
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
        tokens: paid(wallet, purse, 0),
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
    let (before, purse) = (wallet.transport.spent(), held(wallet));
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
        tokens: paid(wallet, purse, 0),
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
    let (before, purse) = (wallet.transport.spent(), held(wallet));
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
    let refunds = wallet.provider.record().tariff.map(|tariff| tariff.refunds);
    let refund = refunds.and_then(|refunds| refunds.first().copied());
    let refunded = blobs * refund.unwrap_or(0);
    let spent = since(before, wallet.transport.spent());
    Ok(Phase {
        name: "deleted",
        blobs,
        bytes: size,
        spent,
        tokens: paid(wallet, purse, refunded),
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
    fn cells(&self) -> [String; 9] {
        [
            self.name.to_owned(),
            count(self.blobs),
            bytes(self.bytes),
            count(self.spent.round_trips),
            count(self.spent.retries),
            count(self.tokens.spent),
            count(self.tokens.refunded),
            count(self.tokens.left),
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
            "tokens_spent": self.tokens.spent,
            "tokens_refunded": self.tokens.refunded,
            "tokens_left": self.tokens.left,
            "seconds": self.time.as_secs_f64(),
        })
    }
}

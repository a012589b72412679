//! `larder demo`: the whole life in one process, over real sockets.
//!
//! A stock relay plays the LSP; a storage node with its store connects to it; a wallet connects
//! to nothing else. The wallet buys tokens for a voucher and stores updates in its map. A second device writes, and
//! the first one is told. A third of the updates is deleted for a refund, and shown to be gone. Then everything
//! is lost but the words on a piece of paper; with them the wallet takes its tokens back, restores, and
//! compares every byte. In the end the storage node's books must balance.

mod counted;
mod lost;
mod parties;
mod second;
mod table;
mod till;
mod updates;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};
use larder_recovery::{Price, RecoveryError, RootKey, Spent, price_in_map, words};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::demo::counted::Counted;
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
    /// Restore as `larder restore --walk` does: it finds the tokens that were in use as well, and shows the storage node
    /// which requests were this wallet's
    #[arg(long)]
    walk: bool,
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

/// Deletes between two looks at how far they have come.
const DELETES: usize = 64;

/// What becomes of all tokens.
#[derive(Clone, Copy)]
pub(crate) struct Books {
    bought: u64,
    /// When everything was lost.
    before: u64,
    /// What the restore paid, as the storage node counts it.
    paid: u64,
    /// Outstanding, and not in the wallet: what was set apart for what was under way.
    not_found: u64,
    held: u64,
    /// As the storage node counts them.
    outstanding: u64,
    /// Whether the restore followed tokens through what the lost wallet did.
    walked: bool,
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
        lived = live(&parties, &source, &updates, args.walk, output) => lived,
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
    walk: bool,
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
    let kept = words::generate(&mut rng(), words::Count::Twelve);
    let root = || RootKey::from_words(&kept).map_err(|error| failed(error.to_string()));
    let mut phases = Vec::new();

    let wallet = parties.wallet(root()?).await?;
    let bought = till::buy(parties, &wallet, cost(&wallet, updates)?).await?;
    output.say(&format!(
        "the wallet got {} tokens for a voucher",
        count(bought)
    ));
    phases.push(store(&root()?, &wallet, parties, updates, output).await?);

    let registers = registers(&root()?, &wallet);
    let map = open(&registers).await?;
    second::write_and_tell(&map, &registers, output).await?;
    phases.push(delete(&map, &registers, &wallet, parties, updates, output).await?);
    compare(&map, updates, |_| {}).await?;
    output.say("what was deleted is gone, and everything else is still there\n");

    let before = lost::prepare(&map, &wallet, parties).await?;
    drop((map, registers));
    // Total loss: connections, node ids, counters, cache, purse.
    wallet.close().await;
    parties.lose_wallet()?;
    output.say(&format!(
        "everything is lost, {} tokens with it; no file is left, only these words:\n\n  {}\n",
        count(before.held),
        kept.as_str()
    ));

    let wallet = parties.wallet(root()?).await?;
    let mut restored = lost::restore(&root()?, &wallet, parties, updates, walk, output).await?;
    let held = held(&wallet).await?;
    let books = before.check(parties, bought, held, restored.spent.retries, walk)?;
    // What taking the tokens cost as well, which the purse paid before it knew how many there are.
    restored.tokens.spent = books.paid;
    output.say(&format!(
        "every byte of {} is back\n{}\n",
        bytes(restored.bytes),
        books.text()
    ));
    phases.push(restored);
    let table = Table::new(&phases, books, parties)?;
    wallet.close().await;
    output.result(&json!({ "source": source, "demo": table.json() }), || {
        table.text()
    })
}

/// What the demo needs, in tokens, and something to be left.
fn cost(wallet: &Connection, updates: &[Vec<u8>]) -> Result<u64, CliError> {
    let record = wallet.provider.record();
    let prices: Option<Vec<Price>> = updates
        .iter()
        .map(|update| price_in_map(&record, update.len() as u64, 1))
        .collect();
    let prices = prices.ok_or_else(|| failed("the storage node is not paid".to_owned()))?;
    // It is read to be deleted, to be compared, and to be restored; for the last time twice is set aside.
    let sum = |price: &Price| price.store + 5 * price.read + price.delete;
    let all: u64 = prices.iter().map(sum).sum();
    // Looking for anchors, a snapshot, and what it replaces.
    Ok(all + all / 4 + 2_000)
}

/// What the purse holds when nothing is in flight any more.
async fn held(wallet: &Connection) -> Result<u64, CliError> {
    wallet.settle().await?;
    Ok(wallet.holdings().unwrap_or_default().tokens)
}

/// What the purse paid since, all refunds included.
async fn paid(wallet: &Connection, before: u64, refunded: u64) -> Result<Tokens, CliError> {
    let left = held(wallet).await?;
    Ok(Tokens {
        spent: (before + refunded).saturating_sub(left),
        refunded,
        left,
    })
}

/// The registers of this root key, with a count of what becomes of them.
fn registers(root: &RootKey, wallet: &Connection) -> Arc<Counted> {
    Arc::new(Counted::new(OneProvider::new(
        root,
        wallet.provider.clone(),
    )))
}

/// A wallet that knows nothing reads all there is.
async fn open(registers: &Arc<Counted>) -> Result<Map, RecoveryError> {
    Map::open(registers.clone(), &mut rng(), None).await
}

/// The name that an update is stored under.
fn name(at: usize) -> String {
    format!("update-{at:04}")
}

async fn store(
    root: &RootKey,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let (before, purse) = (wallet.transport.spent(), held(wallet).await?);
    let bar = progress::bar("storing", updates.len() as u64, output.json);
    let map = open(&registers(root, wallet)).await?;
    map.take_over().await?;
    let mut stored = 0;
    for (at, update) in updates.iter().enumerate() {
        let write = Write::put(name(at), Expect::Absent, update.as_slice());
        map.commit(Commit::of([write])).await.map_err(uncommitted)?;
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
        tokens: paid(wallet, purse, 0).await?,
        time: begun.elapsed(),
    })
}

/// Deletes every third update, all of them or none; a snapshot replaces the log
/// then, and what nothing names any more is deleted at the storage node.
async fn delete(
    map: &Map,
    registers: &Counted,
    wallet: &Connection,
    parties: &Parties,
    updates: &[Vec<u8>],
    output: &Output,
) -> Result<Phase, CliError> {
    let begun = Instant::now();
    let (before, purse) = (wallet.transport.spent(), held(wallet).await?);
    let (stored, counts) = (parties.node.usage()?.blobs, registers.counts());
    let thirds = || updates.iter().enumerate().filter(|(at, _)| is_deleted(*at));
    let writes: Vec<Write> = thirds()
        .map(|(at, _)| Write::delete(name(at), Expect::Present))
        .collect();
    map.commit(Commit::of(writes)).await.map_err(uncommitted)?;
    map.roll_up().await?;
    let bar = progress::bar("deleting", stored, output.json);
    bar.set_message("blobs of which some stay");
    while map.log().upkeep(DELETES).await? {
        bar.set_position(registers.counts().deleted - counts.deleted);
    }
    bar.finish();
    let (filled, blobs) = registers.counts().since(counts);
    let left = parties.node.usage()?.blobs;
    if stored + filled != left + blobs {
        return Err(failed(format!(
            "there were {stored} blobs, {filled} came and {blobs} went: {left} are left"
        )));
    }
    let refunds = wallet.provider.record().tariff.map(|tariff| tariff.refunds);
    let refund = refunds.and_then(|refunds| refunds.first().copied());
    let refunded = blobs * refund.unwrap_or(0);
    let spent = since(before, wallet.transport.spent());
    Ok(Phase {
        name: "deleted",
        blobs,
        bytes: thirds().map(|(_, update)| update.len() as u64).sum(),
        spent,
        tokens: paid(wallet, purse, refunded).await?,
        time: begun.elapsed(),
    })
}

/// Reads every update that was not deleted and compares it; says to `read` how many bytes it had.
async fn compare(
    map: &Map,
    updates: &[Vec<u8>],
    mut read: impl FnMut(u64),
) -> Result<(), CliError> {
    for (at, update) in updates.iter().enumerate() {
        let expected = (!is_deleted(at)).then_some(update);
        if map.get(&name(at)).await?.value.as_ref() != expected {
            return Err(failed(format!("update {at} is not as it should be")));
        }
        if expected.is_some() {
            read(update.len() as u64);
        }
    }
    Ok(())
}

/// Every third one is, the first one included.
fn is_deleted(at: usize) -> bool {
    at.is_multiple_of(3)
}

fn uncommitted(error: CommitError) -> CliError {
    match error {
        CommitError::Failed(error) => error.into(),
        error => failed(error.to_string()),
    }
}

fn rng() -> StdRng {
    StdRng::from_os_rng()
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

impl Books {
    /// What came back, what that cost, and what did not come back and why.
    fn text(&self) -> String {
        let Books {
            before,
            paid,
            not_found,
            held,
            ..
        } = *self;
        let of = format!(
            "{} of {} tokens are back; the restore paid {}",
            count(held),
            count(before),
            count(paid)
        );
        match (not_found, self.walked) {
            (0, _) => format!("{of}, and none is missing"),
            (_, true) => format!("{of}, and {} were not found", count(not_found)),
            (_, false) => format!(
                "{of}, and {} were not found, which the wallet had set apart for what was under way: `larder restore --walk` \
                 finds them as well, and shows the storage node which requests were this wallet's",
                count(not_found)
            ),
        }
    }
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

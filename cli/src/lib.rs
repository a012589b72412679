//! The tool `larder`: store, read, delete and restore by hand, pay for it, and the demo.
//!
//! One file per command under `commands`; `wallet` is what they work on, `connection` the way to
//! a storage node, `payer` the purse that pays it, `evidence` what it signed, `forgeries` what of that it made up. Results go to standard output, everything else to standard error; `--json`
//! makes every result, errors included, exactly one JSON object. Exit codes: 0 done, 1 failed, 2 usage,
//! 3 out of tokens, 4 conflict, 5 unreachable, 6 blobs are missing and no receipt proves it, 7 a
//! storage node shows an older state, or another, than was seen there, 8 it would cost more than was said, 9 another copy of
//! the wallet spends the same tokens, 10 a restore found nothing, 11 `status` or `upkeep` says that not everything could be
//! restored now.

#[cfg(feature = "bench")]
pub mod bench;

mod commands;
mod connection;
mod durable;
mod error;
mod evidence;
mod forgeries;
mod in_the_clear;
mod output;
mod payer;
mod progress;
mod secret_file;
mod shown;
mod standing;
mod terminal;
mod tokens;
mod wallet;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::commands::{
    buy, delete, demo, get, init, list, log, price, providers, purse, put, receipts, relay,
    restore, status, upkeep, words,
};
use crate::error::CliError;
use crate::output::{Once, Output};
use crate::wallet::Folder;

/// A high-privacy key-value store for Lightning wallets.
#[derive(Parser)]
#[command(name = "larder", version)]
struct Args {
    /// The wallet's folder
    #[arg(
        long,
        global = true,
        env = "LARDER_WALLET",
        value_name = "FOLDER",
        default_value = "larder-wallet"
    )]
    wallet: PathBuf,
    /// Seconds to keep trying when the storage node does not answer
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=31_536_000)
    )]
    timeout: u64,
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole life over real sockets: relay, storage node, wallet; store, lose all, restore
    Demo(demo::Args),
    /// Make a wallet: a new root key, or one you kept
    Init(init::Args),
    /// Store a file under a name
    Put(put::Args),
    /// Read what is stored under a name
    Get(get::Args),
    /// Delete what is stored under a name
    Delete(delete::Args),
    /// List the names, with version and size
    List(list::Args),
    /// Show the commits since the last roll-up, and whether another device writes
    Log,
    /// Find everything again, tokens included, from the words or the root key alone
    Restore(restore::Args),
    /// Show the words of the root key again, and a checkpoint to be written down beside them
    Words,
    /// Do what is due for everything to be restorable, tokens included; run it once a day
    Upkeep(upkeep::Args),
    /// Say how the wallet and its storage nodes are, and whether all could be restored from the words alone
    Status,
    /// Say what storing, reading and deleting so much costs
    Price(price::Args),
    /// Get tokens; without arguments, go on with purchases that were cut short
    Buy(buy::Args),
    /// Say what the purses hold, one per storage node
    Purse(purse::Args),
    /// Say how the storage nodes are; add or retire one, bring them up to date
    Providers(providers::Args),
    /// Say what they signed, and check that they still have it
    Receipts(receipts::Args),
    /// Run a relay on loopback that plays the LSP, to try things out
    Relay(relay::Args),
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let output = Output {
        json: args.iter().any(|arg| arg == "--json"),
    };
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        // Help and version are no failures, and go to standard output.
        Err(error) if !error.use_stderr() || !output.json => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
        Err(error) => return output.error(&CliError::Usage(error.render().to_string())),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return output.error(&CliError::Failed(format!("cannot start: {error}"))),
    };
    match runtime.block_on(perform(args, &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output.error(&error),
    }
}

async fn perform(args: Args, output: &Output) -> Result<(), CliError> {
    let wallet = Folder {
        path: args.wallet,
        patience: Duration::from_secs(args.timeout),
        once: Once::new(output.json),
    };
    match args.command {
        Command::Demo(demo) => Box::pin(demo::run(demo, output)).await,
        Command::Init(init) => init::run(init, &wallet, output),
        Command::Put(put) => Box::pin(put::run(put, &wallet, output)).await,
        Command::Get(get) => Box::pin(get::run(get, &wallet, output)).await,
        Command::Delete(delete) => Box::pin(delete::run(delete, &wallet, output)).await,
        Command::List(list) => Box::pin(list::run(list, &wallet, output)).await,
        Command::Log => Box::pin(log::run(&wallet, output)).await,
        Command::Restore(restore) => Box::pin(restore::run(restore, &wallet, output)).await,
        Command::Words => words::run(&wallet, output),
        Command::Upkeep(upkeep) => Box::pin(upkeep::run(upkeep, &wallet, output)).await,
        Command::Status => Box::pin(status::run(&wallet, output)).await,
        Command::Price(price) => Box::pin(price::run(price, &wallet, output)).await,
        Command::Buy(buy) => Box::pin(buy::run(buy, &wallet, output)).await,
        Command::Purse(purse) => Box::pin(purse::run(purse, &wallet, output)).await,
        Command::Providers(providers) => Box::pin(providers::run(providers, &wallet, output)).await,
        Command::Receipts(receipts) => Box::pin(receipts::run(receipts, &wallet, output)).await,
        Command::Relay(relay) => Box::pin(relay::run(relay, output)).await,
    }
}

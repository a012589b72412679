//! The program `larderd`.
//!
//! | command | does |
//! | --- | --- |
//! | none | serves until it is told to stop |
//! | `config print` | shows every key, its default and its meaning |
//! | `voucher create` | makes codes that clients get tokens for |
//! | `restore` | takes a store that comes from a backup into use |
//! | `verify` | says what of the data folder is damaged, what is safe, and what to do |
//!
//! Exit codes: 0 stopped on request; 1 could not start or failed, which a new start may mend;
//! 2 wrong usage or configuration; 3 `verify` has found damage.

mod address;
mod restore;
mod verify;
mod vouchers;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use larder_onion::PeerHost;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::SystemClock;
use crate::config::{Config, DEFAULTS};
use crate::{Node, NodeError, Stopped};

/// A storage node for Larder, beside an LSP. Without arguments: makes a data folder, listens on
/// loopback and prints its address.
#[derive(Parser)]
#[command(name = "larderd", version)]
struct Args {
    /// Everything this node keeps [default: $STATE_DIRECTORY under systemd, or ~/.larderd]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The configuration [default: larderd.toml in the data folder, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where Lightning peers may connect, as ip:port
    #[arg(long, value_name = "SOCKET")]
    listen: Option<SocketAddr>,
    /// A Lightning node to stay connected to, as node_id@host:port; may be repeated
    #[arg(long = "lsp", value_name = "PEER")]
    lsps: Vec<PeerHost>,
    /// The store beside the seed is lost for good: begin with an empty one. Once; refused while there is a store
    #[arg(long)]
    new_store: bool,
    /// This machine's clock is right, whatever the store remembers: checked by hand. For one start
    #[arg(long, global = true)]
    trust_clock: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Print what clients need to find this node, and the hash of its terms for them to compare
    ///
    /// Works beside a running node. What `larder status` shows a wallet has to be the same hash in
    /// the same epoch; whoever is shown another one is told other terms than everybody.
    Address,
    /// About the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// About vouchers
    Voucher {
        #[command(subcommand)]
        command: VoucherCommand,
    },
    /// Take a store that comes from a backup into use; the node must not run
    ///
    /// What clients paid with since the backup, the store does not know. So the node goes on in
    /// a new epoch and accepts no credentials of earlier ones: their tokens are lost.
    Restore,
    /// Check the data folder: say what is damaged, what is safe, and what to do; the node must not run
    ///
    /// Reads everything and changes nothing. Exit code 3 when something is damaged.
    Verify(verify::Verify),
}

#[derive(Subcommand)]
enum VoucherCommand {
    /// Print codes, one a line, each worth so many tokens to whoever shows it first
    ///
    /// Works beside a running node. A code is like cash: hand it to one person, over a channel
    /// that nobody else reads.
    Create(vouchers::Create),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Print a commented configuration; every line shows the default
    Print,
}

/// Runs the program with these arguments, the first of which is its name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no failures, and go to standard output.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match &args.command {
        Some(Command::Config {
            command: ConfigCommand::Print,
        }) => print(DEFAULTS),
        Some(Command::Voucher {
            command: VoucherCommand::Create(create),
        }) => load(&args)
            .and_then(|config| vouchers::create(&config, create, &SystemClock))
            .and_then(|codes| print(&codes)),
        Some(Command::Address) => load(&args)
            .and_then(|config| address::address(&config))
            .and_then(|told| print(&told)),
        Some(Command::Restore) => load(&args)
            .and_then(|config| restore::restore(&config, config.clock()))
            .and_then(|told| print(&told)),
        Some(Command::Verify(order)) => {
            let verdict = load(&args).and_then(|config| verify::check(&config, order));
            match verdict.and_then(|found| print(&found.text).map(|()| found.is_well)) {
                Ok(true) => Ok(()),
                Ok(false) => return ExitCode::from(3),
                Err(error) => Err(error),
            }
        }
        None => load(&args).and_then(serve),
    };
    let error = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(error) => error,
    };
    // Without a standard error the exit code has to do.
    let _ = writeln!(io::stderr(), "larderd: {error}");
    match error {
        NodeError::Config { .. } => ExitCode::from(2),
        _ => ExitCode::FAILURE,
    }
}

fn print(text: &str) -> Result<(), NodeError> {
    (io::stdout().write_all(text.as_bytes())).map_err(NodeError::Output)
}

fn load(args: &Args) -> Result<Config, NodeError> {
    let mut config = Config::load(
        args.config.as_deref(),
        args.data_dir.as_deref(),
        std::env::vars_os(),
    )?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    config.new_store = args.new_store;
    config.trust_clock = args.trust_clock;
    if !args.lsps.is_empty() {
        config.lsps.clone_from(&args.lsps);
    }
    Ok(config)
}

fn serve(config: Config) -> Result<(), NodeError> {
    let log = tracing_subscriber::fmt()
        .with_max_level(config.log_level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // They would go to standard error, which is what could not be written.
        .log_internal_errors(false);
    // A second subscriber in one process is a test's; the first one stays.
    let _ = if config.log_json {
        log.json().try_init()
    } else {
        log.try_init()
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.workers)
        .enable_all()
        .build()
        .map_err(NodeError::Thread)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Thread)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Thread)?;
        let node = Node::start(&config).await?;
        // Whoever started this node may not want to read it.
        let _ = print_banner(&node, &config);
        let served = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            () = node.failed() => Err(NodeError::Stopped),
        };
        tracing::info!("stopping");
        let Stopped { seen, usage } = node.shutdown().await;
        tracing::info!(
            arrived = seen.arrived,
            dropped = seen.dropped,
            with_pass = seen.with_pass,
            with_pass_dropped = seen.with_pass_dropped,
            rejected = seen.rejected,
            malformed = seen.malformed,
            info = seen.info,
            inserts = seen.inserts,
            deletes = seen.deletes,
            lookups = seen.lookups,
            puts = seen.puts,
            opens = seen.opens,
            opens_unread = seen.opens_unread,
            exchanges = seen.exchanges,
            quotes = seen.quotes,
            purchases = seen.purchases,
            verified = seen.verified,
            batches = seen.batches,
            batches_at_once = seen.batches_at_once,
            replayed = seen.replayed,
            unpaid = seen.unpaid,
            wrong_price = seen.wrong_price,
            wrong_epoch = seen.wrong_epoch,
            bad_proof = seen.bad_proof,
            already_spent = seen.already_spent,
            answered = seen.answered,
            undelivered = seen.undelivered,
            blobs = usage.map(|usage| usage.blobs),
            tombstones = usage.map(|usage| usage.tombstones),
            cells = usage.map(|usage| usage.cells),
            "stopped"
        );
        served
    })
}

/// What an operator needs, on standard output, where a program can read it too.
fn print_banner(node: &Node, config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "address  {}", node.address())?;
    if let Some(peer) = node.listens() {
        writeln!(out, "listens  {peer}")?;
    }
    writeln!(out, "data     {}", config.data_dir.display())?;
    let terms = node.desk().terms();
    writeln!(out, "terms    {}", hex::encode(terms.record_hash().0))?;
    match (&terms.teller, &node.desk().till) {
        (Some(teller), Some(till)) => {
            let tariff = teller.tariff().published();
            let prices = &tariff.prices;
            writeln!(out, "epoch    {}", terms.epoch)?;
            writeln!(
                out,
                "prices   insert {}, lookup {}, delete {}, breakglass {}, transfer {}; refunds {:?}",
                prices.insert,
                prices.lookup,
                prices.delete,
                prices.breakglass,
                prices.transfer,
                tariff.refunds
            )?;
            writeln!(out, "till     {}: {:?}", till.name(), tariff.denominations)?;
        }
        _ => writeln!(out, "prices   none: everybody is served for free")?,
    }
    if config.lsps.is_empty() {
        let text = "none: clients reach this node only by connecting to it";
        writeln!(out, "lsp      {text}")?;
    }
    for lsp in &config.lsps {
        writeln!(out, "lsp      {lsp}")?;
    }
    writeln!(out, "ready")
}

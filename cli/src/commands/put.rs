//! `larder put`: store a file under a name.

use std::fs::File;
use std::path::{Path, PathBuf};

use larder_recovery::seal::BODY_MAX;
use serde_json::json;

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::progress;
use crate::wallet::{Folder, Wallet, check_name, pack, unpack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name to store it under; what was stored under it before is replaced
    name: String,
    /// The file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Go on with a put that was cut short: most of it is stored and paid for, so do not ask
    /// for tokens for all of it
    #[arg(long)]
    go_on: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    check_name(&args.name)?;
    let mut wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let value = read(&args.name, &args.file)?;
    let size = unpack(&value).map_or(0, |(_, content)| content.len() as u64);

    let connection = wallet.connect().await?;
    if !args.go_on {
        require_tokens(&connection, value.len() as u64)?;
    }
    let bar = progress::bar(
        "storing",
        value.len().div_ceil(BODY_MAX) as u64,
        output.json,
    );
    bar.set_message("blobs");
    let append = wallet.append(&connection, &value);
    let counter = progress::watch(&bar, &connection.transport, append).await?;
    bar.finish();
    wallet.index.enter(counter, &args.name, size);
    wallet.save()?;
    let warning = delete_older(&mut wallet, &connection, &args.name, counter)
        .await
        .err()
        .map(|error| {
            format!(
                "stored, but what was stored under `{}` before could not be deleted ({error}); \
                 the next put or delete does it",
                args.name
            )
        });
    let (spent, bill) = (connection.transport.spent(), connection.bill());
    connection.close().await;

    if let Some(warning) = &warning {
        output.say(warning);
    }
    let json = bill.on(json!({
        "name": args.name,
        "bytes": size,
        "counter": counter,
        "round_trips": spent.round_trips,
        "retries": spent.retries,
        "warning": warning,
    }));
    output.result(&json, || {
        format!("stored {}, {}{}", args.name, bytes(size), bill.text())
    })
}

/// Whoever cannot pay for all of it is told before the first token is spent.
fn require_tokens(connection: &Connection, bytes: u64) -> Result<(), CliError> {
    let price = larder_recovery::price(&connection.provider.record(), bytes);
    let needed = price.map_or(0, |price| price.store);
    let held = connection.holdings().map_or(0, |held| held.tokens);
    match needed <= held {
        true => Ok(()),
        false => Err(CliError::OutOfTokens { needed, held }),
    }
}

/// Only when the new value is durable may the old ones go.
async fn delete_older(
    wallet: &mut Wallet,
    connection: &Connection,
    name: &str,
    newest: u64,
) -> Result<(), CliError> {
    for old in wallet.index.counters(name) {
        if old != newest {
            wallet.delete(connection, old).await?;
        }
    }
    Ok(())
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let (packed, path) = match path.to_str() {
        Some("-") => (pack(name, std::io::stdin()), Path::new("standard input")),
        _ => (File::open(path).and_then(|file| pack(name, file)), path),
    };
    packed.map_err(CliError::file("read", path))
}

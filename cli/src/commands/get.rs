//! `larder get`: read what is stored under a name.

use std::path::PathBuf;

use larder_recovery::Found;
use serde_json::json;

use crate::connection::Connection;
use crate::durable;
use crate::error::CliError;
use crate::output::{Output, bytes, print};
use crate::wallet::{Folder, Wallet, unpack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name
    name: String,
    /// Where it goes, or - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let to_stdout = args.file.to_str() == Some("-");
    if to_stdout && output.json {
        return Err(CliError::Usage(
            "with --json, name a file for the content".to_owned(),
        ));
    }
    let mut wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let connection = wallet.connect().await?;
    let read = newest(&mut wallet, &connection, &args.name).await;
    let bill = connection.bill();
    connection.close().await;
    // What another device changed is known now, whatever came of it.
    wallet.save()?;
    let value = read?;
    let (_, content) = unpack(&value).ok_or_else(|| CliError::NothingUnder(args.name.clone()))?;
    if to_stdout {
        return print(content);
    }
    durable::replace(&args.file, content).map_err(CliError::file("write", &args.file))?;
    let size = content.len() as u64;
    let json = json!({ "name": args.name, "bytes": size, "file": args.file.display().to_string() });
    output.result(&bill.on(json), || {
        let file = args.file.display();
        format!("wrote {file}, {}{}", bytes(size), bill.text())
    })
}

/// The newest value under a name that no device has deleted.
async fn newest(
    wallet: &mut Wallet,
    connection: &Connection,
    name: &str,
) -> Result<Vec<u8>, CliError> {
    wallet.catch_up(connection).await?;
    while let Some(counter) = wallet.index.counters(name).last().copied() {
        match wallet.read(connection, counter).await? {
            Found::Value(value) if unpack(&value).is_some_and(|(read, _)| read == name) => {
                return Ok(value);
            }
            // Reading it has corrected the index, unless it is damaged.
            _ => {
                if let Some(reason) = wallet.index.damaged().get(&counter) {
                    return Err(CliError::Failed(format!(
                        "`{name}` could not be read: {reason}"
                    )));
                }
            }
        }
    }
    Err(CliError::NothingUnder(name.to_owned()))
}

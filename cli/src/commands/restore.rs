//! `larder restore`: find everything again, from the root key alone.
//!
//! Goes on where an earlier restore was cut short, and tries again what could not be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use larder_recovery::{Found, Walk};
use serde_json::json;

use crate::connection::Connection;
use crate::durable;
use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::progress;
use crate::wallet::{Folder, Index, Wallet, unpack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also write every value to a file of its name in this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Forget what is known and begin with the first value; also finds what other devices
    /// deleted
    #[arg(long)]
    from_start: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open(folder)?;
    if let Some(to) = &args.to {
        std::fs::create_dir_all(to).map_err(CliError::file("create", to))?;
    }
    let connection = wallet.connect().await?;
    // What is known is not given up before there is somebody to learn it from anew.
    if args.from_start {
        wallet.index = Index::unknown();
    }
    let mut export = args.to.as_deref().map(Export::into);
    let restored = walk(&mut wallet, &connection, export.as_mut(), output).await?;
    let suspects: Vec<u64> = wallet.index.damaged().keys().copied().collect();
    for counter in suspects {
        wallet.read(&connection, counter).await?;
    }
    if let Some(export) = &mut export {
        export.complete(&mut wallet, &connection).await?;
    }
    wallet.save()?;
    let (spent, bill) = (connection.transport.spent(), connection.bill());
    connection.close().await;

    let values = wallet.index.newest();
    let total: u64 = values.values().map(|(_, entry)| entry.bytes).sum();
    let damaged = wallet.index.damaged();
    let unwritten = export.map(|export| export.failed).unwrap_or_default();
    let json = bill.on(json!({
        "restored": restored,
        "values": values.len(),
        "bytes": total,
        "damaged": damaged,
        "unwritten": unwritten,
        "round_trips": spent.round_trips,
        "retries": spent.retries,
    }));
    let text = || {
        format!(
            "restored {} value(s), {} in all{}",
            values.len(),
            bytes(total),
            bill.text()
        )
    };
    for (counter, reason) in damaged {
        output.say(&format!("value {counter} could not be read: {reason}"));
    }
    for (name, reason) in &unwritten {
        output.say(&format!("{name} could not be written: {reason}"));
    }
    if damaged.is_empty() && unwritten.is_empty() {
        return output.result(&json, text);
    }
    let error = CliError::Failed(format!(
        "{} value(s) could not be read, {} file(s) could not be written",
        damaged.len(),
        unwritten.len()
    ));
    output.shortfall(json, text, error)
}

/// Walks to the end; returns how many values it met.
async fn walk(
    wallet: &mut Wallet,
    connection: &Connection,
    mut export: Option<&mut Export<'_>>,
    output: &Output,
) -> Result<u64, CliError> {
    let from = wallet.index.position();
    output.say(&match from.next {
        0 => "walking from the first value".to_owned(),
        next => format!("going on with value {next}"),
    });
    let bar = progress::bar("restoring", 0, output.json);
    let mut walk = Walk::new(wallet.sequence(connection, from));
    walk.on_progress({
        let bar = bar.clone();
        move |progress| {
            bar.set_length(progress.blobs_known);
            bar.set_position(progress.blobs);
            bar.set_message(format!("blobs, {}", bytes(progress.bytes)));
        }
    });
    let mut restored = 0;
    wallet
        .follow(connection, &mut walk, |counter, name, content| {
            restored += 1;
            if let Some(export) = &mut export {
                export.write(counter, name, content);
            }
        })
        .await?;
    bar.finish();
    Ok(restored)
}

/// Values as files in a folder. One that cannot be written keeps no other one back.
struct Export<'a> {
    folder: &'a Path,
    /// Counters of the values that were here.
    seen: BTreeSet<u64>,
    /// Names that could not be written, with the reason.
    failed: BTreeMap<String, String>,
}

impl<'a> Export<'a> {
    fn into(folder: &'a Path) -> Self {
        Export {
            folder,
            seen: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// A later value of the same name comes later, and replaces the earlier one.
    fn write(&mut self, counter: u64, name: &str, content: &[u8]) {
        self.seen.insert(counter);
        self.failed.remove(name);
        if let Err(error) = durable::replace(&self.folder.join(name), content) {
            self.failed.insert(name.to_owned(), error.to_string());
        }
    }

    /// Writes what is known and was not met by the walk, which began behind it.
    async fn complete(
        &mut self,
        wallet: &mut Wallet,
        connection: &Connection,
    ) -> Result<(), CliError> {
        let newest = wallet.index.newest();
        let rest: Vec<u64> = newest
            .values()
            .map(|(counter, _)| *counter)
            .filter(|counter| !self.seen.contains(counter))
            .collect();
        for counter in rest {
            if let Found::Value(value) = wallet.read(connection, counter).await?
                && let Some((name, content)) = unpack(&value)
            {
                self.write(counter, name, content);
            }
        }
        Ok(())
    }
}

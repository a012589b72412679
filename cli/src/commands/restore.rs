//! `larder restore`: find everything again, from the root key alone.
//!
//! Goes on where an earlier restore was cut short.

use std::path::PathBuf;

use larder_recovery::Walk;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::progress;
use crate::wallet::{Folder, Index, Wallet, write_durably};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also write every value to a file of its name in this folder
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Forget what is known and begin with the first value
    #[arg(long)]
    from_start: bool,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open(folder)?;
    // Files of values that are known already would be missing from the folder.
    if args.from_start || args.to.is_some() && wallet.index.require_complete().is_ok() {
        wallet.index = Index::unknown();
        wallet.save()?;
    }
    if let Some(to) = &args.to {
        std::fs::create_dir_all(to).map_err(CliError::file("create", to))?;
    }
    let online = wallet.connect().await?;
    output.say(&match online.sequence.position().next {
        0 => "walking from the first value".to_owned(),
        next => format!("going on with value {next}"),
    });
    let bar = progress::bar("restoring", 0, output.json);
    let mut walk = Walk::new(online.sequence);
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
        .catch_up(&mut walk, |entry, content| {
            restored += 1;
            match &args.to {
                // A later value of the same name comes later, and replaces it.
                Some(folder) => write_durably(&folder.join(&entry.name), content),
                None => Ok(()),
            }
        })
        .await?;
    bar.finish();
    let spent = online.transport.spent();

    let values = wallet.index.newest();
    let total: u64 = values.iter().map(|entry| entry.bytes).sum();
    let damaged = wallet.index.damaged();
    let json = json!({
        "restored": restored,
        "values": values.len(),
        "bytes": total,
        "damaged": damaged,
        "round_trips": spent.round_trips,
        "retries": spent.retries,
    });
    output.result(&json, || {
        format!(
            "restored {} value(s), {} in all",
            values.len(),
            bytes(total)
        )
    });
    for (counter, reason) in damaged {
        output.say(&format!("value {counter} could not be read: {reason}"));
    }
    match damaged.is_empty() {
        true => Ok(()),
        false => Err(CliError::Failed(format!(
            "{} value(s) could not be read",
            damaged.len()
        ))),
    }
}

//! `larder get`: read what is stored under a name.

use std::io::Write;
use std::path::{Path, PathBuf};

use larder_recovery::walk::Found;
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Wallet, unpack, write_durably};

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
    let wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let counter = *wallet
        .index
        .counters(&args.name)
        .last()
        .ok_or_else(|| CliError::Failed(format!("nothing is stored under `{}`", args.name)))?;
    let online = wallet.connect().await?;
    let found = online.sequence.read(counter).await?;
    online.close().await;
    let value = match found {
        Found::Value(value) => value,
        Found::Deleted | Found::HalfDeleted => {
            return Err(CliError::Failed("another device deleted it".to_owned()));
        }
        Found::Absent | Found::Lost => {
            return Err(CliError::Failed(
                "the storage node lost what it had acknowledged: ask its operator".to_owned(),
            ));
        }
        Found::Foreign => {
            return Err(CliError::Failed(
                "the storage node gave bytes that are not ours: ask its operator".to_owned(),
            ));
        }
    };
    let content = match unpack(&value) {
        Some((name, content)) if name == args.name => content,
        _ => {
            return Err(CliError::Failed(
                "the index is wrong: run `larder restore`".to_owned(),
            ));
        }
    };
    if to_stdout {
        return std::io::stdout()
            .write_all(content)
            .map_err(CliError::file("write", Path::new("standard output")));
    }
    write_durably(&args.file, content)?;
    let size = content.len() as u64;
    let json = json!({ "name": args.name, "bytes": size, "file": args.file.display().to_string() });
    output.result(&json, || {
        format!("wrote {}, {}", args.file.display(), bytes(size))
    });
    Ok(())
}

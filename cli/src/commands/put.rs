//! `larder put`: store a file under a name.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Entry, Folder, Wallet, check_name, pack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name to store it under; what was stored under it before is replaced
    name: String,
    /// The file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    check_name(&args.name)?;
    let mut wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let content = read(&args.file)?;
    let value = pack(&args.name, &content);

    let mut online = wallet.connect().await?;
    let counter = online.append(&mut wallet, &value).await?;
    wallet.index.advance(online.sequence.position());
    let size = content.len() as u64;
    wallet.index.enter(Entry {
        counter,
        name: args.name.clone(),
        bytes: size,
    });
    wallet.save()?;
    // Only now that the new value is durable may the old ones go.
    for old in wallet.index.counters(&args.name) {
        if old != counter {
            online.sequence.delete(old).await?;
            wallet.index.forget(old);
            wallet.save()?;
        }
    }
    let spent = online.transport.spent();
    online.close().await;

    let json = json!({
        "name": args.name,
        "bytes": size,
        "counter": counter,
        "round_trips": spent.round_trips,
        "retries": spent.retries,
    });
    output.result(&json, || format!("stored {}, {}", args.name, bytes(size)));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    if path.to_str() == Some("-") {
        let mut content = Vec::new();
        std::io::stdin()
            .read_to_end(&mut content)
            .map_err(CliError::file("read", Path::new("standard input")))?;
        return Ok(content);
    }
    std::fs::read(path).map_err(CliError::file("read", path))
}

//! `larder delete`: delete what is stored under a name.

use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::{Folder, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name
    name: String,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let counters = wallet.index.counters(&args.name);
    if counters.is_empty() {
        return Err(CliError::Failed(format!(
            "nothing is stored under `{}`",
            args.name
        )));
    }
    let online = wallet.connect().await?;
    let mut blobs = 0;
    for counter in counters {
        blobs += online.sequence.delete(counter).await?;
        wallet.index.forget(counter);
        wallet.save()?;
    }
    online.close().await;
    let json = json!({ "name": args.name, "blobs": blobs });
    output.result(&json, || format!("deleted {}, {blobs} blob(s)", args.name));
    Ok(())
}

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
    let connection = wallet.connect().await?;
    // Another device may have stored something newer under the name.
    wallet.catch_up(&connection).await?;
    let counters = wallet.index.counters(&args.name);
    let mut blobs = 0;
    for counter in &counters {
        blobs += wallet.delete(&connection, *counter).await?;
    }
    let bill = connection.bill();
    connection.close().await;
    if counters.is_empty() {
        return Err(CliError::NothingUnder(args.name));
    }
    let json = bill.on(json!({ "name": args.name, "blobs": blobs }));
    output.result(&json, || {
        format!("deleted {}, {blobs} blob(s){}", args.name, bill.text())
    })
}

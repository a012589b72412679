//! `larder list`: the names, with version and size.

use std::fmt::Write;

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Session, Wallet, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only names that begin with this
    #[arg(default_value = "")]
    prefix: String,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let (values, troubles) = (session.values(&args.prefix), session.troubles());
    let bill = session.close(&mut wallet).await?;
    troubles.iter().for_each(|trouble| output.say(trouble));
    let entries: Vec<_> = values
        .iter()
        .map(|value| json!({ "name": value.key, "version": value.version, "bytes": value.size }))
        .collect();
    let json = json!({ "entries": entries, "warnings": troubles });
    output.result(&bill.on(json), || {
        let mut text = String::new();
        for value in &values {
            let (size, version) = (bytes(value.size), value.version);
            let name = shown(&value.key);
            let _ = writeln!(text, "{size:>10}  version {version:<4}  {name}");
        }
        let _ = write!(text, "{} value(s)", values.len());
        text
    })
}

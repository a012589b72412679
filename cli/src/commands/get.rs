//! `larder get`: read what is stored under a name.

use std::path::PathBuf;

use serde_json::json;

use crate::error::CliError;
use crate::in_the_clear;
use crate::output::{Output, bytes, print};
use crate::wallet::{Folder, Session, Wallet};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name
    name: String,
    /// Where it goes, replacing a file that is there, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let to_stdout = args.output.to_str() == Some("-");
    if to_stdout && output.json {
        return Err(CliError::Usage(
            "with --json, name a file for the content with -o".to_owned(),
        ));
    }
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let size = session.value(&args.name).map_or(0, |listed| listed.size);
    session.online.limit(|record| {
        let price = larder_recovery::price_in_map(record, size, session.online.seals());
        price.map(|price| price.read)
    });
    let read = session.map.get(&args.name).await;
    session.online.limit_each(None);
    let troubles = session.troubles();
    // What another device changed is known now, whatever came of it.
    let bill = session.close(&mut wallet).await?;
    troubles.iter().for_each(|trouble| output.say(trouble));
    let current = read?;
    let Some(content) = current.value else {
        return Err(CliError::NothingUnder(args.name));
    };
    if to_stdout {
        return print(&content);
    }
    in_the_clear::write(&args.output, &content, &folder.path)?;
    let (size, file) = (content.len() as u64, args.output.display().to_string());
    let json = json!({
        "name": args.name,
        "version": current.version,
        "bytes": size,
        "file": file,
        "warnings": troubles,
    });
    output.result(&bill.on(json), || {
        format!("wrote {file}, {}{}", bytes(size), bill.text())
    })
}

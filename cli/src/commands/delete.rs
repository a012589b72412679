//! `larder delete`: delete what is stored under a name.

use larder_recovery::log::map::Expect;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::{Folder, Session, Wallet, shown};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name
    name: String,
    /// Only if it has this version
    #[arg(long, value_name = "NUMBER")]
    if_version: Option<u64>,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let mut session = Session::open(&mut wallet).await?;
    let Some(listed) = session.value(&args.name) else {
        session.close(&mut wallet).await?;
        return Err(CliError::NothingUnder(args.name));
    };
    session.online.limit(|record| {
        let price = larder_recovery::price_in_map(record, listed.size, session.online.seals());
        price.map(|price| price.delete)
    });
    let expect = args.if_version.map_or(Expect::Present, Expect::Version);
    let version = session.write(&mut wallet, &args.name, expect, None).await?;
    session.online.limit_each(None);
    let (bill, warnings) = session.finish(&mut wallet).await;
    warnings.iter().for_each(|warning| output.say(warning));
    let json = json!({ "name": args.name, "version": version, "warnings": warnings });
    output.result(&bill.on(json), || {
        format!("deleted {}{}", shown(&args.name), bill.text())
    })
}

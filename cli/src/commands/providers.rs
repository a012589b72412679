//! `larder providers`: the storage nodes, how they are, and which ones they are to be.
//!
//! What more than half of them hold is stored. A change is one at a time: a majority before it and one after it have
//! a storage node in common, so devices that have not heard of it yet share one history with those that have.
//! A change that is killed is done again from the beginning: where it was over already, that changes nothing.

mod listing;

use std::collections::HashSet;

use larder_protocol::Address;
use larder_recovery::Slot;
use larder_recovery::log::map::{Commit, CommitError, Expect};
use larder_recovery::quorum::{Healed, Policy};
use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, count};
use crate::wallet::{
    Folder, Online, Session, Wallet, check_providers, read_provider_list, unwritten_warning,
    write_provider_list,
};

/// Blobs of a map that a change of the list brings over and remembers: 64 GiB of values.
const BLOBS_MAX: u64 = 1 << 22;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Take one more: it gets everything first; all have to answer. With an address that one of them moved to,
    /// it is found there
    Add {
        /// Its address, larder1…
        address: Address,
    },
    /// Do without one, which may be gone for good; the others get what they lack first
    Retire {
        /// Its number in the list
        number: usize,
    },
    /// Bring up to date those that were down or lost something
    Heal,
}

pub(crate) async fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    match args.what {
        None => listing::run(folder, output).await,
        Some(What::Heal) => heal(folder, output).await,
        Some(What::Add { address }) => Box::pin(add(folder, address, output)).await,
        Some(What::Retire { number }) => Box::pin(retire(folder, number, output)).await,
    }
}

fn explained(policy: Policy, providers: usize) -> String {
    let Policy {
        acknowledge,
        recover,
    } = policy;
    let spare = providers - recover;
    format!(
        "what {acknowledge} of {providers} hold is stored, and {recover} have to answer; {spare} may be \
         down or lost"
    )
}

async fn heal(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let slots = session.map.slots();
    let healed = session.quorum.heal(slots).await?;
    let left = left_behind(&session, healed.left);
    let bill = session.close(&mut wallet).await?;
    let json = bill.on(json!({ "copied": healed.copied, "left": healed.left }));
    let text = || format!("{}{}", copied(&healed), bill.text());
    if healed.left == 0 {
        return output.result(&json, text);
    }
    output.shortfall(json, text, left)
}

/// Why some registers are not everywhere.
fn left_behind(session: &Session, left: u64) -> CliError {
    let troubles = session.quorum.troubles().into_iter().flatten();
    CliError::LeftBehind {
        left,
        reasons: session.troubles().join("; "),
        first: troubles.map(CliError::from).map(Box::new).next(),
    }
}

fn copied(healed: &Healed) -> String {
    let lines = healed.copied.iter().zip(1..).map(|(copied, number)| {
        format!(
            "storage node {number} lacked {} blob(s) and has them now",
            count(*copied)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

async fn add(folder: &Folder, address: Address, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let before = wallet.settings.providers.clone();
    if let Some(list) = moved(&before, &address) {
        // It may answer at the new address only.
        let session = Session::over(&wallet, &list, None).await?;
        return change(wallet, session, &before, list, output).await;
    }
    let session = Session::open(&mut wallet).await?;
    let before = session.list();
    let list = moved(&before, &address).unwrap_or_else(|| {
        let joined = before.iter().cloned().chain([address]);
        joined.collect()
    });
    change(wallet, session, &before, list, output).await
}

/// The list with the new address of one that is in it.
fn moved(list: &[Address], address: &Address) -> Option<Vec<Address>> {
    let mut list = list.to_vec();
    let mut same = list.iter_mut();
    let old = same.find(|old| old.server_key() == address.server_key())?;
    old.clone_from(address);
    Some(list)
}

async fn retire(folder: &Folder, number: usize, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let at = wallet.numbered(Some(number))?;
    let before = wallet.settings.providers.clone();
    let without = |list: &[Address]| -> Vec<Address> {
        let stays = |address: &&Address| address.server_key() != before[at].server_key();
        list.iter().filter(stays).cloned().collect()
    };
    let mut list = without(&before);
    if list.is_empty() {
        return Err(CliError::Usage(
            "it is the only one: add another first".to_owned(),
        ));
    }
    let session = match Session::open(&mut wallet).await {
        Ok(session) => {
            list = without(&session.list());
            session
        }
        // It may be due to the one that retires, which is gone, or lies, or asks for what nobody wants to pay. If it is
        // not, the others fail alike.
        Err(_) => Session::over(&wallet, &list, None).await?,
    };
    change(wallet, session, &before, list, output).await
}

/// Goes over to another list, one step from the one that the map names, unless it names that already: whoever is in it
/// has everything before any device hears of it.
async fn change(
    mut wallet: Wallet,
    session: Session,
    before: &[Address],
    list: Vec<Address>,
    output: &Output,
) -> Result<(), CliError> {
    check_providers(&list)?;
    // A device that has missed a change must not write.
    let lists = [before, &list];
    session.require(&lists).await?;
    output.say("bringing all of them up to date");
    if session.map.blobs() > BLOBS_MAX {
        return Err(CliError::Failed(format!(
            "the map names more than {BLOBS_MAX} blobs, too many to bring over in one command"
        )));
    }
    let slots: Vec<Slot> = session.map.slots().collect();
    let ahead: HashSet<Slot> = session.map.log().ahead().into_iter().collect();
    let Session { online, .. } = session;
    let (folder, settings) = (&wallet.folder, &wallet.settings);
    let mut online = Online::connect(folder, settings, &list, Some(online), true).await?;
    online.require_enough()?;
    let mut healed = online
        .quorum(&wallet.root)?
        .heal(slots.iter().copied())
        .await?;

    let session = Session::over(&wallet, &list, Some(online)).await?;
    session.require(&lists).await?;
    session.take_over(&lists).await?;
    let named = read_provider_list(&session.map).await?;
    let version = named.map_or(0, |named| named.version);
    // What other devices wrote meanwhile.
    let over: HashSet<Slot> = slots.into_iter().collect();
    let over: HashSet<_> = over.difference(&ahead).collect();
    let rest = session.map.slots();
    let rest = session
        .quorum
        .heal(rest.filter(|slot| !over.contains(slot)))
        .await?;
    healed.left += rest.left;
    let sums = healed.copied.iter_mut().zip(rest.copied);
    sums.for_each(|(sum, copied)| *sum += copied);
    if healed.left > 0 {
        let error = left_behind(&session, healed.left);
        session.close(&mut wallet).await?;
        return Err(error);
    }
    let write = write_provider_list(&list, Expect::Version(version));
    let len = write.value.as_ref().map_or(0, |value| value.len() as u64);
    session.begin(&mut wallet, session.map.unfinished(1, len))?;
    match session.map.commit(Commit::of([write])).await {
        Ok(_) => {}
        Err(CommitError::Failed(error)) => return Err(error.into()),
        Err(_) => return Err(CliError::Overtaken),
    }
    let unwritten = wallet.change_providers(list).err();
    let policy = session.online.policy();
    let providers = session.online.members.len();
    let (bill, mut warnings) = session.finish(&mut wallet).await;
    warnings.extend(unwritten.as_ref().map(unwritten_warning));
    warnings.iter().for_each(|warning| output.say(warning));
    let json = bill.on(json!({
        "providers": providers,
        "acknowledge": policy.acknowledge,
        "recover": policy.recover,
        "copied": healed.copied,
        "warnings": warnings,
    }));
    output.result(&json, || {
        format!(
            "{}\n{}{}",
            copied(&healed),
            explained(policy, providers),
            bill.text()
        )
    })
}

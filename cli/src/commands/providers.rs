//! `larder providers`: the storage nodes, how they are, and which ones they are to be.
//!
//! What more than half of them hold is stored. A change is one at a time: a majority before it and one after it have
//! a storage node in common, so devices that have not heard of it yet share one history with those that have.

use std::collections::HashSet;
use std::sync::Arc;

use larder_protocol::Address;
use larder_recovery::log::map::{Commit, CommitError, Expect};
use larder_recovery::log::{Log, OneProvider};
use larder_recovery::quorum::{Healed, Policy, Quorum};
use larder_recovery::{RecoveryError, RootKey, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::wallet::{
    Folder, Member, Online, Session, Wallet, check_providers, provider_list_version,
    write_provider_list,
};

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
        None => list(folder, output).await,
        Some(What::Heal) => heal(folder, output).await,
        Some(What::Add { address }) => {
            let mut wallet = Wallet::open_known(folder)?;
            let session = Session::open(&mut wallet).await?;
            let before = session.list();
            let mut list = before.clone();
            let same = |old: &&mut Address| old.server_key() == address.server_key();
            match list.iter_mut().find(same) {
                Some(old) => *old = address,
                None => list.push(address),
            }
            change(wallet, session, &before, list, output).await
        }
        Some(What::Retire { number }) => retire(folder, number, output).await,
    }
}

async fn list(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open(folder)?;
    let (online, all, problem) = match Session::open(&mut wallet).await {
        Ok(session) => {
            let log = session.map.log();
            let all = (log.records(), log.generation());
            let Session { online, .. } = session;
            (online, Some(all), None)
        }
        Err(error) => (wallet.connect().await?, None, Some(error)),
    };
    let mut rows = Vec::new();
    for (member, number) in online.members.iter().zip(1..) {
        rows.push(Row::of(&wallet.root, member, number, all).await);
    }
    let policy = online.policy();
    let bill = online.close().await?;
    let json = bill.on(json!({
        "providers": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "acknowledge": policy.acknowledge,
        "recover": policy.recover,
    }));
    let text = || {
        let lines: Vec<String> = rows.iter().map(Row::text).collect();
        format!("{}\n{}", lines.join("\n"), explained(policy, rows.len()))
    };
    match problem {
        None => output.result(&json, text),
        Some(error) => output.shortfall(json, text, error),
    }
}

/// How one of them is.
struct Row {
    number: usize,
    address: String,
    milliseconds: Option<u64>,
    /// Commits that it does not show.
    behind: Option<u64>,
    convictions: usize,
    problem: Option<String>,
}

impl Row {
    /// `all` are the commits that all of them show together, and their generation.
    async fn of(root: &RootKey, member: &Member, number: usize, all: Option<(u64, u64)>) -> Self {
        let mut row = Row {
            number,
            address: member.address.to_string(),
            milliseconds: None,
            behind: None,
            convictions: member.receipts.convictions(member.address.server_key()),
            problem: None,
        };
        match &member.connected {
            Ok(connection) => {
                row.milliseconds = Some(member.took.as_millis() as u64);
                let hint = all.map(|(_, generation)| generation);
                match (all, alone(root, connection, hint).await) {
                    (Some((all, _)), Ok(commits)) => row.behind = Some(all.saturating_sub(commits)),
                    (None, Ok(_)) => {}
                    (_, Err(error)) => row.problem = Some(CliError::from(error).to_string()),
                }
            }
            Err(error) => row.problem = Some(error.to_string()),
        }
        row
    }

    fn json(&self) -> Value {
        json!({
            "number": self.number,
            "address": self.address,
            "reachable": self.milliseconds.is_some(),
            "connected_in_ms": self.milliseconds,
            "behind": self.behind,
            "convictions": self.convictions,
            "problem": self.problem,
        })
    }

    fn text(&self) -> String {
        let mut said = Vec::new();
        if let Some(milliseconds) = self.milliseconds {
            said.push(format!("answers ({milliseconds} ms to connect)"));
        }
        match self.behind {
            Some(0) => said.push("has everything".to_owned()),
            Some(behind) => said.push(format!(
                "is behind by {} commit(s): `larder providers heal`",
                count(behind)
            )),
            None => {}
        }
        if self.convictions > 0 {
            said.push(format!(
                "CONVICTED: lost {} blob(s) that it had signed for, see `larder receipts`",
                self.convictions
            ));
        }
        said.extend(self.problem.clone());
        format!(
            "{:>3}  {}\n     {}",
            self.number,
            self.address,
            said.join("; ")
        )
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

/// How many commits one storage node shows on its own. A roll-up that is half-written there is completed, as by any
/// reader.
async fn alone(
    root: &RootKey,
    connection: &Connection,
    hint: Option<u64>,
) -> Result<u64, RecoveryError> {
    let registers = Arc::new(OneProvider::new(root, connection.provider.clone()));
    let quorum = Quorum::new([registers as Arc<_>], Policy::majority(1));
    let quorum = quorum.map_err(|_| RecoveryError::Misbehaved("one is no majority of one"))?;
    let log = Log::open(Arc::new(quorum), &mut StdRng::from_os_rng(), hint).await?;
    log.follow().await?;
    Ok(log.records())
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

async fn retire(folder: &Folder, number: usize, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let at = wallet.numbered(Some(number))?;
    let before = wallet.settings.providers.clone();
    let mut list = before.clone();
    list.remove(at);
    if list.is_empty() {
        return Err(CliError::Usage(
            "it is the only one: add another first".to_owned(),
        ));
    }
    let session = match Session::open(&mut wallet).await {
        // Without the one that retires the others may be too few for the old list, or it may be what one
        // cannot read with; they are enough for the new one.
        Err(CliError::TooFew { .. } | CliError::Recovery(RecoveryError::Misbehaved(_))) => {
            Session::over(&wallet, &list, None).await?
        }
        session => session?,
    };
    change(wallet, session, &before, list, output).await
}

/// Goes over to another list, one step from the one that the map names: whoever is in it has everything before any
/// device hears of it.
async fn change(
    mut wallet: Wallet,
    session: Session,
    before: &[Address],
    list: Vec<Address>,
    output: &Output,
) -> Result<(), CliError> {
    check_providers(&list)?;
    // A device that has missed a change must not write.
    session.require(before).await?;
    output.say("bringing all of them up to date");
    let slots: HashSet<Slot> = session.map.slots().into_iter().collect();
    let Session { online, .. } = session;
    let (folder, settings) = (&wallet.folder, &wallet.settings);
    let mut online = Online::connect(folder, settings, &list, Some(online), true).await?;
    online.require_enough()?;
    let mut healed = online
        .quorum(&wallet.root)?
        .heal(slots.iter().copied())
        .await?;

    let session = Session::over(&wallet, &list, Some(online)).await?;
    session.require(before).await?;
    session.map.take_over().await?;
    session.require(before).await?;
    let version = provider_list_version(&session.map).await?;
    // What other devices wrote meanwhile.
    let rest = session.map.slots().into_iter();
    let rest = session
        .quorum
        .heal(rest.filter(|slot| !slots.contains(slot)))
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
    match session.map.commit(Commit::of([write])).await {
        Ok(_) => {}
        Err(CommitError::Failed(error)) => return Err(error.into()),
        Err(_) => return Err(CliError::Overtaken),
    }
    wallet.change_providers(list)?;
    let policy = session.online.policy();
    let providers = session.online.members.len();
    let (bill, warnings) = session.finish(&mut wallet).await;
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

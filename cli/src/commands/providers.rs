//! `larder providers`: the storage nodes, how they are, and which ones they are to be.
//!
//! What more than half of them hold is stored. A change is one at a time: a majority before it and one after it have
//! a storage node in common, so devices that have not heard of it yet share one history with those that have.

use std::sync::Arc;

use larder_protocol::Address;
use larder_recovery::log::map::{Commit, CommitError, Expect};
use larder_recovery::log::{Log, OneProvider};
use larder_recovery::quorum::{Healed, Policy, Quorum};
use larder_recovery::{RecoveryError, RootKey};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::wallet::{
    Folder, Member, Session, Wallet, check_providers, provider_list_version, write_provider_list,
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
    let (online, commits, problem) = match Session::open(&mut wallet).await {
        Ok(session) => {
            let commits = session.map.log().records();
            let Session { online, .. } = session;
            (online, Some(commits), None)
        }
        Err(error) => (wallet.connect().await?, None, Some(error)),
    };
    let mut rows = Vec::new();
    for (member, number) in online.members.iter().zip(1..) {
        rows.push(Row::of(&wallet.root, member, number, commits).await);
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
    async fn of(root: &RootKey, member: &Member, number: usize, commits: Option<u64>) -> Self {
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
                match (commits, alone(root, connection).await) {
                    (Some(all), Ok(commits)) => row.behind = Some(all.saturating_sub(commits)),
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
        format!("{:>3}  {}\n     {}", self.number, self.address, said.join("; "))
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

/// How many commits one storage node shows on its own.
async fn alone(root: &RootKey, connection: &Connection) -> Result<u64, RecoveryError> {
    let registers = Arc::new(OneProvider::new(root, connection.provider.clone()));
    let quorum = Quorum::new([registers as Arc<_>], Policy::majority(1));
    let quorum = quorum.map_err(|_| RecoveryError::Misbehaved("one is no majority of one"))?;
    let log = Log::open(Arc::new(quorum), &mut StdRng::from_os_rng(), None).await?;
    log.follow().await?;
    Ok(log.records())
}

async fn heal(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let mut wallet = Wallet::open_known(folder)?;
    let session = Session::open(&mut wallet).await?;
    let slots = session.map.slots();
    let healed = session.quorum.heal(slots).await?;
    let troubles = session.troubles();
    let bill = session.close(&mut wallet).await?;
    let json = bill.on(json!({ "copied": healed.copied, "left": healed.left }));
    let text = || format!("{}{}", copied(&healed), bill.text());
    if healed.left == 0 {
        return output.result(&json, text);
    }
    let error = CliError::Failed(format!(
        "{} blob(s) could not be brought up to date: {}",
        count(healed.left),
        troubles.join("; ")
    ));
    output.shortfall(json, text, error)
}

fn copied(healed: &Healed) -> String {
    let lines = healed.copied.iter().zip(1..).map(|(copied, number)| {
        format!("storage node {number} lacked {} blob(s) and has them now", count(*copied))
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
        // Without the one that retires the others may be too few for the old list; they are enough for the new one.
        Err(CliError::TooFew { .. }) => Session::over(&wallet, &list, None).await?,
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
    let Session { online, .. } = session;
    let session = Session::over(&wallet, &list, Some(online)).await?;
    session.require(before).await?;
    session.map.take_over().await?;
    session.require(before).await?;
    let version = provider_list_version(&session.map).await?;
    output.say("bringing all of them up to date");
    let healed = session.quorum.heal(session.map.slots()).await?;
    if healed.left > 0 {
        let reasons = session.troubles().join("; ");
        session.close(&mut wallet).await?;
        return Err(CliError::Failed(format!(
            "nothing is changed, as {} blob(s) could not be brought up to date: all have to answer, but \
             for one that retires: {reasons}",
            count(healed.left)
        )));
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
    let (bill, warnings) = session.finish(&mut wallet).await?;
    warnings.iter().for_each(|warning| output.say(warning));
    let json = bill.on(json!({
        "providers": providers,
        "acknowledge": policy.acknowledge,
        "recover": policy.recover,
        "copied": healed.copied,
        "warnings": warnings,
    }));
    output.result(&json, || {
        format!("{}\n{}{}", copied(&healed), explained(policy, providers), bill.text())
    })
}

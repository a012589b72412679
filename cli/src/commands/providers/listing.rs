//! `larder providers` without more: how each of them is. Nothing is written at any of them that the others would
//! not have.
//!
//! What one of several shows on its own may be torn: it was down when the rest was written. That convicts nobody. It is
//! blamed for what it answered itself, and for what its own receipts prove.

use std::sync::Arc;

use larder_recovery::log::{Log, OneProvider, ReadOnly};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::{RecoveryError, RootKey};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::explained;
use crate::connection::Connection;
use crate::error::CliError;
use crate::output::{Output, count};
use crate::wallet::{Folder, Member, Session, Wallet};

pub(super) async fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
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
    /// What it shows on its own.
    shown: Option<Shown>,
    /// Commits that it does not show, and all together do.
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
            shown: None,
            behind: None,
            convictions: member.receipts.convictions(member.address.server_key()),
            problem: None,
        };
        match &member.connected {
            Ok(connection) => {
                row.milliseconds = Some(member.took.as_millis() as u64);
                let hint = all.map(|(_, generation)| generation);
                match alone(root, connection, hint).await {
                    Ok(shown) => {
                        row.behind = all.map(|(all, _)| all.saturating_sub(shown.commits));
                        row.shown = Some(shown);
                    }
                    Err(error) => row.problem = Some(CliError::from(error).to_string()),
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
            "commits": self.shown.map(|shown| shown.commits),
            "torn": self.shown.map(|shown| shown.is_torn),
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
        match (self.behind, self.shown) {
            (Some(0), Some(Shown { is_torn: false, .. })) => {
                said.push("has everything".to_owned());
            }
            (Some(0), _) => said.push("lacks something: `larder providers heal`".to_owned()),
            (Some(behind), _) => said.push(format!(
                "is behind by {} commit(s): `larder providers heal`",
                count(behind)
            )),
            (None, Some(shown)) => {
                let torn = if shown.is_torn {
                    ", and not to its end"
                } else {
                    ""
                };
                said.push(format!("shows {} commit(s){torn}", count(shown.commits)));
            }
            (None, None) => {}
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

/// What one storage node shows on its own.
#[derive(Clone, Copy)]
struct Shown {
    commits: u64,
    /// Whether it lacks something of what it shows.
    is_torn: bool,
}

/// Reads one storage node on its own. A roll-up that is half-written there stays so.
async fn alone(
    root: &RootKey,
    connection: &Connection,
    hint: Option<u64>,
) -> Result<Shown, RecoveryError> {
    let registers = ReadOnly::new(Arc::new(OneProvider::new(
        root,
        connection.provider.clone(),
    )));
    let quorum = Quorum::new([Arc::new(registers) as Arc<_>], Policy::majority(1));
    let quorum = quorum.map_err(|_| RecoveryError::Misbehaved("one is no majority of one"))?;
    let quorum = Arc::new(quorum);
    let mut commits = 0;
    let read = async {
        let log = Log::open(quorum.clone(), &mut StdRng::from_os_rng(), hint).await?;
        let read = log.follow().await;
        commits = log.records();
        read
    };
    let is_torn = read.await.is_err();
    match quorum.troubles().pop().flatten() {
        // What it answered is wrong in itself, or it does not answer.
        Some(error) if is_torn && error != RecoveryError::Following => Err(error),
        _ => Ok(Shown { commits, is_torn }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_shows_alone_that_is_torn_is_not_told_as_if_it_were_whole() {
        let told = |is_torn| {
            let shown = Shown {
                commits: 3,
                is_torn,
            };
            let row = Row {
                number: 1,
                address: String::new(),
                milliseconds: None,
                shown: Some(shown),
                behind: None,
                convictions: 0,
                problem: None,
            };
            row.text()
        };
        assert!(told(false).ends_with("shows 3 commit(s)"));
        assert!(told(true).ends_with("shows 3 commit(s), and not to its end"));
    }
}

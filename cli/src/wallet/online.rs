//! The storage nodes of a wallet, as far as they answer.
//!
//! All are connected to at once. When enough of them have answered for the rest not to be needed, these get a little
//! longer, and are done without then.

use std::sync::Arc;
use std::time::Duration;

use larder_onion::CircuitsConfig;
use larder_protocol::{Address, Record};
use larder_recovery::log::{OneProvider, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::{Provider, RecoveryError, RootKey, Unreachable};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::guarded::Guarded;
use super::stagger::pauses;
use super::{Folder, Settings};
use crate::connection::{Bill, Connection};
use crate::error::CliError;
use crate::evidence::Receipts;
use crate::output::Once;
use crate::payer::Payer;

/// What those that are not needed get at least, once the others have answered.
const GRACE: Duration = Duration::from_secs(1);

/// One storage node of the list.
pub(crate) struct Member {
    pub(crate) address: Address,
    pub(crate) receipts: Receipts,
    pub(crate) connected: Result<Connection, CliError>,
    /// How long connecting took.
    pub(crate) took: Duration,
    /// Whether this program has the wallet to itself: only then its receipts are written down.
    is_ours: bool,
}

/// All of them, in the order of the list.
pub(crate) struct Online {
    pub(crate) members: Vec<Member>,
}

impl Online {
    /// Connects to these, but for those that `before` was connected to. Without `pays` the purses
    /// stay closed, and the receipts as they are: for who does not have the wallet's lock.
    pub(crate) async fn connect(
        folder: &Folder,
        settings: &Settings,
        list: &[Address],
        before: Option<Online>,
        pays: bool,
    ) -> Result<Self, CliError> {
        let mut before = before.map_or_else(Vec::new, |online| online.members);
        let mut members: Vec<Option<Member>> = Vec::new();
        let mut tasks = JoinSet::new();
        for (at, address) in list.iter().enumerate() {
            let server = address.server_key();
            let there = before
                .iter()
                .position(|old| old.address == *address && old.connected.is_ok());
            members.push(there.map(|there| before.swap_remove(there)));
            if members[at].is_none() {
                let payer = pays.then(|| folder.payer(server)).transpose()?;
                let mut receipts = folder.receipts(server)?;
                let (config, address) = (settings.circuits(folder.patience), address.clone());
                let once = folder.once.clone();
                let begun = Instant::now();
                tasks.spawn(async move {
                    let connected =
                        connect(config, &address, payer.as_ref(), &mut receipts, &once).await;
                    let member = Member {
                        address,
                        receipts,
                        connected,
                        took: begun.elapsed(),
                        is_ours: pays,
                    };
                    (at, member)
                });
            }
        }
        for old in before {
            old.end().await?;
        }
        gather(&mut members, &mut tasks).await;
        tasks.shutdown().await;
        let mut online = Online {
            members: Vec::new(),
        };
        for (address, member) in list.iter().zip(members) {
            online.members.push(match member {
                Some(mut member) => {
                    if let Ok(connection) = &member.connected {
                        member.receipts.note_terms(&connection.provider);
                    }
                    member
                }
                None => Member {
                    address: address.clone(),
                    receipts: folder.receipts(address.server_key())?,
                    connected: Err(RecoveryError::Unreachable(Unreachable {
                        advice: "the others answered long before: see whether it is up".to_owned(),
                    })
                    .into()),
                    took: Duration::ZERO,
                    is_ours: pays,
                },
            });
        }
        Ok(online)
    }

    /// Those that answered.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &Connection> {
        let members = self.members.iter();
        members.filter_map(|member| member.connected.as_ref().ok())
    }

    /// How many have to answer.
    pub(crate) fn policy(&self) -> Policy {
        Policy::majority(self.members.len())
    }

    /// Blobs that each of them holds of a take-over.
    pub(crate) fn seals(&self) -> u64 {
        match self.members.len() {
            1 => 1,
            _ => 3,
        }
    }

    /// Refuses to go on when too few have answered.
    pub(crate) fn require_enough(&mut self) -> Result<(), CliError> {
        let (there, needed) = (self.connected().count(), self.policy().recover);
        if there >= needed {
            return Ok(());
        }
        let reasons = self.reasons().join("; ");
        let one = self.members.len() == 1;
        let mut members = self.members.iter_mut();
        match members.find_map(|member| member.answered().err()) {
            None => Ok(()),
            Some(error) if one => Err(error),
            Some(error) => Err(CliError::TooFew {
                there,
                needed,
                reasons,
                first: Box::new(error),
            }),
        }
    }

    /// Why those that do not answer do not.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let members = self.members.iter().zip(1..);
        let away = members.filter_map(|(member, number)| {
            let error = member.connected.as_ref().err()?;
            Some(format!("storage node {number}: {error}"))
        });
        away.collect()
    }

    /// The registers that all of them keep together.
    pub(crate) fn quorum(&self, root: &RootKey) -> Result<Quorum, CliError> {
        self.quorum_with(root, |_, registers| registers)
    }

    /// The same of registers with something around them.
    pub(crate) fn quorum_with(
        &self,
        root: &RootKey,
        around: impl Fn(&Arc<Provider>, Arc<dyn Registers>) -> Arc<dyn Registers>,
    ) -> Result<Quorum, CliError> {
        let registers = self.members.iter().map(|member| -> Arc<dyn Registers> {
            Arc::new(match &member.connected {
                Ok(there) => {
                    let registers = OneProvider::new(root, there.provider.clone());
                    Guarded::there(around(&there.provider, Arc::new(registers)))
                }
                Err(error) => Guarded::away(as_recovery(error)),
            })
        });
        let quorum = Quorum::new(registers, self.policy());
        let quorum = quorum.map_err(|error| CliError::Failed(error.to_string()))?;
        Ok(quorum.staggered(pauses))
    }

    /// Does for the purses what is due and can wait. What fails is due again.
    pub(crate) async fn tend(&self) {
        for connection in self.connected() {
            let _ = connection.tend().await;
        }
    }

    /// From now on no more than so many tokens are paid to each of them, by its terms; the margin of what was said is
    /// [added](allowed).
    pub(crate) fn limit(&self, said: impl Fn(&Record) -> Option<u64>) {
        for connection in self.connected() {
            connection.limit(said(&connection.provider.record()).map(allowed));
        }
    }

    /// The same for all of them.
    pub(crate) fn limit_each(&self, most: Option<u64>) {
        self.connected().for_each(|there| there.limit(most));
    }

    /// What all of it has cost so far.
    pub(crate) fn bill(&self) -> Bill {
        Bill::sum(self.connected().map(Connection::bill))
    }

    /// Requests and retries so far.
    pub(crate) fn traffic(&self) -> Value {
        let spent: Vec<_> = self
            .connected()
            .map(|connection| connection.transport.spent())
            .collect();
        json!({
            "round_trips": spent.iter().map(|spent| spent.round_trips).sum::<u64>(),
            "retries": spent.iter().map(|spent| spent.retries).sum::<u64>(),
        })
    }

    /// Leaves the network, with the receipts written down; returns the bill.
    pub(crate) async fn close(self) -> Result<Bill, CliError> {
        let (bill, unwritten) = self.leave().await;
        unwritten.into_iter().next().map_or(Ok(bill), Err)
    }

    /// The same; returns what could not be written down.
    pub(crate) async fn leave(self) -> (Bill, Vec<CliError>) {
        for connection in self.connected() {
            // Whoever comes next settles what this one could not.
            let _ = connection.settle().await;
        }
        let bill = self.bill();
        let mut unwritten = Vec::new();
        for member in self.members {
            unwritten.extend(member.end().await.err());
        }
        (bill, unwritten)
    }
}

impl Member {
    /// The connection, or why there is none, which is told once.
    pub(crate) fn answered(&mut self) -> Result<&Connection, CliError> {
        match &mut self.connected {
            Ok(connection) => Ok(connection),
            Err(error) => {
                let told = CliError::Failed("it does not answer".to_owned());
                Err(std::mem::replace(error, told))
            }
        }
    }

    async fn end(mut self) -> Result<(), CliError> {
        let Ok(connection) = self.connected else {
            return Ok(());
        };
        // An epoch may have begun since it was connected to.
        self.receipts.note_terms(&connection.provider);
        let saved = match self.is_ours {
            true => self.receipts.save(),
            false => Ok(()),
        };
        connection.close().await;
        saved
    }
}

/// What may be paid for something that was said to cost so much: other devices in the way and tokens to be gathered
/// make it dearer.
fn allowed(said: u64) -> u64 {
    said.saturating_add(said / 4).saturating_add(128)
}

/// Connects, unless the storage node is not used any more; and writes down why it will not be.
async fn connect(
    config: CircuitsConfig,
    address: &Address,
    payer: Option<&Payer>,
    receipts: &mut Receipts,
    once: &Once,
) -> Result<Connection, CliError> {
    if let Some(objection) = receipts.shown.objection(address.server_key()) {
        return Err(objection);
    }
    let opened = Connection::open(config, address.clone(), payer, Some(receipts), once).await;
    if let Err(CliError::Contradicted { proof, .. }) = &opened {
        receipts.shown.object(proof);
        if payer.is_some() {
            receipts.save()?;
        }
    }
    opened
}

/// Waits for the answers that are needed, and a little longer for the rest.
async fn gather(members: &mut [Option<Member>], tasks: &mut JoinSet<(usize, Member)>) {
    let needed = Policy::majority(members.len()).recover;
    let mut until = None;
    loop {
        let answered = members.iter().flatten();
        let there = answered.filter(|member| member.connected.is_ok());
        let took: Vec<Duration> = there.map(|member| member.took).collect();
        if took.len() >= needed {
            let slowest = took.into_iter().max().unwrap_or_default();
            until.get_or_insert_with(|| Instant::now() + GRACE + 3 * slowest);
        }
        let joined = match until {
            None => tasks.join_next().await,
            Some(until) => timeout_at(until, tasks.join_next()).await.unwrap_or(None),
        };
        match joined {
            Some(Ok((at, member))) => members[at] = Some(member),
            // A task that panicked is one that did not answer.
            Some(Err(_)) => {}
            None => return,
        }
    }
}

fn as_recovery(error: &CliError) -> RecoveryError {
    match error {
        CliError::Recovery(error) => error.clone(),
        CliError::Contradicted { what, proof } => RecoveryError::Contradicted {
            what,
            proof: proof.clone(),
        },
        CliError::OutOfTokens { needed, held } => RecoveryError::OutOfTokens {
            needed: *needed,
            held: *held,
        },
        error => RecoveryError::Unreachable(Unreachable {
            advice: error.to_string(),
        }),
    }
}

//! A restore, with every storage node that takes tokens: what it takes, and what it has read.
//!
//! There is one per storage node, because each has a purse, a cell and a page of its own. It keeps two journals: the
//! purse (`purse/`), and what it has paid for (`restoring/`), so that a restore that is killed and begun again
//! pays for nothing twice. The second one is there as long as the restore is not over.
//!
//! Opening a cell dooms it, and its tokens leave whoever has them. So that is done for a wallet that knows nothing and
//! holds nothing: a second device, which buys tokens of its own first, takes none.

use std::sync::Arc;

use larder_protocol::ServerKey;
use larder_recovery::breakglass::{Extent, Restore};
use larder_recovery::log::map::Map;
use larder_recovery::log::{Log, Registers};
use larder_recovery::{FolderJournal, Holdings, Provider, RecoveryError};

use super::{Folder, Member, Online, Wallet};
use crate::error::CliError;
use crate::progress::Stages;
use crate::standing;

/// The restores of one command.
pub(crate) struct Restores {
    walk: bool,
    /// Whether the user believes the storage nodes even if they show less than their own cells say.
    believes: bool,
    /// Whether this device knew nothing when the command began.
    lost: bool,
    stages: Stages,
    begun: Vec<Begun>,
}

/// One of them.
struct Begun {
    provider: Arc<Provider>,
    restore: Restore,
    /// Why it took nothing.
    failed: Option<CliError>,
}

impl Restores {
    /// None is begun yet.
    pub(crate) fn new(wallet: &Wallet, walk: bool, believes: bool, stages: Stages) -> Self {
        Restores {
            walk,
            believes,
            lost: wallet.known.is_none(),
            stages,
            begun: Vec::new(),
        }
    }

    /// Takes the tokens that are there, with all that answer and were not asked yet. One that has none keeps
    /// no other one back, as long as enough others do.
    pub(crate) async fn take(&mut self, wallet: &Wallet, online: &Online) -> Result<(), CliError> {
        let there = |begun: &Begun| {
            let mut connected = online.connected();
            connected.any(|connection| Arc::ptr_eq(&connection.provider, &begun.provider))
        };
        self.begun.retain(there);
        for (member, number) in online.members.iter().zip(1..) {
            if let Ok(connection) = &member.connected {
                self.begin(wallet, member, connection.provider.clone(), number)
                    .await?;
            }
        }
        let able = online.connected().count() - self.failed().count();
        if able >= online.policy().recover {
            return Ok(());
        }
        let mut begun = self.begun.iter_mut();
        match begun.find_map(|begun| begun.failed.take()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    async fn begin(
        &mut self,
        wallet: &Wallet,
        member: &Member,
        provider: Arc<Provider>,
        number: usize,
    ) -> Result<(), CliError> {
        let known = |begun: &Begun| Arc::ptr_eq(&begun.provider, &provider);
        let Some(purse) = provider.purse().filter(|_| !self.begun.iter().any(known)) else {
            return Ok(());
        };
        let server = member.address.server_key();
        let folder = wallet.folder.restoring(server);
        let has_nothing = self.lost && purse.holdings().tokens == 0;
        if !has_nothing && !folder.exists() {
            return Ok(());
        }
        let kept = open(&wallet.folder, server)?;
        let restore = Restore::begin(&wallet.root, provider.clone(), kept)?;
        let mut restore = restore.on_progress(self.stages.of(number));
        if self.walk {
            restore = restore.walking();
        }
        let failed = restore.tokens().await.err().map(CliError::from);
        self.begun.push(Begun {
            provider,
            restore,
            failed,
        });
        Ok(())
    }

    /// Registers whose blobs count as progress.
    pub(crate) fn watch(
        &self,
        provider: &Arc<Provider>,
        registers: Arc<dyn Registers>,
    ) -> Arc<dyn Registers> {
        let mut begun = self.begun.iter();
        match begun.find(|begun| Arc::ptr_eq(&begun.provider, provider)) {
            Some(begun) => begun.restore.watch(registers),
            None => registers,
        }
    }

    /// Where to look for the newest anchor first: each names one that was there.
    pub(crate) fn hint(&self) -> Option<u64> {
        let hints = self.begun.iter().map(|begun| begun.restore.hint());
        hints.max().flatten()
    }

    /// Checks a log against what every cell and page says of how far it went; returns how many commits they vouch for.
    pub(crate) fn check(&self, log: &Log) -> Result<u64, RecoveryError> {
        let mut vouched = 0;
        for begun in self.begun.iter().filter(|_| !self.believes) {
            vouched = vouched.max(begun.restore.check(log)?);
        }
        Ok(vouched)
    }

    /// A witness has seen more than was shown: the next try asks again for what was said not to be there.
    pub(crate) fn doubt(&self) -> Result<(), RecoveryError> {
        let mut begun = self.begun.iter();
        begun.try_for_each(|begun| begun.restore.doubt())
    }

    /// Storage nodes that do not give the page that their cell names.
    pub(crate) fn without_page(&self) -> Vec<ServerKey> {
        let begun = self.begun.iter();
        let without = begun.filter(|begun| begun.restore.lacks_page());
        without.map(|begun| *begun.provider.server_key()).collect()
    }

    /// What is missing for all of the restore, when tokens are; of a map that is known if there is one.
    pub(crate) fn in_all(&self, error: CliError, map: Option<&Map>) -> CliError {
        let CliError::OutOfTokens { needed, held } = error else {
            return error;
        };
        let error = RecoveryError::OutOfTokens { needed, held };
        let lookups = map.map_or(0, |map| Extent::of(map, Vec::new()).lookups);
        let begun = self.begun.iter();
        begun
            .fold(error, |error, begun| begun.restore.in_all(error, lookups))
            .into()
    }

    /// Why some storage nodes gave no tokens.
    pub(crate) fn failed(&self) -> impl Iterator<Item = &CliError> {
        self.begun.iter().filter_map(|begun| begun.failed.as_ref())
    }

    /// Everything is there. Where a storage node went away while its tokens were taken, they still are to be.
    pub(crate) fn finish(self) -> Result<Finished, CliError> {
        let mut finished = Finished(Vec::new());
        for begun in self.begun {
            let unreachable = CliError::is_unreachable;
            if !begun.failed.as_ref().is_some_and(unreachable) {
                finished.0.push(*begun.provider.server_key());
                begun.restore.finish()?;
            }
        }
        Ok(finished)
    }
}

/// Restores that are over, to be [forgotten](Finished::forget) once what they found is known, and in a cell again.
#[must_use]
pub(crate) struct Finished(Vec<ServerKey>);

impl Finished {
    /// Writes a page and a cell in place of those that were used up: until then whoever loses everything again finds
    /// no token. At once, because opening the cell has just shown when this wallet is at work. Returns why that
    /// failed; with one storage node it keeps no other one back.
    pub(crate) async fn renew(&self, online: &Online, extent: &Extent) -> Option<CliError> {
        let mut failed = None;
        for connection in online.connected() {
            let provider = &connection.provider;
            let holds = |held: Holdings| held.tokens > 0;
            if self.0.contains(provider.server_key()) && connection.holdings().is_some_and(holds) {
                let renewed = standing::make_restorable(provider, extent).await;
                failed = renewed.err().map(CliError::from).or(failed);
            }
        }
        failed
    }

    /// Removes what they had read.
    pub(crate) fn forget(self, folder: &Folder) -> Result<(), CliError> {
        for server in self.0 {
            let path = folder.restoring(&server);
            std::fs::remove_dir_all(&path).map_err(CliError::file("remove", &path))?;
        }
        Ok(())
    }
}

fn open(folder: &Folder, server: &ServerKey) -> Result<FolderJournal, CliError> {
    let path = folder.restoring(server);
    FolderJournal::open(&path).map_err(|source| CliError::Purse { path, source })
}

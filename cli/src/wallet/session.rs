//! One command's session of the map: how it begins, and what it writes. How it ends is in [`ending`].
//!
//! Whoever reads follows the log and leaves no mark in it, but for completing what another device has
//! left half-written with several storage nodes. Whoever writes takes over first, which costs a seal and fences every other
//! device.

mod ending;

pub(crate) use ending::unwritten_warning;

use std::sync::Arc;

use larder_protocol::Address;
use larder_recovery::RecoveryError;
use larder_recovery::log::Registers;
use larder_recovery::log::cache::{Cached, FolderStorage, Storage};
use larder_recovery::log::history::History;
use larder_recovery::log::map::{self, Commit, CommitError, Expect, Listed, Map, Write};
use larder_recovery::log::unfinished::Unfinished;
use larder_recovery::quorum::Quorum;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::known::Owed;
use super::name::is_name;
use super::online::Online;
use super::restores::Restores;
use super::{Wallet, Witnesses, provider_list, terms_in_map, witnesses};
use crate::error::CliError;

/// How often another device may be in the way before this one gives up; and how often the storage nodes
/// may turn out to be others.
const ROUNDS: u32 = 8;

/// A map that is open.
pub(crate) struct Session {
    pub(crate) online: Online,
    pub(crate) quorum: Arc<Quorum>,
    /// The same behind what this device knows, for a session that goes by it.
    cached: Option<Arc<Cached>>,
    pub(crate) map: Map,
    /// How the map came to be what it was when the session began.
    pub(crate) history: History,
    /// The version of the list of storage nodes that this session goes by.
    list: u64,
    /// Who is to be told again what was deleted. While they are away that is put off.
    owed: Owed,
    /// Commits that a witness vouches for; 0 without one.
    pub(crate) vouched: u64,
    /// Blobs of values that were replaced or deleted.
    freed: u64,
}

/// What a session reads with.
#[derive(Default)]
struct With {
    /// What this device knows.
    storage: Option<Arc<FolderStorage>>,
    /// The generation that was found just now.
    generation: Option<u64>,
}

impl Session {
    /// Reads to the end of the log, with the storage nodes that the log itself names.
    pub(crate) async fn open(wallet: &mut Wallet) -> Result<Self, CliError> {
        Session::find(wallet, None).await
    }

    /// The same after a loss: tokens are taken before anything is read.
    pub(crate) async fn restore(
        wallet: &mut Wallet,
        restores: &mut Restores,
    ) -> Result<Self, CliError> {
        let found = Session::find(wallet, Some(restores)).await;
        found.map_err(|error| restores.in_all(error, None))
    }

    async fn find(
        wallet: &mut Wallet,
        mut restores: Option<&mut Restores>,
    ) -> Result<Self, CliError> {
        let mut list = wallet.settings.providers.clone();
        let mut online = None;
        // Where the same storage nodes have answered, while they are tried at newer addresses.
        let mut answered: Option<Vec<Address>> = None;
        let mut stays = false;
        // A restore asks for everything, and keeps it from then on.
        let storage = Arc::new(wallet.folder.cache(&wallet.settings));
        if restores.is_some() {
            storage.retain(&|_| false);
        }
        // What one list has shown another one need not be searched for.
        let mut generation = None;
        for _ in 0..ROUNDS {
            let with = With {
                storage: Some(storage.clone()),
                generation,
            };
            let before = online.take();
            let read = Session::read(wallet, &list, before, restores.as_deref_mut(), with).await;
            let mut session = match (read, answered.take()) {
                (Err(_), Some(old)) => {
                    list = old;
                    stays = true;
                    continue;
                }
                (read, _) => read?,
            };
            generation = Some(session.map.log().generation());
            if let Some(named) = provider_list::read(&session.map).await? {
                let reached = named.reached(&session.online, wallet.known.as_ref());
                let moved = provider_list::is_same(&reached, &list);
                if reached == list {
                    session.list = named.version;
                } else if !(moved && stays) {
                    answered = moved.then_some(list);
                    list = reached;
                    online = Some(session.online);
                    continue;
                }
            }
            session.shows_all(wallet, restores.as_deref())?;
            terms_in_map::compare(&session.map, &session.online).await?;
            wallet.change_providers(list)?;
            return Ok(session);
        }
        Err(CliError::Failed(
            "the storage nodes name others again and again: another device is changing them"
                .to_owned(),
        ))
    }

    /// The same with these storage nodes, whatever the log says. They have to show everything, whatever this device
    /// knows.
    pub(crate) async fn over(
        wallet: &Wallet,
        list: &[Address],
        before: Option<Online>,
    ) -> Result<Self, CliError> {
        let mut session = Session::read(wallet, list, before, None, With::default()).await?;
        session.shows_all(wallet, None)?;
        Ok(session)
    }

    /// Refuses a state that is older than what this device or another witness has seen.
    fn shows_all(&mut self, wallet: &Wallet, restores: Option<&Restores>) -> Result<(), CliError> {
        let vouched = Witnesses::check(wallet, &self.online, restores, self.map.log());
        if let (Err(_), Some(restores)) = (&vouched, restores) {
            restores.doubt()?;
        }
        self.vouched = vouched?;
        Ok(())
    }

    async fn read(
        wallet: &Wallet,
        list: &[Address],
        before: Option<Online>,
        restores: Option<&mut Restores>,
        with: With,
    ) -> Result<Self, CliError> {
        let mut online =
            Online::connect(&wallet.folder, &wallet.settings, list, before, true).await?;
        online.require_enough()?;
        let known = wallet.known.as_ref();
        let mut hint = with.generation;
        hint = hint.or_else(|| known.and_then(|known| known.hint(&online)));
        let quorum = match restores {
            None => online.quorum(&wallet.root)?,
            Some(restores) => {
                restores.take(wallet, &online).await?;
                hint = hint.or(restores.hint());
                online.quorum_with(&wallet.root, |provider, registers| {
                    restores.watch(provider, registers)
                })?
            }
        };
        let quorum = Arc::new(quorum);
        let rng = &mut StdRng::from_os_rng();
        let cached = with
            .storage
            .map(|storage| Arc::new(Cached::new(&wallet.root, quorum.clone(), storage)));
        let registers: Arc<dyn Registers> = match &cached {
            Some(cached) => cached.clone(),
            None => quorum.clone(),
        };
        let opened = Map::open_with_history(registers, rng, hint).await;
        let (map, history) = opened.map_err(|error| witnesses::older(error, &online))?;
        let mut owed = Owed::Nobody;
        if let Some(known) = &wallet.known
            && known.is_tidy(map.log().generation())
        {
            owed = known.owed(&online);
            match owed {
                Owed::Nobody => map.log().assume_tidy(),
                Owed::Away => map.log().put_off(),
                Owed::Here => {}
            }
        }
        Ok(Session {
            online,
            quorum,
            cached,
            map,
            history,
            list: wallet.known.as_ref().map_or(0, |known| known.list),
            owed,
            vouched: 0,
            freed: 0,
        })
    }

    /// Names with this prefix and what is under them.
    pub(crate) fn values(&self, prefix: &str) -> Vec<Listed> {
        let mut listed = self.map.list(prefix, None, usize::MAX);
        // Other programs may keep something in the same map.
        listed.retain(|listed| is_name(&listed.key));
        listed
    }

    /// What is under a name.
    pub(crate) fn value(&self, name: &str) -> Option<Listed> {
        let first = self.map.list(name, None, 1).into_iter().next();
        first.filter(|listed| listed.key == name)
    }

    /// Puts or deletes what is under a name; returns its version. When another device is faster, this is done
    /// again behind it, unless it is the name that it wrote to.
    pub(crate) async fn write(
        &mut self,
        wallet: &mut Wallet,
        name: &str,
        expect: Expect,
        value: Option<Vec<u8>>,
    ) -> Result<u64, CliError> {
        let write = match value {
            Some(value) => Write::put(name, expect, value),
            None => Write::delete(name, expect),
        };
        // Whoever is refused anyway fences nobody.
        let before = self.version(name).await?;
        let exists = self.value(name).is_some();
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => !exists,
            Expect::Present => exists,
            Expect::Version(version) => version == before,
        };
        if !met {
            return self.conflict(name, before);
        }
        let len = write.value.as_ref().map_or(0, |value| value.len() as u64);
        for _ in 0..ROUNDS {
            self.begin(wallet, self.map.unfinished(1, len))?;
            // They may have been changed since the session began.
            self.take_over(&[&self.list()]).await?;
            let before = self.version(name).await?;
            let old = self.value(name);
            let mut writes = vec![write.clone()];
            let list = self.list();
            match provider_list::read(&self.map).await? {
                None => writes.push(provider_list::write(&list, Expect::Absent)),
                // One has moved, as this device knows and no other one has written meanwhile.
                Some(named) if named.list != list && named.version == self.list => {
                    writes.push(provider_list::write(&list, Expect::Version(named.version)));
                }
                Some(_) => {}
            }
            writes.extend(terms_in_map::update(&self.map, &self.online).await?);
            match self.map.commit(Commit::of(writes)).await {
                Ok(_) => {}
                Err(CommitError::Conflict { .. }) => return self.conflict(name, before),
                Err(CommitError::Repeated) => {
                    return Err(CliError::Failed("a name was written twice".to_owned()));
                }
                Err(CommitError::Failed(RecoveryError::Fenced(_))) => {
                    self.map.take_over().await?;
                    let now = self.map.get(name).await?;
                    if now.version == before {
                        continue;
                    }
                    // Ours got in, or another one did to the same name.
                    if now.value != write.value {
                        return self.conflict(name, now.version);
                    }
                }
                Err(CommitError::Failed(error)) => return Err(error.into()),
            }
            self.freed += old.map_or(0, |old| map::blobs(old.size) - 1);
            return self.version(name).await;
        }
        Err(CliError::Overtaken)
    }

    fn conflict(&self, name: &str, version: u64) -> Result<u64, CliError> {
        Err(CliError::Conflict {
            name: name.to_owned(),
            version,
            exists: self.value(name).is_some(),
        })
    }

    /// Notes what this session is about to store, before it does: if it is killed, the next one deletes what it leaves
    /// behind.
    pub(crate) fn begin(
        &self,
        wallet: &mut Wallet,
        unfinished: Unfinished,
    ) -> Result<(), CliError> {
        wallet.known.get_or_insert_default().begin(unfinished);
        wallet.save()
    }

    /// Reads on to the end and writes from now on, if the map names one of these lists of storage nodes.
    pub(crate) async fn take_over(&self, lists: &[&[Address]]) -> Result<(), CliError> {
        self.map.take_over().await?;
        self.require(lists).await
    }

    /// The version that a name has, or had when it was deleted.
    async fn version(&self, name: &str) -> Result<u64, CliError> {
        Ok(match self.value(name) {
            Some(listed) => listed.version,
            None => self.map.get(name).await?.version,
        })
    }

    /// Refuses to go on when the map names other storage nodes than one of these lists.
    pub(crate) async fn require(&self, lists: &[&[Address]]) -> Result<(), CliError> {
        let Some(named) = provider_list::read(&self.map).await? else {
            return Ok(());
        };
        match lists
            .iter()
            .any(|list| provider_list::is_same(&named.list, list))
        {
            true => Ok(()),
            false => Err(CliError::ProvidersChanged),
        }
    }

    /// The storage nodes of this session.
    pub(crate) fn list(&self) -> Vec<Address> {
        let members = self.online.members.iter();
        members.map(|member| member.address.clone()).collect()
    }
}

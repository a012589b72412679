//! A wallet that is killed at any write of its journal, and goes on with what is in there.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{Call, Key, Refusal, ServerKey};
use larder_recovery::{
    Entry, FolderJournal, Journal, JournalError, Lane, Looked, Means, MemoryJournal, Provider,
    Purpose, Purse, RecoveryError, Removed, RootKey, Schedule, Slot, Written,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secp256k1::Keypair;
use tempfile::TempDir;

use super::plain::{CLAIM, Under};
use super::world::{EPOCH_SECONDS, Way, World, folder};
use crate::wallet::blob;

/// How a process ends at a write: before it, in the middle of it, after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    Before,
    Torn,
    After,
}

/// The life of one process.
#[derive(Default)]
struct Life {
    /// Writes up to the one that it dies at, and how.
    death: Option<(u32, Death)>,
    over: bool,
}

/// Where a wallet's journal is.
enum Kept {
    Memory(MemoryJournal),
    Folder(TempDir),
}

struct Mortal {
    journal: Box<dyn Journal>,
    file: Option<PathBuf>,
    life: Arc<Mutex<Life>>,
}

impl Mortal {
    fn write(
        &mut self,
        write: impl FnOnce(&mut dyn Journal) -> Result<(), JournalError>,
        grows: bool,
    ) -> Result<(), JournalError> {
        let mut life = self.life.lock().expect("no panic");
        let dead = Err(JournalError::Io("killed".to_owned()));
        if life.over {
            return dead;
        }
        let death = match &mut life.death {
            Some((left @ 1.., _)) => {
                *left -= 1;
                None
            }
            Some((_, death)) => Some(*death),
            None => None,
        };
        life.over = death.is_some();
        match (death, &self.file) {
            (None, _) => write(&mut *self.journal),
            (Some(Death::After), _) => write(&mut *self.journal).and(dead),
            (Some(Death::Torn), Some(file)) if grows => {
                let len = || std::fs::metadata(file).map(|file| file.len());
                let before = len()?;
                write(&mut *self.journal)?;
                let file = OpenOptions::new().write(true).open(file)?;
                file.set_len(before + (len()? - before) / 2)?;
                dead
            }
            (Some(_), _) => dead,
        }
    }
}

impl Journal for Mortal {
    fn entries(&mut self) -> Result<Vec<Entry>, JournalError> {
        self.journal.entries()
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        self.write(|journal| journal.append(entry), true)
    }

    fn replace(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.write(|journal| journal.replace(entries), false)
    }
}

/// What a wallet wants done with the blob of a number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Wish {
    Insert(u64),
    Lookup(u64),
    Delete(u64),
}

/// One wallet, which outlives its processes.
pub(crate) struct Wallet {
    world: Arc<World>,
    number: usize,
    root: RootKey,
    schedule: Schedule,
    server: ServerKey,
    kept: Kept,
    life: Arc<Mutex<Life>>,
    provider: Option<Provider>,
    /// Processes that were killed, and how many of them had been when a wish was answered.
    killed: u32,
    answered: HashMap<Wish, u32>,
    rng: StdRng,
    /// Claims that it has ordered so far, with the vouchers it has been given.
    ordered: u64,
    /// Unix seconds, as far as it knows.
    now: u64,
}

impl Wallet {
    pub(crate) fn new(world: &Arc<World>, number: usize, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 48);
        let (root, server) = (
            RootKey::from_bytes(rng.random()),
            *world.address().server_key(),
        );
        let kept = match rng.random_range(0..4) {
            0 => Kept::Folder(folder()),
            _ => Kept::Memory(MemoryJournal::new()),
        };
        Wallet {
            world: world.clone(),
            number,
            schedule: Schedule::new(root.clone(), server),
            root,
            server,
            kept,
            life: Arc::default(),
            provider: None,
            killed: 0,
            answered: HashMap::new(),
            rng,
            ordered: 0,
            now: 0,
        }
    }

    fn keypair(&self, number: u64) -> Keypair {
        self.schedule.keypair(&Slot {
            purpose: Purpose::Log,
            lane: Lane::default(),
            generation: 0,
            index: number,
        })
    }

    fn key(&self, number: u64) -> Key {
        self.keypair(number).public_key().into()
    }

    fn call(&self, wish: Wish) -> Call {
        match wish {
            Wish::Insert(n) => Call::Insert(Insert {
                key: self.key(n),
                blob: blob(n),
            }),
            Wish::Lookup(n) => Call::Lookup(Lookup { key: self.key(n) }),
            Wish::Delete(n) => {
                Call::Delete(Delete::sign(&self.keypair(n), &self.server, blob(n).hash()))
            }
        }
    }

    /// Whether it has bought nothing yet.
    pub(crate) fn is_new(&self) -> bool {
        self.ordered == 0
    }

    /// This process is killed at one of its next writes.
    pub(crate) fn will_die(&mut self) {
        let death = [Death::Before, Death::Torn, Death::After][self.rng.random_range(0..3)];
        self.life.lock().expect("no panic").death = Some((self.rng.random_range(0..8), death));
    }

    /// It dies now, if it has not.
    pub(crate) fn dies(&mut self) {
        self.life.lock().expect("no panic").over = true;
    }

    /// Puts the process that was killed in the past.
    fn bury(&mut self) {
        if std::mem::take(&mut self.life.lock().expect("no panic").over) {
            self.world.client_died();
            self.provider = None;
            self.killed += 1;
            self.life = Arc::default();
        }
    }

    /// The running process, started if need be.
    async fn running(&mut self) {
        loop {
            self.bury();
            if self.provider.is_some() {
                return;
            }
            let (journal, file): (Box<dyn Journal>, _) = match &self.kept {
                Kept::Memory(journal) => (Box::new(journal.clone()), None),
                Kept::Folder(folder) => {
                    let journal = FolderJournal::open(folder.path()).expect("not locked");
                    (Box::new(journal), Some(folder.path().join("purse")))
                }
            };
            let life = self.life.clone();
            let mortal = Mortal {
                journal,
                file,
                life,
            };
            let purse = match Purse::open(&self.root, &self.server, mortal) {
                Ok(purse) => purse,
                Err(error) => {
                    assert!(self.is_dead(), "the journal: {error}");
                    continue;
                }
            };
            let (world, wallet) = (self.world.clone(), self.number);
            let way = Arc::new(Way { world, wallet });
            let rng = StdRng::from_rng(&mut self.rng);
            let address = self.world.address();
            let opened = match Provider::connect_with(address, way, rng).await {
                Ok(provider) => provider.with_purse(purse),
                Err(error) => Err(error),
            };
            match opened {
                Ok(provider) => self.provider = Some(provider),
                Err(error) => self.excuse(&error),
            }
        }
    }

    fn is_dead(&self) -> bool {
        self.life.lock().expect("no panic").over
    }

    /// An error that is to be met by doing it again.
    fn excuse(&self, error: &RecoveryError) {
        let expected = matches!(
            error,
            RecoveryError::Unreachable(_) | RecoveryError::Refused(Refusal::Busy)
        );
        assert!(
            expected || self.is_dead(),
            "wallet {}: {error}",
            self.number
        );
    }

    /// Does all of this at once, until each has an answer; some may be short of tokens.
    pub(crate) async fn fulfil(&mut self, wishes: &[Wish]) {
        let mut left = wishes.to_vec();
        let before: Vec<_> = wishes.iter().map(|wish| self.paid_for(*wish)).collect();
        let (mut short, mut answered) = (Vec::new(), HashMap::new());
        while !left.is_empty() {
            self.running().await;
            let Some(provider) = &self.provider else {
                continue;
            };
            let done = join_all(left.iter().map(|wish| self.fulfil_one(provider, *wish))).await;
            let mut again = Vec::new();
            for (wish, done) in left.into_iter().zip(done) {
                match done {
                    Ok(()) => drop(answered.insert(wish, self.killed)),
                    Err(RecoveryError::OutOfTokens { .. }) => short.push(wish),
                    Err(error) => {
                        self.excuse(&error);
                        again.push(wish);
                    }
                }
            }
            left = again;
        }
        for (wish, before) in wishes.iter().zip(before) {
            let paid = self.paid_for(*wish) - before;
            let once = if short.contains(wish) { 0 } else { 1 };
            // For all that a process knows that comes after a killed one, nobody has heard it.
            let then = self.answered.get(wish);
            let heard = then.is_none_or(|killed| *killed == self.killed);
            assert!(paid == once || paid == 0 && !heard, "{wish:?} {paid}");
        }
        self.answered.extend(answered);
    }

    async fn fulfil_one(&self, provider: &Provider, wish: Wish) -> Result<(), RecoveryError> {
        match wish {
            Wish::Insert(n) => {
                let written = provider.insert(self.key(n), blob(n)).await?;
                let under = self.under(n);
                let fine = match written {
                    Written::New | Written::Already => matches!(under, Some(Under::Blob { .. })),
                    Written::Tombstoned => matches!(under, Some(Under::Tombstone { .. })),
                    Written::Occupied(_) => false,
                };
                assert!(fine, "{wish:?}: {written:?}, {under:?}");
            }
            Wish::Lookup(n) => {
                let looked = provider.lookup(self.key(n)).await?;
                let under = self.under(n);
                let fine = match &looked {
                    Looked::Found(found) => {
                        *found == blob(n) && matches!(under, Some(Under::Blob { .. }))
                    }
                    Looked::Deleted => matches!(under, Some(Under::Tombstone { .. })),
                    Looked::Absent => !matches!(under, Some(Under::Blob { .. })),
                };
                assert!(fine, "{wish:?}: {under:?}");
            }
            Wish::Delete(n) => {
                let removed = provider.delete(&self.keypair(n), blob(n).hash()).await?;
                let under = self.under(n);
                let fine = match removed {
                    Removed::Now | Removed::Before => {
                        matches!(under, Some(Under::Tombstone { .. }))
                    }
                    Removed::NeverThere => !matches!(under, Some(Under::Blob { .. })),
                };
                assert!(fine, "{wish:?}: {removed:?}, {under:?}");
            }
        }
        Ok(())
    }

    fn under(&self, number: u64) -> Option<Under> {
        self.world
            .book(|book| book.keys.get(&self.key(number)).copied())
    }

    fn paid_for(&self, wish: Wish) -> u32 {
        let call = self.call(wish);
        self.world.book(|book| book.paid_for(&call))
    }

    /// Buys so many claims with one voucher.
    pub(crate) async fn buy(&mut self, claims: u64) {
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        let tokens = claims * CLAIM;
        let voucher = self.world.voucher(id, tokens);
        self.ordered += claims;
        loop {
            self.running().await;
            let Some(provider) = &self.provider else {
                continue;
            };
            let bought = match provider.purchases().first() {
                Some(begun) => provider.collect(begun).await,
                None if self.world.book(|book| book.claims_of(self.number)) == self.ordered => {
                    return;
                }
                // Nobody has heard of it yet.
                None => provider.buy(tokens, Means::Voucher(voucher.clone())).await,
            };
            if let Err(error) = bought {
                self.excuse(&error);
            }
        }
    }

    /// Settles everything, and has every credential move into the present epoch, so that all
    /// are shown to the node once.
    pub(crate) async fn settle(&mut self) {
        loop {
            self.running().await;
            let Some(provider) = &self.provider else {
                continue;
            };
            let mut settled = Ok(());
            for begun in provider.purchases() {
                settled = settled.and(provider.collect(&begun).await.map(drop));
            }
            let upkeep = provider.upkeep(self.now).await;
            match settled.and(upkeep) {
                Ok(upkeep) if upkeep.next.is_none() => {
                    let held = provider.purse().expect("given").holdings();
                    let epoch = self.world.epoch();
                    assert_eq!(held.in_flight, 0);
                    if held.by_epoch.keys().all(|held| *held == epoch) {
                        return;
                    }
                }
                Ok(_) => self.now += u64::from(EPOCH_SECONDS) / 4,
                Err(error) => self.excuse(&error),
            }
        }
    }

    /// Tokens it holds, and those that it knows to be lost.
    pub(crate) fn tokens(&self) -> (u64, u64) {
        let purse = self.provider.as_ref().and_then(Provider::purse);
        let holdings = purse.expect("running").holdings();
        (holdings.tokens, holdings.expired)
    }
}

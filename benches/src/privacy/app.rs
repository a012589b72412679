//! A Lightning wallet on the library that runs all the time: a payment is a burst of commits, and what is due is done
//! when it is.

use std::sync::Arc;
use std::time::Duration;

use larder_onion::{Circuits, CircuitsConfig};
use larder_recovery::breakglass::Extent;
use larder_recovery::log::OneProvider;
use larder_recovery::log::cache::{Cached, MemoryStorage};
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};
use larder_recovery::{
    Means, MemoryJournal, OnionTransport, Provider, Purse, RecoveryError, RootKey,
};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use super::world::{Failure, Scene, now, pause};

const TOKENS: u64 = 16_000;
const CHANNELS: u32 = 4;

/// Payments in an epoch, and commits of one.
const PAYMENTS: u32 = 16;
const COMMITS: std::ops::Range<u32> = 2..6;

/// Registers of a generation after which it is rolled up.
const ROLL_UP_AT: u64 = 96;

/// What is left to delete goes one by one, so far apart in the mean.
const TIDY: Duration = Duration::from_secs(15);

struct App<'s> {
    scene: &'s Scene,
    wallet: usize,
    rng: StdRng,
    root: RootKey,
    journal: MemoryJournal,
    cache: Arc<MemoryStorage>,
    hint: Option<u64>,
}

/// What a session stands on.
struct Session {
    provider: Arc<Provider>,
    map: Map,
}

/// Lives to the end of the world, and is started anew once.
pub(crate) async fn live(scene: &Scene, wallet: usize, mut rng: StdRng) -> Result<(), Failure> {
    sleep(scene.epoch.mul_f64(rng.random_range(0.0..0.25))).await;
    let restart = scene.end.mul_f64(rng.random_range(0.3..0.7));
    let mut app = App {
        scene,
        wallet,
        root: RootKey::from_bytes(rng.random()),
        rng,
        journal: MemoryJournal::new(),
        cache: Arc::new(MemoryStorage::new()),
        // The root key was drawn just now, so nothing can be there.
        hint: Some(0),
    };
    for until in [restart, scene.end] {
        scene.paths.next_command(wallet);
        app.session(scene.started + until).await?;
        sleep(Duration::from_secs(5)).await;
    }
    Ok(())
}

impl App<'_> {
    async fn session(&mut self, until: Instant) -> Result<(), Failure> {
        let mut session = self.open().await?;
        let mut payment = Instant::now() + self.until_payment();
        let mut upkeep = Instant::now();
        let mut tidy = Instant::now() + pause(&mut self.rng, TIDY);
        while Instant::now() < until {
            sleep_until(payment.min(upkeep).min(tidy).min(until)).await;
            if Instant::now() >= payment {
                self.pay(&mut session).await?;
                payment = Instant::now() + self.until_payment();
            }
            if Instant::now() >= upkeep {
                upkeep = Instant::now() + self.keep_up(&session).await?;
            }
            if Instant::now() >= tidy {
                session.map.log().upkeep(1).await?;
                tidy = Instant::now() + pause(&mut self.rng, TIDY);
            }
        }
        self.hint = Some(session.map.log().generation());
        Ok(())
    }

    /// How long it is to the next payment.
    fn until_payment(&mut self) -> Duration {
        pause(&mut self.rng, self.scene.epoch / PAYMENTS)
    }

    async fn open(&mut self) -> Result<Session, Failure> {
        let config = CircuitsConfig::new(vec![self.scene.paths.lsp_of(self.wallet)]);
        let circuits = Arc::new(Circuits::start(config)?);
        let transport = Arc::new(OnionTransport::new(circuits, &self.scene.address));
        let address = self.scene.address.clone();
        let purse = Purse::open(&self.root, address.server_key(), self.journal.clone())?;
        let provider = Provider::connect(address, transport).await?;
        let provider = Arc::new(provider.with_purse(purse)?);
        if provider
            .purse()
            .is_some_and(|purse| purse.holdings().tokens == 0)
        {
            provider.buy(TOKENS, Means::Lightning).await?;
        }
        let registers = Arc::new(OneProvider::new(&self.root, provider.clone()));
        let registers = Arc::new(Cached::new(&self.root, registers, self.cache.clone()));
        let map = Map::open(registers, &mut self.rng, self.hint).await?;
        map.take_over().await?;
        Ok(Session { provider, map })
    }

    async fn pay(&mut self, session: &mut Session) -> Result<(), Failure> {
        let channel = format!("channel/{}", self.rng.random_range(0..CHANNELS));
        for _ in 0..self.rng.random_range(COMMITS) {
            let mut state = vec![0; self.rng.random_range(300..2_500)];
            self.rng.fill(&mut state[..]);
            let write = Write::put(channel.clone(), Expect::Any, state);
            match session.map.commit(Commit::of([write])).await {
                Err(CommitError::Failed(RecoveryError::OutOfTokens { .. })) => {
                    session.provider.buy(TOKENS, Means::Lightning).await?;
                }
                Err(CommitError::Failed(error)) => return Err(error.into()),
                Err(_) => return Err("a conflict with nobody".into()),
                Ok(_) => {}
            }
            // Until the peer has answered.
            sleep(Duration::from_millis(self.rng.random_range(50..600))).await;
        }
        if session.map.log().length() >= ROLL_UP_AT {
            session.map.roll_up().await?;
        }
        Ok(())
    }

    /// Returns after how long to come again.
    async fn keep_up(&mut self, session: &Session) -> Result<Duration, Failure> {
        let extent = Extent::of(&session.map, vec![self.scene.address.clone()]);
        let standing = session.provider.stay_restorable(now(), &extent).await?;
        let left = standing.next.saturating_sub(now()).max(1);
        // An epoch may begin at any time; who looks for it each time at once shows it.
        let mean = self.scene.epoch / 8;
        Ok(Duration::from_secs(left).min(pause(&mut self.rng, mean)))
    }
}

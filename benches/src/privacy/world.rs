//! A storage node and its wallets, for some epochs of time that jumps from event to event.
//!
//! Node and wallets are the real ones: the desk of `larderd`, the library, and every command of `larder` as it is
//! typed, its folder included. In their place stand the network ([`paths`](super::paths)) and the clock.
//! What the wallets do and when, and what the network loses, follows from the seed; what wallets draw for themselves
//! does not.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};
use larder_node::clock::Clock;
use larder_node::till::Giveaway;
use larder_node::{Breakglass, Config, Desk, Identity, Offer, Sale};
use larder_protocol::{Address, Pass};
use larder_store::{Engine, Options, SledEngine};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use super::app;
use super::forks::{Forks, Lie};
use super::paths::{Handle, Paths, Serve};
use super::recording::Recording;
use super::shell;

pub(crate) type Failure = Box<dyn Error>;

/// Unix time at the beginning.
const BEGINNING: u64 = 1_800_000_000;

const NODE_SEED: [u8; 32] = [1; 32];

/// What kind of wallet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Somebody at a command line: small values, a command every few minutes.
    Shell,
    /// The same with large values that replace each other.
    Backup,
    /// The same as the first, but it loses its folder half-way, and goes on behind a restore.
    Lost,
    /// A program on the library that runs all the time and commits its channels' states in bursts.
    App,
}

/// What is lived through.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) lsps: usize,
    pub(crate) epoch: Duration,
    /// The last one is half an epoch.
    pub(crate) epochs: u32,
    pub(crate) seed: u64,
    /// What a dishonest storage node does.
    pub(crate) lie: Option<Lie>,
}

/// What came of it.
pub(crate) struct Lived {
    pub(crate) recording: Recording,
    /// Of each wallet, the command that restored it.
    pub(crate) restores: Vec<(usize, u32)>,
    /// What failed that should not have.
    pub(crate) failures: Vec<String>,
    /// When a wallet found the storage node out, and what it said.
    pub(crate) objections: Vec<(usize, Duration, String)>,
}

/// What the wallets of a world share.
pub(crate) struct Scene {
    pub(crate) paths: Arc<Paths>,
    pub(crate) address: Address,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) started: Instant,
    pub(crate) end: Duration,
    pub(crate) epoch: Duration,
    honest: bool,
    restores: RefCell<Vec<(usize, u32)>>,
    failures: RefCell<Vec<String>>,
    objections: RefCell<Vec<(usize, Duration, String)>>,
}

thread_local! {
    static STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The world's clock, in unix seconds.
pub(crate) fn now() -> u64 {
    let since = STARTED
        .get()
        .map_or(0, |started| started.elapsed().as_secs());
    BEGINNING + since
}

struct WorldClock;

impl Clock for WorldClock {
    fn now(&self) -> u64 {
        now()
    }

    fn running(&self) -> Duration {
        Duration::from_secs(now())
    }
}

impl Plan {
    /// Lives it through, on this thread.
    pub(crate) fn live(&self) -> Result<Lived, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let lived = runtime.block_on(self.run());
        larder_onion::go_through(None);
        lived
    }

    async fn run(&self) -> Result<Lived, Failure> {
        let started = Instant::now();
        STARTED.set(Some(started));
        larder_cli::bench::go_by(now);
        let folder = folder()?;
        let node = Node::open(folder.path(), self)?;
        let address = node.address()?;
        let wallets = self.kinds.len();
        let paths = Paths::new(node.serving(), self.lsps, wallets, self.seed);
        larder_onion::go_through(Some(Arc::new(Handle(paths.clone()))));
        let scene = Rc::new(Scene {
            paths: paths.clone(),
            address,
            folder,
            started,
            end: self.epoch * self.epochs - self.epoch / 2,
            epoch: self.epoch,
            honest: self.lie.is_none(),
            restores: RefCell::default(),
            failures: RefCell::default(),
            objections: RefCell::default(),
        });
        let mut lives: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
        for (wallet, kind) in self.kinds.iter().enumerate() {
            let seed = self.seed.wrapping_mul(1_000).wrapping_add(wallet as u64);
            let rng = StdRng::seed_from_u64(seed);
            let scene = scene.clone();
            let kind = *kind;
            lives.push(Box::pin(async move {
                let lived = match kind {
                    Kind::App => app::live(&scene, wallet, rng).await,
                    kind => shell::live(&scene, wallet, kind, rng).await,
                };
                if let Err(error) = lived {
                    scene.fails(wallet, &error.to_string());
                }
            }));
        }
        lives.push(Box::pin(async {
            for _ in 1..self.epochs {
                sleep(self.epoch).await;
                if let Err(error) = node.turn() {
                    scene.fails(usize::MAX, &error.to_string());
                }
            }
        }));
        join_all(lives).await;
        Ok(Lived {
            recording: paths.take_recording(),
            restores: scene.restores.take(),
            failures: scene.failures.take(),
            objections: scene.objections.take(),
        })
    }
}

impl Scene {
    pub(crate) fn is_over(&self) -> bool {
        self.started.elapsed() >= self.end
    }

    /// This wallet could not do what it wanted: at an honest storage node a fault, at another one an objection.
    pub(crate) fn fails(&self, wallet: usize, why: &str) {
        let at = self.started.elapsed();
        match self.honest {
            true => {
                let failure = format!("wallet {wallet} after {} s: {why}", at.as_secs());
                self.failures.borrow_mut().push(failure);
            }
            false => {
                let mut objections = self.objections.borrow_mut();
                if objections.iter().all(|(before, ..)| *before != wallet) {
                    objections.push((wallet, at, why.to_owned()));
                }
            }
        }
    }

    pub(crate) fn restored(&self, wallet: usize, command: u32) {
        self.restores.borrow_mut().push((wallet, command));
    }
}

/// A time whose mean is this, as between events that do not know of each other.
pub(crate) fn pause(rng: &mut StdRng, mean: Duration) -> Duration {
    let draw: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
    mean.mul_f64(-draw.ln())
}

/// In memory where there is a place for that: what is lost with the machine does not matter here.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    }
}

/// The storage node.
enum Node {
    Honest(Arc<Honest>),
    Lying(Arc<Forks>),
}

struct Honest(Arc<Desk>, std::sync::atomic::AtomicU32);

impl Node {
    fn open(folder: &Path, plan: &Plan) -> Result<Self, Failure> {
        let options = Options {
            free_space_floor: 0,
            ..Options::default()
        };
        let engine: Arc<dyn Engine> = Arc::new(SledEngine::open(&folder.join("store"), options)?);
        let offer = Offer {
            epoch_seconds: plan.epoch.as_secs() as u32,
            ..Config::load(None, Some(folder), [])?.offer
        };
        Ok(match plan.lie {
            None => Node::Honest(Arc::new(Honest(
                desk(engine, Identity::from_seed(NODE_SEED), offer)?,
                Default::default(),
            ))),
            Some(lie) => Node::Lying(Arc::new(Forks::open(&engine, NODE_SEED, &offer, lie)?)),
        })
    }

    fn address(&self) -> Result<Address, Failure> {
        let desk = match self {
            Node::Honest(honest) => &honest.0,
            Node::Lying(forks) => forks.first(),
        };
        let server = desk.server_key();
        let signed = desk.record();
        let record = signed.verified(&server).ok_or("another node's record")?;
        Ok(Address::new(server, record.node_id, Vec::new()))
    }

    fn serving(&self) -> Arc<dyn Serve> {
        match self {
            Node::Honest(honest) => honest.clone(),
            Node::Lying(forks) => forks.clone(),
        }
    }

    fn turn(&self) -> Result<(), Failure> {
        match self {
            Node::Honest(honest) => {
                honest.0.enter_next_epoch()?;
                honest.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }
            Node::Lying(forks) => forks.turn(),
        }
    }
}

impl Serve for Honest {
    fn serve(&self, _: usize, _: Option<Pass>, contents: &[u8]) -> Vec<u8> {
        self.0.answer(contents)
    }

    fn epoch(&self) -> u32 {
        self.1.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The service of a storage node with this identity, which gives tokens away.
pub(crate) fn desk(
    engine: Arc<dyn Engine>,
    identity: Identity,
    offer: Offer,
) -> Result<Arc<Desk>, Failure> {
    let sale = Sale {
        offer,
        till: Arc::new(Giveaway),
    };
    let clock = Arc::new(WorldClock);
    Ok(Desk::open(
        engine,
        identity,
        Some(sale),
        Breakglass::default(),
        clock,
    )?)
}

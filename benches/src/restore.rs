//! What a restore from the root key takes, in round trips one after the other.
//!
//! Wallet and storage node are the real ones, blobs, receipts and disk included, in one process. Between
//! them is a delay of 50 ms for each round trip, in *simulated* time: the clock stands still
//! while anything computes and jumps to the next answer when all wait. So the figures say what a design
//! costs in waiting, are the same in every run, and leave out what the machine takes.
//!
//! The plain layout has no bar: a walk has sixteen values under way at once, as it asks for no more counters than have
//! to be absent in a row.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use larder_node::clock::SystemClock;
use larder_node::{Breakglass, Desk, Identity};
use larder_protocol::{Address, Pass};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Lane, Provider, Purpose, RootKey, Schedule, Sequence, Slot, Transport, Walk,
};
use larder_store::{Options, SledEngine};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::report::{Bar, Report};

const ENTRIES: u64 = 1_000;
const DELAY: Duration = Duration::from_millis(50);

/// Requests that a transport lets out at once: as many as one likes; twice and once the two connections with a
/// window of 8 each that a wallet has with one LSP by default.
const PLACES: [(&str, usize); 3] = [
    ("", Semaphore::MAX_PERMITS),
    (", through two LSPs", 32),
    (", through one LSP", 16),
];

type Failure = Box<dyn Error>;

/// Takes the figures of this set.
pub(crate) fn run(report: &mut Report) -> Result<(), Failure> {
    let delay = DELAY.as_millis();
    report.note(&format!(
        "{ENTRIES} log entries of one commit each, {delay} ms per round trip in simulated time; real wallet, real \
         storage node, no payment"
    ));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    runtime.block_on(figures(report))
}

async fn figures(report: &mut Report) -> Result<(), Failure> {
    let scene = Scene::set()?;
    let wallet = scene.wallet(Semaphore::MAX_PERMITS).await?;
    let map = wallet.map().await?;
    map.take_over().await?;
    for n in 0..ENTRIES {
        let write = Write::put(format!("channel/{n:04}"), Expect::Absent, n.to_be_bytes());
        map.commit(Commit::of([write])).await?;
    }
    let mut sequence = Sequence::start(&wallet.root, wallet.provider.clone());
    for n in 0..ENTRIES {
        sequence.append(&n.to_be_bytes()).await?;
    }

    let schedule = Schedule::new(wallet.root.clone(), *wallet.provider.server_key());
    let start = Instant::now();
    for n in 0..ENTRIES {
        wallet.provider.lookup(schedule.key(&head(n))).await?;
    }
    let yardstick = ("sequential round trips", per_second(start));
    report.value("sequential round trips", yardstick.1, "per second");

    for (through, places) in PLACES {
        // Narrow transports are slower by the width they have; what the client makes of a wide one has a bar.
        let bar = (places == Semaphore::MAX_PERMITS).then_some(Bar::AtLeast(20.0));
        let wallet = scene.wallet(places).await?;
        let start = Instant::now();
        let map = wallet.map().await?;
        let rate = per_second(start);
        assert_eq!(map.commits(), ENTRIES, "it restores all of it");
        let figure = format!("restore of {ENTRIES} log entries{through}");
        report.ratio(&figure, rate, "per second", yardstick, bar);

        let start = Instant::now();
        let mut walk = Walk::new(Sequence::start(&wallet.root, wallet.provider.clone()));
        let mut values = 0;
        while walk.next().await?.is_some() {
            values += 1;
        }
        let rate = per_second(start);
        assert_eq!(values, ENTRIES, "it restores all of it");
        let figure = format!("walk of {ENTRIES} values{through}");
        report.ratio(&figure, rate, "per second", yardstick, None);
    }

    map.roll_up().await?;
    let start = Instant::now();
    let restored = wallet.map().await?;
    let rate = per_second(start);
    assert_eq!(restored.commits(), ENTRIES, "it restores all of it");
    let figure = format!("restore of {ENTRIES} commits, rolled up");
    report.ratio(&figure, rate, "per second", yardstick, None);
    Ok(())
}

/// Where the value with this counter is.
fn head(counter: u64) -> Slot {
    Slot {
        purpose: Purpose::Main,
        lane: Lane::default(),
        generation: 0,
        index: counter,
    }
}

/// Entries per second of simulated time since then.
fn per_second(start: Instant) -> f64 {
    ENTRIES as f64 / start.elapsed().as_secs_f64()
}

/// A storage node, far away.
struct Scene {
    desk: Arc<Desk>,
    address: Address,
    _folder: tempfile::TempDir,
}

/// A device that has the root key and nothing else.
struct Wallet {
    root: RootKey,
    provider: Arc<Provider>,
}

struct Far {
    desk: Arc<Desk>,
    places: Semaphore,
}

impl Scene {
    fn set() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let options = Options {
            free_space_floor: 0,
            ..Options::default()
        };
        let engine = Arc::new(SledEngine::open(folder.path(), options)?);
        let identity = Identity::from_seed([1; 32]);
        let desk = Desk::open(
            engine,
            identity,
            None,
            Breakglass::default(),
            Arc::new(SystemClock),
        )?;
        let server = desk.server_key();
        let signed = desk.record();
        let record = signed.verified(&server).ok_or("another node's record")?;
        Ok(Scene {
            address: Address::new(server, record.node_id, Vec::new()),
            desk,
            _folder: folder,
        })
    }

    async fn wallet(&self, places: usize) -> Result<Wallet, Failure> {
        let transport = Arc::new(Far {
            desk: self.desk.clone(),
            places: Semaphore::new(places),
        });
        let provider = Provider::connect(self.address.clone(), transport).await?;
        Ok(Wallet {
            root: RootKey::from_bytes([7; 32]),
            provider: Arc::new(provider),
        })
    }
}

impl Wallet {
    async fn map(&self) -> Result<Map, Failure> {
        let registers = Arc::new(OneProvider::new(&self.root, self.provider.clone()));
        Ok(Map::open(registers, &mut StdRng::from_os_rng(), None).await?)
    }
}

impl Transport for Far {
    fn exchange(&self, contents: Vec<u8>, _: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            // The semaphore is never closed.
            let _place = self.places.acquire().await;
            sleep(DELAY).await;
            Ok(self.desk.answer(&contents))
        })
    }
}

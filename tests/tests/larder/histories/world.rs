//! The storage node and the network in front of it, in one process and without a clock: a seed
//! decides what is lost, doubled, late or refused, and before or after which step of which request
//! the node is killed.
//!
//! The node is the real [`Desk`] over the real store in a folder. A kill makes every step after it
//! fail, throws away what was about to be answered, and opens the store again.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_node::clock::Clock;
use larder_node::till::Vouchers;
use larder_node::{Breakglass, Desk, Identity, Offer, Sale};
use larder_protocol::record::Prices;
use larder_protocol::{
    Address, Key, NodeId, Pass, Payment, Refusal, Reply, Request, SizeClass, Voucher, envelope,
};
use larder_recovery::transport::Exchange;
use larder_recovery::{Transport, Unreachable};
use larder_store::{
    Effect, Engine, Enter, Epochs, Notes, OpenedClaim, Options, Outcome, Reading, SledEngine, Stat,
    StoreError, StoredCell, Usage,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::plain::{Book, CLAIM, DELETE, EARLIER, FEE, INSERT, LOOKUP, REFUNDS};

pub(crate) const EPOCH_SECONDS: u32 = 604_800;
const START: u64 = 1_800_000_000;

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

fn sale() -> Sale {
    Sale {
        offer: Offer {
            epoch_seconds: EPOCH_SECONDS,
            earlier_epochs: EARLIER,
            prices: Prices {
                insert: INSERT,
                lookup: LOOKUP,
                delete: DELETE,
                breakglass: 64,
                transfer: FEE,
            },
            refunds: REFUNDS.to_vec(),
            denominations: vec![CLAIM],
        },
        till: Arc::new(Vouchers::new(&identity())),
    }
}

/// A clock that stands still until it is set.
struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn running(&self) -> Duration {
        Duration::from_secs(self.now())
    }
}

/// A folder in memory if there are such: a killed process leaves its files as they are, so no disk
/// has to be waited for. What a power cut leaves, the store's own tests look at.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.expect("a folder")
}

/// When the node dies: counted in calls of its store, before or after one took effect.
#[derive(Default)]
struct Fate {
    calls_left: Option<u32>,
    after: bool,
    dead: bool,
    /// What became of the last effect that was paid for.
    performed: Option<Outcome>,
}

/// A store whose node can be killed between any two steps.
struct Mortal {
    engine: SledEngine,
    fate: Arc<Mutex<Fate>>,
}

impl Mortal {
    fn step<T>(
        &self,
        step: impl FnOnce(&SledEngine) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let last = {
            let mut fate = self.fate.lock().expect("no panic");
            if let Some(left) = &mut fate.calls_left {
                *left = left.saturating_sub(1);
                fate.dead |= *left == 0;
            }
            if fate.dead && !std::mem::take(&mut fate.after) {
                return Err(StoreError::Stopped);
            }
            fate.dead
        };
        let done = step(&self.engine);
        if last {
            done.and(Err(StoreError::Stopped))
        } else {
            done
        }
    }
}

impl Engine for Mortal {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        let paid = batch.iter().any(|effect| effect.entry.is_some());
        self.step(|engine| {
            let outcomes = engine.commit(batch)?;
            let took = |outcome: &&Outcome| {
                matches!(
                    outcome,
                    Outcome::Settled | Outcome::Inserted | Outcome::Removed
                )
            };
            if let Some(outcome) = outcomes.first().filter(took).filter(|_| paid) {
                self.fate.lock().expect("no panic").performed = Some(outcome.clone());
            }
            Ok(outcomes)
        })
    }

    fn read(&self, key: &Key) -> Result<Reading, StoreError> {
        self.step(|engine| engine.read(key))
    }

    fn stat(&self, key: &Key) -> Result<Stat, StoreError> {
        self.step(|engine| engine.stat(key))
    }

    fn cell(&self, key: &Key, now: u64) -> Result<Option<StoredCell>, StoreError> {
        self.step(|engine| engine.cell(key, now))
    }

    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        self.step(|engine| engine.row(reference))
    }

    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        self.step(|engine| Engine::claim(engine, tag))
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        self.step(Engine::supply)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        self.step(Engine::epochs)
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        self.step(Engine::notes)
    }

    fn enter(&self, next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        self.step(|engine| engine.enter(next))
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.step(Engine::usage)
    }
}

/// A node that is running.
struct Node {
    engine: Arc<Mortal>,
    desk: Arc<Desk>,
}

/// How often things happened, so that a run can show that they did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) performed: u64,
    pub(crate) lost_requests: u64,
    pub(crate) lost_replies: u64,
    pub(crate) late_copies: u64,
    pub(crate) busy: u64,
    pub(crate) node_kills: u64,
    pub(crate) client_kills: u64,
    pub(crate) epochs: u64,
    pub(crate) closed_purses: u64,
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            performed: self.performed + other.performed,
            lost_requests: self.lost_requests + other.lost_requests,
            lost_replies: self.lost_replies + other.lost_replies,
            late_copies: self.late_copies + other.late_copies,
            busy: self.busy + other.busy,
            node_kills: self.node_kills + other.node_kills,
            client_kills: self.client_kills + other.client_kills,
            epochs: self.epochs + other.epochs,
            closed_purses: self.closed_purses + other.closed_purses,
        }
    }
}

struct State {
    node: Option<Node>,
    fate: Arc<Mutex<Fate>>,
    rng: StdRng,
    /// Of 256 messages, how many meet with each kind of trouble; none in calm weather.
    rough: u8,
    /// Everything that was sent in this history, and by whom.
    sent: Vec<(usize, Vec<u8>)>,
    book: Book,
    /// Epochs that this test has seen entered.
    entered: u32,
    /// Epochs that may still begin by themselves before the wallets have to be kept up.
    epochs_left: u32,
    counts: Counts,
    /// What was outstanding before this history.
    before: u128,
}

/// The storage node, and the network in front of it.
pub(crate) struct World {
    folder: TempDir,
    clock: Arc<Still>,
    state: Mutex<State>,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = World {
            folder: folder(),
            clock: Arc::new(Still(AtomicU64::new(START))),
            state: Mutex::new(State {
                node: None,
                fate: Arc::default(),
                rng: StdRng::seed_from_u64(0),
                rough: 0,
                sent: Vec::new(),
                book: Book::default(),
                entered: 0,
                epochs_left: 0,
                counts: Counts::default(),
                before: 0,
            }),
        };
        world.with(|state| {
            world.open(state);
            state.entered = 1;
        });
        world
    }

    /// Begins another history, with this seed.
    pub(crate) fn begin(&self, seed: u64) {
        self.with(|state| {
            state.rng = StdRng::seed_from_u64(seed ^ 0x6e65_7477_6f72_6b00);
            state.sent.clear();
            state.book = Book::default();
            state.before = state.node().engine.supply().expect("a supply").outstanding;
        });
    }

    /// From now on this share of 256 messages meets with each kind of trouble.
    pub(crate) fn weather(&self, rough: u8) -> u8 {
        self.with(|state| std::mem::replace(&mut state.rough, rough))
    }

    /// So many epochs may begin by themselves, in the middle of whatever is under way.
    pub(crate) fn allow_epochs(&self, epochs: u32) {
        self.with(|state| state.epochs_left = epochs);
    }

    pub(crate) fn epochs_left(&self) -> u32 {
        self.with(|state| state.epochs_left)
    }

    /// Enters the next epoch, in calm weather.
    pub(crate) fn next_epoch(&self) {
        self.with(|state| {
            state
                .node()
                .desk
                .enter_next_epoch()
                .expect("the next epoch");
            state.entered += 1;
            state.counts.epochs += 1;
        });
    }

    pub(crate) fn book<T>(&self, read: impl FnOnce(&mut Book) -> T) -> T {
        self.with(|state| read(&mut state.book))
    }

    pub(crate) fn count<T>(&self, count: impl FnOnce(&mut Counts) -> T) -> T {
        self.with(|state| count(&mut state.counts))
    }

    /// A client was killed.
    pub(crate) fn client_died(&self) {
        self.count(|counts| counts.client_kills += 1);
    }

    pub(crate) fn address(&self) -> Address {
        self.with(|state| {
            let desk = &state.node().desk;
            let record = desk.record();
            let record = record
                .verified(&desk.server_key())
                .expect("its own")
                .clone();
            Address::new(
                record.server_key,
                NodeId::clone(&record.node_id),
                Vec::new(),
            )
        })
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.with(|state| {
            let epochs = state.node().engine.epochs().expect("readable");
            epochs.expect("one was entered").floor.current.0
        })
    }

    pub(crate) fn voucher(&self, id: [u8; 16], tokens: u64) -> Voucher {
        Vouchers::new(&identity()).issue(id, tokens, u64::MAX)
    }

    /// Whether the store agrees with the plain book: keys, supply, canary.
    pub(crate) fn check(&self) {
        self.with(|state| {
            let (book, engine) = (&state.book, &state.node().engine);
            for (key, under) in &book.keys {
                let stat = engine.stat(key).expect("readable");
                let agree = match *under {
                    super::plain::Under::Blob { since } => {
                        matches!(stat, Stat::Present { epoch, .. } if epoch == since)
                    }
                    super::plain::Under::Tombstone { since } => {
                        match state.entered - since > EARLIER {
                            true => stat == Stat::Absent,
                            false => stat == Stat::Deleted,
                        }
                    }
                };
                assert!(agree, "{under:?}, {stat:?}, {}", state.entered);
            }
            let supply = engine.supply().expect("a supply");
            assert!(!supply.halted, "the canary");
            let outstanding = supply.outstanding - state.before;
            assert_eq!(outstanding, u128::from(book.outstanding()), "outstanding");
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state: MutexGuard<'_, State> = self.state.lock().expect("no panic in here");
        change(&mut state)
    }

    fn open(&self, state: &mut State) {
        // What it was is gone before it is opened again, as the store's lock demands.
        state.node = None;
        state.fate = Arc::default();
        let options = Options {
            free_space_floor: 0,
            cache_bytes: 4 << 20,
            growth_slots: 64,
            ..Options::default()
        };
        let engine = Arc::new(Mortal {
            engine: SledEngine::open(self.folder.path(), options).expect("a store"),
            fate: state.fate.clone(),
        });
        let clock = self.clock.clone();
        let breakglass = Breakglass::default();
        let desk = Desk::open(engine.clone(), identity(), Some(sale()), breakglass, clock);
        let desk = desk.expect("a desk");
        state.node = Some(Node { engine, desk });
    }

    /// Brings a message to the node; its answer, unless the node died over it.
    fn deliver(&self, state: &mut State, wallet: usize, contents: &[u8]) -> Option<Vec<u8>> {
        if state.chance(4) {
            let mut fate = state.fate.lock().expect("no panic");
            fate.calls_left = Some(state.rng.random_range(1..9));
            fate.after = state.rng.random();
        }
        let answer = state.node().desk.answer(contents);
        let (performed, dead) = state.outcome();
        if let Some(outcome) = performed {
            let request = Request::decode(envelope::unwrap(contents).expect("an envelope"));
            let request = request.expect("a request");
            state.book.enter(wallet, &request, &outcome, state.entered);
            state.counts.performed += 1;
        }
        if dead {
            state.counts.node_kills += 1;
            self.open(state);
            return None;
        }
        Some(answer)
    }

    /// An epoch begins by itself, and the node may die over that.
    fn epoch_begins(&self, state: &mut State) {
        if state.chance(2) {
            let mut fate = state.fate.lock().expect("no panic");
            fate.calls_left = Some(state.rng.random_range(1..5));
            fate.after = state.rng.random();
        }
        let was = state.node().engine.engine.epochs().expect("readable");
        let entered = state.node().desk.enter_next_epoch();
        let (_, dead) = state.outcome();
        assert!(entered.is_ok() || dead, "the next epoch");
        if dead {
            state.counts.node_kills += 1;
            self.open(state);
        }
        if state.node().engine.epochs().expect("readable") != was {
            state.entered += 1;
            state.counts.epochs += 1;
        }
    }

    /// What becomes of one sending of a message.
    fn send(&self, state: &mut State, wallet: usize, contents: &[u8]) -> Option<Vec<u8>> {
        state.sent.push((wallet, contents.to_vec()));
        if state.chance(1) && state.epochs_left > 0 {
            state.epochs_left -= 1;
            self.epoch_begins(state);
        }
        if state.chance(2) {
            // An old message arrives late, or once more.
            state.counts.late_copies += 1;
            let at = state.rng.random_range(0..state.sent.len());
            let (wallet, old) = state.sent[at].clone();
            self.deliver(state, wallet, &old);
        }
        if state.chance(4) {
            state.counts.lost_requests += 1;
            return None;
        }
        if state.chance(1) && is_paid(contents) {
            state.counts.busy += 1;
            let busy = Reply::bare(Err(Refusal::Busy)).encode();
            return envelope::wrap(&busy, SizeClass::Big);
        }
        let answer = self.deliver(state, wallet, contents)?;
        if state.chance(4) {
            state.counts.lost_replies += 1;
            return None;
        }
        Some(answer)
    }
}

fn is_paid(contents: &[u8]) -> bool {
    let request = envelope::unwrap(contents).and_then(Request::decode);
    request.is_ok_and(|request| request.payment != Payment::None)
}

impl State {
    fn node(&self) -> &Node {
        self.node.as_ref().expect("opened")
    }

    /// One of the things that go wrong, so many times as often as the rarest.
    fn chance(&mut self, weight: u32) -> bool {
        u32::from(self.rng.random::<u8>()) * 4 < u32::from(self.rough) * weight
    }

    /// What a message came to: the effect it had, and whether the node died over it.
    fn outcome(&mut self) -> (Option<Outcome>, bool) {
        let mut fate = self.fate.lock().expect("no panic");
        fate.calls_left = None;
        (fate.performed.take(), fate.dead)
    }
}

/// The way of one wallet to the node. It gives up now and then, as a deadline would.
pub(crate) struct Way {
    pub(crate) world: Arc<World>,
    pub(crate) wallet: usize,
}

impl Transport for Way {
    fn exchange(&self, contents: Vec<u8>, _: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            loop {
                let world = &self.world;
                let hops = world.with(|state| state.rng.random_range(0..3));
                for _ in 0..hops {
                    tokio::task::yield_now().await;
                }
                let answer = world.with(|state| world.send(state, self.wallet, &contents));
                if let Some(answer) = answer {
                    for _ in 0..hops {
                        tokio::task::yield_now().await;
                    }
                    return Ok(answer);
                }
                if world.with(|state| state.rng.random_bool(0.4)) {
                    return Err(Unreachable {
                        advice: "the network of a test".to_owned(),
                    });
                }
            }
        })
    }
}

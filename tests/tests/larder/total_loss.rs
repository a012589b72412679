//! Total loss against the real storage node: its desk, its store on a disk, its restarts.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_node::clock::Clock;
use larder_node::till::Vouchers;
use larder_node::{Breakglass, Desk, Identity, Offer, Sale};
use larder_protocol::record::Prices;
use larder_protocol::{Address, Call, Key, Op, Pass, Payment, Request, envelope};
use larder_recovery::breakglass::{Extent, Restore, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Means, MemoryJournal, Provider, Purse, RecoveryError, RootKey, Transport, Unreachable,
};
use larder_store::{Engine, Options, SledEngine};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::histories::folder;
use crate::processes::copy;

pub(crate) const START: u64 = 1_800_000_000;
pub(crate) const EPOCH_SECONDS: u32 = 604_800;
const EARLIER: u32 = 2;
/// By default.
const TIMER: u64 = 72 * 3_600;
const KEYS: u8 = 5;

struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn running(&self) -> Duration {
        Duration::from_secs(self.now())
    }
}

fn identity() -> Identity {
    Identity::from_seed([1; 32])
}

/// A node that is running.
#[derive(Clone)]
struct Node {
    engine: Arc<SledEngine>,
    desk: Arc<Desk>,
}

/// A storage node that can be stopped and started, and the way to it.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    folder: TempDir,
    clock: Arc<Still>,
    node: Mutex<Option<Node>>,
    /// It performs the next request of this kind, and goes down before it answers.
    falls_over: Mutex<Option<Op>>,
    /// What paid for the look-up of each key.
    looked_up: Mutex<HashMap<Key, Vec<Payment>>>,
    /// When it was asked for what, by its own clock.
    asked: Mutex<Vec<(u64, Op)>>,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = World(Arc::new(Inner {
            folder: folder(),
            clock: Arc::new(Still(AtomicU64::new(START))),
            node: Mutex::new(None),
            falls_over: Mutex::new(None),
            looked_up: Mutex::default(),
            asked: Mutex::default(),
        }));
        world.start();
        world
    }

    /// Another one that has lived through the same; this one is down from now on.
    fn copy(&self) -> Self {
        self.stop();
        let other = World(Arc::new(Inner {
            folder: folder(),
            clock: Arc::new(Still(AtomicU64::new(self.0.clock.now()))),
            node: Mutex::new(None),
            falls_over: Mutex::new(None),
            looked_up: Mutex::default(),
            asked: Mutex::default(),
        }));
        copy(self.folder(), other.folder());
        other.start();
        other
    }

    fn start(&self) {
        let options = Options {
            free_space_floor: 0,
            cache_bytes: 4 << 20,
            growth_slots: 64,
            ..Options::default()
        };
        let engine = SledEngine::open(self.folder(), options);
        let engine = Arc::new(engine.expect("a store"));
        let sale = Sale {
            offer: Offer {
                epoch_seconds: EPOCH_SECONDS,
                earlier_epochs: EARLIER,
                prices: Prices {
                    insert: 16,
                    lookup: 2,
                    delete: 1,
                    breakglass: 64,
                    transfer: 3,
                },
                refunds: vec![8, 6, 4],
                denominations: vec![1_000],
            },
            till: Arc::new(Vouchers::new(&identity())),
        };
        let (breakglass, clock) = (Breakglass::default(), self.0.clock.clone());
        let desk = Desk::open(engine.clone(), identity(), Some(sale), breakglass, clock);
        let desk = desk.expect("a desk");
        *self.0.node.lock().expect("no panic") = Some(Node { engine, desk });
    }

    /// What it has stored.
    pub(crate) fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// Down it goes, and its lock on the folder with it.
    pub(crate) fn stop(&self) {
        *self.0.node.lock().expect("no panic") = None;
    }

    fn falls_over(&self, op: Op) {
        *self.0.falls_over.lock().expect("no panic") = Some(op);
    }

    fn passes(&self, seconds: u64) {
        self.0.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn is_now(&self, now: u64) {
        self.0.clock.0.store(now, Ordering::SeqCst);
    }

    /// When it was asked for what, by its own clock.
    pub(crate) fn asked(&self) -> Vec<(u64, Op)> {
        self.0.asked.lock().expect("no panic").clone()
    }

    fn node(&self) -> Option<Node> {
        self.0.node.lock().expect("no panic").clone()
    }

    fn desk(&self) -> Arc<Desk> {
        self.node().expect("it is up").desk
    }

    /// Tokens that wallets hold, lost ones included.
    fn outstanding(&self) -> u128 {
        let engine = self.node().expect("it is up").engine;
        engine.supply().expect("a supply").outstanding
    }

    pub(crate) fn next_epoch(&self) {
        self.passes(EPOCH_SECONDS.into());
        self.desk().enter_next_epoch().expect("the next epoch");
    }

    pub(crate) async fn connect(&self, journal: &MemoryJournal, seed: u64) -> Arc<Provider> {
        let desk = self.desk();
        let record = desk.record();
        let record = record
            .verified(&desk.server_key())
            .expect("its own")
            .clone();
        let address = Address::new(record.server_key, record.node_id, Vec::new());
        drop(desk);
        let (way, rng) = (Arc::new(self.clone()), StdRng::seed_from_u64(seed));
        let provider = Provider::connect_with(address, way, rng).await.expect("up");
        let purse = Purse::open(&root(), &record.server_key, journal.clone());
        let provider = provider.with_purse(purse.expect("in memory"));
        Arc::new(provider.expect("its own"))
    }

    /// A wallet with tokens and data writes a cell, and then everything is lost.
    async fn loses_a_wallet(&self) {
        let provider = self.connect(&MemoryJournal::new(), 1).await;
        buy(&provider, 1, 6_000).await;
        let registers = OneProvider::new(&root(), provider.clone());
        let mut rng = StdRng::seed_from_u64(1);
        let map = Map::open(Arc::new(registers), &mut rng, None).await;
        let map = map.expect("up");
        map.take_over().await.expect("up");
        for key in 0..KEYS {
            if key == KEYS / 2 {
                map.roll_up().await.expect("up");
            }
            let write = Write::put(format!("k/{key}"), Expect::Any, [key; 100]);
            map.commit(Commit::of([write])).await.expect("no condition");
        }
        let mut now = START;
        loop {
            let extent = Extent::of(&map, Vec::new());
            let standing = provider.stay_restorable(now, &extent).await.expect("up");
            if standing.wrote == Some(Wrote::Cell) {
                assert!(standing.restorable.is_now());
                return;
            }
            now = now.max(standing.next);
        }
    }
}

impl Transport for World {
    fn exchange(&self, contents: Vec<u8>, _: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let request = envelope::unwrap(&contents).and_then(Request::decode);
            let request = request.expect("clients send requests");
            let op = request.call.op();
            let asked = (self.0.clock.now(), op);
            self.0.asked.lock().expect("no panic").push(asked);
            if let Call::Lookup(lookup) = request.call {
                let mut looked_up = self.0.looked_up.lock().expect("no panic");
                let paid = looked_up.entry(lookup.key).or_default();
                if !paid.contains(&request.payment) {
                    paid.push(request.payment);
                }
            }
            let answer = self.node().map(|node| node.desk.answer(&contents));
            let mut falls = self.0.falls_over.lock().expect("no panic");
            if falls.take_if(|falls| *falls == op).is_some() {
                self.stop();
            }
            let up = self.node().is_some();
            answer.filter(|_| up).ok_or(Unreachable {
                advice: "it is down".to_owned(),
            })
        })
    }
}

pub(crate) fn root() -> RootKey {
    RootKey::from_bytes([7; 32])
}

pub(crate) async fn buy(provider: &Provider, id: u8, tokens: u64) {
    let voucher = Vouchers::new(&identity()).issue([id; 16], tokens, u64::MAX);
    let bought = provider.buy(tokens, Means::Voucher(voucher)).await;
    bought.expect("a good voucher");
}

/// A wallet that has its root key, and the two journals of its restore.
struct Restoring {
    purse: MemoryJournal,
    kept: MemoryJournal,
    seed: u64,
}

impl Restoring {
    fn new() -> Self {
        Restoring {
            purse: MemoryJournal::new(),
            kept: MemoryJournal::new(),
            seed: 1,
        }
    }

    async fn begin(&mut self, world: &World) -> (Arc<Provider>, Restore) {
        self.seed += 1;
        let provider = world.connect(&self.purse, self.seed).await;
        let restore = Restore::begin(&root(), provider.clone(), self.kept.clone());
        (provider, restore.expect("in memory"))
    }
}

async fn read(restore: &Restore) -> Result<(), RecoveryError> {
    restore.tokens().await?;
    let map = restore.map(&mut StdRng::seed_from_u64(7)).await?;
    for key in 0..KEYS {
        let value = map.get(&format!("k/{key}")).await?.value;
        assert_eq!(value, Some(vec![key; 100]));
    }
    Ok(())
}

/// What a restore came to, in tokens.
struct Came {
    /// What the wallet holds.
    held: u64,
    /// What is outstanding besides.
    not_found: u64,
    /// What its look-ups cost. How far those run ahead of the end is chance.
    lookups: u64,
}

/// Restores from what is left at this age.
async fn restored(world: &World, age: u32, walks: bool) -> Came {
    let (provider, restore) = Restoring::new().begin(world).await;
    let restore = match walks {
        true => restore.walking(),
        false => restore,
    };
    if age > EARLIER {
        let expired = read(&restore).await;
        assert!(
            matches!(
                expired,
                Err(RecoveryError::ReserveExpired { epochs: 1, .. })
            ),
            "{expired:?}"
        );
        buy(&provider, 2, 1_000).await;
    }
    assert_eq!(read(&restore).await, Ok(()), "{age}");
    restore.finish().expect("in memory");
    // Look-ups that ran ahead of the end are settled, and what is of an older epoch is moved.
    for now in [START, START + u64::from(EPOCH_SECONDS) / 4] {
        provider.upkeep(now).await.expect("up");
    }
    let held = provider.purse().expect("one was given").holdings().tokens;
    let outstanding = u64::try_from(world.outstanding()).expect("few");
    Came {
        held,
        not_found: outstanding - held,
        lookups: 2 * world.0.looked_up.lock().expect("no panic").len() as u64,
    }
}

#[tokio::test]
async fn the_root_key_restores_from_the_real_node_at_every_age_and_says_when_it_is_past() {
    let mut off_the_page = HashSet::new();
    for age in 0..=EARLIER + 1 {
        let world = World::new();
        world.loses_a_wallet().await;
        (0..age).for_each(|_| world.next_epoch());
        let (plain, walking) = (world.copy(), world.copy());
        let plain = restored(&plain, age, false).await;
        let walking = restored(&walking, age, true).await;
        if age > EARLIER {
            // What was bought then. All else has expired, whoever walks.
            let held = [&plain, &walking].map(|came| came.held + came.lookups);
            assert_eq!(held, [1_000; 2]);
            continue;
        }
        // Two pairs of six were taken off the page ahead of need, as a quarter of them may be, the last one begun: nothing else
        // is missing, and who walks finds those as well, at the fee of an exchange each.
        assert_eq!(walking.not_found, 0, "{age}");
        let [all, found] = [&plain, &walking].map(|came| came.held + came.lookups);
        assert_eq!(all + plain.not_found, found + 2 * 3, "{age}");
        off_the_page.insert(plain.not_found);
    }
    // Of six thousand tokens less than two pairs, at every age the same but for a fee or some look-ups
    // that they had paid for: less than an insert.
    let (least, most) = (off_the_page.iter().min(), off_the_page.iter().max());
    let (least, most) = (least.expect("some"), most.expect("some"));
    assert!(
        (1..2_000).contains(least) && most - least < 16,
        "{off_the_page:?}"
    );
}

#[tokio::test]
async fn the_node_going_down_behind_any_kind_of_request_of_a_restore_costs_nothing() {
    let mut fees = Vec::new();
    let first = World::new();
    first.loses_a_wallet().await;
    first.next_epoch();
    let kinds = [Op::BreakglassOpen, Op::Reissue, Op::Transfer, Op::Lookup];
    for op in [None].into_iter().chain(kinds.map(Some)) {
        let world = first.copy();
        let (mut restoring, before) = (Restoring::new(), world.outstanding());
        if let Some(op) = op {
            world.falls_over(op);
            let (provider, restore) = restoring.begin(&world).await;
            let down = read(&restore).await;
            assert!(
                matches!(down, Err(RecoveryError::Unreachable(_))),
                "{down:?}"
            );
            drop((provider, restore));
            world.start();
        }
        let (_, restore) = restoring.begin(&world).await;
        assert_eq!(read(&restore).await, Ok(()), "{op:?}");
        // How far look-ups run ahead of the end is chance; none of them is paid for twice.
        let looked_up = world.0.looked_up.lock().expect("no panic");
        assert!(looked_up.values().all(|paid| paid.len() == 1), "{op:?}");
        fees.push(before - world.outstanding() - 2 * looked_up.len() as u128);
    }
    assert!(fees.iter().all(|fee| *fee == fees[0]), "{fees:?}");
}

#[tokio::test]
async fn a_node_that_is_down_as_long_as_the_timer_has_deleted_the_cell_and_kept_the_data() {
    let first = World::new();
    first.loses_a_wallet().await;
    // It comes back a second before, and at that time; behind the open, and when the tokens were taken.
    for (falls, down, is_found) in [
        (Op::BreakglassOpen, TIMER - 1, true),
        (Op::BreakglassOpen, TIMER, false),
        (Op::Lookup, TIMER, true),
    ] {
        let world = first.copy();
        let mut restoring = Restoring::new();
        let (_, restore) = restoring.begin(&world).await;
        world.falls_over(falls);
        assert!(restore.tokens().await.is_err());
        world.passes(down);
        world.start();
        if !is_found {
            assert_eq!(restore.tokens().await, Err(RecoveryError::NoCell));
        }
        drop(restore);
        let (provider, restore) = restoring.begin(&world).await;
        if !is_found {
            buy(&provider, 2, 1_000).await;
        }
        assert_eq!(read(&restore).await, Ok(()), "{falls:?} {down}");
    }
}

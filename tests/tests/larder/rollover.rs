//! Epochs begin under load: no request fails for good, credentials move on for as long as they are
//! accepted and not for longer, and the room of what is over comes back.
//!
//! The node runs in the test, over real sockets, because only there an epoch begins when it is told
//! to.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_node::{Config, Node};
use larder_onion::PeerAddress;
use larder_protocol::insert::Insert;
use larder_protocol::{Call, Key, Refusal};
use larder_recovery::{Looked, RecoveryError, Removed, Written};
use larder_store::{Engine, Options, SledEngine};
use tokio::sync::Notify;

use crate::bare::{Bare, paid, refusal};
use crate::processes::relay;
use crate::wallet::{Client, TOKENS, blob, patient, runtime};

const WORKERS: u64 = 12;
/// Epochs that begin under the load.
const EPOCHS: u32 = 6;
/// As many as the node accepts behind the present one.
const EARLIER: u32 = 2;
const EPOCH_SECONDS: u64 = 604_800;
const INSERT: u64 = 16;
const LOOKUP: u64 = 1;

pub(crate) async fn node(folder: &Path, lsp: PeerAddress) -> Node {
    let set = [
        ("LARDERD_PAYMENT", "credentials".to_owned()),
        ("LARDERD_CREDENTIALS_TILL", "instant".to_owned()),
        ("LARDERD_STORE_FREE_SPACE_FLOOR_MIB", "16".to_owned()),
        ("LARDERD_LSPS", lsp.to_string()),
    ];
    let set = set.map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let config = Config::load(None, Some(folder), set).expect("a configuration");
    let node = Node::start(&config).await.expect("a node");
    node.wait_connected().await;
    node
}

/// Counts what was done, and tells.
#[derive(Default)]
struct Progress {
    inserted: AtomicU64,
    looked_up: AtomicU64,
    more: Notify,
}

impl Progress {
    async fn inserted(&self, goal: u64) {
        loop {
            let more = self.more.notified();
            if self.inserted.load(Ordering::SeqCst) >= goal {
                return;
            }
            more.await;
        }
    }
}

/// Stores numbers and reads them back, until so many epochs have passed.
async fn work(client: Arc<Client>, progress: Arc<Progress>, worker: u64, last: Arc<AtomicU64>) {
    for number in (worker..).step_by(WORKERS as usize) {
        if last.load(Ordering::SeqCst) != 0 {
            return;
        }
        let key = Key::from(client.keypair(number).public_key());
        let written = client.provider.insert(key, blob(number)).await;
        // Its first try may have been performed in the very moment in which the epoch ended.
        assert!(matches!(written, Ok(Written::New)), "{number}: {written:?}");
        progress.inserted.fetch_add(1, Ordering::SeqCst);
        let looked = client.provider.lookup(key).await;
        assert!(
            looked == Ok(Looked::Found(blob(number))),
            "{number}: {looked:?}"
        );
        progress.looked_up.fetch_add(1, Ordering::SeqCst);
        progress.more.notify_waiters();
    }
}

#[test]
fn epochs_that_begin_under_load_fail_no_request_and_cost_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let held = runtime().block_on(async {
        let node = node(folder.path(), relay.peer).await;
        let client = Arc::new(Client::connect(patient(relay.peer), node.address()).await);
        let (progress, last) = (Arc::new(Progress::default()), Arc::new(AtomicU64::new(0)));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                tokio::spawn(work(client.clone(), progress.clone(), worker, last.clone()))
            })
            .collect();
        let mut now = 0;
        for epoch in 1..=EPOCHS {
            progress.inserted(u64::from(epoch) * 3 * WORKERS).await;
            node.enter_next_epoch().await.expect("the next epoch");
            // What is idle moves on, beside what is under way.
            for _ in 0..2 {
                client.provider.upkeep(now).await.expect("it moves on");
                now += EPOCH_SECONDS / 2;
            }
        }
        let done = progress.inserted.load(Ordering::SeqCst);
        progress.inserted(done + WORKERS).await;
        last.store(1, Ordering::SeqCst);
        for worker in workers {
            worker.await.expect("none failed");
        }
        let held = client.provider.purse().expect("given").holdings();
        assert_eq!((held.in_flight, held.expired), (0, 0));
        let spent = progress.inserted.load(Ordering::SeqCst) * INSERT
            + progress.looked_up.load(Ordering::SeqCst) * LOOKUP;
        assert_eq!(held.tokens, TOKENS - spent);
        let stopped = node.shutdown().await;
        assert!(
            stopped.seen.wrong_epoch > 0,
            "no request met the end of an epoch"
        );
        held.tokens
    });
    let options = Options {
        free_space_floor: 0,
        ..Options::default()
    };
    let engine = SledEngine::open(&folder.path().join("store"), options).expect("a store");
    let supply = engine.supply().expect("a supply");
    assert_eq!((supply.outstanding, supply.halted), (held.into(), false));
}

#[test]
fn credentials_move_on_while_they_are_accepted_and_are_refused_one_epoch_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    runtime().block_on(async {
        let node = node(folder.path(), relay.peer).await;
        let client = Client::connect(patient(relay.peer), node.address()).await;
        let mut bare = Bare::new(&client, 1);
        let pair = bare.buy(1_000, None).await;
        // The time at which the store began.
        let first = client.provider.record().epoch;
        for _ in 0..EARLIER {
            node.enter_next_epoch().await.expect("the next epoch");
        }
        // The last moment.
        let upkeep = client.provider.upkeep(0).await.expect("it moves on");
        assert_eq!(upkeep.reissued, 16);
        let purse = client.provider.purse().expect("given");
        assert_eq!(
            purse.holdings().by_epoch,
            [(first + EARLIER, TOKENS)].into()
        );

        // One more epoch, and what stayed behind is refused, and told why.
        node.enter_next_epoch().await.expect("the next epoch");
        let key = client.keypair(0).public_key().into();
        let call = Call::Insert(Insert { key, blob: blob(0) });
        let payment = paid(&bare.pay(&pair, &call, INSERT));
        let refused = refusal(&client, call, payment).await;
        let (oldest, current) = (first + 1, first + 1 + EARLIER);
        assert_eq!(refused, Refusal::WrongEpoch { current, oldest });
        assert_eq!(
            refused.to_string(),
            format!("credentials of epochs {oldest} to {current} are accepted")
        );
        assert_eq!(client.provider.lookup(key).await, Ok(Looked::Absent));

        // A purse that stays away for that long has lost its tokens, and says so.
        for _ in 0..=EARLIER {
            node.enter_next_epoch().await.expect("the next epoch");
        }
        let looked = client.provider.lookup(key).await;
        let out = RecoveryError::OutOfTokens {
            needed: LOOKUP,
            held: 0,
        };
        assert_eq!(looked, Err(out));
        assert_eq!(purse.holdings().expired, TOKENS - LOOKUP);
        node.shutdown().await;
    });
}

#[test]
fn rows_and_tombstones_give_their_room_back_when_their_epoch_is_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    runtime().block_on(async {
        let node = node(folder.path(), relay.peer).await;
        let client = Arc::new(Client::connect(patient(relay.peer), node.address()).await);
        let usage = || node.usage().expect("counts");
        let (mut full, mut empty) = (Vec::new(), Vec::new());
        for round in 0..3 {
            let numbers = (round * 200..).take(200);
            let work = numbers.map(|number| {
                let client = client.clone();
                async move {
                    let keypair = client.keypair(number);
                    let inserted = client
                        .provider
                        .insert(keypair.public_key().into(), blob(number));
                    assert_eq!(inserted.await, Ok(Written::New));
                    let removed = client.provider.delete(&keypair, blob(number).hash()).await;
                    assert_eq!(removed, Ok(Removed::Now));
                }
            });
            futures_util::future::join_all(work).await;
            full.push(usage());
            for _ in 0..=EARLIER {
                node.enter_next_epoch().await.expect("the next epoch");
                client.provider.upkeep(0).await.expect("kept up");
            }
            // The rows of the reissues above are left.
            empty.push(usage());
        }
        let counts = |all: &[larder_store::Usage]| -> Vec<_> {
            all.iter()
                .map(|usage| (usage.tombstones, usage.disk_bytes))
                .collect()
        };
        let (full, empty) = (counts(&full), counts(&empty));
        println!("full {full:?}, empty {empty:?}");
        for (full, empty) in full.iter().zip(&empty) {
            assert_eq!((full.0, empty.0), (200, 0));
            assert!(empty.1 < full.1, "{empty:?} of {full:?}");
        }
        // Nothing is left behind from round to round. How many reissues there are is drawn, so some rows may be more.
        let (grown, round) = (
            empty[2].1.saturating_sub(empty[0].1),
            full[0].1 - empty[0].1,
        );
        assert!(grown < round / 100, "{empty:?} of {full:?}");
        node.shutdown().await;
    });
}

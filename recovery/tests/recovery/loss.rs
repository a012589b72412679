//! A wallet that may lose everything but its root key, and what a restore makes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder_protocol::{Op, Payment, Request};
use larder_recovery::breakglass::{self, Extent, Restorable, Restore, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::{Means, MemoryJournal, Provider, RecoveryError, Stage, Transport};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::paid::{PaidShelf, open, open_over, tokens};
use crate::shelf::root;

pub(crate) const START: u64 = 1_000_000;

/// A wallet with tokens, in pairs of 500, and data, some of it in a snapshot.
pub(crate) struct Wallet {
    pub(crate) shelf: PaidShelf,
    pub(crate) provider: Arc<Provider>,
    pub(crate) map: Map,
    pub(crate) keys: u8,
    pub(crate) now: u64,
}

impl Wallet {
    pub(crate) async fn new(pairs: u64, keys: u8) -> Self {
        let shelf = PaidShelf::new();
        Wallet::over(&shelf, Arc::new(shelf.clone()), pairs, keys).await
    }

    /// The same over a transport of the test's own.
    pub(crate) async fn over(
        shelf: &PaidShelf,
        transport: Arc<dyn Transport>,
        pairs: u64,
        keys: u8,
    ) -> Self {
        let shelf = shelf.clone();
        let provider = open_over(&shelf, transport, MemoryJournal::new(), 1).await;
        let provider = provider.expect("honest");
        buy(&shelf, &provider, 1, 500 * pairs).await;
        let registers = Arc::new(OneProvider::new(&root(1), provider.clone()));
        let mut rng = StdRng::seed_from_u64(1);
        let map = Map::open(registers, &mut rng, Some(1)).await;
        let map = map.expect("honest");
        map.take_over().await.expect("honest");
        let mut wallet = Wallet {
            shelf,
            provider,
            map,
            keys: 0,
            now: START,
        };
        wallet.put(keys / 2).await;
        wallet.map.roll_up().await.expect("honest");
        wallet.put(keys - keys / 2).await;
        wallet
    }

    /// Stores so many more keys.
    pub(crate) async fn put(&mut self, keys: u8) {
        for key in self.keys..self.keys + keys {
            let write = Write::put(format!("k/{key}"), Expect::Any, [key; 100]);
            let commit = self.map.commit(Commit::of([write]));
            commit.await.expect("no condition");
        }
        self.keys += keys;
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent::of(&self.map, vec![self.shelf.address()])
    }

    pub(crate) async fn stay(&self) -> breakglass::Standing {
        self.stay_as(&self.extent()).await
    }

    /// As a wallet of another size.
    pub(crate) async fn stay_as(&self, extent: &Extent) -> breakglass::Standing {
        let standing = self.provider.stay_restorable(self.now, extent);
        standing.await.expect("honest")
    }

    /// What a restore takes so many look-ups of.
    pub(crate) fn of(&self, lookups: u64) -> Extent {
        Extent {
            lookups,
            ..self.extent()
        }
    }

    /// Does what is due until this has been written.
    pub(crate) async fn until(&mut self, wanted: Wrote) {
        self.until_as(wanted, &self.extent()).await;
    }

    pub(crate) async fn until_as(&mut self, wanted: Wrote, extent: &Extent) {
        for _ in 0..200 {
            let standing = self.stay_as(extent).await;
            assert_eq!(standing.missing, 0);
            if standing.wrote == Some(wanted) {
                return;
            }
            self.now = self.now.max(standing.next);
        }
        panic!("{wanted:?} was never written");
    }

    pub(crate) fn restorable(&self) -> Restorable {
        let restorable = self.provider.restorable(&self.extent());
        restorable.expect("a purse")
    }

    /// Everything is lost. How many keys there were.
    pub(crate) fn lose(self) -> (PaidShelf, u8) {
        (self.shelf, self.keys)
    }
}

pub(crate) async fn buy(shelf: &PaidShelf, provider: &Provider, id: u8, tokens: u64) {
    let means = Means::Voucher(shelf.voucher(id, tokens));
    let purchase = provider.buy(tokens, means).await.expect("a good voucher");
    assert_eq!(purchase.stage, Stage::Collected);
}

pub(crate) async fn has_all(map: &Map, keys: u8) {
    for key in 0..keys {
        let read = map.get(&format!("k/{key}")).await.expect("it is here");
        assert_eq!(read.value, Some(vec![key; 100]), "{key}");
    }
}

/// A wallet that has nothing but the root key, with what a restore has put down so far.
pub(crate) async fn start_over(
    shelf: &PaidShelf,
    purse: &MemoryJournal,
    kept: &MemoryJournal,
) -> (Arc<Provider>, Restore) {
    // Randomness never repeats.
    let seed = 7 + shelf.log().len() as u64;
    let provider = open(shelf, purse.clone(), seed).await.expect("honest");
    let restore = Restore::begin(&root(1), provider.clone(), kept.clone());
    (provider, restore.expect("in memory"))
}

pub(crate) async fn nothing_left(shelf: &PaidShelf) -> (Arc<Provider>, Restore) {
    start_over(shelf, &MemoryJournal::new(), &MemoryJournal::new()).await
}

pub(crate) async fn read(restore: &Restore) -> Result<Map, RecoveryError> {
    restore.tokens().await?;
    restore.map(&mut StdRng::seed_from_u64(7)).await
}

/// Tokens of the wallet before. A purse counts none that the ledger does not hold.
pub(crate) fn lost(shelf: &PaidShelf, provider: &Provider) -> u64 {
    shelf.outstanding() - tokens(provider)
}

/// Walks after a total loss. What it does not find of the tokens that there are.
pub(crate) async fn not_found(wallet: Wallet) -> u64 {
    let (shelf, _) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    restore.walking().tokens().await.expect("the cell pays");
    lost(&shelf, &provider)
}

pub(crate) fn keys_looked_up(log: &[Request]) -> Vec<Vec<u8>> {
    let lookups = log.iter().filter(|request| request.call.op() == Op::Lookup);
    let keys = lookups.filter_map(|request| request.call.key());
    keys.map(|key| key.as_bytes().to_vec()).collect()
}

/// What every credential was shown for, in order, as the storage node has seen it.
fn shown(shelf: &PaidShelf) -> BTreeMap<Vec<u8>, Vec<Op>> {
    let service = shelf.record().service();
    let mut shown: BTreeMap<Vec<u8>, Vec<Op>> = BTreeMap::new();
    for Request { payment, call, .. } in shelf.log() {
        let Payment::Credentials(core) = payment else {
            continue;
        };
        let core = larder_credentials::Request::decode(&service, &core).expect("a core");
        for reference in core.references().iter() {
            shown
                .entry(reference.0.to_vec())
                .or_default()
                .push(call.op());
        }
    }
    shown
}

/// What was shown more than once was so for exchanges only.
pub(crate) fn shows_no_operation_again(shelf: &PaidShelf) {
    for ops in shown(shelf).values().filter(|ops| ops.len() > 1) {
        let mut ops = ops.iter();
        assert!(ops.all(|op| matches!(op, Op::Transfer | Op::Reissue)));
    }
}

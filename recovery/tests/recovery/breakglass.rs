//! Total loss: nothing is left but the root key.

use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::breakglass::{Extent, Restorable, Restore, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::{Journal, Means, MemoryJournal, Provider, RecoveryError, Stage};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::paid::{EARLIER, EPOCH_SECONDS, FEE, INSERT, PaidShelf, open, tokens};
use crate::shelf::root;

const START: u64 = 1_000_000;
const BOUGHT: u64 = 8_000;
const KEYS: u8 = 6;

/// A wallet with tokens and data.
struct Wallet {
    shelf: PaidShelf,
    provider: Arc<Provider>,
    map: Map,
    now: u64,
}

async fn buy(shelf: &PaidShelf, provider: &Provider, id: u8, tokens: u64) {
    let means = Means::Voucher(shelf.voucher(id, tokens));
    let purchase = provider.buy(tokens, means).await.expect("a good voucher");
    assert_eq!(purchase.stage, Stage::Collected);
}

async fn put(map: &Map, key: u8) {
    let write = Write::put(format!("k/{key}"), Expect::Any, [key; 100]);
    map.commit(Commit::of([write])).await.expect("no condition");
}

async fn has_all(map: &Map) {
    for key in 0..KEYS {
        let read = map.get(&format!("k/{key}")).await.expect("it is here");
        assert_eq!(read.value, Some(vec![key; 100]), "{key}");
    }
}

impl Wallet {
    async fn new() -> Self {
        let shelf = PaidShelf::new();
        let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
        buy(&shelf, &provider, 1, BOUGHT).await;
        let registers = Arc::new(OneProvider::new(&root(1), provider.clone()));
        let mut rng = StdRng::seed_from_u64(1);
        let map = Map::open(registers, &mut rng, None).await.expect("honest");
        map.take_over().await.expect("honest");
        for key in 0..KEYS / 2 {
            put(&map, key).await;
        }
        map.roll_up().await.expect("honest");
        for key in KEYS / 2..KEYS {
            put(&map, key).await;
        }
        Wallet {
            shelf,
            provider,
            map,
            now: START,
        }
    }

    fn extent(&self) -> Extent {
        Extent::of(&self.map, vec![self.shelf.address()])
    }

    /// Does what is due until this has been written, and returns when.
    async fn until(&mut self, wanted: Wrote) -> u64 {
        for _ in 0..20 {
            let extent = self.extent();
            let standing = self.provider.stay_restorable(self.now, &extent);
            let standing = standing.await.expect("honest");
            assert_eq!(standing.missing, 0);
            if standing.wrote == Some(wanted) {
                return self.now;
            }
            assert!(standing.next > self.now || standing.wrote.is_some());
            self.now = self.now.max(standing.next);
        }
        panic!("{wanted:?} was never written");
    }

    fn restorable(&self) -> Restorable {
        let restorable = self.provider.restorable(&self.extent());
        restorable.expect("a purse")
    }
}

/// What is left when nothing is.
async fn start_over(shelf: &PaidShelf, purse: &MemoryJournal, kept: &MemoryJournal) -> Restore {
    let provider = open(shelf, purse.clone(), 7).await.expect("honest");
    Restore::begin(&root(1), provider, kept.clone()).expect("in memory")
}

async fn read(restore: &Restore) -> Result<Map, RecoveryError> {
    restore.tokens().await?;
    restore.map(&mut StdRng::seed_from_u64(7)).await
}

#[tokio::test]
async fn the_root_key_alone_restores_data_and_tokens_at_every_age_of_the_reserve() {
    for age in 0..=EARLIER {
        let mut wallet = Wallet::new().await;
        wallet.until(Wrote::Cell).await;
        assert!(wallet.restorable().is_now());
        assert_eq!(wallet.restorable().epochs, Some(EARLIER));
        let (shelf, held) = (wallet.shelf.clone(), tokens(&wallet.provider));
        drop(wallet);
        (0..age).for_each(|_| shelf.next_epoch());

        let (purse, kept) = (MemoryJournal::new(), MemoryJournal::new());
        let provider = open(&shelf, purse, 7).await.expect("honest");
        let restore = Restore::begin(&root(1), provider.clone(), kept).expect("in memory");
        let before = shelf.performed(Op::Lookup);
        let map = read(&restore).await.expect("the cell pays");
        has_all(&map).await;
        assert_eq!(restore.providers(), vec![shelf.address()]);
        restore.finish().expect("in memory");
        // All but what had been exchanged for use since the page was written.
        let spent = (shelf.performed(Op::Lookup) - before) as u64 * 2;
        let left = tokens(&provider);
        println!("age {age}: held {held}, spent {spent}, left {left}");
        assert!(
            left + spent + 16 * FEE + 1_100 >= held,
            "{left} {spent} of {held}"
        );
    }
}

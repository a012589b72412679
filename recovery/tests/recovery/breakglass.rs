//! Total loss: nothing is left but the root key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use larder_protocol::{Op, Payment, Request};
use larder_recovery::breakglass::{self, Extent, Restorable, Restore, Wrote};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::{Looked, Means, MemoryJournal, Provider, RecoveryError, Stage};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::crashes::{Life, MortalJournal, MortalTransport, When};
use crate::paid::{
    BREAKGLASS_SECONDS, EARLIER, EPOCH_SECONDS, INSERT, LOOKUP, PUT, PaidShelf, open, open_over,
    pair, tokens,
};
use crate::shelf::root;

const START: u64 = 1_000_000;

/// A wallet with tokens, in pairs of 500, and data, some of it in a snapshot.
struct Wallet {
    shelf: PaidShelf,
    provider: Arc<Provider>,
    map: Map,
    keys: u8,
    now: u64,
}

async fn buy(shelf: &PaidShelf, provider: &Provider, id: u8, tokens: u64) {
    let means = Means::Voucher(shelf.voucher(id, tokens));
    let purchase = provider.buy(tokens, means).await.expect("a good voucher");
    assert_eq!(purchase.stage, Stage::Collected);
}

async fn has_all(map: &Map, keys: u8) {
    for key in 0..keys {
        let read = map.get(&format!("k/{key}")).await.expect("it is here");
        assert_eq!(read.value, Some(vec![key; 100]), "{key}");
    }
}

impl Wallet {
    async fn new(pairs: u64, keys: u8) -> Self {
        let shelf = PaidShelf::new();
        let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
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
    async fn put(&mut self, keys: u8) {
        for key in self.keys..self.keys + keys {
            let write = Write::put(format!("k/{key}"), Expect::Any, [key; 100]);
            let commit = self.map.commit(Commit::of([write]));
            commit.await.expect("no condition");
        }
        self.keys += keys;
    }

    fn extent(&self) -> Extent {
        Extent::of(&self.map, vec![self.shelf.address()])
    }

    async fn stay(&self) -> breakglass::Standing {
        self.stay_as(&self.extent()).await
    }

    /// As a wallet of another size.
    async fn stay_as(&self, extent: &Extent) -> breakglass::Standing {
        let standing = self.provider.stay_restorable(self.now, extent);
        standing.await.expect("honest")
    }

    /// What a restore takes so many look-ups of.
    fn of(&self, lookups: u64) -> Extent {
        Extent {
            lookups,
            ..self.extent()
        }
    }

    /// Does what is due until this has been written.
    async fn until(&mut self, wanted: Wrote) {
        self.until_as(wanted, &self.extent()).await;
    }

    async fn until_as(&mut self, wanted: Wrote, extent: &Extent) {
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

    fn restorable(&self) -> Restorable {
        let restorable = self.provider.restorable(&self.extent());
        restorable.expect("a purse")
    }

    /// Everything is lost. How many keys there were.
    fn lose(self) -> (PaidShelf, u8) {
        (self.shelf, self.keys)
    }
}

/// A wallet that has nothing but the root key, with what a restore has put down so far.
async fn start_over(
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

async fn nothing_left(shelf: &PaidShelf) -> (Arc<Provider>, Restore) {
    start_over(shelf, &MemoryJournal::new(), &MemoryJournal::new()).await
}

async fn read(restore: &Restore) -> Result<Map, RecoveryError> {
    restore.tokens().await?;
    restore.map(&mut StdRng::seed_from_u64(7)).await
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

fn keys_looked_up(log: &[Request]) -> Vec<Vec<u8>> {
    let lookups = log.iter().filter(|request| request.call.op() == Op::Lookup);
    let keys = lookups.filter_map(|request| request.call.key());
    keys.map(|key| key.as_bytes().to_vec()).collect()
}

fn is_exchange(op: &Op) -> bool {
    matches!(op, Op::Transfer | Op::Reissue)
}

#[tokio::test]
async fn the_root_key_alone_restores_data_and_tokens_at_every_age_of_the_reserve() {
    for age in 0..=EARLIER {
        let mut wallet = Wallet::new(16, 6).await;
        wallet.until(Wrote::Cell).await;
        let restorable = wallet.restorable();
        assert_eq!(restorable.epochs, Some(EARLIER));
        assert!(restorable.is_now() && restorable.times >= 2);
        let held = tokens(&wallet.provider);
        let (shelf, keys) = wallet.lose();
        (0..age).for_each(|_| shelf.next_epoch());

        let (provider, restore) = nothing_left(&shelf).await;
        let before = shelf.performed(Op::Lookup);
        let map = read(&restore).await.expect("the cell pays");
        has_all(&map, keys).await;
        assert_eq!(restore.providers(), vec![shelf.address()]);
        restore.finish().expect("in memory");
        // But for the one pair that was in use since the page was written, and the fees of taking them.
        let read = (shelf.performed(Op::Lookup) - before) as u64 * LOOKUP;
        assert!(tokens(&provider) + read + 500 + 16 >= held, "{age}");
        assert!(tokens(&provider) + read <= held);
    }
}

#[tokio::test]
async fn a_reserve_that_is_reissued_and_not_yet_in_a_cell_again_is_found() {
    for epochs in 1..=EARLIER {
        let mut wallet = Wallet::new(6, 2).await;
        wallet.until(Wrote::Cell).await;
        for _ in 0..epochs {
            wallet.shelf.next_epoch();
            // Long enough for every reissue, in steps, and too short for a page or a cell.
            let first = wallet.stay().await;
            assert_eq!(first.wrote, None);
            wallet.now += u64::from(EPOCH_SECONDS) / 4 - 1;
            assert_eq!(wallet.stay().await.wrote, None);
            wallet.now += u64::from(EPOCH_SECONDS) * 3 / 4;
        }
        assert_eq!(wallet.restorable().epochs, Some(EARLIER - epochs));
        let (shelf, keys) = wallet.lose();
        let (provider, restore) = nothing_left(&shelf).await;
        has_all(&read(&restore).await.expect("it is found"), keys).await;
        assert!(tokens(&provider) > 500);
    }
}

#[tokio::test]
async fn one_epoch_past_it_says_so_and_restores_when_tokens_are_bought() {
    let mut wallet = Wallet::new(6, 4).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    (0..=EARLIER).for_each(|_| shelf.next_epoch());
    let (provider, restore) = nothing_left(&shelf).await;
    for _ in 0..2 {
        let error = read(&restore).await.err().expect("it expired");
        let RecoveryError::ReserveExpired { epochs: 1, needed } = error else {
            panic!("{error}");
        };
        assert!(needed > 0);
        let text = error.to_string();
        assert!(
            text.contains("expired 1 epoch") && text.contains(&needed.to_string()),
            "{text}"
        );
    }
    assert_eq!(tokens(&provider), 0);
    buy(&shelf, &provider, 2, 500).await;
    has_all(&read(&restore).await.expect("bought"), keys).await;
    restore.finish().expect("in memory");
    assert_eq!(
        tokens(&provider),
        shelf.outstanding() - lost(&shelf, &provider)
    );
}

/// Tokens of the wallet before.
fn lost(shelf: &PaidShelf, provider: &Provider) -> u64 {
    shelf.outstanding() - tokens(provider)
}

/// Restores from a storage node with one crash behind this step. Says whether there was one, and what it
/// cost beside look-ups, none of which is paid for twice.
async fn live(shelf: &PaidShelf, keys: u8, step: u32) -> (bool, u64) {
    let (from, before, paid) = (
        shelf.log().len(),
        shelf.outstanding(),
        shelf.performed(Op::Lookup),
    );
    let (purse, kept) = (MemoryJournal::new(), MemoryJournal::new());
    let mut life = Life::until(step, When::After);
    let mut died = false;
    loop {
        let journal = |journal: &MemoryJournal| MortalJournal(journal.clone(), life.clone());
        let transport = Arc::new(MortalTransport(shelf.clone(), life.clone()));
        let seed = 100 + shelf.log().len() as u64;
        let done = async {
            let provider = open_over(shelf, transport, journal(&purse), seed).await?;
            let restore = Restore::begin(&root(1), provider, journal(&kept))?;
            has_all(&read(&restore).await?, keys).await;
            restore.finish()
        };
        match done.await {
            Ok(()) => {
                // How far look-ups run ahead of the end is chance.
                let looked_up = keys_looked_up(&shelf.log()[from..]);
                let distinct: BTreeSet<_> = looked_up.iter().collect();
                assert_eq!(shelf.performed(Op::Lookup) - paid, distinct.len(), "{step}");
                let fees = before - shelf.outstanding() - LOOKUP * distinct.len() as u64;
                return (died || life.is_over(), fees);
            }
            Err(error) => assert!(life.is_over() && !died, "{step}: {error}"),
        }
        (died, life) = (true, Life::default());
    }
}

#[tokio::test]
async fn a_crash_behind_any_step_of_a_restore_costs_no_token() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    shelf.next_epoch();
    let (_, fees) = live(&shelf.fork(), keys, u32::MAX).await;
    let mut steps = 0;
    for step in 1.. {
        let (died, fees_now) = live(&shelf.fork(), keys, step).await;
        assert_eq!(fees_now, fees, "{step}");
        if !died {
            steps = step;
            break;
        }
    }
    assert!(steps > 40, "{steps}");
}

#[tokio::test]
async fn a_storage_node_that_goes_down_behind_an_open_is_asked_again() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    // It opens the cell, dooms it, and says nothing.
    shelf.loses_answers(20);
    let failed = restore.tokens().await;
    assert!(matches!(failed, Err(RecoveryError::Unreachable(_))));
    shelf.is_now(u64::from(BREAKGLASS_SECONDS) - 1);
    has_all(&read(&restore).await.expect("it is still there"), keys).await;
}

#[tokio::test]
async fn a_cell_whose_time_ran_out_is_said_to_be_none_and_bought_tokens_do_as_well() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    shelf.loses_answers(20);
    assert!(restore.tokens().await.is_err());
    shelf.is_now(u64::from(BREAKGLASS_SECONDS));
    for _ in 0..2 {
        assert_eq!(restore.tokens().await, Err(RecoveryError::NoCell));
    }
    buy(&shelf, &provider, 2, 500).await;
    has_all(&read(&restore).await.expect("bought"), keys).await;
}

#[tokio::test]
async fn a_restored_wallet_writes_a_cell_again_and_can_be_lost_again() {
    let mut wallet = Wallet::new(8, 2).await;
    wallet.until(Wrote::Cell).await;
    let first = wallet.shelf.cells();
    let (mut shelf, keys) = wallet.lose();
    for time in 0..2 {
        let (provider, restore) = nothing_left(&shelf).await;
        let map = read(&restore).await.expect("the cell pays");
        has_all(&map, keys).await;
        assert!(
            !provider
                .restorable(&Extent::of(&map, vec![]))
                .expect("a purse")
                .is_now()
        );
        restore.finish().expect("in memory");
        map.take_over().await.expect("honest");
        let mut wallet = Wallet {
            shelf: shelf.clone(),
            provider,
            map,
            keys,
            now: START,
        };
        wallet.until(Wrote::Cell).await;
        // Before the timer of the open runs out.
        assert!(wallet.now < START + u64::from(BREAKGLASS_SECONDS), "{time}");
        assert!(wallet.restorable().is_now());
        assert!(wallet.shelf.cells() > first);
        (shelf, _) = wallet.lose();
    }
}

#[tokio::test]
async fn without_walking_a_restore_shows_nothing_that_was_shown_for_an_operation() {
    let mut wallet = Wallet::new(8, 2).await;
    wallet.until(Wrote::Cell).await;
    // Life goes on, and much of what the page lists is used.
    wallet.put(20).await;
    let (shelf, keys) = wallet.lose();
    let before = shelf.log().len();
    let (provider, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the cell pays"), keys).await;
    assert!(shelf.log().len() > before);
    for ops in shown(&shelf).values().filter(|ops| ops.len() > 1) {
        assert!(ops.iter().all(is_exchange), "{ops:?}");
    }
    // What was in use is not found.
    assert!(lost(&shelf, &provider) > 0);
}

#[tokio::test]
async fn walking_finds_every_token() {
    let mut wallet = Wallet::new(8, 2).await;
    wallet.until(Wrote::Cell).await;
    wallet.put(20).await;
    let unlisted = tokens(&wallet.provider);
    let (shelf, keys) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    let restore = restore.walking();
    has_all(&read(&restore).await.expect("the cell pays"), keys).await;
    assert_eq!(lost(&shelf, &provider), 0, "of {unlisted}");
}

#[tokio::test]
async fn a_reserve_that_another_restore_has_taken_is_said_to_be_and_found_by_walking() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let (first, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the cell pays"), keys).await;
    assert!(tokens(&first) > 0);
    drop((first, restore));
    let (provider, restore) = nothing_left(&shelf).await;
    let error = restore.tokens().await.expect_err("it is taken");
    assert!(
        matches!(error, RecoveryError::ReserveTaken { .. }),
        "{error}"
    );
    assert_eq!(tokens(&provider), 0);
    let restore = restore.walking();
    has_all(&read(&restore).await.expect("found"), keys).await;
    // All that the first one left, and what it had not found.
    assert_eq!(lost(&shelf, &provider), 0);
}

#[tokio::test]
async fn the_reserve_pays_for_nothing_but_a_restore() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (key, _) = pair(1);
    let error = loop {
        match wallet.provider.lookup(key).await {
            Ok(looked) => assert_eq!(looked, Looked::Absent),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, RecoveryError::OutOfTokens { .. }),
        "{error}"
    );
    let holdings = wallet.provider.purse().expect("one was given").holdings();
    assert!(holdings.tokens - holdings.reserve < LOOKUP + 2);
    assert_eq!(holdings.suffice_for(INSERT), 0);
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the reserve pays"), keys).await;
}

#[tokio::test]
async fn out_of_tokens_it_says_how_many_and_goes_on_with_what_it_has() {
    let mut wallet = Wallet::new(3, 2).await;
    // It takes the wallet for smaller than it is.
    let extent = Extent {
        lookups: 9,
        ..wallet.extent()
    };
    wallet.until_as(Wrote::Cell, &extent).await;
    wallet.put(40).await;
    while wallet.provider.lookup(pair(1).0).await.is_ok() {}
    let (shelf, keys) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    let before = shelf.log().len();
    let mut bought = 0;
    let map = loop {
        match read(&restore).await {
            Ok(map) => break map,
            Err(RecoveryError::OutOfTokens { needed, held }) => {
                assert!(needed > held);
                bought += 1;
                buy(&shelf, &provider, 2 + bought, 24).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    has_all(&map, keys).await;
    assert!(bought > 0);
    let asked = keys_looked_up(&shelf.log()[before..]);
    let distinct: BTreeSet<_> = asked.iter().collect();
    assert_eq!(asked.len(), distinct.len(), "nothing is asked for twice");
}

#[tokio::test]
async fn progress_goes_through_the_stages_and_counts_what_is_read() {
    let mut wallet = Wallet::new(3, 4).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, _) = wallet.lose();
    let heard: Arc<Mutex<Vec<breakglass::Progress>>> = Arc::default();
    let (_, restore) = nothing_left(&shelf).await;
    let listener = heard.clone();
    let restore = restore.on_progress(move |progress| {
        listener
            .lock()
            .expect("no test panics in here")
            .push(progress);
    });
    drop(read(&restore).await.expect("the cell pays"));
    restore.finish().expect("in memory");
    let heard = heard.lock().expect("no test panics in here");
    let mut stages: Vec<_> = heard.iter().map(|progress| progress.stage).collect();
    stages.dedup();
    use breakglass::Stage::{Anchor, Cell, Log, Page, Ready, Snapshot, Tokens};
    assert_eq!(
        stages,
        [Cell, Tokens, Page, Tokens, Anchor, Snapshot, Log, Ready]
    );
    assert!(heard.is_sorted_by_key(|progress| progress.blobs));
    let in_snapshot = heard.iter().filter(|progress| progress.stage == Snapshot);
    let in_snapshot =
        in_snapshot.map(|progress| (progress.read.snapshot, progress.read.snapshot_of));
    assert_eq!(in_snapshot.collect::<Vec<_>>(), [(1, Some(1))]);
    let last = heard.last().expect("many");
    assert!(last.blobs > 4 && last.expected.is_some_and(|expected| expected >= last.blobs));
}

#[tokio::test]
async fn a_cell_is_written_once_an_epoch_at_other_times_each_and_old_pages_go() {
    let mut wallet = Wallet::new(4, 2).await;
    wallet.until(Wrote::Cell).await;
    let epoch = u64::from(EPOCH_SECONDS);
    let mut times = BTreeSet::new();
    for number in 1..4_usize {
        wallet.shelf.next_epoch();
        wallet.now += 2 * epoch;
        let seen = wallet.now;
        let mut wrote = Vec::new();
        while wallet.now < seen + epoch {
            let standing = wallet.stay().await;
            wrote.extend(standing.wrote.map(|what| (what, wallet.now - seen)));
            assert!(standing.next > wallet.now || standing.wrote.is_some());
            wallet.now = standing.next.max(wallet.now);
        }
        // The first page is the one that the first cell still names while the second is written.
        let whats: Vec<_> = wrote.iter().map(|(what, _)| *what).collect();
        let all = [Wrote::Drop, Wrote::Page, Wrote::Cell];
        assert_eq!(whats, if number == 1 { &all[1..] } else { &all[..] });
        for (what, at) in wrote {
            let (from, to) = match what {
                Wrote::Drop => (0, epoch / 4),
                Wrote::Page => (epoch / 4, epoch / 2),
                Wrote::Cell => (epoch / 2, epoch),
            };
            assert!((from..=to).contains(&at), "{what:?} {at}");
            assert!(times.insert(at), "{what:?} {at}");
        }
        let current = u64::from(wallet.shelf.record().epoch);
        assert_eq!(wallet.shelf.cells(), vec![current << 16]);
        assert_eq!(wallet.shelf.performed(Op::Delete), number - 1);
        assert_eq!(wallet.restorable().epochs, Some(EARLIER));
    }
}

#[tokio::test]
async fn a_cell_is_not_written_behind_a_write_unless_the_wallet_never_rests() {
    let mut wallet = Wallet::new(6, 2).await;
    wallet.until(Wrote::Cell).await;
    let epoch = u64::from(EPOCH_SECONDS);
    wallet.shelf.next_epoch();
    wallet.now += epoch;
    let seen = wallet.now;
    wallet.until(Wrote::Page).await;
    // When it would be written if the wallet rested.
    wallet.now = seen + epoch * 7 / 8;
    let (due, mut pauses) = (wallet.now, BTreeSet::new());
    loop {
        wallet.put(1).await;
        let standing = wallet.stay().await;
        if standing.wrote == Some(Wrote::Cell) {
            break;
        }
        assert_eq!(standing.wrote, None);
        let pause = standing.next - wallet.now;
        assert!(pause > 0 && pause <= epoch / 32 + 1, "{pause}");
        assert!(pauses.insert(pause), "another pause each time");
        wallet.now = standing.next;
    }
    assert_eq!(wallet.now, due + epoch / 8);
    assert!(pauses.len() > 3);
}

#[tokio::test]
async fn a_wallet_that_grows_sets_a_larger_reserve_aside_and_uses_the_old_one() {
    let mut wallet = Wallet::new(6, 2).await;
    let mut reserve = Vec::new();
    for extent in [wallet.of(20), wallet.extent()] {
        wallet.until_as(Wrote::Cell, &extent).await;
        let holdings = wallet.provider.purse().expect("one was given").holdings();
        reserve.push(holdings.reserve);
        wallet.shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
    }
    assert!(reserve[0] >= 2 * 20 * LOOKUP && reserve[1] > reserve[0]);
    let extent = wallet.extent();
    assert!(reserve[1] >= 2 * extent.lookups * LOOKUP);
    // Everything but the new one is spent.
    while wallet.provider.lookup(pair(1).0).await.is_ok() {}
    let holdings = wallet.provider.purse().expect("one was given").holdings();
    assert_eq!(holdings.reserve, reserve[1]);
    assert!(holdings.tokens - holdings.reserve < LOOKUP + 2);
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the reserve pays"), keys).await;
}

/// Walks after a total loss. What it does not find of the tokens that there are.
async fn not_found(wallet: Wallet) -> u64 {
    let (shelf, _) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    restore.walking().tokens().await.expect("the cell pays");
    lost(&shelf, &provider)
}

#[tokio::test]
async fn whenever_a_wallet_grows_no_token_is_in_neither_its_cell_nor_its_page() {
    // How large it is at its first cell, its second page and its second cell.
    for sizes in [[20, 60, 60], [20, 20, 60], [20, 60, 90], [60, 20, 60]] {
        let mut wallet = Wallet::new(8, 2).await;
        let [first, page, cell] = sizes.map(|lookups| wallet.of(lookups));
        wallet.until_as(Wrote::Cell, &first).await;
        wallet.shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
        wallet.until_as(Wrote::Page, &page).await;
        wallet.until_as(Wrote::Cell, &cell).await;
        let restorable = wallet.provider.restorable(&cell).expect("a purse");
        assert!(restorable.is_now(), "{sizes:?}");
        assert_eq!(not_found(wallet).await, 0, "{sizes:?}");
    }
}

#[tokio::test]
async fn a_wallet_without_tokens_for_a_reserve_is_told_how_many_are_missing() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    buy(&shelf, &provider, 1, 100).await;
    let extent = Extent {
        anchor: 0,
        lookups: 100,
        providers: Vec::new(),
    };
    let mut now = START;
    let missing = loop {
        let standing = provider
            .stay_restorable(now, &extent)
            .await
            .expect("honest");
        if standing.missing > 0 {
            break standing.missing;
        }
        now = now.max(standing.next);
    };
    let restorable = provider.restorable(&extent).expect("a purse");
    assert!(!restorable.is_now());
    assert!(missing > 100 && missing < 2 * 100 * LOOKUP + 20);
    assert!(shelf.cells().is_empty());
}

#[tokio::test]
async fn a_wallet_whose_tokens_do_not_pay_for_a_page_writes_the_cell_without() {
    let mut wallet = Wallet::new(3, 2).await;
    let free = |wallet: &Wallet| {
        let holdings = wallet.provider.purse().expect("one was given").holdings();
        holdings.tokens - holdings.reserve
    };
    // A reserve, a put and a few fees.
    let enough = 2 * (LOOKUP * wallet.extent().lookups + 4) + PUT + 9;
    while free(&wallet) > enough + LOOKUP {
        wallet.provider.lookup(pair(1).0).await.expect("enough");
    }
    let mut wrote = Vec::new();
    while !wrote.contains(&Wrote::Cell) {
        let standing = wallet.stay().await;
        wrote.extend(standing.wrote);
        wallet.now = wallet.now.max(standing.next);
    }
    assert_eq!(wrote, [Wrote::Cell]);
    assert!(wallet.restorable().is_now() && free(&wallet) < INSERT);
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the reserve pays"), keys).await;
}

#[tokio::test]
async fn a_program_that_runs_now_and_then_rests_from_when_it_says_that_it_wrote() {
    let (shelf, journal) = (PaidShelf::new(), MemoryJournal::new());
    let extent = Extent::of_blobs(0, 10, vec![shelf.address()]);
    let longest = u64::from(EPOCH_SECONDS) / 32 + 1;
    let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
    buy(&shelf, &provider, 1, 4_000).await;
    let page = provider.stay_restorable(START, &extent).await;
    assert_eq!(page.expect("honest").wrote, Some(Wrote::Page));
    drop(provider);
    // Each of these is a process of its own, long after that page.
    let now = START + longest;
    for (seed, said, wrote) in [
        (2, None, None),
        (3, Some(now), None),
        (4, Some(START), Some(Wrote::Cell)),
    ] {
        let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
        if said.is_some() {
            provider.purse().expect("paid").last_wrote(said);
        }
        let standing = provider.stay_restorable(now, &extent).await;
        let standing = standing.expect("honest");
        assert_eq!(standing.wrote, wrote, "{said:?}");
        if wrote.is_none() {
            assert!((now + 1..=now + longest).contains(&standing.next));
        }
    }
}

#[tokio::test]
async fn however_much_is_done_at_once_most_of_a_page_stays_as_it_is() {
    let mut wallet = Wallet::new(12, 2).await;
    wallet.until(Wrote::Cell).await;
    let before = wallet.shelf.performed(Op::Transfer);
    let inserts = join_all((60..120).map(|n| {
        let (key, blob) = pair(n);
        wallet.provider.insert(key, blob)
    }));
    for done in inserts.await {
        done.expect("honest");
    }
    let taken_off = wallet.shelf.performed(Op::Transfer) - before;
    // Of eleven pairs, ten of which go when nothing holds them back.
    assert!((1..=7).contains(&taken_off), "{taken_off}");
}

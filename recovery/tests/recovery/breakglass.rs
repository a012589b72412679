//! Total loss: nothing is left but the root key.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use larder_protocol::{Op, Pass};
use larder_recovery::breakglass::{self, Extent, Restore, Wrote};
use larder_recovery::transport::Exchange;
use larder_recovery::{MemoryJournal, RecoveryError, Transport};

use crate::loss::{
    START, Wallet, buy, has_all, keys_looked_up, lost, nothing_left, read,
    shows_no_operation_again, start_over,
};
use crate::paid::{
    BREAKGLASS_SECONDS, EARLIER, EPOCH_SECONDS, LOOKUP, PaidShelf, open, open_over, pair, tokens,
};
use crate::shelf::root;

#[tokio::test]
async fn the_root_key_alone_restores_data_and_tokens_at_every_age_of_the_reserve() {
    for age in 0..=EARLIER {
        let mut wallet = Wallet::new(16, 6).await;
        wallet.until(Wrote::Cell).await;
        let restorable = wallet.restorable();
        assert_eq!(restorable.epochs, Some(EARLIER));
        assert!(restorable.is_now() && restorable.times >= 2);
        let (held, anchor) = (tokens(&wallet.provider), wallet.extent().anchor);
        let (shelf, keys) = wallet.lose();
        (0..age).for_each(|_| shelf.next_epoch());

        let (provider, restore) = nothing_left(&shelf).await;
        let before = shelf.performed(Op::Lookup);
        let map = read(&restore).await.expect("the cell pays");
        has_all(&map, keys).await;
        assert_eq!(restore.providers(), vec![shelf.address()]);
        assert!(anchor > 0 && restore.hint() == Some(anchor), "{age}");
        restore.finish().expect("in memory");
        // But for the pairs that are off the page, four at most, and the fees of taking the others.
        let read = (shelf.performed(Op::Lookup) - before) as u64 * LOOKUP;
        assert!(tokens(&provider) + read + 4 * 500 + 16 >= held, "{age}");
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
            // A wallet that moves its tokens in time, and writes no cell.
            for _ in 0..2 {
                wallet.provider.upkeep(wallet.now).await.expect("honest");
                wallet.now += u64::from(EPOCH_SECONDS) / 2;
            }
        }
        assert_eq!(wallet.restorable().epochs, Some(EARLIER - epochs));
        let (shelf, keys) = wallet.lose();
        let (provider, restore) = nothing_left(&shelf).await;
        has_all(&read(&restore).await.expect("it is found"), keys).await;
        assert!(tokens(&provider) > 500);
    }
}

#[tokio::test]
async fn past_its_epochs_it_says_by_how_many_and_restores_when_tokens_are_bought() {
    let mut wallet = Wallet::new(6, 4).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    (0..EARLIER).for_each(|_| shelf.next_epoch());
    let purse = MemoryJournal::new();
    for (past, said) in [(1, "expired 1 epoch ago"), (2, "expired 2 epochs ago")] {
        shelf.next_epoch();
        // The cell is opened again, or what it said is known.
        for purse in [&MemoryJournal::new(), &purse] {
            let (_, restore) = start_over(&shelf, purse, &MemoryJournal::new()).await;
            let error = read(&restore).await.err().expect("it expired");
            let RecoveryError::ReserveExpired { epochs, needed } = error else {
                panic!("{error}");
            };
            assert!(epochs == past && needed > 0);
            let text = error.to_string();
            assert!(
                text.contains(said) && text.contains(&needed.to_string()),
                "{text}"
            );
        }
    }
    let (provider, restore) = start_over(&shelf, &purse, &MemoryJournal::new()).await;
    assert_eq!(tokens(&provider), 0);
    buy(&shelf, &provider, 2, 500).await;
    has_all(&read(&restore).await.expect("bought"), keys).await;
    restore.finish().expect("in memory");
    assert_eq!(
        tokens(&provider),
        shelf.outstanding() - lost(&shelf, &provider)
    );
}

#[tokio::test]
async fn what_is_said_to_be_needed_suffices_when_the_reserve_paid_once_only() {
    let mut wallet = Wallet::new(2, 4).await;
    let once = LOOKUP * wallet.extent().lookups;
    // With so few tokens left a reserve does not pay twice.
    for (key, blob) in (0..).map(pair) {
        if tokens(&wallet.provider) < 2 * once {
            break;
        }
        wallet.provider.insert(key, blob).await.expect("enough");
    }
    let mut restorable = wallet.restorable();
    while !restorable.is_now() {
        let standing = wallet.stay().await;
        (restorable, wallet.now) = (standing.restorable, wallet.now.max(standing.next));
    }
    assert_eq!(restorable.times, 1);
    let (shelf, keys) = wallet.lose();
    (0..=EARLIER).for_each(|_| shelf.next_epoch());
    let (provider, restore) = nothing_left(&shelf).await;
    let Err(RecoveryError::ReserveExpired { needed, .. }) = restore.tokens().await else {
        panic!("it expired");
    };
    // As many as are sold together.
    buy(&shelf, &provider, 2, needed.next_multiple_of(24)).await;
    has_all(&read(&restore).await.expect("they suffice"), keys).await;
}

#[tokio::test]
async fn a_storage_node_that_goes_down_behind_an_open_is_asked_again() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    // It opens the cell, dooms it, and says nothing.
    shelf.loses_answers_to(Some(Op::BreakglassOpen));
    let failed = restore.tokens().await;
    assert!(matches!(failed, Err(RecoveryError::Unreachable(_))));
    shelf.loses_answers_to(None);
    shelf.is_now(u64::from(BREAKGLASS_SECONDS) - 1);
    has_all(&read(&restore).await.expect("it is still there"), keys).await;
}

#[tokio::test]
async fn a_cell_whose_time_ran_out_is_said_to_be_none_and_bought_tokens_do_as_well() {
    let mut wallet = Wallet::new(3, 2).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    shelf.loses_answers_to(Some(Op::BreakglassOpen));
    assert!(restore.tokens().await.is_err());
    shelf.loses_answers_to(None);
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
    shows_no_operation_again(&shelf);
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

/// Counts the requests that are under way at once.
#[derive(Clone)]
struct Counting(PaidShelf, Arc<Mutex<(usize, usize)>>);

impl Transport for Counting {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        let count = |change: isize| {
            let mut counts = self.1.lock().expect("no test panics in here");
            counts.0 = counts.0.saturating_add_signed(change);
            counts.1 = counts.1.max(counts.0);
        };
        Box::pin(async move {
            count(1);
            let answer = self.0.exchange(contents, pass).await;
            count(-1);
            answer
        })
    }
}

#[tokio::test]
async fn what_a_page_lists_pays_for_many_look_ups_at_once_and_no_token_is_lost_by_it() {
    let mut wallet = Wallet::new(8, 30).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let most = Arc::<Mutex<(usize, usize)>>::default();
    let transport = Arc::new(Counting(shelf.clone(), most.clone()));
    let provider = open_over(&shelf, transport, MemoryJournal::new(), 7).await;
    let provider = provider.expect("honest");
    let most = || most.lock().expect("no test panics in here").1;
    let restore = Restore::begin(&root(1), provider.clone(), MemoryJournal::new());
    let restore = restore.expect("in memory").walking();
    restore.tokens().await.expect("the cell pays");
    // Until the page is read there is one pair.
    assert_eq!(most(), 1);
    has_all(&read(&restore).await.expect("they pay"), keys).await;
    assert!(most() > 4, "{}", most());
    restore.finish().expect("in memory");
    // Look-ups that ran ahead of the end are settled first.
    provider.upkeep(START).await.expect("honest");
    assert_eq!(lost(&shelf, &provider), 0);
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
async fn of_two_devices_with_one_root_the_one_that_wrote_its_cell_last_is_found() {
    let mut first = Wallet::new(6, 2).await;
    first.until(Wrote::Cell).await;
    let (shelf, extent, mut now) = (first.shelf.clone(), first.extent(), START);
    let second = open(&shelf, MemoryJournal::new(), 50).await;
    let second = second.expect("honest");
    buy(&shelf, &second, 2, 3_000).await;
    while !second.restorable(&extent).expect("a purse").is_now() {
        let standing = second.stay_restorable(now, &extent).await;
        now = now.max(standing.expect("honest").next);
    }
    // The first one goes on with what it has.
    let looked = first.provider.lookup(pair(1).0).await;
    looked.expect("its own tokens");
    let of_first = tokens(&first.provider);
    drop(second);
    let (shelf, keys) = first.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    let restore = restore.walking();
    has_all(&read(&restore).await.expect("the cell pays"), keys).await;
    restore.finish().expect("in memory");
    provider.upkeep(START).await.expect("honest");
    assert_eq!(lost(&shelf, &provider), of_first);
}

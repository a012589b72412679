//! Staying restorable: what is set aside and written, and when.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use larder_protocol::Op;
use larder_recovery::breakglass::{Extent, Wrote};
use larder_recovery::{Holdings, Looked, MemoryJournal, RecoveryError, Written};

use crate::loss::{
    START, Wallet, buy, has_all, not_found, nothing_left, read, shows_no_operation_again,
};
use crate::paid::{
    EARLIER, EPOCH_SECONDS, FEE, INSERT, LOOKUP, PUT, PaidShelf, open, pair, tokens,
};

fn holdings(wallet: &Wallet) -> Holdings {
    let purse = wallet.provider.purse();
    purse.expect("one was given").holdings()
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
async fn a_wallet_that_runs_only_when_an_epoch_begins_writes_a_cell_all_the_same() {
    let mut wallet = Wallet::new(6, 2).await;
    wallet.until(Wrote::Cell).await;
    let epoch = u64::from(EPOCH_SECONDS);
    let (first, mut wrote) = (wallet.shelf.cells(), Vec::new());
    for _ in 0..4 {
        wallet.shelf.next_epoch();
        wallet.now += epoch;
        let seen = wallet.now;
        // As long as a pause may be.
        while wallet.now <= seen + epoch / 32 + 1 {
            let standing = wallet.stay().await;
            wrote.extend(standing.wrote);
            wallet.now = wallet.now.max(standing.next);
        }
        wallet.now = seen;
    }
    let [page, cell, drop] = [Wrote::Page, Wrote::Cell, Wrote::Drop];
    // In the second and the fourth epoch.
    assert_eq!(wrote, [page, cell, drop, page, cell]);
    assert!(wallet.shelf.cells() > first);
    assert_eq!(wallet.restorable().epochs, Some(EARLIER));
    is_all_found_as_long_as_it_says(wallet).await;
}

#[tokio::test]
async fn a_cell_that_names_the_page_of_the_epoch_before_says_when_that_expires() {
    let mut wallet = Wallet::new(6, 2).await;
    wallet.until(Wrote::Cell).await;
    for wanted in [Wrote::Page, Wrote::Cell] {
        wallet.shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
        wallet.until(wanted).await;
    }
    assert_eq!(wallet.shelf.performed(Op::BreakglassPut), 2);
    assert_eq!(wallet.restorable().epochs, Some(EARLIER - 1));
    is_all_found_as_long_as_it_says(wallet).await;
}

/// The wallet does not run any more, and is lost as late as it says that it may be.
async fn is_all_found_as_long_as_it_says(wallet: Wallet) {
    for _ in 0..wallet.restorable().epochs.expect("restorable") {
        wallet.shelf.next_epoch();
    }
    assert_eq!(not_found(wallet).await, 0);
}

#[tokio::test]
async fn a_cell_is_not_written_behind_a_write_unless_the_wallet_never_rests() {
    let mut wallet = Wallet::new(8, 2).await;
    // Before the first cell it is due with its page.
    wallet.until(Wrote::Page).await;
    let first = lateness(&mut wallet).await;
    let epoch = u64::from(EPOCH_SECONDS);
    wallet.shelf.next_epoch();
    wallet.now += epoch;
    let seen = wallet.now;
    wallet.until(Wrote::Page).await;
    // When it would be written if the wallet rested.
    wallet.now = seen + epoch * 7 / 8;
    assert_ne!(lateness(&mut wallet).await, first, "drawn for each");
}

/// How late a cell is that is due now, of a wallet that writes whenever it would be written.
async fn lateness(wallet: &mut Wallet) -> u64 {
    let epoch = u64::from(EPOCH_SECONDS);
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
    assert!(pauses.len() > 3);
    let late = wallet.now - due;
    assert!((epoch / 16..=epoch / 8).contains(&late), "{late}");
    late
}

#[tokio::test]
async fn a_wallet_that_grows_sets_a_larger_reserve_aside_and_uses_the_old_one() {
    let mut wallet = Wallet::new(6, 2).await;
    let mut reserve = Vec::new();
    for extent in [wallet.of(20), wallet.extent()] {
        wallet.until_as(Wrote::Cell, &extent).await;
        let holdings = holdings(&wallet);
        reserve.push(holdings.reserve);
        wallet.shelf.next_epoch();
        wallet.now += u64::from(EPOCH_SECONDS);
    }
    assert!(reserve[0] >= 2 * 20 * LOOKUP && reserve[1] > reserve[0]);
    let extent = wallet.extent();
    assert!(reserve[1] >= 2 * extent.lookups * LOOKUP);
    // Everything but the new one is spent.
    while wallet.provider.lookup(pair(1).0).await.is_ok() {}
    let holdings = holdings(&wallet);
    assert_eq!(holdings.reserve, reserve[1]);
    assert!(holdings.tokens - holdings.reserve < LOOKUP + 2);
    let (shelf, keys) = wallet.lose();
    let (_, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the reserve pays"), keys).await;
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
async fn a_cell_that_may_be_stored_keeps_its_page_and_its_reserve() {
    let mut wallet = Wallet::new(5, 2).await;
    let small = wallet.of(20);
    wallet.until_as(Wrote::Cell, &small).await;
    let first = wallet.shelf.cells();
    wallet.shelf.next_epoch();
    wallet.now += u64::from(EPOCH_SECONDS);
    wallet.until_as(Wrote::Page, &small).await;
    // It is stored, and the wallet never hears of that.
    wallet.shelf.loses_answers_to(Some(Op::BreakglassPut));
    while wallet.shelf.cells() == first {
        let standing = wallet.provider.stay_restorable(wallet.now, &small);
        if let Ok(standing) = standing.await {
            wallet.now = wallet.now.max(standing.next);
        }
    }
    wallet.shelf.loses_answers_to(None);
    // It has grown by the next epoch, and drops what is old once it has another page.
    wallet.shelf.next_epoch();
    wallet.now += u64::from(EPOCH_SECONDS);
    wallet.until(Wrote::Page).await;
    assert_ne!(wallet.stay().await.wrote, Some(Wrote::Cell));
    // It spends what it can: what is left would not pay for another one and for gathering it.
    let mut spent = Ok(Written::New);
    for (key, blob) in (0..150).map(pair) {
        spent = wallet.provider.insert(key, blob).await;
        if spent.is_err() {
            break;
        }
    }
    let out = matches!(spent, Err(RecoveryError::OutOfTokens { .. }));
    assert!(out, "{spent:?}");
    assert_eq!(holdings(&wallet).suffice_for(INSERT + 4 * FEE), 0);
    let (shelf, _) = wallet.lose();
    let (provider, restore) = nothing_left(&shelf).await;
    restore.tokens().await.expect("the reserve is kept");
    assert!(tokens(&provider) > 0);
    assert_eq!(restore.providers(), [shelf.address()], "the page is there");
}

#[tokio::test]
async fn a_wallet_whose_reserve_a_restore_has_taken_knows_so_once_it_was_to_be_moved() {
    let mut wallet = Wallet::new(6, 2).await;
    wallet.until(Wrote::Cell).await;
    let (_, restore) = nothing_left(&wallet.shelf).await;
    restore.tokens().await.expect("the reserve pays");
    assert!(wallet.restorable().is_now());
    wallet.shelf.next_epoch();
    let epoch = u64::from(EPOCH_SECONDS);
    wallet.now += epoch;
    while let Some(next) = (wallet.provider.upkeep(wallet.now).await.expect("honest")).next {
        wallet.now = next;
    }
    let restorable = wallet.restorable();
    assert_eq!((restorable.times, restorable.epochs), (0, None));
    // What it still has is set aside anew, and listed on another page than the one that was read.
    buy(&wallet.shelf, &wallet.provider, 2, 4_000).await;
    wallet.until(Wrote::Page).await;
    wallet.until(Wrote::Cell).await;
    assert!(wallet.restorable().is_now());
}

#[tokio::test]
async fn a_wallet_without_tokens_for_a_reserve_is_told_how_many_are_missing() {
    let shelf = PaidShelf::new();
    let provider = open(&shelf, MemoryJournal::new(), 1).await.expect("honest");
    buy(&shelf, &provider, 1, 100).await;
    let extent = Extent {
        lookups: 100,
        ..Extent::of_blobs(0, 0, Vec::new())
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
        let holdings = holdings(wallet);
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
async fn programs_that_run_now_and_then_take_the_same_pause_and_then_write() {
    let (shelf, journal) = (PaidShelf::new(), MemoryJournal::new());
    let extent = Extent::of_blobs(0, 10, vec![shelf.address()]);
    // Each call is a process of its own.
    let runs = async |seed, now| {
        let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
        let standing = provider.stay_restorable(now, &extent).await;
        standing.expect("honest")
    };
    let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
    buy(&shelf, &provider, 1, 4_000).await;
    drop(provider);
    let page = runs(2, START).await;
    assert_eq!(page.wrote, Some(Wrote::Page));
    let longest = u64::from(EPOCH_SECONDS) / 32 + 1;
    let mut written = START;
    for seed in 3..6 {
        let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
        let (key, blob) = pair(seed as u8);
        provider.insert(key, blob).await.expect("enough");
        drop(provider);
        written += 10;
        // It cannot tell how long ago that was, and rests from now; the next one does the same.
        let rests = runs(seed + 10, written).await;
        assert_eq!(rests.wrote, None);
        assert!((written + 1..=written + longest).contains(&rests.next));
        let again = runs(seed + 20, rests.next - 1).await;
        assert_eq!((again.wrote, again.next), (None, rests.next));
        written = rests.next - 1;
    }
    let wrote = runs(30, written + 1).await.wrote;
    assert_eq!(wrote, Some(Wrote::Cell));
}

#[tokio::test]
async fn programs_that_write_each_day_write_a_cell_an_epoch_if_they_come_again_when_they_are_told()
{
    for (come_again, cells) in [(false, 0), (true, 4)] {
        let (shelf, journal) = (PaidShelf::new(), MemoryJournal::new());
        let extent = Extent::of_blobs(0, 10, vec![shelf.address()]);
        let (day, mut wrote) = (u64::from(EPOCH_SECONDS) / 7, Vec::new());
        let minutes = u64::from(EPOCH_SECONDS) / 2_048;
        for number in 0..28_u8 {
            if number > 0 && number % 7 == 0 {
                shelf.next_epoch();
            }
            let put = START + u64::from(number) * day;
            let (mut seed, mut now) = (u64::from(number) * 100, put);
            let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
            if number == 0 {
                buy(&shelf, &provider, 1, 8_000).await;
            }
            let (key, blob) = pair(number);
            provider.insert(key, blob).await.expect("enough");
            drop(provider);
            // Each is a process of its own.
            while now == put || come_again && now < put + day {
                seed += 1;
                let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
                let standing = provider.stay_restorable(now, &extent).await;
                let standing = standing.expect("honest");
                let is_cell = standing.wrote == Some(Wrote::Cell);
                assert!(!is_cell || now > put + minutes, "right behind a write");
                wrote.extend(standing.wrote.filter(|_| is_cell));
                now = now.max(standing.next);
            }
        }
        assert_eq!(wrote.len(), cells);
        assert_eq!(shelf.performed(Op::BreakglassPut), cells);
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
    let holdings = holdings(&wallet);
    assert!(holdings.tokens - holdings.reserve < LOOKUP + 2);
    assert_eq!(holdings.suffice_for(INSERT), 0);
    let (shelf, keys) = wallet.lose();
    let before = shelf.outstanding();
    let (_, restore) = nothing_left(&shelf).await;
    has_all(&read(&restore).await.expect("the reserve pays"), keys).await;
    // For another one as well.
    let spent = before - shelf.outstanding();
    assert!(2 * spent <= holdings.reserve, "{spent}");
    // What the page listed did not pay as it was, to the last token.
    shows_no_operation_again(&shelf);
}

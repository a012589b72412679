//! A storage node that keeps its passes back from some, or gives them others than it is committed to, could know a
//! client by the pass that it shows. Those who are given none object, whatever they were paying for; nothing is
//! lost by it, and nothing is done twice.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use larder_protocol::{CELL_BYTES, Cell, Op};
use larder_recovery::breakglass::Wrote;
use larder_recovery::{Looked, Means, MemoryJournal, Provider, RecoveryError, Stage};

use crate::crashes::copy;
use crate::loss::{Wallet, has_all, keys_looked_up, nothing_left, read, start_over};
use crate::paid::{
    DELETE, FEE, FIRST_EPOCH, INSERT, LOOKUP, PUT, PaidShelf, REFUNDS, Trick, funded, open, pair,
    passes, tokens,
};
use crate::passes::{looks_up, shown_by_lookups, writes};
use crate::shelf::keypair;

const TRICKS: [Trick; 3] = [Trick::KeepsPasses, Trick::BendsPass(0), Trick::BendsPass(1)];

const OBJECTION: RecoveryError =
    RecoveryError::Misbehaved("it keeps its passes back, which everybody is promised");

fn objects<T: std::fmt::Debug>(result: Result<T, RecoveryError>) {
    assert_eq!(result.map(drop), Err(OBJECTION));
}

/// Tokens whose requests are not answered yet.
fn in_flight(provider: &Provider) -> u64 {
    provider
        .purse()
        .expect("one was given")
        .holdings()
        .in_flight
}

/// Somebody else with tokens.
async fn another(shelf: &PaidShelf) -> (Arc<Provider>, MemoryJournal) {
    let journal = MemoryJournal::new();
    let provider = open(shelf, journal.clone(), 7).await.expect("honest");
    let means = Means::Voucher(shelf.voucher(2, 100));
    provider.buy(100, means).await.expect("a good voucher");
    (provider, journal)
}

#[tokio::test]
async fn everybody_objects_to_the_first_answer_without_the_passes_that_are_promised() {
    for trick in TRICKS {
        let shelf = PaidShelf::new();
        let clients = [funded(&shelf, 100).await, another(&shelf).await];
        shelf.tricks(Some(trick));
        for (at, (provider, _)) in clients.iter().enumerate() {
            for _ in 0..2 {
                objects(provider.lookup(pair(1).0).await);
            }
            assert_eq!((tokens(provider), in_flight(provider)), (100, 50));
            assert_eq!(shelf.performed(Op::Lookup), at + 1);
        }
        shelf.tricks(None);
        let arrived = shown_by_lookups(&shelf).len();
        let [pass, _] = passes(FIRST_EPOCH).map(Some);
        for (provider, journal) in &clients {
            looks_up(provider).await;
            assert_eq!(tokens(provider), 100 - LOOKUP);
            assert_eq!(writes(journal), 1);
            looks_up(provider).await;
        }
        let shown = shown_by_lookups(&shelf).split_off(arrived);
        assert_eq!(shown, [pass; 4]);
        assert_eq!(shelf.performed(Op::Lookup), 4);
        assert_eq!(shelf.outstanding(), 2 * (100 - 2 * LOOKUP));
    }
}

#[tokio::test]
async fn whoever_has_the_passes_objects_as_well_and_forgets_none() {
    for trick in TRICKS {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        looks_up(&provider).await;
        shelf.tricks(Some(trick));
        objects(provider.lookup(pair(2).0).await);
        shelf.tricks(None);
        looks_up(&provider).await;
        let [pass, _] = passes(FIRST_EPOCH).map(Some);
        assert_eq!(shown_by_lookups(&shelf), [pass; 3]);
        assert_eq!(writes(&journal), 1);
    }
}

#[tokio::test]
async fn no_operation_with_a_price_goes_without_and_each_takes_effect_once() {
    let (key, blob) = pair(1);
    for (op, cost, refund) in [
        (Op::Insert, INSERT, 0),
        (Op::Lookup, LOOKUP, 0),
        (Op::Delete, DELETE, REFUNDS[0]),
        (Op::BreakglassPut, PUT, 0),
    ] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 100).await;
        if op == Op::Delete {
            provider.insert(key, blob.clone()).await.expect("enough");
        }
        let before = tokens(&provider);
        let call = async || match op {
            Op::Insert => provider.insert(key, blob.clone()).await.map(drop),
            Op::Lookup => provider.lookup(key).await.map(drop),
            Op::Delete => {
                let removed = provider.delete(&keypair(101), blob.hash()).await;
                removed.map(drop)
            }
            _ => {
                let cell = Cell([7; CELL_BYTES]);
                provider.put_cell(&keypair(1), 1, cell).await.map(drop)
            }
        };
        shelf.tricks(Some(Trick::KeepsPasses));
        objects(call().await);
        assert_eq!(tokens(&provider), before, "{op:?}");
        shelf.tricks(None);
        assert_eq!(call().await, Ok(()), "{op:?}");
        assert_eq!(tokens(&provider), before - cost + refund, "{op:?}");
        assert_eq!(shelf.performed(op), 1);
        assert_eq!(shelf.outstanding(), tokens(&provider), "{op:?}");
    }
}

#[tokio::test]
async fn a_purchase_without_is_objected_to_and_costs_its_voucher_once() {
    for trick in TRICKS {
        let shelf = PaidShelf::new();
        let journal = MemoryJournal::new();
        let provider = open(&shelf, journal.clone(), 1).await.expect("honest");
        shelf.tricks(Some(trick));
        let means = Means::Voucher(shelf.voucher(1, 100));
        objects(provider.buy(100, means.clone()).await);
        assert_eq!((tokens(&provider), writes(&journal)), (0, 0));
        drop(provider);
        // After a restart too.
        let provider = open(&shelf, journal.clone(), 2).await.expect("honest");
        let purchases = provider.purchases();
        objects(provider.collect(&purchases[0]).await);
        objects(provider.upkeep(1_000).await);
        shelf.tricks(None);
        let purchase = provider.buy(100, means).await.expect("honest again");
        assert_eq!(purchase.stage, Stage::Collected);
        assert_eq!((tokens(&provider), writes(&journal)), (100, 1));
        assert_eq!(shelf.performed(Op::Purchase), 2);
        assert_eq!(shelf.outstanding(), 100);
    }
}

#[tokio::test]
async fn what_has_no_price_brings_none_and_is_not_objected_to() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    shelf.tricks(Some(Trick::KeepsPasses));
    shelf.next_epoch();
    shelf.next_epoch();
    let done = provider.upkeep(1_000).await.expect("honest so far");
    assert_eq!(done.reissued, 10);
    assert_eq!(tokens(&provider), 500);
}

/// An upkeep whose transfer was answered without passes.
async fn objects_to_a_transfer() -> (PaidShelf, Arc<Provider>) {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 48).await;
    for _ in 0..8 {
        looks_up(&provider).await;
    }
    // No two of eight would pay for an insert.
    shelf.tricks(Some(Trick::KeepsPasses));
    objects(provider.upkeep(1_000).await);
    (shelf, provider)
}

#[tokio::test]
async fn an_upkeep_objects_to_a_transfer_without_and_the_next_one_settles_it() {
    let (shelf, provider) = objects_to_a_transfer().await;
    objects(provider.insert(pair(1).0, pair(1).1).await);
    assert_eq!(tokens(&provider), 32);
    shelf.tricks(None);
    let done = provider.upkeep(1_000).await.expect("honest again");
    assert_eq!((done.settled, done.gathered), (1, 0));
    assert_eq!(shelf.performed(Op::Transfer), 1);
    assert_eq!(tokens(&provider), 32 - FEE);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn a_request_from_before_a_restart_is_settled_by_an_answer_with_passes_only() {
    for upkeep in [true, false] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        shelf.loses_answers(20);
        let lost = provider.lookup(pair(1).0).await;
        assert!(matches!(lost, Err(RecoveryError::Unreachable(_))));
        drop(provider);
        shelf.tricks(Some(Trick::KeepsPasses));
        for seed in [2, 3] {
            let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
            match upkeep {
                true => objects(provider.upkeep(1_000).await),
                false => objects(provider.lookup(pair(1).0).await),
            }
            assert_eq!((tokens(&provider), in_flight(&provider)), (100, 50));
        }
        shelf.tricks(None);
        let provider = open(&shelf, journal, 4).await.expect("honest");
        let done = provider.upkeep(1_000).await.expect("honest again");
        assert_eq!(done.settled, 1);
        looks_up(&provider).await;
        assert_eq!(tokens(&provider), 100 - LOOKUP);
        assert_eq!(shelf.performed(Op::Lookup), 1);
        assert_eq!(shelf.outstanding(), tokens(&provider));
    }
}

#[tokio::test]
async fn an_answer_that_a_killed_process_had_settled_is_heard_again_with_passes_only() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    looks_up(&provider).await;
    let killed = copy(&journal);
    shelf.tricks(Some(Trick::KeepsPasses));
    let provider = open(&shelf, killed, 2).await.expect("honest");
    objects(provider.lookup(pair(1).0).await);
    shelf.tricks(None);
    looks_up(&provider).await;
    assert_eq!(tokens(&provider), 100 - LOOKUP);
    assert_eq!(shelf.performed(Op::Lookup), 1);
}

#[tokio::test]
async fn whoever_polls_for_another_objects_for_it() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    shelf.tricks(Some(Trick::KeepsPasses));
    let mut insert = Box::pin(provider.insert(key, blob.clone()));
    let polled = insert
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    // There is one pair, and the insert has it.
    objects(provider.lookup(pair(2).0).await);
    objects(insert.await);
    assert_eq!(shelf.performed(Op::Lookup), 0);
    shelf.tricks(None);
    assert_eq!(provider.lookup(pair(2).0).await, Ok(Looked::Absent));
    provider.insert(key, blob).await.expect("it is kept");
    assert_eq!(shelf.performed(Op::Insert), 1);
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn what_was_kept_back_until_the_epoch_was_over_is_missed_no_more() {
    for restart in [true, false] {
        let shelf = PaidShelf::new();
        let (mut provider, journal) = funded(&shelf, 100).await;
        shelf.tricks(Some(Trick::KeepsPasses));
        objects(provider.lookup(pair(1).0).await);
        shelf.next_epoch();
        if restart {
            drop(provider);
            provider = open(&shelf, journal.clone(), 2).await.expect("honest");
        }
        // The terms are asked for where they are not known yet, and compared.
        let arrived = shelf.log().len();
        looks_up(&provider).await;
        let ops: Vec<_> = shelf.shown().split_off(arrived);
        let ops: Vec<_> = ops.into_iter().map(|(op, _)| op).collect();
        match restart {
            true => assert_eq!(ops, [Op::Info, Op::Lookup]),
            false => assert_eq!(ops, [Op::Lookup, Op::Info, Op::Info]),
        }
        assert_eq!(tokens(&provider), 100 - LOOKUP);
        assert_eq!(shelf.performed(Op::Lookup), 1);
        // Those of the purchase.
        assert_eq!(writes(&journal), 1);
        // In this one it is promised again.
        objects(provider.lookup(pair(2).0).await);
    }
}

#[tokio::test]
async fn an_answer_without_a_receipt_has_the_terms_asked_for_before_it_is_objected_to() {
    let (shelf, provider) = objects_to_a_transfer().await;
    // A transfer has no receipt to say of which epoch its answer is.
    shelf.next_epoch();
    let done = provider.tend(1_000).await.expect("it is over");
    assert_eq!(done.settled, 1);
    assert_eq!(shelf.performed(Op::Transfer), 1);
    assert_eq!(tokens(&provider), 32 - FEE);
}

#[tokio::test]
async fn terms_that_commit_to_no_passes_promise_none() {
    let shelf = PaidShelf::new();
    shelf.with_record(|record| record.tariff.as_mut().expect("prices").passes = None);
    let (provider, journal) = funded(&shelf, 100).await;
    looks_up(&provider).await;
    looks_up(&provider).await;
    provider.upkeep(1_000).await.expect("honest");
    assert!(shelf.shown().iter().all(|(_, pass)| pass.is_none()));
    assert_eq!((tokens(&provider), writes(&journal)), (100 - 2 * LOOKUP, 0));
}

#[tokio::test]
async fn a_wallet_objects_while_it_stays_restorable_and_is_no_worse_off() {
    let mut wallet = Wallet::new(8, 6).await;
    let (mut objections, mut last) = (0, None);
    while last != Some(Wrote::Cell) {
        // Whatever is due is tried twice.
        wallet.shelf.tricks(Some(Trick::KeepsPasses));
        let extent = wallet.extent();
        let standing = wallet.provider.stay_restorable(wallet.now, &extent);
        match standing.await {
            Ok(standing) => assert_eq!(standing.wrote, None),
            error => {
                objects(error);
                objections += 1;
            }
        }
        wallet.shelf.tricks(None);
        let standing = wallet.stay().await;
        assert_eq!(standing.missing, 0);
        last = standing.wrote;
        wallet.now = wallet.now.max(standing.next);
    }
    assert!(objections > 0);
    assert_eq!(wallet.shelf.performed(Op::BreakglassPut), 1);
    assert_eq!(wallet.shelf.outstanding(), tokens(&wallet.provider));
    assert!(wallet.restorable().is_now());
}

#[tokio::test]
async fn a_restore_objects_and_finds_as_much_once_it_is_given_its_passes() {
    let mut wallet = Wallet::new(8, 6).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let other = shelf.fork();
    let (honest, restore) = nothing_left(&other).await;
    has_all(&read(&restore).await.expect("the cell pays"), keys).await;

    let lookups = |shelf: &PaidShelf| shelf.performed(Op::Lookup);
    let (seen, before) = (shelf.log().len(), lookups(&shelf));
    shelf.tricks(Some(Trick::KeepsPasses));
    let (purse, kept) = (MemoryJournal::new(), MemoryJournal::new());
    for _ in 0..2 {
        let (_, restore) = start_over(&shelf, &purse, &kept).await;
        objects(restore.tokens().await);
    }
    shelf.tricks(None);
    // Its look-ups are objected to as well, and not kept.
    let (_, restore) = start_over(&shelf, &purse, &kept).await;
    restore.tokens().await.expect("honest again");
    shelf.tricks(Some(Trick::BendsPass(1)));
    objects(read(&restore).await.map(drop));
    drop(restore);
    let (provider, restore) = start_over(&shelf, &purse, &kept).await;
    objects(read(&restore).await.map(drop));
    shelf.tricks(None);
    has_all(&read(&restore).await.expect("honest again"), keys).await;
    // What was given up has looked ahead, by chance further than what was not, and nobody asks for that again.
    provider.tend(1_000).await.expect("honest again");
    // Each look was paid for once.
    let looked_up: BTreeSet<_> = keys_looked_up(&shelf.log()[seen..]).into_iter().collect();
    assert_eq!(lookups(&shelf) - before, looked_up.len());
    let more = LOOKUP * lookups(&shelf).saturating_sub(lookups(&other)) as u64;
    assert_eq!(shelf.outstanding(), other.outstanding() - more);
    assert_eq!(tokens(&provider), tokens(&honest) - more);
}

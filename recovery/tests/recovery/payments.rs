//! Paying for operations: what it costs, what a lost answer costs, and what no answer may do.

use std::collections::BTreeSet;
use std::future::Future;
use std::task::{Context, Waker};

use futures_util::future::{join, join_all};
use larder_protocol::{Op, Payment, Refusal, Request};
use larder_recovery::walk::Found;
use larder_recovery::{
    Holdings, Looked, MemoryJournal, Price, Provider, RecoveryError, Removed, Sequence, Walk,
    Written, price,
};

use crate::paid::{
    DELETE, FEE, FIRST_EPOCH, INSERT, LOOKUP, PaidShelf, REFUNDS, Trick, funded, open, pair, tokens,
};
use crate::shelf::{Shelf, keypair, root};

#[tokio::test]
async fn every_operation_costs_its_price_and_refunds_come_back() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let ((key, blob), (unused, _)) = (pair(1), pair(2));
    let mut held = 500;
    let mut costs = |tokens: u64| {
        held -= tokens;
        held
    };
    assert_eq!(provider.insert(key, blob.clone()).await, Ok(Written::New));
    assert_eq!(tokens(&provider), costs(INSERT));
    assert_eq!(provider.lookup(key).await, Ok(Looked::Found(blob.clone())));
    assert_eq!(tokens(&provider), costs(LOOKUP));
    assert_eq!(provider.lookup(unused).await, Ok(Looked::Absent));
    assert_eq!(tokens(&provider), costs(LOOKUP));
    // An insert that is refused costs a look-up.
    let again = provider.insert(key, pair(3).1).await;
    assert_eq!(again, Ok(Written::Occupied(blob.hash())));
    assert_eq!(tokens(&provider), costs(LOOKUP));
    let removed = provider.delete(&keypair(101), blob.hash()).await;
    assert_eq!(removed, Ok(Removed::Now));
    assert_eq!(tokens(&provider), costs(DELETE) + REFUNDS[0]);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn a_value_costs_what_was_said_before() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    for bytes in [10, 40_000] {
        let before = tokens(&provider);
        let mut sequence = Sequence::start(&root(bytes as u8), provider.clone());
        let value = vec![5; bytes];
        let Price {
            store,
            read,
            delete,
            refund,
            ..
        } = price(&provider.record(), bytes as u64).expect("a price list");
        sequence.append(&value).await.expect("enough tokens");
        assert_eq!(before - tokens(&provider), store);
        assert_eq!(sequence.read(0).await, Ok(Found::Value(value)));
        assert_eq!(before - tokens(&provider), store + read);
        sequence.delete(0).await.expect("enough tokens");
        assert_eq!(before - tokens(&provider), store + read + delete - refund);
    }
    assert_eq!(price(&Shelf::new().connect(1).await.record(), 10), None);
}

#[tokio::test]
async fn a_lost_answer_and_its_retry_cost_once_and_are_the_same_bytes() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let (key, blob) = pair(1);
    // Within one exchange, then over two of the caller's tries.
    for lost in [3, 25] {
        let arrived = shelf.log().len();
        shelf.loses_answers(lost);
        let mut written = provider.insert(key, blob.clone()).await;
        if lost > 20 {
            assert!(matches!(written, Err(RecoveryError::Unreachable(_))));
            written = provider.insert(key, blob.clone()).await;
        }
        assert!(matches!(written, Ok(Written::New | Written::Already)));
        let log = shelf.log();
        assert_eq!(log.len() - arrived, lost as usize + 1);
        assert!(
            log[arrived..]
                .iter()
                .all(|request| *request == log[arrived])
        );
    }
    assert_eq!(shelf.performed(Op::Insert), 2);
    assert_eq!(tokens(&provider), 500 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn as_many_operations_are_under_way_as_there_are_pairs_and_the_others_wait() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let pairs = provider.purse().map(|purse| purse.holdings().pairs);
    assert_eq!(pairs, Some(10));
    let inserts = (0..20).map(|n| {
        let (provider, (key, blob)) = (provider.clone(), pair(n));
        async move { provider.insert(key, blob).await }
    });
    let written = join_all(inserts).await;
    assert!(written.iter().all(|written| *written == Ok(Written::New)));
    assert_eq!(
        tokens(&provider),
        500 - 20 * INSERT - FEE * shelf.performed(Op::Transfer) as u64
    );
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn tokens_are_gathered_to_the_last_and_then_it_says_what_is_missing() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 24 * 16).await;
    let mut stored = 0;
    let error = loop {
        let (key, blob) = pair(stored);
        match provider.insert(key, blob).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    let held = tokens(&provider);
    let fees = FEE * shelf.performed(Op::Transfer) as u64;
    assert_eq!(held, 24 * 16 - INSERT * u64::from(stored) - fees);
    let RecoveryError::OutOfTokens { needed, held: said } = error else {
        panic!("{error}");
    };
    assert_eq!(said, held);
    // What is needed is an insert, and the fees of putting together what is there.
    assert!(
        (INSERT..INSERT + 32 * FEE).contains(&needed) && needed > held,
        "{needed} {held}"
    );
    // With as much more as it said, the same insert goes through.
    provider
        .buy(50, larder_recovery::Means::Voucher(shelf.voucher(2, 50)))
        .await
        .expect("a good voucher");
    let (key, blob) = pair(stored);
    assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn without_a_purse_nothing_that_costs_is_sent() {
    let shelf = PaidShelf::new();
    let transport = std::sync::Arc::new(shelf.clone());
    let provider = Provider::connect(shelf.address(), transport).await;
    let provider = provider.expect("terms are free");
    let looked = provider.lookup(pair(1).0).await;
    assert_eq!(looked, Err(RecoveryError::NoPurse));
    assert_eq!(shelf.log().len(), 1);
}

#[tokio::test]
async fn a_free_storage_node_is_paid_nothing() {
    let shelf = Shelf::new();
    let address = shelf.address();
    let transport = std::sync::Arc::new(shelf.clone());
    let purse = larder_recovery::Purse::open(&root(1), address.server_key(), MemoryJournal::new());
    let provider = Provider::connect(address, transport).await.expect("free");
    let provider = provider
        .with_purse(purse.expect("a new one"))
        .expect("free");
    assert_eq!(provider.lookup(pair(1).0).await, Ok(Looked::Absent));
}

#[tokio::test]
async fn a_refusal_that_consumes_nothing_costs_nothing() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 48).await;
    let (key, blob) = pair(1);
    for refusal in [Refusal::Busy, Refusal::StoreFull, Refusal::Halted] {
        shelf.refuses(1, refusal.clone());
        let written = provider.insert(key, blob.clone()).await;
        assert_eq!(written, Err(RecoveryError::Refused(refusal)));
        assert_eq!(tokens(&provider), 48);
        assert_eq!(holdings(&provider).in_flight, 0);
    }
    // After this one nobody knows: only the same request finds out.
    shelf.refuses(1, Refusal::Internal);
    let written = provider.insert(key, blob.clone()).await;
    assert_eq!(written, Err(RecoveryError::Refused(Refusal::Internal)));
    assert!(holdings(&provider).in_flight > 0);
    assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
    assert_eq!(tokens(&provider), 48 - INSERT);
    let log = shelf.log();
    assert_eq!(log[log.len() - 1], log[log.len() - 2]);
}

#[tokio::test]
async fn a_pair_that_a_refused_request_has_shown_pays_for_no_other_key() {
    for (restart, retry) in [(false, false), (false, true), (true, false), (true, true)] {
        let shelf = PaidShelf::new();
        let (mut provider, journal) = funded(&shelf, 100).await;
        let (key, blob) = pair(1);
        shelf.refuses(1, Refusal::Busy);
        assert!(provider.insert(key, blob.clone()).await.is_err());
        // The refused one did not get as far as the ledger, and nothing else has been shown.
        let refused = shown(&shelf, Op::Insert);
        assert_eq!(refused.len(), 2);
        if restart {
            provider = open(&shelf, journal, 2).await.expect("honest");
        }
        // While there are others, they pay.
        for _ in 0..3 {
            provider.lookup(pair(2).0).await.expect("enough");
        }
        assert_eq!(shelf.performed(Op::Transfer), 0);
        if retry {
            assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
            assert_eq!(shown(&shelf, Op::Insert), refused);
            assert_eq!(shelf.performed(Op::Transfer), 0);
            continue;
        }
        let others = (0..4).map(|n| provider.insert(pair(10 + n).0, pair(10 + n).1));
        assert!(join_all(others).await.iter().all(Result::is_ok));
        let mut inserts = shelf.log().into_iter();
        let first = inserts.position(|request| request.call.op() == Op::Insert);
        assert!(first.is_some());
        let later = serials(
            &shelf,
            inserts.filter(|request| request.call.key().is_some()),
        );
        assert!(later.is_disjoint(&refused));
        assert!(shown(&shelf, Op::Transfer).is_superset(&refused));
        assert_eq!(shelf.outstanding(), tokens(&provider));
    }
}

#[tokio::test]
async fn the_last_tokens_pay_although_they_were_shown() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 24).await;
    while tokens(&provider) > INSERT {
        provider.lookup(pair(2).0).await.expect("enough");
    }
    shelf.refuses(1, Refusal::Busy);
    assert!(provider.insert(pair(1).0, pair(1).1).await.is_err());
    let written = provider.insert(pair(3).0, pair(3).1).await;
    assert_eq!((written, tokens(&provider)), (Ok(Written::New), 0));
}

#[tokio::test]
async fn no_trick_gets_past_the_client_or_costs_it_anything() {
    for trick in [
        Trick::KeepsChange,
        Trick::BendsProof,
        Trick::GivesBack(1),
        Trick::RefusesItsEpoch,
        Trick::NoReceipt,
    ] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 500).await;
        let (key, blob) = pair(1);
        shelf.tricks(Some(trick));
        let written = provider.insert(key, blob.clone()).await;
        let misbehaved = matches!(written, Err(RecoveryError::Misbehaved(_)));
        assert!(misbehaved, "{trick:?}: {written:?}");
        assert_eq!(tokens(&provider), 500, "{trick:?}");
        shelf.tricks(None);
        let written = provider.insert(key, blob).await;
        match trick {
            // It has consumed the pair and issued what it must not: that stays refused.
            Trick::GivesBack(_) => {
                assert!(matches!(written, Err(RecoveryError::Misbehaved(_))));
            }
            _ => {
                assert_eq!(written, Ok(Written::New), "{trick:?}");
                assert_eq!(tokens(&provider), 500 - INSERT, "{trick:?}");
                assert_eq!(shelf.outstanding(), tokens(&provider));
            }
        }
    }
}

#[tokio::test]
async fn a_delete_may_give_back_a_published_refund_and_nothing_else() {
    for (back, passes) in [
        (0, true),
        (REFUNDS[0], true),
        (REFUNDS[1], true),
        (7, false),
    ] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 500).await;
        let (key, blob) = pair(1);
        provider.insert(key, blob.clone()).await.expect("honest");
        shelf.tricks(Some(Trick::GivesBack(back)));
        let removed = provider.delete(&keypair(101), blob.hash()).await;
        assert_eq!(removed.is_ok(), passes, "{back}: {removed:?}");
    }
}

#[tokio::test]
async fn an_operation_on_a_key_settles_what_was_left_in_flight_there_first() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let (key, blob) = pair(1);
    shelf.loses_requests(20);
    let written = provider.insert(key, blob.clone()).await;
    assert!(matches!(written, Err(RecoveryError::Unreachable(_))));
    assert!(!shelf.has(&key));
    // Were it not sent first, it could come true after this answer.
    assert_eq!(provider.lookup(key).await, Ok(Looked::Found(blob.clone())));
    assert_eq!(tokens(&provider), 500 - INSERT - LOOKUP);
    // The look-up showed that nobody will ask for the answer to that insert: this one is paid for.
    assert_eq!(provider.insert(key, blob).await, Ok(Written::Already));
    assert_eq!(tokens(&provider), 500 - INSERT - 2 * LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn tokens_that_are_left_in_flight_are_fetched_when_they_are_needed() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    assert_eq!(holdings(&provider).pairs, 1);
    shelf.loses_answers(20);
    let first = provider.insert(pair(1).0, pair(1).1).await;
    assert!(matches!(first, Err(RecoveryError::Unreachable(_))));
    assert_eq!(
        provider.insert(pair(2).0, pair(2).1).await,
        Ok(Written::New)
    );
    // Its answer was kept: making the call again costs nothing.
    assert_eq!(
        provider.insert(pair(1).0, pair(1).1).await,
        Ok(Written::New)
    );
    assert_eq!(tokens(&provider), 50 - 2 * INSERT);
    assert_eq!(shelf.performed(Op::Insert), 2);
}

#[tokio::test]
async fn one_who_stops_waiting_leaves_nothing_stuck() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    {
        let mut insert = Box::pin(provider.insert(key, blob.clone()));
        // Polled once: written down and not sent yet. Then dropped.
        let polled = insert
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert_eq!(holdings(&provider).in_flight, 50);
    assert_eq!(provider.lookup(pair(2).0).await, Ok(Looked::Absent));
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn one_who_is_not_polled_keeps_nobody_waiting() {
    for lost in [0, 20, 40] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 50).await;
        let (key, blob) = pair(1);
        let mut insert = Box::pin(provider.insert(key, blob.clone()));
        let polled = insert
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        shelf.loses_answers(lost);
        // There is one pair, and the insert has it.
        let looked = provider.lookup(pair(2).0).await;
        if lost > 20 {
            assert!(matches!(looked, Err(RecoveryError::Unreachable(_))));
        } else {
            assert_eq!(looked, Ok(Looked::Absent));
        }
        let written = insert.await;
        match lost {
            0 => assert_eq!(written, Ok(Written::New)),
            _ => assert!(matches!(written, Err(RecoveryError::Unreachable(_)))),
        }
        if lost > 0 {
            assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
        }
        let looked = if lost > 20 { 0 } else { LOOKUP };
        assert_eq!(tokens(&provider), 50 - INSERT - looked);
        assert_eq!(shelf.outstanding(), tokens(&provider));
        assert_eq!(shelf.performed(Op::Insert), 1);
        if lost == 0 {
            let inserts = shelf.log().into_iter().map(|request| request.call.op());
            assert_eq!(inserts.filter(|op| *op == Op::Insert).count(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_settled_before_is_not_waited_for() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    shelf.loses_answers(20);
    assert!(provider.insert(key, blob.clone()).await.is_err());
    // There is one pair. Whoever needs it settles the insert, whose answer is kept.
    assert_eq!(provider.lookup(pair(2).0).await, Ok(Looked::Absent));
    let mut cx = Context::from_waker(Waker::noop());
    let mut insert = Box::pin(provider.insert(key, blob));
    assert!(insert.as_mut().poll(&mut cx).is_pending());
    let mut look = Box::pin(provider.lookup(pair(3).0));
    assert!(look.as_mut().poll(&mut cx).is_pending());
    // That look-up has the pair now. The insert's answer comes first and brings nothing.
    assert_eq!(provider.lookup(pair(4).0).await, Ok(Looked::Absent));
    assert_eq!(look.await, Ok(Looked::Absent));
    assert_eq!(insert.await, Ok(Written::New));
    assert_eq!(tokens(&provider), 50 - INSERT - 3 * LOOKUP);
    assert_eq!(shelf.performed(Op::Insert), 1);
}

/// The serials that were shown for operations of this kind.
fn shown(shelf: &PaidShelf, op: Op) -> BTreeSet<[u8; 32]> {
    let log = shelf.log().into_iter();
    serials(shelf, log.filter(|request| request.call.op() == op))
}

fn serials(shelf: &PaidShelf, requests: impl Iterator<Item = Request>) -> BTreeSet<[u8; 32]> {
    let service = shelf.record().service();
    requests
        .filter_map(|request| match request.payment {
            Payment::Credentials(core) => Some(core),
            Payment::None => None,
        })
        .flat_map(|core| {
            let core = larder_credentials::Request::decode(&service, &core).expect("a core");
            let serials: Vec<_> = core.references().iter().map(|serial| serial.0).collect();
            serials
        })
        .collect()
}

#[tokio::test]
async fn an_answer_to_what_was_built_again_since_gives_no_pair_back() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let mut cx = Context::from_waker(Waker::noop());
    let mut insert = Box::pin(provider.insert(pair(1).0, pair(1).1));
    assert!(insert.as_mut().poll(&mut cx).is_pending());
    shelf.next_epoch();
    // The look-up needs the pair, hears that the insert is of another epoch, and asks for the
    // terms. Meanwhile the insert does so, too, and shows the pair again.
    let mut look = Box::pin(provider.lookup(pair(2).0));
    assert!(look.as_mut().poll(&mut cx).is_pending());
    assert!(insert.as_mut().poll(&mut cx).is_pending());
    assert!(insert.as_mut().poll(&mut cx).is_pending());
    assert!(look.as_mut().poll(&mut cx).is_pending());
    assert_eq!(holdings(&provider).in_flight, 50);
    let (written, looked) = join(insert, look).await;
    assert_eq!((written, looked), (Ok(Written::New), Ok(Looked::Absent)));
    assert!(shown(&shelf, Op::Insert).is_disjoint(&shown(&shelf, Op::Lookup)));
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn one_who_comes_late_to_what_was_built_again_accuses_nobody() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    let mut cx = Context::from_waker(Waker::noop());
    let mut late = Box::pin(provider.insert(key, blob.clone()));
    assert!(late.as_mut().poll(&mut cx).is_pending());
    shelf.next_epoch();
    {
        // Takes the insert over, and gives it up.
        let mut look = Box::pin(provider.lookup(pair(2).0));
        assert!(look.as_mut().poll(&mut cx).is_pending());
    }
    // An equal call adopts it and builds it again.
    let mut insert = Box::pin(provider.insert(key, blob));
    while shown(&shelf, Op::Insert).is_empty() || provider.record().epoch == FIRST_EPOCH {
        assert!(insert.as_mut().poll(&mut cx).is_pending());
    }
    let (late, insert) = join(late, insert).await;
    assert_eq!((late, insert), (Ok(Written::New), Ok(Written::New)));
    assert_eq!(shelf.performed(Op::Insert), 1);
    assert_eq!(tokens(&provider), 50 - INSERT);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn one_who_waited_for_what_is_built_again_waits_for_that_instead() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let mut cx = Context::from_waker(Waker::noop());
    shelf.loses_requests(2);
    let mut insert = Box::pin(provider.insert(pair(1).0, pair(1).1));
    assert!(insert.as_mut().poll(&mut cx).is_pending());
    let mut look = Box::pin(provider.lookup(pair(2).0));
    assert!(look.as_mut().poll(&mut cx).is_pending());
    // The insert hears that its epoch is over, and is under way again before the look-up is
    // asked.
    shelf.next_epoch();
    while provider.record().epoch == FIRST_EPOCH {
        assert!(insert.as_mut().poll(&mut cx).is_pending());
    }
    let (looked, written) = join(look, insert).await;
    assert_eq!((looked, written), (Ok(Looked::Absent), Ok(Written::New)));
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn one_whose_own_request_somebody_else_settles_pays_for_no_other() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    shelf.loses_requests(20);
    assert!(provider.insert(key, blob.clone()).await.is_err());
    // The look-up needs the pair and drives that insert on; the same insert is made again.
    let mut look = Box::pin(provider.lookup(pair(2).0));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(look.as_mut().poll(&mut cx).is_pending());
    let (looked, written) = join(look, provider.insert(key, blob)).await;
    assert_eq!((looked, written), (Ok(Looked::Absent), Ok(Written::New)));
    assert_eq!(shelf.performed(Op::Insert), 1);
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn an_upkeep_that_is_not_polled_keeps_nobody_waiting() {
    for polls in 1..12 {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 100).await;
        for n in 1..=2 {
            shelf.loses_requests(20);
            assert!(provider.insert(pair(n).0, pair(n).1).await.is_err());
        }
        assert_eq!(holdings(&provider).in_flight, 100);
        let mut upkeep = Box::pin(provider.upkeep(1_000));
        for _ in 0..polls {
            let mut cx = Context::from_waker(Waker::noop());
            if upkeep.as_mut().poll(&mut cx).is_ready() {
                return;
            }
        }
        for _ in 0..3 {
            assert_eq!(provider.lookup(pair(3).0).await, Ok(Looked::Absent));
        }
        assert!(upkeep.await.is_ok());
        assert_eq!(tokens(&provider), 100 - 2 * INSERT - 3 * LOOKUP, "{polls}");
        assert_eq!(shelf.outstanding(), tokens(&provider));
    }
}

#[tokio::test]
async fn a_walk_and_what_is_done_between_its_steps_share_one_pair() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let mut sequence = Sequence::start(&root(1), provider.clone());
    for value in 0..3 {
        sequence.append(&[value]).await.expect("enough");
    }
    // In a new epoch, five hundred tokens come in one pair only.
    shelf.with_record(|record| {
        record.tariff.as_mut().expect("prices").denominations = vec![500];
    });
    shelf.next_epoch();
    let restored = open(&shelf, MemoryJournal::new(), 9).await.expect("honest");
    let means = larder_recovery::Means::Voucher(shelf.voucher(2, 500));
    let bought = restored.buy(500, means).await;
    assert_eq!(bought.map(|purchase| purchase.pairs), Ok(1));
    let mut walk = Walk::new(Sequence::start(&root(1), restored.clone()));
    let mut counters = 0;
    while let Some(step) = walk.next().await.expect("honest") {
        assert_eq!(step.counter, counters);
        counters += 1;
        assert_eq!(restored.lookup(pair(9).0).await, Ok(Looked::Absent));
    }
    assert_eq!(counters, 3);
}

#[tokio::test]
async fn all_that_is_paid_is_of_one_size_and_no_two_requests_share_bytes_of_a_core() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let (key, blob) = pair(1);
    provider.insert(key, blob.clone()).await.expect("honest");
    provider.lookup(key).await.expect("honest");
    provider.lookup(key).await.expect("honest");
    provider
        .delete(&keypair(101), blob.hash())
        .await
        .expect("honest");
    let cores: Vec<Vec<u8>> = shelf
        .log()
        .into_iter()
        .filter(|request| request.call.key().is_some())
        .filter_map(|request| match request.payment {
            Payment::Credentials(core) => Some(core),
            Payment::None => None,
        })
        .collect();
    assert_eq!(cores.len(), 4);
    assert!(cores.iter().all(|core| core.len() == cores[0].len()));
    // The points of the presentations: behind the header of 19 bytes.
    for (n, core) in cores.iter().enumerate() {
        assert!(cores[..n].iter().all(|other| other[19..51] != core[19..51]));
    }
}

#[tokio::test]
async fn a_compact_client_pays_in_big_messages() {
    let shelf = PaidShelf::new();
    let (_, journal) = funded(&shelf, 100).await;
    let transport = std::sync::Arc::new(shelf.clone());
    let provider = Provider::connect(shelf.address(), transport).await;
    let provider = provider.expect("terms are free").compact();
    let server = *shelf.address().server_key();
    let purse = larder_recovery::Purse::open(&root(1), &server, journal).expect("its journal");
    let provider = provider.with_purse(purse).expect("the same terms");
    // The storage node asserts the class of whatever is paid.
    let removed = provider.delete(&keypair(101), pair(1).1.hash()).await;
    assert_eq!(removed, Ok(Removed::NeverThere));
    provider
        .upkeep(1_000)
        .await
        .expect("terms fit no small message");
    assert_eq!(tokens(&provider), 100 - DELETE);
}

#[tokio::test]
async fn a_purse_of_another_root_or_storage_node_is_refused() {
    let shelf = PaidShelf::new();
    let (_, journal) = funded(&shelf, 50).await;
    let address = shelf.address();
    let foreign = Some(larder_recovery::JournalError::Foreign);
    let other = larder_recovery::Purse::open(&root(2), address.server_key(), journal.clone());
    assert_eq!(other.err(), foreign);
    let other = keypair(2).public_key().into();
    let other = larder_recovery::Purse::open(&root(1), &other, journal.clone());
    assert_eq!(other.err(), foreign);
    assert!(open(&shelf, journal, 2).await.is_ok());
}

fn holdings(provider: &Provider) -> Holdings {
    provider.purse().expect("one was given").holdings()
}

//! Operations that need what others hold: nobody waits for a future that is not polled, and an
//! answer is judged against the request it answers.

use std::future::Future;
use std::task::{Context, Waker};

use futures_util::future::join;
use larder_protocol::Op;
use larder_recovery::{Looked, MemoryJournal, RecoveryError, Sequence, Walk, Written};

use crate::paid::{FIRST_EPOCH, INSERT, LOOKUP, PaidShelf, funded, open, pair, tokens};
use crate::payments::{holdings, shown};
use crate::shelf::root;

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
async fn one_whose_own_request_an_upkeep_drives_waits_for_its_answer() {
    // The upkeep asks for the terms, or drives the insert. It goes on, or is not polled any more.
    for (polls, goes_on) in [(1, false), (1, true), (2, false), (2, true)] {
        let shelf = PaidShelf::new();
        let (provider, _) = funded(&shelf, 100).await;
        let (key, blob) = pair(1);
        shelf.loses_requests(20);
        assert!(provider.insert(key, blob.clone()).await.is_err());
        // There is another pair, which could pay for it once more.
        assert_eq!(holdings(&provider).pairs, 2);
        let mut upkeep = Box::pin(provider.upkeep(1_000));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            assert!(upkeep.as_mut().poll(&mut cx).is_pending());
        }
        let insert = provider.insert(key, blob);
        let written = if goes_on {
            let (done, written) = join(upkeep, insert).await;
            assert!(done.is_ok());
            written
        } else {
            insert.await
        };
        assert_eq!(written, Ok(Written::New), "{polls}");
        assert_eq!(shelf.performed(Op::Insert), 1);
        assert_eq!(tokens(&provider), 100 - INSERT, "{polls}");
        assert_eq!(shelf.outstanding(), tokens(&provider));
    }
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

//! Calls that are made again after a crash: what a killed process may not have heard costs nothing.

use std::sync::Arc;

use larder_protocol::Op;
use larder_recovery::{
    Journal, Looked, Means, MemoryJournal, Provider, RecoveryError, Removed, Written,
};

use crate::crashes::{Life, MortalJournal, MortalTransport, When, copy};
use crate::paid::{
    DELETE, INSERT, LOOKUP, PaidShelf, REFUNDS, funded, open, open_over, pair, tokens,
};
use crate::shelf::keypair;

/// How an answer begins in a journal.
const SETTLED: u8 = 7;

#[tokio::test]
async fn an_equal_call_after_a_crash_adopts_the_request_of_the_one_before() {
    for (lost_requests, lost_answers) in [(20, 0), (0, 20)] {
        for upkeep in [false, true] {
            let shelf = PaidShelf::new();
            let (provider, journal) = funded(&shelf, 100).await;
            let (key, blob) = pair(1);
            shelf.loses_requests(lost_requests);
            shelf.loses_answers(lost_answers);
            let written = provider.insert(key, blob.clone()).await;
            assert!(matches!(written, Err(RecoveryError::Unreachable(_))));
            let sent = shelf.log().last().cloned();
            drop(provider);
            let provider = open(&shelf, journal.clone(), 2).await.expect("honest");
            if upkeep {
                // Settled meanwhile; the answer is kept for whoever asks again.
                assert_eq!(provider.upkeep(1).await.map(|done| done.settled), Ok(1));
                assert_eq!(tokens(&provider), 100 - INSERT);
            }
            assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
            assert_eq!(tokens(&provider), 100 - INSERT);
            assert_eq!(shelf.performed(Op::Insert), 1);
            if lost_answers > 0 {
                assert_eq!(shelf.log().last().cloned(), sent);
            }
            // Once it was heard, the same call is another one.
            assert_eq!(provider.insert(key, pair(1).1).await, Ok(Written::Already));
            assert_eq!(tokens(&provider), 100 - INSERT - LOOKUP);
            assert_eq!(shelf.outstanding(), tokens(&provider));
        }
    }
}

#[tokio::test]
async fn an_answer_that_was_written_down_and_not_heard_costs_nothing_after_the_crash() {
    let (key, blob) = pair(1);
    for (op, cost, refund) in [
        (Op::Insert, INSERT, 0),
        (Op::Lookup, LOOKUP, 0),
        (Op::Delete, DELETE, REFUNDS[0]),
    ] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        // The passes that the first answer brings are in the journal, too, from here on.
        assert_eq!(provider.lookup(pair(2).0).await, Ok(Looked::Absent));
        if op == Op::Delete {
            assert_eq!(provider.insert(key, blob.clone()).await, Ok(Written::New));
        }
        drop(provider);
        let (left, performed) = (shelf.outstanding() - cost + refund, shelf.performed(op));
        let call = async |provider: Arc<Provider>| match op {
            Op::Insert => provider.insert(key, blob.clone()).await.map(drop),
            Op::Lookup => provider.lookup(key).await.map(drop),
            _ => {
                let removed = provider.delete(&keypair(101), blob.hash()).await;
                removed.map(drop)
            }
        };
        // Of the first process the answer in the journal is the last step, after the terms, the
        // request in the journal and its exchange. The second one sends the request again.
        for (step, settles) in [(4, true), (2, false)] {
            let before = journal.clone().entries().expect("in memory").len();
            let life = Life::until(step, When::After);
            let transport = Arc::new(MortalTransport(shelf.clone(), life.clone()));
            let mortal = MortalJournal(journal.clone(), life.clone());
            let provider = open_over(&shelf, transport, mortal, u64::from(step)).await;
            assert!(call(provider.expect("honest")).await.is_err(), "{op:?}");
            assert!(life.is_over());
            assert_eq!(shelf.outstanding(), left, "{op:?}");
            let written = journal
                .clone()
                .entries()
                .expect("in memory")
                .split_off(before);
            let settled = written.last().is_some_and(|entry| entry[0] == SETTLED);
            assert_eq!(settled, settles, "{op:?}");
        }
        let provider = open(&shelf, journal, 9).await.expect("honest");
        assert_eq!(call(provider.clone()).await, Ok(()), "{op:?}");
        assert_eq!(shelf.performed(op) - performed, 1);
        assert_eq!((tokens(&provider), shelf.outstanding()), (left, left));
    }
}

#[tokio::test]
async fn the_last_answers_are_kept_until_the_process_comes_to_an_end() {
    let shelf = PaidShelf::new();
    let (provider, closed) = funded(&shelf, 500).await;
    let ((first, blob), unknown) = (pair(1), Ok(Looked::Absent));
    let lookups = || shelf.performed(Op::Lookup);
    assert_eq!(provider.lookup(first).await, unknown);
    // What a kill leaves behind, after each of seventeen others.
    let mut killed = Vec::new();
    for n in 2..19 {
        assert_eq!(provider.lookup(pair(n).0).await, unknown);
        killed.push(copy(&closed));
    }
    let later = killed.pop().expect("the last one");
    // To the process that has heard it, the same call is another one.
    assert_eq!(provider.lookup(pair(18).0).await, unknown);
    assert_eq!(lookups(), 19);
    let twice = copy(&closed);
    drop(provider);
    let other = open(&shelf, MemoryJournal::new(), 7).await.expect("honest");
    let means = Means::Voucher(shelf.voucher(2, 50));
    other.buy(50, means).await.expect("a good voucher");
    assert_eq!(other.insert(first, blob.clone()).await, Ok(Written::New));

    // One that was killed may not have heard the last ones, and hears what is true now.
    let found = Ok(Looked::Found(blob));
    let mut lives: Vec<_> = killed.into_iter().map(|killed| (killed, 1, 0)).collect();
    lives.extend([(copy(&later), 1, 1), (later, 2, 0), (closed, 18, 1)]);
    for (journal, n, paid) in lives {
        let before = lookups();
        let provider = open(&shelf, journal, 3).await.expect("honest");
        let looked = provider.lookup(pair(n).0).await;
        assert_eq!(&looked, if n == 1 { &found } else { &unknown });
        assert_eq!(lookups() - before, paid);
    }
    // A call that was made twice is free once.
    let (provider, before) = (open(&shelf, twice, 4).await.expect("honest"), lookups());
    for paid in [0, 1] {
        assert_eq!(provider.lookup(pair(18).0).await, unknown);
        assert_eq!(lookups() - before, paid);
    }
}

#[tokio::test]
async fn what_was_undone_since_a_kill_is_done_again() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 50).await;
    let ((key, blob), keypair) = (pair(1), keypair(101));
    let removed = provider.delete(&keypair, blob.hash()).await;
    assert_eq!(removed, Ok(Removed::NeverThere));
    drop(provider);
    // Another device stores something there meanwhile, from a purse of its own.
    let other = open(&shelf, MemoryJournal::new(), 7).await.expect("honest");
    let means = Means::Voucher(shelf.voucher(2, 50));
    other.buy(50, means).await.expect("a good voucher");
    assert_eq!(other.insert(key, blob.clone()).await, Ok(Written::New));
    // The request of then is answered with what is there now, and removes nothing.
    let provider = open(&shelf, journal, 2).await.expect("honest");
    let removed = provider.delete(&keypair, blob.hash()).await;
    assert_eq!(removed, Ok(Removed::Now));
    assert!(!shelf.has(&key));
    let left = 50 - 2 * DELETE + REFUNDS[0];
    assert_eq!(tokens(&provider), left);
    assert_eq!(shelf.outstanding(), left + 50 - INSERT);
}

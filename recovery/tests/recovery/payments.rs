//! Paying for operations: what it costs, what a lost answer costs, and what no answer may do.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use larder_protocol::{Op, Payment, Refusal, Request};
use larder_recovery::walk::Found;
use larder_recovery::{
    Holdings, Looked, MemoryJournal, Price, Provider, RecoveryError, Removed, Sequence, Written,
    price,
};

use crate::paid::{
    DELETE, FEE, INSERT, LOOKUP, PaidShelf, REFUNDS, Trick, funded, open, pair, tokens,
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
    for refusal in [Refusal::StoreFull, Refusal::Halted] {
        shelf.refuses(1, refusal.clone());
        let written = provider.insert(key, blob.clone()).await;
        assert_eq!(written, Err(RecoveryError::Refused(refusal)));
        assert_eq!(tokens(&provider), 48);
        assert_eq!(holdings(&provider).in_flight, 0);
    }
}

#[tokio::test]
async fn what_may_still_come_true_after_a_refusal_is_asked_for_with_the_same_bytes() {
    for refusal in [Refusal::Busy, Refusal::Internal] {
        for late in [false, true] {
            let shelf = PaidShelf::new();
            let (provider, _) = funded(&shelf, 48).await;
            let (key, blob) = pair(1);
            shelf.refuses(1, refusal.clone());
            let written = provider.insert(key, blob.clone()).await;
            assert_eq!(written, Err(RecoveryError::Refused(refusal.clone())));
            assert!(holdings(&provider).in_flight > 0);
            if late {
                shelf.comes_again();
                assert!(shelf.has(&key));
            }
            assert_eq!(provider.insert(key, blob).await, Ok(Written::New));
            assert_eq!(shelf.performed(Op::Insert), 1);
            assert_eq!(tokens(&provider), 48 - INSERT);
            assert_eq!(shelf.outstanding(), tokens(&provider));
            let log = shelf.log();
            assert_eq!(log[log.len() - 1], log[log.len() - 2]);
        }
    }
}

#[tokio::test]
async fn a_pair_that_a_refused_request_has_shown_pays_for_no_other_key() {
    for (restart, retry) in [(false, false), (false, true), (true, false), (true, true)] {
        let shelf = PaidShelf::new();
        let (mut provider, journal) = funded(&shelf, 100).await;
        let (key, blob) = pair(1);
        shelf.refuses(1, Refusal::StoreFull);
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
    shelf.refuses(1, Refusal::StoreFull);
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

pub(crate) fn holdings(provider: &Provider) -> Holdings {
    provider.purse().expect("one was given").holdings()
}

/// The serials that were shown for operations of this kind.
pub(crate) fn shown(shelf: &PaidShelf, op: Op) -> BTreeSet<[u8; 32]> {
    let log = shelf.log().into_iter();
    serials(shelf, log.filter(|request| request.call.op() == op))
}

/// The serials that these requests show.
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

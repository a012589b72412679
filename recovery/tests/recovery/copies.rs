//! Two copies of one purse, as there are when a wallet folder is copied or a backup is put back: they part at once, pay
//! for nothing twice, and neither follows the other without being told to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use larder_protocol::{Op, Payment};
use larder_recovery::{Looked, MemoryJournal, Provider, RecoveryError, Written};

use crate::crashes::copy;
use crate::paid::{FEE, INSERT, LOOKUP, PaidShelf, funded, open, pair, tokens};
use crate::payments::holdings;

/// A purse of ten pairs, its copy, and what the copy is written to.
async fn two_copies() -> (PaidShelf, Arc<Provider>, Arc<Provider>, MemoryJournal) {
    let shelf = PaidShelf::new();
    let (one, journal) = funded(&shelf, 500).await;
    let copied = copy(&journal);
    let two = open(&shelf, copied.clone(), 2).await.expect("honest");
    (shelf, one, two, copied)
}

/// Operations on keys that were tied to another one: a credential was shown for both.
fn tied(shelf: &PaidShelf) -> usize {
    let service = shelf.record().service();
    let mut shown: BTreeMap<[u8; 32], BTreeSet<Vec<u8>>> = BTreeMap::new();
    for request in shelf.log() {
        let (Some(key), Payment::Credentials(core)) = (request.call.key(), &request.payment) else {
            continue;
        };
        let core = larder_credentials::Request::decode(&service, core).expect("a core");
        for serial in core.references().iter() {
            let keys = shown.entry(serial.0).or_default();
            keys.insert(key.as_bytes().to_vec());
        }
    }
    shown.values().filter(|keys| keys.len() > 1).count()
}

#[tokio::test]
async fn the_first_pair_that_a_copy_has_spent_is_noticed_and_what_it_became_is_left_to_it() {
    let (shelf, one, two, journal) = two_copies().await;
    assert_eq!(holdings(&two).elsewhere, None);
    assert_eq!(one.lookup(pair(1).0).await, Ok(Looked::Absent));
    let arrived = shelf.log().len();
    assert_eq!(two.lookup(pair(2).0).await, Ok(Looked::Absent));
    // The pair of the other one, an exchange of one that nobody has shown, and the look-up.
    let ops: Vec<Op> = shelf.log()[arrived..]
        .iter()
        .map(|it| it.call.op())
        .collect();
    assert_eq!(ops, [Op::Lookup, Op::Transfer, Op::Lookup]);
    assert_eq!(holdings(&two).elsewhere, Some(50 - LOOKUP));
    assert_eq!(tokens(&two), 450 - FEE - LOOKUP);
    assert_eq!(holdings(&two).pairs, 9);
    // A restart forgets none of it.
    drop(two);
    let two = open(&shelf, journal, 3).await.expect("honest");
    assert_eq!(holdings(&two).elsewhere, Some(50 - LOOKUP));
    assert_eq!(tokens(&two), 450 - FEE - LOOKUP);
    // So does the other one, with the pair that was exchanged.
    let arrived = shelf.log().len();
    assert_eq!(one.lookup(pair(3).0).await, Ok(Looked::Absent));
    assert!(shelf.log().len() - arrived <= 3);
}

#[tokio::test]
async fn copies_that_are_used_in_turns_part_and_have_nothing_in_common() {
    let (shelf, one, two, _) = two_copies().await;
    let (mut refused, mut done) = (0, [0, 0]);
    for n in 0..40_u8 {
        let at = usize::from(n % 3 == 0);
        let device = [&one, &two][at];
        match device.lookup(pair(n).0).await {
            Ok(looked) => {
                assert_eq!(looked, Looked::Absent);
                done[at] += 1;
            }
            Err(RecoveryError::UsedElsewhere) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let [first, second] = [&one, &two].map(|device| holdings(device));
    assert!(first.elsewhere.is_some() || second.elsewhere.is_some());
    assert!(refused <= 6, "{refused}");
    // Whatever is shown is shown once by the one and once by the other, at most.
    let shown = shelf
        .log()
        .iter()
        .filter(|it| it.call.op() == Op::Lookup)
        .count();
    assert!(shown - done[0] - done[1] <= 2, "{shown} {done:?}");
    assert!(tied(&shelf) <= 4, "{}", tied(&shelf));
    // Once all has been shown by either, each token is in one of the two.
    for device in [&one, &two] {
        while tokens(device) > INSERT
            && !matches!(
                device.lookup(pair(99).0).await,
                Err(RecoveryError::OutOfTokens { .. })
            )
        {}
    }
    let held = tokens(&one) + tokens(&two);
    assert!(
        held >= shelf.outstanding() && held < shelf.outstanding() + INSERT,
        "{held}"
    );
}

#[tokio::test]
async fn one_pair_after_the_other_that_was_spent_ends_a_call_and_all_of_them_are_shown_once() {
    let (shelf, one, two, _) = two_copies().await;
    // The other copy spends all of it.
    let inserts = (0..10).map(|n| one.insert(pair(n).0, pair(n).1));
    assert!(
        join_all(inserts)
            .await
            .iter()
            .all(|it| *it == Ok(Written::New))
    );
    let arrived = shelf.log().len();
    let mut calls = 0;
    loop {
        let before = shelf.log().len();
        let looked = two.lookup(pair(50).0).await;
        assert!(shelf.log().len() - before <= 3, "{calls}");
        match looked {
            Err(RecoveryError::UsedElsewhere) => calls += 1,
            Err(RecoveryError::OutOfTokens { held: 0, .. }) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((1..=4).contains(&calls), "{calls}");
    assert!(shelf.log().len() - arrived <= 10);
    assert_eq!(tokens(&two), 0);
    assert_eq!(holdings(&two).elsewhere, Some(500 - 10 * INSERT));
    assert_eq!(shelf.outstanding(), tokens(&one));
    // None was shown for the same key as one of the other's, but for the first.
    assert!(tied(&shelf) <= 2);
}

#[tokio::test]
async fn what_another_copy_left_is_taken_back_when_asked_for_and_each_step_is_made_once() {
    let (shelf, one, two, _) = two_copies().await;
    // In turns over all pairs, so that the ways to what is left part and meet.
    for n in 0..30 {
        let (key, blob) = pair(n);
        match n % 3 {
            0 => drop(one.insert(key, blob).await.expect("enough")),
            _ => drop(one.lookup(key).await.expect("enough")),
        }
    }
    let rows = shelf.log().len();
    drop(one);
    let mut looked = 0;
    while two.lookup(pair(90).0).await.is_ok() {
        looked += 1;
        assert!(looked < 300);
    }
    let (before, arrived) = (tokens(&two), shelf.log().len());
    assert_eq!(two.take_back().await, Ok(()));
    assert!(tokens(&two) != before);
    // A step for each pair that there ever was, and one for each that is left.
    assert!(
        shelf.log().len() - arrived <= rows + 20,
        "{} {rows}",
        shelf.log().len() - arrived
    );
    // But for what does not pay for its transfer.
    let elsewhere = holdings(&two).elsewhere.unwrap_or(0);
    assert!(elsewhere < FEE * 10, "{elsewhere}");
    assert_eq!(shelf.outstanding(), tokens(&two) + elsewhere);
    let arrived = shelf.log().len();
    assert_eq!(two.take_back().await, Ok(()));
    assert_eq!(shelf.log().len(), arrived);
}

#[tokio::test]
async fn an_epoch_that_turns_moves_nothing_that_is_another_copys() {
    let (shelf, one, two, _) = two_copies().await;
    one.lookup(pair(1).0).await.expect("enough");
    two.lookup(pair(2).0).await.expect("enough");
    shelf.next_epoch();
    shelf.next_epoch();
    // What both still hold is moved by the one that comes first.
    one.upkeep(1_000).await.expect("honest");
    let theirs = tokens(&one);
    two.upkeep(1_000).await.expect("honest");
    assert_eq!(tokens(&one), theirs);
    assert_eq!(holdings(&two).by_epoch.len(), 1);
    let requests = || {
        let performed = [Op::Lookup, Op::Transfer].map(|op| shelf.performed(op));
        (shelf.log().len(), performed.iter().sum::<usize>())
    };
    let before = requests();
    for _ in 0..5 {
        one.lookup(pair(3).0).await.expect("nobody has taken it");
    }
    // Whatever was shown was unspent.
    let after = requests();
    assert_eq!(after.0 - before.0, after.1 - before.1);
    assert_eq!(shelf.outstanding(), tokens(&one) + tokens(&two));
}

#[tokio::test]
async fn nothing_is_paid_beyond_the_limit_and_refunds_do_not_raise_it() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 500).await;
    let purse = provider.purse().expect("given");
    purse.limit(Some(2 * INSERT + LOOKUP));
    let over = RecoveryError::OverLimit {
        most: 2 * INSERT + LOOKUP,
    };
    // At once: what is under way counts.
    let inserts = (0..5).map(|n| provider.insert(pair(n).0, pair(n).1));
    let written = join_all(inserts).await;
    let stored = written.iter().filter(|it| **it == Ok(Written::New)).count();
    assert_eq!(stored, 2);
    assert!(
        written
            .iter()
            .all(|it| it.is_ok() || *it == Err(over.clone()))
    );
    assert_eq!(tokens(&provider), 500 - 2 * INSERT);
    provider.lookup(pair(1).0).await.expect("within it");
    let arrived = shelf.log().len();
    assert_eq!(provider.lookup(pair(1).0).await, Err(over));
    assert_eq!(shelf.log().len(), arrived);
    purse.limit(None);
    provider.lookup(pair(1).0).await.expect("no limit");
    // An insert that is refused costs a look-up, whatever was shown for it.
    purse.limit(Some(INSERT + LOOKUP));
    for _ in 0..2 {
        let occupied = provider.insert(pair(1).0, pair(2).1).await;
        assert!(matches!(occupied, Ok(Written::Occupied(_))), "{occupied:?}");
    }
    assert!(provider.insert(pair(1).0, pair(2).1).await.is_err());
}

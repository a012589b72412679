//! A walk loses nothing, however pairs were mixed and wherever it stops (§8.3).

use larder_credentials::holder::{Interrupted, Stop};
use larder_credentials::ledger::LedgerError;
use larder_credentials::{
    Epoch, Fault, HolderError, Record, Reference, Refusal, Reply, Root, Row, Spending, Unspent,
    walk,
};

use crate::fixture::*;

/// Spends a pair on a transfer and forgets the answer.
fn lose(ledger: &TestLedger, pair: &Unspent, root: &Root) {
    let record = ledger.issuer().record();
    let in_flight = spend(pair, root, record, Spending::transfer(FEE));
    ledger.process(in_flight.core(), never).unwrap();
}

/// The worthy credential of two pairs, as one.
fn mixed(one: &Unspent, two: &Unspent) -> Unspent {
    let ([a, _], [b, _]) = (copy(one).into_credentials(), copy(two).into_credentials());
    Unspent::new([a, b]).unwrap()
}

fn serials(credentials: &[larder_credentials::Credential]) -> Vec<Reference> {
    credentials.iter().map(|c| c.serial()).collect()
}

fn opened(rows: &[Row], root: &Root, record: &Record) -> Vec<u128> {
    let opened = rows.iter().map(|row| row.open(root, record));
    opened.map(|pair| pair.unwrap().total()).collect()
}

#[test]
fn a_walk_hands_back_the_credential_that_is_not_spent() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (lost, kept) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    lose(&ledger, &lost, &root);
    let exchange = |core: &[u8]| ledger.process(core, never);
    let start = mixed(&lost, &kept);
    let walked = walk(start, &root, record, FEE, &[1; 32], 9, exchange).unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (1, 28));
    assert_eq!(
        serials(&walked.aside.unspent),
        [kept.credentials()[0].serial()]
    );
    assert!(walked.aside.rows.is_empty());
    // It is not spent indeed.
    let [_, zero] = kept.into_credentials();
    let twelve = walked.aside.unspent.into_iter().next().unwrap();
    lose(&ledger, &Unspent::new([twelve, zero]).unwrap(), &root);
}

#[test]
fn a_walk_keeps_the_row_it_does_not_follow() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (one, two) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    lose(&ledger, &one, &root);
    lose(&ledger, &two, &root);
    let exchange = |core: &[u8]| ledger.process(core, never);
    let walked = walk(mixed(&one, &two), &root, record, FEE, &[1; 32], 9, exchange).unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (1, 28));
    assert!(walked.aside.unspent.is_empty());
    assert_eq!(opened(&walked.aside.rows, &root, record), [11]);
}

#[test]
fn a_strangers_row_does_not_hide_our_own() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (given, ours) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    let stranger = Root::from_bytes([77; 32]);
    lose(&ledger, &given, &stranger);
    lose(&ledger, &ours, &root);
    // Whichever of the two rows comes first.
    for (entropy, start) in [(1, mixed(&given, &ours)), (2, mixed(&ours, &given))] {
        let exchange = |core: &[u8]| ledger.process(core, never);
        let walked = walk(start, &root, record, FEE, &[entropy; 32], 9, exchange).unwrap();
        assert_eq!(walked.tip.pair.total(), 11 - u128::from(entropy));
        let [row] = walked.aside.rows.as_slice() else {
            panic!("the stranger's row is kept");
        };
        assert_eq!(row.open(&root, record).unwrap_err(), HolderError::NotOurs);
        assert_eq!(row.open(&stranger, record).unwrap().total(), 29);
    }
}

#[test]
fn a_walk_that_loses_its_connection_hands_back_what_it_had_passed() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (lost, kept) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    let spent = buy(&ledger, &root, 2, 7);
    lose(&ledger, &lost, &root);
    lose(&ledger, &spent, &root);
    let once = |start| {
        let mut calls = 0;
        let exchange = |core: &[u8]| -> Result<Reply, &str> {
            calls += 1;
            if calls == 2 {
                return Err("no connection");
            }
            Ok(ledger.process(core, never).unwrap())
        };
        walk(start, &root, record, FEE, &[1; 32], 9, exchange).unwrap_err()
    };
    let stopped = once(mixed(&lost, &kept));
    assert!(matches!(stopped.stop, Stop::Exchange("no connection")));
    assert_eq!(stopped.at.unwrap().total(), 29);
    assert_eq!(
        serials(&stopped.aside.unspent),
        [kept.credentials()[0].serial()]
    );

    let stopped = once(mixed(&lost, &spent));
    assert_eq!(stopped.at.unwrap().total(), 29);
    assert_eq!(opened(&stopped.aside.rows, &root, record), [6]);
}

#[test]
fn rows_that_do_not_open_are_handed_back_with_what_is_unspent() {
    let (ledger, root, theirs) = (ledger(), root(), Root::from_bytes([3; 32]));
    let (lost, kept) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    let record = ledger.issuer().record();
    // Somebody else has taken the pair over: the row is theirs.
    lose(&ledger, &lost, &theirs);
    let exchange = |core: &[u8]| ledger.process(core, never);
    let start = mixed(&lost, &kept);
    let stopped = walk(start, &root, record, FEE, &[1; 32], 9, exchange).unwrap_err();
    let Interrupted { at, stop, aside } = *stopped;
    assert!(at.is_none());
    assert!(matches!(stop, Stop::Holder(HolderError::NotOurs)));
    assert_eq!(serials(&aside.unspent), [kept.credentials()[0].serial()]);
    // With their root it opens.
    assert_eq!(opened(&aside.rows, &theirs, record), [29]);
}

#[test]
fn a_walk_with_a_stale_record_is_told_so_and_hands_its_pair_back() {
    let (mut ledger, root) = (ledger(), root());
    let lost = buy(&ledger, &root, 0, 30);
    let stale = ledger.issuer().record().clone();
    next_epoch(&mut ledger);
    lose(&ledger, &lost, &root);
    let exchange = |core: &[u8]| ledger.process(core, never);
    let stopped = walk(copy(&lost), &root, &stale, FEE, &[1; 32], 9, exchange).unwrap_err();
    let refused = LedgerError::Refused(Refusal::WrongEpoch {
        current: Epoch(EPOCH.0 + 1),
        oldest: ledger.issuer().oldest(),
    });
    assert!(matches!(&stopped.stop, Stop::Exchange(error) if *error == refused));
    let record = ledger.issuer().record();
    let start = stopped.at.unwrap();
    let walked = walk(start, &root, record, FEE, &[1; 32], 9, exchange).unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (1, 28));
}

#[test]
fn a_limit_that_is_too_short_is_its_callers_fault() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let start = buy(&ledger, &root, 0, 30);
    lose(&ledger, &start, &root);
    let exchange = |core: &[u8]| ledger.process(core, never);
    let stopped = walk(start, &root, record, FEE, &[1; 32], 0, exchange).unwrap_err();
    let Stop::Holder(error) = stopped.stop else {
        panic!("the exchange worked");
    };
    assert_eq!(error, HolderError::WalkTooLong);
    assert_eq!(error.fault(), Fault::Holder);
    assert_eq!(stopped.at.unwrap().total(), 29);
}

//! What is opened for nothing is bounded.
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::path::Path;

use larder_credentials::ClaimTag;
use larder_store::suite::sample::options;
use larder_store::{Change, Effect, Engine, Options, Outcome, Payment, SledEngine};
use tempfile::TempDir;

const MOST: usize = 4;

fn open(folder: &Path) -> SledEngine {
    let options = Options {
        open_claims: MOST,
        ..options()
    };
    SledEngine::open(folder, options).unwrap()
}

fn commit(engine: &SledEngine, change: Change) -> Outcome {
    let outcomes = engine.commit(vec![Effect::unpaid(change)]).unwrap();
    outcomes.into_iter().next().unwrap()
}

/// Two claims of one payment.
fn claims(number: u8, expires: u64, paid: bool, now: u64) -> Change {
    let tags = [1, 2].map(|which| {
        let mut tag = [number; 32];
        tag[0] = which;
        ClaimTag(tag)
    });
    let payment = Payment {
        id: [number; 32],
        tags: tags.to_vec(),
        amount: 5,
        expires,
        paid,
    };
    Change::OpenClaims { payment, now }
}

#[test]
fn claims_that_wait_for_payment_are_bounded_and_give_way_when_they_expire() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    assert_eq!(commit(&engine, claims(1, 100, false, 0)), Outcome::Opened);
    assert_eq!(commit(&engine, claims(2, 200, false, 0)), Outcome::Opened);
    drop(engine);
    let engine = open(folder.path());
    let third = |now| claims(3, 300, false, now);
    assert_eq!(commit(&engine, third(100)), Outcome::TooManyClaims);
    // Whoever has paid, and whoever asks again, is served.
    assert_eq!(commit(&engine, claims(4, 0, true, 100)), Outcome::Opened);
    assert_eq!(commit(&engine, claims(2, 200, false, 100)), Outcome::Opened);

    assert_eq!(commit(&engine, third(101)), Outcome::Opened);
    let paid = |number| {
        let payment = [number; 32];
        commit(&engine, Change::MarkPaid { payment })
    };
    assert_eq!(paid(1), Outcome::UnknownPayment);
    let fifth = |now| commit(&engine, claims(5, 500, false, now));
    assert_eq!(fifth(101), Outcome::TooManyClaims);
    // A payment makes room, too.
    assert_eq!(paid(2), Outcome::Paid);
    assert_eq!(fifth(101), Outcome::Opened);
    drop(engine);
    let engine = open(folder.path());
    let sixth = |now| commit(&engine, claims(6, 600, false, now));
    assert_eq!(sixth(101), Outcome::TooManyClaims);
    assert_eq!(sixth(301), Outcome::Opened);
}

#[test]
fn no_more_expired_claims_give_way_than_there_is_need_for_the_oldest_first() {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path());
    for (number, expires) in [(1, 200), (2, 100)] {
        let opened = commit(&engine, claims(number, expires, false, 0));
        assert_eq!(opened, Outcome::Opened);
    }
    let third = claims(3, 600, false, 500);
    assert_eq!(commit(&engine, third), Outcome::Opened);
    // The others have expired as well, and may have been paid in time.
    for (number, outcome) in [(2, Outcome::UnknownPayment), (1, Outcome::Paid)] {
        let payment = [number; 32];
        assert_eq!(commit(&engine, Change::MarkPaid { payment }), outcome);
    }
}

//! What is opened for nothing is bounded.
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::path::Path;

use larder_credentials::ClaimTag;
use larder_store::{Change, Effect, Engine, Options, Outcome, Payment, SledEngine};
use tempfile::TempDir;

const MOST: usize = 4;

fn open(folder: &Path) -> SledEngine {
    let options = Options {
        cache_bytes: 4 << 20,
        free_space_floor: 0,
        growth_slots: 4,
        open_claims: MOST,
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
    let first = Change::MarkPaid { payment: [1; 32] };
    assert_eq!(commit(&engine, first), Outcome::UnknownPayment);
    assert_eq!(
        commit(&engine, claims(5, 500, false, 101)),
        Outcome::TooManyClaims
    );
    // A payment makes room, too.
    let second = Change::MarkPaid { payment: [2; 32] };
    assert_eq!(commit(&engine, second), Outcome::Paid);
    assert_eq!(commit(&engine, claims(5, 500, false, 101)), Outcome::Opened);
    assert_eq!(
        commit(&engine, claims(6, 600, false, 101)),
        Outcome::TooManyClaims
    );
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(
        commit(&engine, claims(6, 600, false, 101)),
        Outcome::TooManyClaims
    );
    assert_eq!(commit(&engine, claims(6, 600, false, 301)), Outcome::Opened);
}

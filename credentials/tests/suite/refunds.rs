//! Tokens that come back (§5, §6).

use larder_credentials::holder::HEADROOM;
use larder_credentials::{AdjustRule, HolderError, OpCode, Spending, Status, Unspent};

use crate::fixture::*;

#[test]
fn a_refused_insert_costs_its_holder_nothing() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let insert = spend(
        &pair,
        &root,
        record,
        Spending::on(WORK, b"taken key", PRICE),
    );
    let reply = ledger.process(insert.core(), giving_back(PRICE)).unwrap();
    let replaced = performed(insert, &root, record, reply);
    assert_eq!((replaced.status, replaced.adjust), (Status(1), PRICE));
    assert_eq!(amounts(&replaced.pair), [100, 0]);
    assert_eq!(supply(&ledger).outstanding, 100);
}

#[test]
fn a_refund_may_exceed_the_cost_and_lands_on_the_first_output() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let insert = spend(&pair, &root, record, Spending::on(WORK, b"insert", PRICE));
    let reply = ledger.process(insert.core(), done).unwrap();
    let pair = performed(insert, &root, record, reply).pair;
    let delete = Spending::on(OpCode::TRANSFER, &[], FEE).into_outputs([40, 49]);
    let divided = spend(&pair, &root, record, delete);
    let reply = ledger.process(divided.core(), never).unwrap();
    let pair = performed(divided, &root, record, reply).pair;
    let delete = Spending::on(WORK, b"delete", PRICE).into_outputs([30, 49]);
    let delete = spend(&pair, &root, record, delete);
    let reply = ledger.process(delete.core(), giving_back(15)).unwrap();
    let settled = delete.accept(&root, record, reply, AdjustRule::Exactly(15));
    let larder_credentials::Settled::Performed(replaced) = settled.unwrap() else {
        panic!("it was performed");
    };
    assert_eq!(amounts(&replaced.pair), [45, 49]);
    assert_eq!(supply(&ledger).outstanding, 94);
    // And what came back can be spent.
    let all = Spending::transfer(FEE).into_outputs([0, 93]);
    let last = spend(&replaced.pair, &root, record, all);
    ledger.process(last.core(), never).unwrap();
}

#[test]
fn no_refund_makes_a_pair_too_full_to_spend() {
    let (mut ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let most = u64::from(u32::MAX);
    let full = buy(&ledger, &root, 0, 2 * most);
    assert_eq!(amounts(&full), [most, most]);
    // However it is divided, nothing could come back.
    let work = Spending::on(WORK, b"", PRICE);
    for spending in [work, work.into_outputs([most - PRICE, most])] {
        let failed = copy(&full).spend(&root, record, &spending).unwrap_err();
        assert_eq!(failed.error, HolderError::BadSplit);
        assert_eq!(failed.pair.total(), full.total());
    }
    let transfer = spend(&full, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(transfer.core(), never).unwrap();
    performed(transfer, &root, record, reply);

    // The fullest pair that an operation of the service leaves, and a refund above its cost.
    let pair = buy(&ledger, &root, 1, 2 * most - HEADROOM + PRICE);
    let in_flight = spend(&pair, &root, record, work);
    let reply = ledger.process(in_flight.core(), giving_back(15)).unwrap();
    let pair = performed(in_flight, &root, record, reply).pair;
    assert_eq!(amounts(&pair), [most - HEADROOM + 15, most]);
    next_epoch(&mut ledger);
    let record = ledger.issuer().record();
    let reissue = spend(&pair, &root, record, Spending::reissue());
    let reply = ledger.process(reissue.core(), never).unwrap();
    assert_eq!(
        performed(reissue, &root, record, reply).pair.total(),
        pair.total()
    );
}

#[test]
fn a_refund_on_the_largest_amounts_is_not_lost() {
    let (ledger, root) = (ledger_of(WIDE), root());
    let record = ledger.issuer().record();
    let half = i64::MAX as u64;
    let [[a, _], [b, _]] = [0, 1].map(|n| buy(&ledger, &root, n, half).into_credentials());
    let pair = Unspent::new([a, b]).unwrap();
    // What is left, 2^64 - 12, would fit the first output, but not with 15 more.
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let reply = ledger.process(in_flight.core(), giving_back(15)).unwrap();
    let pair = performed(in_flight, &root, record, reply).pair;
    assert_eq!(pair.total(), 2 * u128::from(half) + 5);
}

//! Tokens that come back (§5, §6).

use larder_credentials::{AdjustRule, OpCode, Spending, Status};

use crate::fixture::*;

#[test]
fn a_refused_insert_costs_its_holder_nothing() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 100);
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
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 100);
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

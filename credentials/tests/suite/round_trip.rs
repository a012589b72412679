//! Both kinds of request, both widths, and what they weigh.

use larder_credentials::holder::HEADROOM;

use crate::fixture::*;
use larder_credentials::{
    AdjustRule, InFlight, PAIR_BYTES, ROW_BYTES, Reply, Service, Settled, Spending, Status, Unspent,
};

fn tokens_move_through_purchase_and_spend(service: Service, amount: u64) {
    let (ledger, root) = (ledger_of(service), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, amount);
    assert_eq!(pair.total(), u128::from(amount));

    let work = Spending::on(WORK, b"key", PRICE);
    let in_flight = spend(&pair, &root, record, work.into_outputs([3, amount - 13]));
    let reply = ledger.process(in_flight.core(), done).unwrap();
    let replaced = performed(in_flight, &root, record, reply);
    assert_eq!(amounts(&replaced.pair), [3, amount - 13]);
    assert_eq!((replaced.status, replaced.adjust), (Status::DONE, 0));

    let in_flight = spend(&replaced.pair, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let replaced = performed(in_flight, &root, record, reply);
    assert_eq!(amounts(&replaced.pair), [amount - 11, 0]);
}

#[test]
fn tokens_move_through_purchase_and_spend_at_32_bits() {
    tokens_move_through_purchase_and_spend(SERVICE, 1_000);
}

#[test]
fn tokens_move_through_purchase_and_spend_at_64_bits() {
    tokens_move_through_purchase_and_spend(WIDE, 1 << 40);
}

#[test]
fn every_part_has_the_size_of_the_specification() {
    for (service, spend_bytes, purchase_bytes) in [(SERVICE, 1_408, 768), (WIDE, 1_472, 832)] {
        let (ledger, root) = (ledger_of(service), root());
        let record = ledger.issuer().record();
        let claim = paid_claim(&ledger, &root, 0, 100);
        let purchase = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
        assert_eq!(purchase.request().credential_bytes(), purchase_bytes);
        assert_eq!(purchase.core().len(), purchase_bytes + 4 + 32);
        let reply = ledger.process(purchase.core(), never).unwrap();
        assert_eq!(reply.encode().len(), 330);
        let pair = performed(purchase, &root, record, reply).pair;
        assert_eq!(pair.encode().len(), PAIR_BYTES);
        let work = spend(&pair, &root, record, Spending::on(WORK, &[0; 99], PRICE));
        assert_eq!(work.request().credential_bytes(), spend_bytes);
        assert_eq!(work.core().len(), spend_bytes + 4 + 99);
        ledger.process(work.core(), done).unwrap();
        let other = spend(&pair, &root, record, Spending::transfer(FEE));
        let reply = ledger.process(other.core(), never).unwrap();
        assert_eq!(reply.encode().len(), 1 + ROW_BYTES);
        assert_eq!(ROW_BYTES, 578);
    }
}

#[test]
fn a_reply_survives_its_encoding() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let first = spend(&pair, &root, record, Spending::transfer(FEE));
    let second = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    for core in [first.core(), second.core()] {
        let reply = ledger.process(core, never).unwrap();
        assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
    }
}

#[test]
fn an_amount_beyond_the_range_is_split_over_both_outputs() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let most = u64::from(u32::MAX);
    let pair = buy(&ledger, &root, 0, most + 5);
    assert_eq!(amounts(&pair), [most, 5]);

    // An operation that may be refunded leaves room for it.
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let reply = ledger
        .process(in_flight.core(), giving_back(PRICE))
        .unwrap();
    let pair = performed(in_flight, &root, record, reply).pair;
    assert_eq!(amounts(&pair), [most - HEADROOM + PRICE, HEADROOM - 5]);
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let pair = performed(in_flight, &root, record, reply).pair;
    assert_eq!(amounts(&pair), [most, 4]);
}

#[test]
fn a_pair_survives_its_stored_form() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 50);
    let stored = pair.encode();
    let restored = Unspent::decode(&*stored).unwrap();
    assert_eq!(*restored.encode(), *stored);
    let in_flight = restored
        .spend(&root, record, &Spending::transfer(FEE))
        .unwrap();
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let rule = AdjustRule::Exactly(0);
    let settled = in_flight.accept(&root, record, reply, rule).unwrap();
    assert!(matches!(settled, Settled::Performed(_)));
}

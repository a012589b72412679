//! A payment buys credentials once, for the one who knows the secret (§11).

use larder_credentials::{AdjustRule, HolderError, InFlight, Refusal, Reply, Root, Settled};

use crate::fixture::*;

#[test]
fn a_purchase_and_its_retry_issue_once() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = paid_claim(&ledger, &root, 0, 100);
    let purchase = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let first = ledger.process(purchase.core(), never).unwrap();
    let again = ledger.process(purchase.core(), never).unwrap();
    assert_eq!(first.encode(), again.encode());
    assert_eq!(supply(&ledger).outstanding, 100);
    assert_eq!(performed(purchase, &root, record, again).pair.total(), 100);
}

#[test]
fn a_second_claim_on_one_payment_gets_neither_tokens_nor_the_row() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = paid_claim(&ledger, &root, 0, 100);
    let one = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    ledger.process(one.core(), never).unwrap();
    let divided = InFlight::purchase(&root, record, &claim, 100, Some([40, 60])).unwrap();
    let stranger = Root::from_bytes([55; 32]);
    let stolen = InFlight::purchase(&stranger, record, &claim, 100, None).unwrap();
    for purchase in [divided, stolen] {
        let refused = refusal(ledger.process(purchase.core(), never));
        assert_eq!(refused, Refusal::AlreadyClaimed);
    }
    assert_eq!(supply(&ledger).outstanding, 100);
}

#[test]
fn a_claim_stays_used_after_its_row_is_gone() {
    let (mut ledger, root) = (ledger(), root());
    let claim = paid_claim(&ledger, &root, 0, 100);
    let purchase = InFlight::purchase(&root, ledger.issuer().record(), &claim, 100, None).unwrap();
    ledger.process(purchase.core(), never).unwrap();
    for _ in 0..=EARLIER {
        next_epoch(&mut ledger);
    }
    assert_eq!(ledger.storage().references(), 0);
    let record = ledger.issuer().record();
    let again = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let refused = refusal(ledger.process(again.core(), never));
    assert_eq!(refused, Refusal::AlreadyClaimed);
}

#[test]
fn only_a_paid_claim_of_the_exact_amount_issues() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = root.claim_secret(3);
    let purchase = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let attempt = || ledger.process(purchase.core(), never);
    assert_eq!(refusal(attempt()), Refusal::UnknownClaim);
    ledger.open_claim(&claim.tag(), [1; 32], 100).unwrap();
    assert_eq!(refusal(attempt()), Refusal::NotPaid);
    ledger.mark_paid(&claim.tag()).unwrap();
    let more = InFlight::purchase(&root, record, &claim, 101, None).unwrap();
    assert_eq!(
        refusal(ledger.process(more.core(), never)),
        Refusal::WrongPrice { price: -100 }
    );
    attempt().unwrap();
}

#[test]
fn a_claim_is_opened_once_and_forgotten_only_while_unpaid() {
    let ledger = ledger();
    let tag = root().claim_secret(0).tag();
    assert_eq!(refusal(ledger.mark_paid(&tag)), Refusal::UnknownClaim);
    ledger.open_claim(&tag, [1; 32], 5).unwrap();
    assert_eq!(
        refusal(ledger.open_claim(&tag, [2; 32], 6)),
        Refusal::AlreadyClaimed
    );
    ledger.drop_unpaid(&tag).unwrap();
    ledger.open_claim(&tag, [2; 32], 6).unwrap();
    ledger.mark_paid(&tag).unwrap();
    assert_eq!(refusal(ledger.drop_unpaid(&tag)), Refusal::UnknownClaim);
    let other = root().claim_secret(1).tag();
    for amount in [0, 1 << 33, u64::MAX] {
        refusal(ledger.open_claim(&other, [0; 32], amount));
    }
}

#[test]
fn a_purchase_is_not_answered_with_rows() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let spending = larder_credentials::Spending::transfer(FEE);
    let first = spend(&pair, &root, record, spending);
    ledger.process(first.core(), never).unwrap();
    let work = larder_credentials::Spending::on(WORK, b"", PRICE);
    let second = spend(&pair, &root, record, work);
    let rows = ledger.process(second.core(), never).unwrap();
    assert!(matches!(rows, Reply::NotPerformed(_)));
    let claim = root.claim_secret(1);
    let purchase = InFlight::purchase(&root, record, &claim, 7, None).unwrap();
    let rejected = purchase.accept(&root, record, rows, AdjustRule::Exactly(0));
    assert_eq!(rejected.unwrap_err().error, HolderError::ForeignRow);
}

#[test]
fn a_purchase_can_be_divided_and_opened_from_the_root() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = paid_claim(&ledger, &root, 0, 100);
    let purchase = InFlight::purchase(&root, record, &claim, 100, Some([1, 99])).unwrap();
    let reply = ledger.process(purchase.core(), never).unwrap();
    let settled = purchase
        .accept(&root, record, reply, AdjustRule::Exactly(0))
        .unwrap();
    let Settled::Performed(replaced) = settled else {
        panic!("it was performed");
    };
    assert_eq!(amounts(&replaced.pair), [1, 99]);
    for (amount, outputs) in [(0, None), (u64::MAX, None), (100, Some([99, 2]))] {
        let attempt = InFlight::purchase(&root, record, &claim, amount, outputs);
        assert!(attempt.is_err());
    }
}

#[test]
fn a_consumed_claim_is_forgotten_with_its_payment_and_an_open_one_is_not() {
    let (ledger, root) = (ledger(), root());
    let claim = paid_claim(&ledger, &root, 0, 100);
    let record = ledger.issuer().record();
    let purchase = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let forget = || ledger.drop_consumed(&claim.tag());
    assert_eq!(refusal(forget()), Refusal::UnknownClaim);
    let reply = ledger.process(purchase.core(), never).unwrap();
    forget().unwrap();
    assert_eq!(refusal(forget()), Refusal::UnknownClaim);
    // The row still answers a retry, and no other purchase gets past it.
    assert_eq!(ledger.process(purchase.core(), never), Ok(reply));
    let other = InFlight::purchase(&root, record, &claim, 100, Some([40, 60])).unwrap();
    let refused = refusal(ledger.process(other.core(), never));
    assert_eq!(refused, Refusal::AlreadyClaimed);
    assert_eq!(supply(&ledger).outstanding, 100);
}

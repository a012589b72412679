//! No byte of a request or of a response can be changed.

use larder_credentials::{
    AdjustRule, HolderError, InFlight, Issuer, MasterSecret, Record, Refusal, Reply, Row, Settled,
    Spending, Unspent,
};

use crate::fixture::*;

/// The byte with another value: each position gets another bit, and all bits in turn.
fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    flipped[place] ^= 1 << (place % 8);
    flipped
}

fn every_flipped_byte_is_refused(ledger: &TestLedger, core: &[u8]) {
    let references = ledger.storage().references();
    for place in 0..core.len() {
        refusal(ledger.process(&flipped(core, place), never));
    }
    assert_eq!(
        ledger.storage().references(),
        references,
        "nothing was stored"
    );
    ledger.process(core, done).unwrap();
}

#[test]
fn every_byte_of_a_spending_request_is_bound() {
    let (ledger, root, pair) = funded();
    let work = Spending::on(WORK, b"the parameters are bound too", PRICE);
    let in_flight = request(&ledger, &pair, &root, work);
    every_flipped_byte_is_refused(&ledger, in_flight.core());
}

#[test]
fn every_byte_of_a_purchase_is_bound() {
    let (ledger, root) = (ledger(), root());
    let claim = paid_claim(&ledger, &root, 0, 100);
    let record = ledger.issuer().record();
    let in_flight = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    every_flipped_byte_is_refused(&ledger, in_flight.core());
}

#[test]
fn every_byte_of_a_request_for_wide_amounts_is_bound() {
    let (ledger, root) = (ledger_of(WIDE), root());
    let pair = buy(&ledger, &root, 0, 1 << 40);
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    every_flipped_byte_is_refused(&ledger, in_flight.core());
}

fn no_flipped_byte_is_accepted(record: &Record, mut in_flight: InFlight, reply: Reply) {
    let (root, reply) = (root(), reply.encode());
    let rule = AdjustRule::AtMost(u64::MAX);
    for place in 0..reply.len() {
        let Ok(changed) = Reply::decode(&flipped(&reply, place)) else {
            continue;
        };
        let rejected = in_flight.accept(&root, record, changed, rule);
        in_flight = rejected.expect_err("a changed answer").in_flight;
    }
    let reply = Reply::decode(&reply).unwrap();
    assert!(in_flight.accept(&root, record, reply, rule).is_ok());
}

#[test]
fn every_byte_of_an_answer_is_bound() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let reply = ledger.process(in_flight.core(), giving_back(4)).unwrap();
    no_flipped_byte_is_accepted(record, in_flight, reply);
}

#[test]
fn every_byte_of_an_answer_to_a_purchase_is_bound() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let claim = paid_claim(&ledger, &root, 0, 100);
    let in_flight = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let reply = ledger.process(in_flight.core(), never).unwrap();
    no_flipped_byte_is_accepted(record, in_flight, reply);
}

#[test]
fn every_byte_of_a_row_is_bound() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let work = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    ledger.process(work.core(), giving_back(4)).unwrap();
    let other = spend(&pair, &root, record, Spending::transfer(FEE));
    let Reply::NotPerformed(rows) = ledger.process(other.core(), never).unwrap() else {
        panic!("the pair was spent before");
    };
    let row = rows[0].encode();
    for place in 0..row.len() {
        let opened = Row::decode(&flipped(&row, place)).map(|row| row.open(&root, record));
        assert!(!matches!(opened, Ok(Ok(_))), "byte {place} is not bound");
    }
    let opened = rows[0].open(&root, record).unwrap();
    assert_eq!(opened.total(), 94);
}

#[test]
fn a_request_verifies_for_its_own_service_only() {
    let (ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    let elsewhere = larder_credentials::Service::new([8; 32]);
    let elsewhere = Issuer::new(&master(), elsewhere, EPOCH, EARLIER);
    let service = elsewhere.record().service();
    let request = larder_credentials::Request::decode(service, in_flight.core()).unwrap();
    assert_eq!(elsewhere.verify(&request), Err(Refusal::BadProof));
    assert_eq!(ledger.issuer().verify(in_flight.request()), Ok(()));
}

#[test]
fn a_request_verifies_under_its_own_key_only() {
    let (ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    let master = MasterSecret::from_bytes([99; 32]);
    let other = Issuer::new(&master, SERVICE, EPOCH, EARLIER);
    assert_eq!(other.verify(in_flight.request()), Err(Refusal::BadProof));
}

#[test]
fn a_proof_cannot_be_redirected_to_another_operation() {
    let (ledger, root, pair) = funded();
    let work = Spending::on(WORK, b"", FEE);
    let in_flight = request(&ledger, &pair, &root, work);
    // Byte 1 is the operation code: the price of a transfer would fit.
    let mut core = in_flight.core().to_vec();
    core[1] = larder_credentials::OpCode::TRANSFER.code();
    assert_eq!(refusal(ledger.process(&core, never)), Refusal::BadProof);
}

#[test]
fn a_cost_claimed_one_too_high_or_too_low_does_not_verify() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    for wrong in [PRICE - 1, PRICE + 1] {
        let mut core = in_flight.core().to_vec();
        core[10..18].copy_from_slice(&wrong.to_le_bytes());
        let request = larder_credentials::Request::decode(&SERVICE, &core).unwrap();
        assert_eq!(request.cost(), wrong as i64);
        assert_eq!(ledger.issuer().verify(&request), Err(Refusal::BadProof));
    }
}

#[test]
fn a_credential_changed_in_any_field_is_worthless() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    // One more token; another blinding; another t. (The epoch and V are tried elsewhere.)
    for place in [4, 12, 44] {
        let mut stored = pair.encode();
        stored[place] ^= 1;
        let changed = Unspent::decode(&*stored).unwrap();
        let in_flight = changed
            .spend(&root, record, &Spending::transfer(FEE))
            .unwrap();
        assert_eq!(
            refusal(ledger.process(in_flight.core(), never)),
            Refusal::BadProof
        );
    }
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    ledger.process(in_flight.core(), never).unwrap();
}

#[test]
fn a_mac_made_for_one_credential_fits_no_other() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let stored = buy(&ledger, &root, 0, 100).encode();
    // The pair is (100, 0): give the zero credential the MAC of the other one.
    let mut swapped = stored.clone();
    swapped[108 + 44..].copy_from_slice(&stored[44..108]);
    let pair = Unspent::decode(&*swapped).unwrap();
    let in_flight = pair.spend(&root, record, &Spending::transfer(FEE)).unwrap();
    assert_eq!(
        refusal(ledger.process(in_flight.core(), never)),
        Refusal::BadProof
    );
}

#[test]
fn an_adjustment_that_was_not_proved_is_found_out() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let mut reply = ledger
        .process(in_flight.core(), giving_back(4))
        .unwrap()
        .encode();
    // Bytes 2 to 10 of the answer are the adjustment.
    reply[2..10].copy_from_slice(&5_u64.to_le_bytes());
    let lie = Reply::decode(&reply).unwrap();
    let rejected = in_flight.accept(&root, record, lie, AdjustRule::AtMost(PRICE));
    assert_eq!(rejected.unwrap_err().error, HolderError::BadIssuance);
}

#[test]
fn an_adjustment_off_the_schedule_is_not_accepted() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let mut in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let reply = ledger.process(in_flight.core(), giving_back(4)).unwrap();
    for rule in [
        AdjustRule::Exactly(3),
        AdjustRule::Exactly(5),
        AdjustRule::AtMost(3),
    ] {
        let rejected = in_flight
            .accept(&root, record, reply.clone(), rule)
            .unwrap_err();
        assert_eq!(rejected.error, HolderError::WrongAdjust);
        in_flight = rejected.in_flight;
    }
    let settled = in_flight
        .accept(&root, record, reply, AdjustRule::Exactly(4))
        .unwrap();
    assert!(matches!(settled, Settled::Performed(replaced) if replaced.pair.total() == 94));
}

#[test]
fn a_record_that_changes_within_its_epoch_is_found_out() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let tagging = Issuer::new(&MasterSecret::from_bytes([99; 32]), SERVICE, EPOCH, EARLIER);
    let rule = AdjustRule::Exactly(0);
    let rejected = in_flight
        .accept(&root, tagging.record(), reply.clone(), rule)
        .unwrap_err();
    assert_eq!(rejected.error, HolderError::ChangedParameters);
    assert_eq!(rejected.error.fault(), larder_credentials::Fault::Issuer);
    let settled = rejected.in_flight.accept(&root, record, reply, rule);
    assert!(matches!(settled, Ok(Settled::Performed(_))));
}

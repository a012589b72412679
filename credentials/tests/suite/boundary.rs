//! What is under way while an epoch begins (§7.1).

use larder_credentials::ledger::Admitted;
use larder_credentials::{Epoch, InFlight, Refusal, Reply, Spending};

use crate::fixture::*;

/// `M'_1` and `M'_2` of a spend.
fn outputs(core: &[u8]) -> &[u8] {
    &core[339..403]
}

#[test]
fn a_request_in_flight_at_the_boundary_is_refused_untouched_and_rebuilt() {
    let (mut ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    next_epoch(&mut ledger);
    let refused = Refusal::WrongEpoch {
        current: Epoch(6),
        oldest: Epoch(4),
    };
    assert_eq!(refusal(ledger.process(in_flight.core(), never)), refused);
    let before = outputs(in_flight.core()).to_vec();
    let pair = in_flight.abandon().unwrap();
    let record = ledger.issuer().record();
    let rebuilt = pair.spend(&root, record, &Spending::transfer(FEE)).unwrap();
    assert_eq!(outputs(rebuilt.core()), before);
    let reply = ledger.process(rebuilt.core(), never).unwrap();
    assert_eq!(
        performed(rebuilt, &root, record, reply).pair.epoch(),
        Epoch(6)
    );
}

#[test]
fn the_boundary_may_fall_between_verifying_and_settling() {
    let (mut ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::on(WORK, b"", PRICE));
    let Ok(Admitted::Unverified(request)) = ledger.admit(in_flight.core()) else {
        panic!("nothing is spent yet");
    };
    let verified = ledger.verify(vec![request]).remove(0).unwrap();
    next_epoch(&mut ledger);
    assert!(matches!(
        refusal(ledger.settle(verified, never)),
        Refusal::WrongEpoch { .. }
    ));
    assert_eq!(supply(&ledger).outstanding, 100);
}

#[test]
fn a_request_performed_before_the_boundary_is_answered_after_it() {
    let (mut ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    let reply = ledger.process(in_flight.core(), never).unwrap();
    for _ in 0..EARLIER {
        next_epoch(&mut ledger);
        let again = ledger.process(in_flight.core(), never).unwrap();
        assert_eq!(again, reply);
    }
}

#[test]
fn the_boundary_may_fall_between_admitting_and_verifying() {
    let (mut ledger, root) = (ledger(), root());
    let (old, fresh) = (buy(&ledger, &root, 0, 100), buy(&ledger, &root, 1, 100));
    let record = ledger.issuer().record().clone();
    let late = spend(&old, &root, &record, Spending::on(WORK, b"", PRICE));
    let Ok(Admitted::Unverified(late)) = ledger.admit(late.core()) else {
        panic!("nothing is spent yet");
    };
    next_epoch(&mut ledger);
    let record = ledger.issuer().record().clone();
    let timely = spend(&fresh, &root, &record, Spending::on(WORK, b"", PRICE));
    let Ok(Admitted::Unverified(request)) = ledger.admit(timely.core()) else {
        panic!("nothing is spent yet");
    };
    // Both are verified in one batch; only the one for this epoch is performed.
    let mut settled = ledger
        .verify(vec![late, request])
        .into_iter()
        .map(|verified| ledger.settle(verified.unwrap(), done));
    let refused = refusal(settled.next().unwrap());
    assert!(matches!(refused, Refusal::WrongEpoch { .. }));
    let reply = settled.next().unwrap().unwrap();
    assert_eq!(performed(timely, &root, &record, reply).pair.total(), 90);
    assert_eq!(supply(&ledger).outstanding, 190);
}

#[test]
fn a_purchase_in_flight_at_the_boundary_is_refused_and_its_claim_stays_good() {
    let (mut ledger, root) = (ledger(), root());
    let claim = paid_claim(&ledger, &root, 0, 100);
    let record = ledger.issuer().record();
    let late = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    next_epoch(&mut ledger);
    let refused = refusal(ledger.process(late.core(), never));
    assert!(matches!(refused, Refusal::WrongEpoch { .. }));
    let record = ledger.issuer().record();
    let rebuilt = InFlight::purchase(&root, record, &claim, 100, None).unwrap();
    let reply = ledger.process(rebuilt.core(), never).unwrap();
    let pair = performed(rebuilt, &root, record, reply).pair;
    assert_eq!((pair.total(), pair.epoch()), (100, Epoch(6)));
    // The first one, should it arrive again, issues nothing more.
    refusal(ledger.process(late.core(), never));
    assert_eq!(supply(&ledger).outstanding, 100);
}

#[test]
fn a_request_for_an_epoch_that_has_not_begun_is_refused_until_it_has() {
    let (mut ledger, root, pair) = funded();
    let next = issuer(SERVICE, Epoch(6));
    let early = spend(&pair, &root, next.record(), Spending::reissue());
    let refused = Refusal::WrongEpoch {
        current: EPOCH,
        oldest: Epoch(3),
    };
    assert_eq!(refusal(ledger.process(early.core(), never)), refused);
    next_epoch(&mut ledger);
    let reply = ledger.process(early.core(), never).unwrap();
    assert_eq!(
        performed(early, &root, next.record(), reply).pair.total(),
        100
    );
}

#[test]
fn a_pair_reissued_by_one_device_and_spent_by_another_moves_once() {
    for (reissue_first, left) in [(true, 100), (false, 90)] {
        let (mut ledger, root, pair) = funded();
        next_epoch(&mut ledger);
        let record = ledger.issuer().record();
        let mut devices = [Spending::reissue(), Spending::on(WORK, b"", PRICE)]
            .map(|spending| spend(&pair, &root, record, spending));
        if !reissue_first {
            devices.reverse();
        }
        let [first, second] = devices;
        ledger.process(first.core(), done).unwrap();
        let Ok(Reply::NotPerformed(rows)) = ledger.process(second.core(), never) else {
            panic!("the pair was spent");
        };
        assert_eq!(rows[0].op(), first.request().op());
        assert_eq!(rows[0].open(&root, record).unwrap().total(), left);
    }
}

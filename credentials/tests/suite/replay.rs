//! What is spent once stays spent, and says what became of it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};

use larder_credentials::ledger::Admitted;
use larder_credentials::{
    AdjustRule, HolderError, Refusal, Reply, Root, Settled, Spending, Unspent,
};

use crate::fixture::*;

#[test]
fn a_lost_reply_and_its_retry_cost_once() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let first = ledger.process(in_flight.core(), done).unwrap();
    let supply = supply(&ledger);
    for _ in 0..3 {
        let again = ledger.process(in_flight.core(), never).unwrap();
        assert_eq!(again.encode(), first.encode());
    }
    assert_eq!(crate::fixture::supply(&ledger), supply);
    assert_eq!(performed(in_flight, &root, record, first).pair.total(), 90);
}

#[test]
fn a_retry_is_answered_before_any_proof_is_checked() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    assert!(matches!(
        ledger.admit(in_flight.core()),
        Ok(Admitted::Unverified(_))
    ));
    ledger.process(in_flight.core(), never).unwrap();
    assert!(matches!(
        ledger.admit(in_flight.core()),
        Ok(Admitted::Answered(_))
    ));
}

#[test]
fn another_request_on_a_spent_pair_gets_the_row_and_has_no_effect() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let first = spend(&pair, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(first.core(), never).unwrap();
    let replaced = performed(first, &root, record, reply).pair;
    let (references, before) = (ledger.storage().references(), supply(&ledger));

    let other = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
    let reply = ledger.process(other.core(), never).unwrap();
    let Settled::Overtaken { rows, .. } = other
        .accept(&root, record, reply, AdjustRule::Exactly(0))
        .unwrap()
    else {
        panic!("it was not performed");
    };
    assert_eq!(rows.len(), 1);
    assert_eq!(
        *rows[0].open(&root, record).unwrap().encode(),
        *replaced.encode()
    );
    assert_eq!(
        (ledger.storage().references(), supply(&ledger)),
        (references, before)
    );
}

#[test]
fn a_thief_without_the_mac_learns_nothing_of_a_spent_pair() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    let first = spend(&pair, &root, record, Spending::transfer(FEE));
    ledger.process(first.core(), never).unwrap();

    // He knows amounts and blindings, so he can name the serials, but has other MACs.
    let other = buy(&ledger, &root, 1, 100).encode();
    let mut stolen = pair.encode();
    stolen[44..108].copy_from_slice(&other[44..108]);
    let stolen = Unspent::decode(&*stolen).unwrap();
    assert_eq!(
        stolen.credentials()[0].serial(),
        pair.credentials()[0].serial()
    );
    let thief = Root::from_bytes([66; 32]);
    let attempt = stolen
        .spend(&thief, record, &Spending::transfer(FEE))
        .unwrap();
    assert_eq!(
        refusal(ledger.process(attempt.core(), never)),
        Refusal::BadProof
    );

    // He replays what he saw with another ending.
    let mut core = first.core().to_vec();
    let last = core.len() - 5;
    core[last] ^= 1;
    assert!(matches!(
        refusal(ledger.process(&core, never)),
        Refusal::BadProof | Refusal::Malformed(_)
    ));
}

#[test]
fn whoever_knows_only_the_serials_is_refused_alike_whether_they_are_spent_or_not() {
    let (mut ledger, root) = (ledger(), root());
    let [spent, unspent] = [0, 1].map(|index| buy(&ledger, &root, index, 100));
    let record = ledger.issuer().record().clone();
    let first = spend(&spent, &root, &record, Spending::transfer(FEE));
    ledger.process(first.core(), never).unwrap();
    let garbled = |pair: &Unspent, fee| {
        let mut core = spend(pair, &root, &record, Spending::transfer(fee))
            .core()
            .to_vec();
        // In the responses, which the length of no parameters follows.
        let last = core.len() - 5;
        core[last] ^= 1;
        core
    };
    let told = |ledger: &TestLedger, fee| {
        [&spent, &unspent].map(|pair| refusal(ledger.process(&garbled(pair, fee), never)))
    };
    assert_eq!(told(&ledger, FEE), [Refusal::BadProof; 2]);
    let price = FEE as i64;
    assert_eq!(told(&ledger, FEE + 1), [Refusal::WrongPrice { price }; 2]);
    next_epoch(&mut ledger);
    let [of_spent, of_unspent] = told(&ledger, FEE);
    assert!(matches!(of_spent, Refusal::WrongEpoch { .. }));
    assert_eq!(of_spent, of_unspent);
}

#[test]
fn of_two_concurrent_requests_with_one_pair_exactly_one_is_performed() {
    let (ledger, root, pair) = funded();
    let record = ledger.issuer().record();
    for round in 0..4_u8 {
        let pair = buy(&ledger, &root, 1 + u64::from(round), 100);
        let effects = AtomicU32::new(0);
        let verified_both = Barrier::new(2);
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let tries = [b"one", b"two"].map(|parameters| {
                let core = spend(&pair, &root, record, Spending::on(WORK, parameters, PRICE));
                let (ledger, effects, barrier) = (&ledger, &effects, &verified_both);
                scope.spawn(move || {
                    let Ok(Admitted::Unverified(request)) = ledger.admit(core.core()) else {
                        panic!("nothing is spent yet");
                    };
                    let verified = ledger.verify(vec![request]).remove(0).unwrap();
                    barrier.wait();
                    ledger
                        .settle(verified, |transaction, request| {
                            effects.fetch_add(1, Ordering::Relaxed);
                            done(transaction, request)
                        })
                        .unwrap()
                })
            });
            tries.map(|thread| thread.join().unwrap()).into()
        });
        assert_eq!(effects.load(Ordering::Relaxed), 1);
        let performed = replies
            .iter()
            .filter(|r| matches!(r, Reply::Performed { .. }));
        assert_eq!(performed.count(), 1);
        let overtaken = replies
            .iter()
            .filter(|r| matches!(r, Reply::NotPerformed(_)));
        assert_eq!(overtaken.count(), 1);
    }
    drop(pair);
}

#[test]
fn a_pair_mixed_from_two_answers_spends_and_opens() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let [a, _] = buy(&ledger, &root, 0, 30).into_credentials();
    let [b, _] = buy(&ledger, &root, 1, 12).into_credentials();
    let mixed = Unspent::new([a, b]).unwrap();
    let first = spend(&mixed, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(first.core(), never).unwrap();
    assert_eq!(performed(first, &root, record, reply).pair.total(), 41);

    // Whoever lost the answer and everything but the root finds it by any other request.
    let other = spend(&mixed, &root, record, Spending::on(WORK, b"", PRICE));
    let Reply::NotPerformed(rows) = ledger.process(other.core(), never).unwrap() else {
        panic!("the pair was spent before");
    };
    assert_eq!(rows[0].open(&root, record).unwrap().total(), 41);
}

#[test]
fn a_pair_mixed_from_two_opened_rows_spends_and_opens() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    // Both answers are lost; what is left of them are their rows.
    let halves = [(0, 30), (1, 12)].map(|(claim, amount)| {
        let pair = buy(&ledger, &root, claim, amount);
        let lost = spend(&pair, &root, record, Spending::transfer(FEE));
        ledger.process(lost.core(), never).unwrap();
        let other = spend(&pair, &root, record, Spending::on(WORK, b"", PRICE));
        let Ok(Reply::NotPerformed(rows)) = ledger.process(other.core(), never) else {
            panic!("the pair was spent before");
        };
        let [worthy, _] = rows[0].open(&root, record).unwrap().into_credentials();
        worthy
    });
    let mixed = Unspent::new(halves).unwrap();
    let lost = spend(&mixed, &root, record, Spending::transfer(FEE));
    ledger.process(lost.core(), never).unwrap();
    let other = spend(&mixed, &root, record, Spending::on(WORK, b"", PRICE));
    let Ok(Reply::NotPerformed(rows)) = ledger.process(other.core(), never) else {
        panic!("the pair was spent before");
    };
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].open(&root, record).unwrap().total(), 29 + 11 - 1);
}

#[test]
fn a_pair_of_which_both_halves_were_spent_apart_shows_both_rows() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (one, two) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 12));
    let [a, a0] = copy(&one).into_credentials();
    let [b, _] = copy(&two).into_credentials();
    for pair in [&one, &two] {
        let in_flight = spend(pair, &root, record, Spending::transfer(FEE));
        ledger.process(in_flight.core(), never).unwrap();
    }
    let mixed = Unspent::new([a, b]).unwrap();
    let in_flight = spend(&mixed, &root, record, Spending::transfer(FEE));
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let Settled::Overtaken { rows, .. } = in_flight
        .accept(&root, record, reply, AdjustRule::Exactly(0))
        .unwrap()
    else {
        panic!("both halves were spent");
    };
    let totals: Vec<u128> = rows
        .iter()
        .map(|r| r.open(&root, record).unwrap().total())
        .collect();
    assert_eq!(totals, [29, 11]);

    // And one half that is unspent stays so.
    let [c, c0] = buy(&ledger, &root, 2, 50).into_credentials();
    let half_spent = Unspent::new([a0, c]).unwrap();
    let in_flight = half_spent
        .spend(&root, record, &Spending::transfer(FEE))
        .unwrap();
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let Settled::Overtaken { inputs, rows } = in_flight
        .accept(&root, record, reply, AdjustRule::Exactly(0))
        .unwrap()
    else {
        panic!("one half was spent");
    };
    assert_eq!(rows.len(), 1);
    let [_, unspent] = inputs.into_credentials();
    let whole = Unspent::new([unspent, c0]).unwrap();
    let in_flight = whole
        .spend(&root, record, &Spending::transfer(FEE))
        .unwrap();
    let reply = ledger.process(in_flight.core(), never).unwrap();
    assert_eq!(performed(in_flight, &root, record, reply).pair.total(), 49);
}

#[test]
fn a_row_that_consumes_something_else_is_not_accepted() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let (ours, strangers) = (buy(&ledger, &root, 0, 30), buy(&ledger, &root, 1, 30));
    for op in [Spending::transfer(FEE), Spending::on(WORK, b"", PRICE)] {
        let in_flight = spend(&strangers, &root, record, op);
        let reply = ledger.process(in_flight.core(), never).unwrap();
        if let Reply::NotPerformed(_) = reply {
            let in_flight = spend(&ours, &root, record, Spending::transfer(FEE));
            let rejected = in_flight.accept(&root, record, reply, AdjustRule::Exactly(0));
            assert_eq!(rejected.unwrap_err().error, HolderError::ForeignRow);
            return;
        }
    }
    panic!("the second request on a spent pair shows a row");
}

#[test]
fn one_credential_is_not_a_pair() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let pair = buy(&ledger, &root, 0, 30);
    let [a, _] = copy(&pair).into_credentials();
    let [also_a, _] = copy(&pair).into_credentials();
    assert!(matches!(
        Unspent::new([a, also_a]),
        Err(HolderError::SameCredential)
    ));

    // A client that ignores this is refused: byte 19 begins the presentations, 160 each.
    let in_flight = spend(&pair, &root, record, Spending::transfer(FEE));
    let mut core = in_flight.core().to_vec();
    let serial = core[19 + 128..19 + 160].to_vec();
    core[19 + 160 + 128..19 + 320].copy_from_slice(&serial);
    assert_eq!(
        refusal(ledger.process(&core, never)),
        Refusal::Malformed(larder_credentials::Malformed::SameSerial)
    );
}

#[test]
fn a_taken_over_pair_shows_its_giver_the_row_but_no_amounts() {
    let (ledger, giver) = (ledger(), root());
    let record = ledger.issuer().record();
    let handed_over = buy(&ledger, &giver, 0, 30);
    let recipient = Root::from_bytes([77; 32]);
    let takeover = spend(&handed_over, &recipient, record, Spending::transfer(FEE));
    let reply = ledger.process(takeover.core(), never).unwrap();
    assert_eq!(
        performed(takeover, &recipient, record, reply).pair.total(),
        29
    );

    let snooping = spend(&handed_over, &giver, record, Spending::on(WORK, b"", PRICE));
    let Reply::NotPerformed(rows) = ledger.process(snooping.core(), never).unwrap() else {
        panic!("the pair was taken over");
    };
    assert_eq!(
        rows[0].open(&giver, record).unwrap_err(),
        HolderError::NotOurs
    );
    assert_eq!(rows[0].open(&recipient, record).unwrap().total(), 29);
}

//! What operations cost, and what is refused before it costs anything.

use larder_credentials::ledger::Supply;
use larder_protocol::{Call, Done, Nonce, Payment, Refusal, Reply, Request, SizeClass, envelope};
use larder_store::{Engine, Options, Stat};

use crate::scene::*;

#[test]
fn what_was_bought_pays_for_every_operation_and_the_sum_is_right_to_the_token() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    assert_eq!(pair.total(), 100);
    let inserted = wallet.perform(&scene, &pair, insert(1, 1));
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
    assert_eq!((inserted.pair.total(), inserted.status), (84, 0));
    let found = wallet.perform(&scene, &inserted.pair, lookup(1));
    assert_eq!(found.outcome, Ok(Done::Found(blob(1))));
    assert_eq!(found.pair.total(), 82);
    let removed = wallet.perform(&scene, &found.pair, delete(&scene, 1));
    assert_eq!(removed.outcome, Ok(Done::Removed));
    assert_eq!((removed.pair.total(), removed.adjust), (89, 8));
    let moved = wallet.perform(&scene, &removed.pair, Call::Transfer);
    assert_eq!(
        (moved.outcome, moved.pair.total()),
        (Ok(Done::Exchanged), 86)
    );
    assert_eq!(scene.tokens_outstanding(), 86);
}

#[test]
fn a_refused_insert_costs_what_a_look_up_costs_and_a_look_up_always_the_same() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let pair = wallet.perform(&scene, &pair, insert(1, 1)).pair;
    let before = pair.total();
    let exists = wallet.perform(&scene, &pair, insert(1, 2));
    let blob_hash = blob(1).hash();
    assert_eq!(exists.outcome, Err(Refusal::AlreadyExists { blob_hash }));
    assert_eq!((exists.status, exists.adjust), (0x13, 14));
    assert_eq!(exists.pair.total(), before - 2);

    let pair = wallet.perform(&scene, &exists.pair, delete(&scene, 1)).pair;
    let before = pair.total();
    let deleted = wallet.perform(&scene, &pair, insert(1, 1));
    assert_eq!(deleted.outcome, Err(Refusal::Deleted));
    assert_eq!((deleted.status, deleted.pair.total()), (0x15, before - 2));

    let gone = wallet.perform(&scene, &deleted.pair, lookup(1));
    assert_eq!(gone.outcome, Err(Refusal::Deleted));
    let absent = wallet.perform(&scene, &gone.pair, lookup(7));
    assert_eq!(absent.outcome, Err(Refusal::Absent));
    assert_eq!((gone.status, absent.status), (0, 0));
    assert_eq!(absent.pair.total(), before - 6);
}

#[test]
fn a_delete_that_removes_nothing_costs_its_price_and_gives_nothing_back() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let absent = wallet.perform(&scene, &pair, delete(&scene, 1));
    assert_eq!(absent.outcome, Err(Refusal::Absent));
    assert_eq!((absent.status, absent.adjust), (0x14, 0));
    // Signed over blob 1, and another one is there.
    let pair = wallet.perform(&scene, &absent.pair, insert(1, 2)).pair;
    let refused = wallet.perform(&scene, &pair, delete(&scene, 1));
    let blob_hash = blob(2).hash();
    assert_eq!(refused.outcome, Err(Refusal::BadSignature { blob_hash }));
    assert_eq!((refused.status, refused.adjust), (0x16, 0));
    assert_eq!(refused.pair.total(), 100 - 1 - 16 - 1);
}

#[test]
fn a_refund_falls_with_the_age_of_what_is_deleted() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let mut pair = wallet.buy(&scene, 1_000);
    for number in 1..=5 {
        pair = wallet.perform(&scene, &pair, insert(number, 1)).pair;
    }
    for (number, refund) in [(1, 8), (2, 6), (3, 4), (4, 0), (5, 0)] {
        let removed = wallet.perform(&scene, &pair, delete(&scene, number));
        assert_eq!(removed.outcome, Ok(Done::Removed));
        assert_eq!(removed.adjust, refund);
        scene.next_epoch();
        pair = wallet.perform(&scene, &removed.pair, Call::Reissue).pair;
    }
}

#[test]
fn what_is_refused_before_it_is_paid_stores_nothing_and_costs_nothing() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let (call, terms) = (insert(1, 1), scene.terms());
    let price = Err(Refusal::WrongPrice { price: 16 });
    // Not paid at all, and with another price than the record's.
    assert_eq!(scene.free(call.clone()), price);
    for cost in [15, 17] {
        let in_flight = wallet.pay_with(&terms, &pair, &call, cost);
        assert_eq!(scene.ask(call.clone(), paid(&in_flight)).outcome, price);
    }
    // A payment for another call: another blob, another key, another operation.
    let in_flight = wallet.pay(&scene, &pair, &call);
    for other in [insert(1, 2), insert(2, 1)] {
        let refused = scene.ask(other, paid(&in_flight)).outcome;
        assert_eq!(refused, Err(Refusal::BadProof));
    }
    let refused = scene.ask(lookup(1), paid(&in_flight)).outcome;
    assert_eq!(refused, Err(Refusal::BadProof));
    // A proof with one bit changed, and bytes that are none.
    let mut core = in_flight.core().to_vec();
    core[500] ^= 1;
    let refused = scene.ask(call.clone(), Payment::Credentials(core)).outcome;
    assert!(matches!(
        refused,
        Err(Refusal::BadProof | Refusal::Malformed)
    ));
    let refused = scene.ask(call.clone(), Payment::Credentials(vec![1; 1_000]));
    assert_eq!(refused.outcome, Err(Refusal::Malformed));
    // What is free cannot be paid for.
    let refused = scene.ask(Call::Info, paid(&in_flight)).outcome;
    assert_eq!(refused, Err(Refusal::WrongPrice { price: 0 }));

    assert_eq!(scene.engine.stat(&key(1)).unwrap(), Stat::Absent);
    assert_eq!(scene.tokens_outstanding(), 100);
    // The pair is as good as before.
    let inserted = wallet.settle(&scene, call, in_flight);
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
}

#[test]
fn a_look_up_in_the_small_class_is_refused_and_costs_nothing() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    wallet.buy(&scene, 100);
    let request = Request::unpaid(Nonce([9; 32]), lookup(1));
    let contents = envelope::wrap(&request.encode(), SizeClass::Small).unwrap();
    let answer = scene.desk.answer(&contents);
    assert_eq!(SizeClass::of(&answer), SizeClass::Small);
    let reply = Reply::decode(envelope::unwrap(&answer).unwrap()).unwrap();
    assert_eq!(reply.outcome, Err(Refusal::WrongSizeClass));
}

#[test]
fn the_same_pair_for_another_call_gets_the_row_and_nothing_is_done() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let first = wallet.perform(&scene, &pair, insert(1, 1));
    let call = insert(2, 2);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let refused = scene.ask(call, paid(&in_flight)).outcome;
    let [row] = &rows(refused)[..] else {
        panic!("one row answers a pair that was spent at once")
    };
    assert_eq!(
        wallet.open(&scene, row).encode()[..],
        first.pair.encode()[..]
    );
    assert_eq!(scene.engine.stat(&key(2)).unwrap(), Stat::Absent);
    assert_eq!(scene.tokens_outstanding(), 84);
}

#[test]
fn a_retry_costs_once_and_is_told_what_is_true_by_then() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let call = insert(1, 1);
    let first = wallet.pay(&scene, &pair, &call);
    let reply = scene.ask(call.clone(), paid(&first));
    let again = scene.ask(call.clone(), paid(&first));
    assert_eq!(
        (&reply.outcome, &reply.replacement),
        (&again.outcome, &again.replacement)
    );
    assert_eq!(scene.tokens_outstanding(), 984);

    // It pays for its call only, also when it has paid already.
    let free_ride = scene.ask(lookup(1), paid(&first)).outcome;
    assert_eq!(free_ride, Err(Refusal::BadProof));
    let free_ride = scene.ask(insert(1, 2), paid(&first)).outcome;
    assert_eq!(free_ride, Err(Refusal::BadProof));

    let second = wallet.accept(&scene, first, again).pair;
    let looking = wallet.pay(&scene, &second, &lookup(1));
    let found = scene.ask(lookup(1), paid(&looking));
    assert_eq!(found.outcome, Ok(Done::Found(blob(1))));
    let third = wallet.accept(&scene, looking, found).pair;
    let deleting = delete(&scene, 1);
    let removing = wallet.pay(&scene, &third, &deleting);
    let removed = scene.ask(deleting.clone(), paid(&removing));
    assert_eq!(removed.outcome, Ok(Done::Removed));

    // What each hears when it comes back. A request is a function of what it is made from.
    let retry = |pair, call: &Call| scene.ask(call.clone(), paid(&wallet.pay(&scene, pair, call)));
    assert_eq!(retry(&pair, &call).outcome, Err(Refusal::Deleted));
    assert_eq!(retry(&second, &lookup(1)).outcome, Err(Refusal::Deleted));
    let again = retry(&third, &deleting);
    assert_eq!(again.outcome, Err(Refusal::Deleted));
    // The replacement still says how it ended.
    assert_eq!(again.replacement, removed.replacement);
    let removed = wallet.accept(&scene, removing, again);
    assert_eq!((removed.status, removed.adjust), (0, 8));
    assert_eq!(scene.tokens_outstanding(), removed.pair.total());
}

#[test]
fn a_forgery_halts_all_that_issues_and_neither_a_restart_nor_an_epoch_mends_it() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    // A store that knows of fewer tokens than there are is what forgery looks like.
    let other = crate::scene::scene();
    let call = insert(1, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    // The same seed, so the proof holds; nobody has bought anything here.
    let refused = other.ask(call.clone(), paid(&in_flight)).outcome;
    assert_eq!(refused, Err(Refusal::Halted));
    let halted = Supply {
        outstanding: 0,
        halted: true,
    };
    assert_eq!(other.engine.supply().unwrap(), halted);
    assert_eq!(other.engine.stat(&key(1)).unwrap(), Stat::Absent);
    let quote = wallet.quote(100, 1, None);
    assert_eq!(other.free(Call::Quote(quote)), Err(Refusal::Halted));
    let other = other.restarted(Some(sale(offer()))).unwrap();
    let refused = other.ask(call, paid(&in_flight)).outcome;
    assert_eq!(refused, Err(Refusal::Halted));
    // The epochs that could spend what was forged are still open.
    other.next_epoch();
    assert!(other.engine.supply().unwrap().halted);
}

#[test]
fn a_full_disk_costs_nothing() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let full = Options {
        free_space_floor: u64::MAX,
        ..options()
    };
    let scene = scene.reopened(full, SEED, Some(sale(offer()))).unwrap();
    let call = insert(1, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let refused = scene.ask(call, paid(&in_flight)).outcome;
    assert_eq!(refused, Err(Refusal::StoreFull));
    assert_eq!(scene.tokens_outstanding(), 100);
    let found = wallet.perform(&scene, &pair, lookup(1));
    assert_eq!(found.outcome, Err(Refusal::Absent));
}

#[test]
fn a_node_that_was_full_of_late_refuses_inserts_before_it_checks_their_proofs() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let first = wallet.pay(&scene, &pair, &insert(1, 1));
    let pair = wallet.perform(&scene, &pair, insert(1, 1)).pair;
    let full = Options {
        free_space_floor: u64::MAX,
        ..options()
    };
    let scene = scene.reopened(full, SEED, Some(sale(offer()))).unwrap();
    let call = insert(2, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let mut core = in_flight.core().to_vec();
    // In the challenge of its Σ-proof.
    core[1_024 + 31] ^= 1;
    let forged = || {
        let payment = Payment::Credentials(core.clone());
        scene.ask(call.clone(), payment).outcome
    };
    let asked = || scene.ask(call.clone(), paid(&in_flight)).outcome;
    assert_eq!(forged(), Err(Refusal::BadProof));
    assert_eq!(asked(), Err(Refusal::StoreFull));
    assert_eq!(forged(), Err(Refusal::StoreFull));
    // What was performed is answered as ever, and the rest is served.
    let again = scene.ask(insert(1, 1), paid(&first)).outcome;
    assert_eq!(again, Ok(Done::Inserted));
    // The store is asked again after a minute, and when something was removed.
    scene.later(60);
    assert_eq!(forged(), Err(Refusal::BadProof));
    assert_eq!(asked(), Err(Refusal::StoreFull));
    let removed = wallet.perform(&scene, &pair, delete(&scene, 1));
    assert_eq!(removed.outcome, Ok(Done::Removed));
    assert_eq!(forged(), Err(Refusal::BadProof));
}

#[test]
fn a_request_with_any_byte_of_its_payment_or_its_call_changed_does_nothing() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let inserting = insert(1, 1);
    let pair = wallet.perform(&scene, &pair, inserting).pair;
    let call = delete(&scene, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let request = Request {
        payment: paid(&in_flight),
        ..Request::unpaid(Nonce([9; 32]), call.clone())
    };
    let before = scene.tokens_outstanding();
    let body = request.encode();
    // The nonce is the client's own; a receipt over another one is worth nothing to it.
    for at in (0..1).chain(33..body.len()) {
        let mut changed = body.clone();
        changed[at] ^= 1 << (at % 8);
        let contents = envelope::wrap(&changed, SizeClass::Big).unwrap();
        let answer = scene.desk.answer(&contents);
        let reply = Reply::decode(envelope::unwrap(&answer).unwrap()).unwrap();
        assert!(
            reply.outcome.is_err() && reply.replacement.is_none(),
            "byte {at}"
        );
    }
    assert_eq!(scene.tokens_outstanding(), before);
    let removed = wallet.settle(&scene, call, in_flight);
    assert_eq!(removed.outcome, Ok(Done::Removed));
}

//! Requests that meet: of what can be done once, exactly one is done, whatever the timing.

use std::sync::Barrier;

use larder_protocol::{Call, Done, Payment, Refusal, Reply};
use larder_store::{Engine, Stat};

use crate::scene::*;

/// Sends both at the same moment.
pub(crate) fn at_once(scene: &Scene, one: (Call, Payment), other: (Call, Payment)) -> [Reply; 2] {
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        let asking = [one, other].map(|(call, payment)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                scene.ask(call, payment)
            })
        });
        asking.map(|asking| asking.join().expect("answered"))
    })
}

#[test]
fn of_two_operations_with_one_pair_exactly_one_is_done() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    for number in (1..21).step_by(2) {
        let before = scene.tokens_outstanding();
        let pair = wallet.buy(&scene, 100);
        let calls = [insert(number, 1), insert(number + 1, 1)];
        let [one, other] = calls.clone().map(|call| {
            let payment = paid(&wallet.pay(&scene, &pair, &call));
            (call, payment)
        });
        let replies = at_once(&scene, one, other);
        let done = replies
            .iter()
            .filter(|reply| reply.outcome == Ok(Done::Inserted));
        assert_eq!(done.count(), 1);
        let spent = |reply: &&Reply| matches!(reply.outcome, Err(Refusal::AlreadySpent { .. }));
        assert_eq!(replies.iter().filter(spent).count(), 1);
        let stored = [number, number + 1].map(|n| scene.engine.stat(&key(n)).unwrap());
        assert_eq!(
            stored.iter().filter(|stat| **stat == Stat::Absent).count(),
            1
        );
        assert_eq!(scene.tokens_outstanding(), before + 84);
    }
}

#[test]
fn of_two_inserts_under_one_key_the_loser_pays_for_a_look_up() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    for number in 1..11 {
        let before = scene.tokens_outstanding();
        let pairs = [wallet.buy(&scene, 100), wallet.buy(&scene, 100)];
        let [one, other] = [1, 2].map(|content| {
            let call = insert(number, content);
            let in_flight = wallet.pay(&scene, &pairs[usize::from(content) - 1], &call);
            let payment = paid(&in_flight);
            (call, payment)
        });
        let replies = at_once(&scene, one, other);
        let Stat::Present { blob_hash, .. } = scene.engine.stat(&key(number)).unwrap() else {
            panic!("neither was stored")
        };
        let exists = Err(Refusal::AlreadyExists { blob_hash });
        let lost = replies.iter().filter(|reply| reply.outcome == exists);
        assert_eq!(lost.count(), 1);
        assert!(replies.iter().all(|reply| reply.replacement.is_some()));
        assert_eq!(scene.tokens_outstanding(), before + 200 - 16 - 2);
    }
}

#[test]
fn a_request_and_its_retry_at_once_cost_once_and_get_the_same() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    for number in 1..11 {
        let before = scene.tokens_outstanding();
        let pair = wallet.buy(&scene, 100);
        let call = insert(number, 1);
        let payment = paid(&wallet.pay(&scene, &pair, &call));
        let [one, other] = at_once(&scene, (call.clone(), payment.clone()), (call, payment));
        assert_eq!(one.outcome, Ok(Done::Inserted));
        assert_eq!(
            (one.outcome, one.replacement),
            (other.outcome, other.replacement)
        );
        assert_eq!(scene.tokens_outstanding(), before + 84);
    }
}

#[test]
fn requests_that_meet_an_epochs_end_are_done_in_the_old_one_or_refused_untouched() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    for number in 1..6 {
        let pair = wallet.buy(&scene, 100);
        let before = scene.tokens_outstanding();
        let call = insert(number, 1);
        let in_flight = wallet.pay(&scene, &pair, &call);
        let epoch = scene.record().epoch;
        let start = Barrier::new(2);
        let outcome = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                start.wait();
                // Under whose receipt key it is signed the epoch does not change.
                scene.ask(call.clone(), paid(&in_flight)).outcome
            });
            start.wait();
            scene.next_epoch();
            asking.join().expect("answered")
        });
        let stat = scene.engine.stat(&key(number)).unwrap();
        if outcome == Ok(Done::Inserted) {
            assert!(matches!(stat, Stat::Present { .. }));
            assert_eq!(scene.tokens_outstanding(), before - 16);
        } else {
            let oldest = epoch.saturating_sub(1).max(FIRST);
            assert_eq!(outcome, wrong_epoch(epoch + 1, oldest));
            assert_eq!(stat, Stat::Absent);
            assert_eq!(scene.tokens_outstanding(), before);
        }
    }
}

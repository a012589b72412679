//! What an epoch's end, a restart and another configuration change, and what they do not.

use larder_node::{NodeError, Offer};
use larder_protocol::{Call, Done, Refusal, issuer_commitment};
use larder_store::Engine;

use crate::scene::*;

#[test]
fn a_request_in_flight_at_the_boundary_is_refused_untouched_and_made_anew() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let call = insert(1, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    scene.next_epoch();
    let refused = scene.ask(call.clone(), paid(&in_flight)).outcome;
    assert_eq!(refused, wrong_epoch(FIRST + 1, FIRST));
    let inserted = wallet.perform(&scene, &pair, call);
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
    assert_eq!(inserted.pair.epoch(), epoch(&scene));
}

#[test]
fn credentials_can_be_reissued_for_as_many_epochs_as_the_offer_says_and_no_longer() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let (in_time, late) = (wallet.buy(&scene, 100), wallet.buy(&scene, 100));
    scene.next_epoch();
    scene.next_epoch();
    let reissued = wallet.perform(&scene, &in_time, Call::Reissue);
    assert_eq!(reissued.outcome, Ok(Done::Exchanged));
    assert_eq!(reissued.pair.total(), 100);
    let before = scene.terms();
    scene.next_epoch();
    let too_late = wallet.pay_with(&before, &late, &Call::Reissue, 0);
    let refused = scene.ask(Call::Reissue, paid(&too_late)).outcome;
    assert_eq!(refused, wrong_epoch(FIRST + 3, FIRST + 1));
}

#[test]
fn each_epoch_keeps_the_commitment_of_the_one_before_and_publishes_the_live_keys() {
    let scene = scene();
    let mut published = scene.record().tariff.unwrap();
    assert_eq!((scene.record().epoch, published.issuers.len()), (FIRST, 1));
    for (later, live) in [(1, 2), (2, 3), (3, 3)] {
        scene.next_epoch();
        let record = scene.record();
        let tariff = record.tariff.clone().unwrap();
        assert_eq!((record.epoch, tariff.issuers.len()), (FIRST + later, live));
        let newest = tariff.issuers.last().unwrap();
        assert_eq!(issuer_commitment(newest), published.next_issuer);
        published = tariff;
    }
}

#[test]
fn each_record_names_those_before_it_by_their_hashes_and_no_more_than_sixteen() {
    let scene = scene();
    let mut before = scene.record();
    assert_eq!(before.tariff.as_ref().unwrap().earlier, []);
    for number in 1..20 {
        if number % 3 == 0 {
            scene.next_epoch();
            let between = scene.record();
            assert_eq!(named(&between).last(), Some(&(before.epoch, before.hash())));
            before = between;
        }
        scene.next_epoch();
        let record = scene.record();
        assert_eq!(named(&record).last(), Some(&(before.epoch, before.hash())));
        let older: Vec<_> = named(&before).into_iter().rev().take(15).collect();
        let named = named(&record);
        assert!(named.len() <= 16);
        assert!(named.iter().rev().skip(1).eq(&older));
        before = record;
    }
    assert_eq!(named(&before).len(), 16);
}

fn named(record: &larder_protocol::Record) -> Vec<(u32, larder_protocol::RecordHash)> {
    let tariff = record.tariff.as_ref().unwrap();
    let earlier = tariff.earlier.iter();
    earlier
        .map(|earlier| (earlier.epoch, earlier.hash))
        .collect()
}

#[test]
fn a_restart_within_an_epoch_publishes_the_very_same_record_whatever_is_configured_now() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let (record, since) = (
        scene.desk.record(),
        scene.engine.epochs().unwrap().unwrap().since,
    );
    scene.later(1_000);
    let mut dearer = offer();
    dearer.prices.insert = 32;
    dearer.denominations = vec![500];
    let scene = scene.restarted(Some(sale(dearer))).unwrap();
    assert_eq!(scene.desk.record().encode(), record.encode());
    assert_eq!(scene.engine.epochs().unwrap().unwrap().since, since);
    let inserted = wallet.perform(&scene, &pair, insert(1, 1));
    assert_eq!(inserted.pair.total(), 84);
    // From the next epoch on the new terms hold.
    scene.next_epoch();
    assert_eq!(scene.record().tariff.unwrap().prices.insert, 32);
    let inserted = wallet.perform(&scene, &inserted.pair, insert(2, 1));
    assert_eq!(inserted.pair.total(), 52);
    let quote = wallet.quote(100, 1, None);
    assert_eq!(scene.free(Call::Quote(quote)), Err(Refusal::NotOffered));
}

#[test]
fn fewer_epochs_accepted_close_some_and_more_do_not_open_them_again() {
    let scene = scene();
    for _ in 0..4 {
        scene.next_epoch();
    }
    let floor = |scene: &Scene| scene.engine.epochs().unwrap().unwrap().floor.oldest.0;
    assert_eq!(floor(&scene), FIRST + 2);
    let of = |earlier_epochs| {
        let offer = Offer {
            earlier_epochs,
            ..offer()
        };
        Some(sale(offer))
    };
    let takes = |scene: &Scene| scene.record().tariff.unwrap().next_takes;
    let scene = scene.restarted(of(1)).unwrap();
    scene.next_epoch();
    assert_eq!(floor(&scene), FIRST + 3, "as the record before it said");
    assert_eq!(takes(&scene), 1);
    scene.next_epoch();
    assert_eq!(floor(&scene), FIRST + 5);
    let scene = scene.restarted(of(4)).unwrap();
    for _ in 0..3 {
        scene.next_epoch();
        assert_eq!((floor(&scene), takes(&scene)), (FIRST + 6, 4));
    }
    assert_eq!(scene.record().tariff.unwrap().issuers.len(), 4);
}

#[test]
fn a_tombstone_outlives_the_credentials_of_its_epoch_and_goes_then() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 1_000);
    let pair = wallet.perform(&scene, &pair, insert(1, 1)).pair;
    let mut pair = wallet.perform(&scene, &pair, delete(&scene, 1)).pair;
    for _ in 0..2 {
        scene.next_epoch();
        let refused = wallet.perform(&scene, &pair, insert(1, 1));
        assert_eq!(refused.outcome, Err(Refusal::Deleted));
        pair = refused.pair;
    }
    scene.next_epoch();
    let inserted = wallet.perform(&scene, &pair, insert(1, 1));
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
}

#[test]
fn a_retry_is_answered_across_an_epochs_end_and_a_restart() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let call = insert(1, 1);
    let in_flight = wallet.pay(&scene, &pair, &call);
    let first = scene.ask(call.clone(), paid(&in_flight));
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    scene.next_epoch();
    let again = scene.ask(call, paid(&in_flight));
    assert_eq!(again.outcome, Ok(Done::Inserted));
    assert_eq!(again.replacement, first.replacement);
    assert_eq!(scene.tokens_outstanding(), 84);
}

#[test]
fn a_store_beside_another_seed_is_not_served_from() {
    let scene = scene();
    let other = scene.reopened(options(), [2; 32], Some(sale(offer())));
    assert!(matches!(other, Err(NodeError::ForeignStore)));
}

#[test]
fn a_node_that_becomes_free_keeps_what_is_stored_and_refunds_only_what_was_paid_for() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    let pair = wallet.perform(&scene, &pair, insert(1, 1)).pair;
    scene.next_epoch();
    let scene = scene.restarted(None).unwrap();
    assert_eq!(scene.record().tariff, None);
    assert_eq!(scene.free(lookup(1)), Ok(Done::Found(blob(1))));
    assert_eq!(scene.free(insert(2, 1)), Ok(Done::Inserted));
    assert_eq!(scene.free(Call::Transfer), Err(Refusal::NotOffered));
    scene.next_epoch();
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    assert_eq!(scene.record().epoch, FIRST + 1);
    let first = wallet.perform(&scene, &pair, delete(&scene, 1));
    let second = wallet.perform(&scene, &first.pair, delete(&scene, 2));
    assert_eq!((first.adjust, second.adjust), (6, 0));
}

#[test]
fn what_was_free_from_the_beginning_gives_nothing_back_when_the_node_sells() {
    let scene = scene_without_sale();
    assert_eq!(scene.free(insert(1, 1)), Ok(Done::Inserted));
    let scene = scene.restarted(Some(sale(offer()))).unwrap();
    let mut wallet = Wallet::new(2);
    let pair = wallet.buy(&scene, 100);
    let removed = wallet.perform(&scene, &pair, delete(&scene, 1));
    assert_eq!((removed.outcome, removed.adjust), (Ok(Done::Removed), 0));
}

/// Otherwise whoever stores before a rise and deletes after it makes tokens.
#[test]
fn a_rise_of_prices_does_not_raise_the_refund_for_what_is_stored_and_a_fall_lowers_it() {
    let dear = |factor| {
        let mut offer = offer();
        offer.prices.insert *= factor;
        offer
            .refunds
            .iter_mut()
            .for_each(|refund| *refund *= factor);
        Some(sale(offer))
    };
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let mut pair = wallet.buy(&scene, 1_000);
    for number in 1..=3 {
        pair = wallet.perform(&scene, &pair, insert(number, 1)).pair;
    }
    let scene = scene.restarted(dear(10)).unwrap();
    scene.next_epoch();
    assert_eq!(scene.record().tariff.unwrap().refunds, [80, 8]);
    let removed = wallet.perform(&scene, &pair, delete(&scene, 1));
    assert_eq!(removed.adjust, 8);
    // Stored at the high price, and worth what a fall leaves of it.
    let pair = wallet.perform(&scene, &removed.pair, insert(4, 1)).pair;
    scene.next_epoch();
    assert_eq!(scene.record().tariff.unwrap().refunds, [80, 60, 8]);
    let removed = wallet.perform(&scene, &pair, delete(&scene, 2));
    assert_eq!(removed.adjust, 8);
    let scene = scene.restarted(dear(1)).unwrap();
    scene.next_epoch();
    assert_eq!(scene.record().tariff.unwrap().refunds, [8, 6, 4]);
    let first = wallet.perform(&scene, &removed.pair, delete(&scene, 4));
    // Three epochs old, which nothing is given for.
    let second = wallet.perform(&scene, &first.pair, delete(&scene, 3));
    assert_eq!((first.adjust, second.adjust), (4, 0));
}

#[test]
fn a_lost_store_beside_a_kept_seed_does_not_make_what_was_spent_good_again() {
    let (lost, mut wallet) = (scene(), Wallet::new(2));
    let (pair, terms) = (wallet.buy(&lost, 100), lost.terms());
    let pay = |call: &Call| wallet.pay_with(&terms, &pair, call, 16);
    let spent = lost.ask(insert(1, 1), paid(&pay(&insert(1, 1))));
    assert_eq!(spent.outcome, Ok(Done::Inserted));
    lost.next_epoch();
    let anew = scene_at(START + 120);
    let now = FIRST + 120;
    // Not even when epochs go on: what came before the first one stays closed.
    for later in 0..3 {
        let refused = anew.ask(insert(2, 1), paid(&pay(&insert(2, 1))));
        assert_eq!(refused.outcome, wrong_epoch(now + later, now));
        anew.next_epoch();
    }
}

#[test]
fn after_a_restore_the_blobs_are_there_and_every_token_is_void() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let (pair, terms) = (wallet.buy(&scene, 100), scene.terms());
    let pair = wallet.perform(&scene, &pair, insert(1, 1)).pair;
    let scene = scene.after_command("restore");
    let now = scene.record().epoch;
    assert!(now > 1_700_000_000 && scene.record().tariff.unwrap().issuers.len() == 1);
    assert_eq!(scene.tokens_outstanding(), 0);
    // As the backup's client would send it, and made anew with the record of now.
    let stale = wallet.pay_with(&terms, &pair, &lookup(1), 2);
    let refused = scene.ask(lookup(1), paid(&stale)).outcome;
    assert_eq!(refused, wrong_epoch(now, now));
    let fresh = wallet.buy(&scene, 1_000);
    assert_eq!(fresh.epoch(), epoch(&scene));
    let found = wallet.perform(&scene, &fresh, lookup(1));
    assert_eq!(found.outcome, Ok(Done::Found(blob(1))));
    scene.next_epoch();
    assert_eq!(scene.record().epoch, now + 1);
}

#[test]
fn a_restore_ends_a_halt_because_it_voids_what_was_forged_too() {
    let (scene, mut wallet) = (scene(), Wallet::new(2));
    let pair = wallet.buy(&scene, 100);
    // A store with the same keys that has sold nothing: to it, this is forged.
    let other = crate::scene::scene();
    let call = insert(1, 1);
    let forged = paid(&wallet.pay(&scene, &pair, &call));
    let halted = Err(Refusal::Halted);
    assert_eq!(other.ask(call.clone(), forged.clone()).outcome, halted);
    let other = other.after_command("restore");
    let now = other.record().epoch;
    let refused = other.ask(call.clone(), forged).outcome;
    assert_eq!(refused, wrong_epoch(now, now));
    // By the defaults of the command.
    let bought = wallet.buy(&other, 1_000);
    let inserted = wallet.perform(&other, &bought, call);
    assert_eq!(inserted.outcome, Ok(Done::Inserted));
}

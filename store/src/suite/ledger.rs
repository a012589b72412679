//! Rows, claims, supply and epochs: what an engine makes of effects with entries.

use std::sync::Arc;

use larder_credentials::ledger::{Declined, Floor, Supply};
use larder_credentials::{ClaimTag, Epoch, Refusal, Reply};
use tempfile::TempDir;

use super::Open;
use super::behaviour::{commit, folder};
use super::sample::{blob, entering, key};
use super::scene::{EARLIER, PRICE, Ready, Scene, TOKENS};
use crate::{Change, Effect, Engine, Enter, Epochs, Outcome, Payment, Reading, Stat};

/// When everything in these tests happens, in Unix seconds.
const NOW: u64 = 1_000;

const DAY: u64 = 24 * 60 * 60;

/// When payments expire.
const EXPIRES: u64 = 2_000;

fn enter(engine: &dyn Engine, epoch: u32, since: u64) -> Epochs {
    let next = Enter {
        since,
        terms: epoch.to_le_bytes().to_vec(),
        ..entering(Epoch(epoch).oldest_live(EARLIER).0, epoch)
    };
    let entered = engine.enter(next).expect("it enters");
    entered.expect("the epoch is a later one")
}

/// An engine in epoch 1, where it is stored, and what is issued there.
fn in_epoch_1(open: Open) -> (TempDir, Arc<dyn Engine>, Scene) {
    let folder = folder();
    let engine = open(folder.path());
    enter(&*engine, 1, NOW);
    (folder, engine, Scene::new(1))
}

fn payment(number: u8, tags: &[ClaimTag], paid: bool) -> Payment {
    Payment {
        id: [number; 32],
        tags: tags.to_vec(),
        amount: TOKENS,
        expires: EXPIRES,
        paid,
    }
}

fn open_claims(payment: Payment) -> Effect {
    Effect::unpaid(Change::OpenClaims { payment, now: NOW })
}

fn insert(number: u64) -> Change {
    Change::Insert {
        key: key(number),
        blob: blob(number),
        epoch: 1,
    }
}

/// Buys a pair, in a store that is in epoch 1.
fn buy(engine: &dyn Engine, scene: &Scene, number: u64) -> Ready {
    let id = u8::try_from(number).expect("few purchases");
    let opened = open_claims(payment(id, &[scene.tag(number)], true));
    assert_eq!(commit(engine, opened), Outcome::Opened);
    let ready = scene.purchase(number);
    let bought = Effect::paid(Change::None, ready.entry.clone());
    assert_eq!(commit(engine, bought), Outcome::Settled);
    ready
}

fn outstanding(engine: &dyn Engine) -> u128 {
    engine.supply().unwrap().outstanding
}

/// Blob, row under both references and supply change in one step, and stay.
pub fn an_entry_and_its_change_take_place_together(open: Open) {
    let (folder, engine, scene) = in_epoch_1(open);
    let bought = buy(&*engine, &scene, 0);
    assert_eq!(outstanding(&*engine), u128::from(TOKENS));
    let claim = engine.claim(&scene.tag(0)).unwrap().unwrap();
    assert!(claim.claim.paid && claim.claim.consumed);
    assert_eq!(claim.expires, EXPIRES);

    let spent = scene.spend(&bought.pair, 0);
    let effect = Effect::paid(insert(1), spent.entry.clone());
    assert_eq!(commit(&*engine, effect), Outcome::Inserted);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(1)));
    let stat = Stat::Present {
        blob_hash: blob(1).hash(),
        epoch: 1,
    };
    assert_eq!(engine.stat(&key(1)).unwrap(), stat);
    assert_eq!(spent.references().len(), 2);
    for reference in spent.references() {
        let row = engine.row(&reference).unwrap();
        assert!(row.as_ref() == Some(spent.entry.row()));
    }
    assert_eq!(outstanding(&*engine), u128::from(TOKENS - PRICE));
    // The ledger's own view of it.
    let mut reads: &dyn Engine = &*engine;
    let floor = larder_credentials::ledger::Reads::floor(&mut reads).unwrap();
    assert_eq!(floor.unwrap().current, Epoch(1));
}

/// Whatever keeps a change from taking place keeps its entry from being written.
pub fn a_change_that_does_not_take_place_costs_nothing(open: Open) {
    let (_folder, engine, scene) = in_epoch_1(open);
    let bought = buy(&*engine, &scene, 0);
    let spent = scene.spend(&bought.pair, 0);
    let delete = |number, hash_of| Change::Delete {
        key: key(number),
        blob_hash: blob(hash_of).hash(),
        epoch: 1,
    };
    commit(&*engine, Effect::unpaid(insert(1)));
    commit(&*engine, Effect::unpaid(insert(2)));
    commit(&*engine, Effect::unpaid(delete(2, 2)));
    let refused = [
        (insert(1), Outcome::AlreadyExists(blob(1).hash())),
        (insert(2), Outcome::Deleted),
        (delete(1, 2), Outcome::HashMismatch(blob(1).hash())),
        (delete(2, 2), Outcome::Deleted),
        (delete(3, 3), Outcome::Absent),
        (
            Change::MarkPaid { payment: [9; 32] },
            Outcome::UnknownPayment,
        ),
    ];
    for (change, outcome) in refused {
        let effect = Effect::paid(change, spent.entry.clone());
        assert_eq!(commit(&*engine, effect), outcome);
        for reference in spent.references() {
            assert!(engine.row(&reference).unwrap().is_none());
        }
        assert_eq!(outstanding(&*engine), u128::from(TOKENS));
    }
    let effect = Effect::paid(insert(3), spent.entry.clone());
    assert_eq!(commit(&*engine, effect), Outcome::Inserted);
}

/// A pair is spent once, whether the other request came before or in the same batch; what
/// should have been done with it the second time is not done.
pub fn a_declined_entry_keeps_its_change_from_taking_place(open: Open) {
    let (folder, engine, scene) = in_epoch_1(open);
    let bought = buy(&*engine, &scene, 0);
    let [first, rival] = [0, 1].map(|number| scene.spend(&bought.pair, number));
    let retry = first.entry.clone();
    let batch = vec![
        Effect::paid(insert(1), first.entry.clone()),
        Effect::paid(insert(2), rival.entry.clone()),
        Effect::paid(insert(3), retry),
    ];
    let row = first.entry.row().clone();
    let not_performed = Declined::Seen(Reply::NotPerformed(vec![row]));
    let expected = [
        Outcome::Inserted,
        Outcome::Declined(Box::new(not_performed)),
        Outcome::Declined(Box::new(Declined::Seen(first.entry.reply()))),
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    drop(engine);
    let engine = open(folder.path());
    let again = Effect::paid(insert(2), rival.entry.clone());
    assert_eq!(commit(&*engine, again), expected[1]);
    assert_eq!(engine.stat(&key(2)).unwrap(), Stat::Absent);
    assert_eq!(engine.stat(&key(3)).unwrap(), Stat::Absent);
    assert_eq!(outstanding(&*engine), u128::from(TOKENS - PRICE));
    // Room that was promised to what was declined is there for others.
    assert_eq!(
        commit(&*engine, Effect::unpaid(insert(2))),
        Outcome::Inserted
    );
    assert_eq!(engine.read(&key(2)).unwrap(), Reading::Found(blob(2)));
}

/// Within a batch, what came before is what counts.
pub fn a_claim_is_opened_paid_and_used_in_one_batch(open: Open) {
    let (_folder, engine, scene) = in_epoch_1(open);
    let purchase = scene.purchase(0);
    let buy = || Effect::paid(Change::None, purchase.entry.clone());
    let declined = |refusal| Outcome::Declined(Box::new(Declined::Refused(refusal)));
    let mark = || Effect::unpaid(Change::MarkPaid { payment: [0; 32] });
    let batch = vec![
        buy(),
        mark(),
        open_claims(payment(0, &[scene.tag(0)], false)),
        buy(),
        mark(),
        buy(),
        mark(),
    ];
    let expected = [
        declined(Refusal::UnknownClaim),
        Outcome::UnknownPayment,
        Outcome::Opened,
        declined(Refusal::NotPaid),
        Outcome::Paid,
        Outcome::Settled,
        Outcome::Paid,
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    assert_eq!(outstanding(&*engine), u128::from(TOKENS));
    let claim = engine.claim(&scene.tag(0)).unwrap().unwrap().claim;
    assert!(
        claim.paid && claim.consumed,
        "a late notice changes nothing"
    );
}

/// A payment opens its claims once, however often it is asked to; no other payment gets
/// its tags.
pub fn a_payment_opens_claims_once(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let [a, b, c] = [1, 2, 3].map(|byte| ClaimTag([byte; 32]));
    let first = payment(1, &[a, b], true);
    assert_eq!(
        commit(&*engine, open_claims(first.clone())),
        Outcome::Opened
    );
    drop(engine);
    let engine = open(folder.path());
    let stored = engine.claim(&b).unwrap().unwrap();
    let other_amount = Payment {
        amount: TOKENS + 1,
        ..first.clone()
    };
    let later = Payment {
        expires: EXPIRES + 1,
        ..first.clone()
    };
    let asked = [
        (first, Outcome::Opened),
        (later, Outcome::Opened),
        (other_amount, Outcome::PaymentUsed),
        (payment(1, &[a], true), Outcome::PaymentUsed),
        (payment(1, &[b, a], true), Outcome::PaymentUsed),
        (payment(1, &[c], true), Outcome::PaymentUsed),
        (payment(2, &[c, a], true), Outcome::TagUsed),
        (payment(2, &[c, c], true), Outcome::TagUsed),
    ];
    for (payment, outcome) in asked {
        assert_eq!(commit(&*engine, open_claims(payment)), outcome);
    }
    assert_eq!(engine.claim(&b).unwrap(), Some(stored));
    assert_eq!(engine.claim(&c).unwrap(), None);
    assert_eq!(
        commit(&*engine, open_claims(payment(2, &[c], true))),
        Outcome::Opened
    );
}

/// Whether a serial was spent is its holder's secret: as a tag it is like any other.
pub fn a_tag_does_not_tell_whether_a_serial_is_spent(open: Open) {
    let (_folder, engine, scene) = in_epoch_1(open);
    let bought = buy(&*engine, &scene, 0);
    let spent = scene.spend(&bought.pair, 0);
    let entry = Effect::paid(Change::None, spent.entry.clone());
    assert_eq!(commit(&*engine, entry), Outcome::Settled);
    for (number, serial) in (1..).zip(spent.references()) {
        assert!(engine.row(&serial).unwrap().is_some());
        let opened = open_claims(payment(number, &[ClaimTag(serial.0)], false));
        assert_eq!(commit(&*engine, opened), Outcome::Opened);
    }
}

/// Tokens that nobody bought show that a credential was forged: issuance stops, also after
/// reopening, and what was to be done for them is not.
pub fn tokens_out_of_nothing_halt_issuance(open: Open) {
    let (folder, engine, scene) = in_epoch_1(open);
    // A good pair, but of a purchase that this store has not seen.
    let forged = scene.spend(&scene.purchase(0).pair, 0);
    let halted = Outcome::Declined(Box::new(Declined::Refused(Refusal::Halted)));
    let effect = Effect::paid(insert(1), forged.entry.clone());
    assert_eq!(commit(&*engine, effect), halted);
    drop(engine);
    let engine = open(folder.path());
    let supply = Supply {
        outstanding: 0,
        halted: true,
    };
    assert_eq!(engine.supply().unwrap(), supply);
    assert_eq!(engine.stat(&key(1)).unwrap(), Stat::Absent);
    let opened = open_claims(payment(1, &[scene.tag(1)], true));
    assert_eq!(commit(&*engine, opened), Outcome::Opened);
    let purchase = Effect::paid(Change::None, scene.purchase(1).entry);
    assert_eq!(commit(&*engine, purchase), halted);
    // Closing every epoch in which it can have been forged ends the alarm.
    enter(&*engine, 9, NOW);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.supply().unwrap(), Supply::default());
    let purchase = Effect::paid(Change::None, Scene::new(9).purchase(1).entry);
    assert_eq!(commit(&*engine, purchase), Outcome::Settled);
}

/// Epochs only move forward, by any stride, and are counted; their terms stay.
pub fn epochs_are_entered_once_and_in_order(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    assert_eq!(engine.epochs().unwrap(), None);
    let first = enter(&*engine, 5, NOW);
    let floor = Floor {
        oldest: Epoch(4),
        current: Epoch(5),
    };
    let expected = Epochs {
        floor,
        ordinal: 1,
        since: NOW,
        terms: vec![5, 0, 0, 0],
    };
    assert_eq!(first, expected);
    for past in [4, 5] {
        let next = Enter {
            since: NOW,
            ..entering(0, past)
        };
        let past = engine.enter(next).unwrap().unwrap_err();
        assert_eq!(past.reached, Epoch(5));
        assert_eq!(engine.epochs().unwrap(), Some(first.clone()));
    }
    // A wider window does not open again what was closed.
    let next = Enter {
        since: NOW + 1,
        terms: vec![7; Enter::MAX_TERMS],
        ..entering(0, 9)
    };
    let second = engine.enter(next.clone()).unwrap().unwrap();
    assert_eq!((second.ordinal, second.floor.oldest), (2, Epoch(4)));
    let too_long = Enter {
        floor: Floor {
            oldest: Epoch(10),
            current: Epoch(10),
        },
        terms: vec![7; Enter::MAX_TERMS + 1],
        ..next
    };
    assert!(engine.enter(too_long).is_err());
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(engine.epochs().unwrap(), Some(second));
    assert_eq!(
        commit(&*engine, Effect::unpaid(insert(1))),
        Outcome::Inserted
    );
}

/// Blobs stay for good, rows while their epoch is live, tombstones as long as they are
/// asked to. What is of an epoch before or after the present one is declined.
pub fn an_epochs_end_takes_its_rows_and_leaves_the_blobs(open: Open) {
    let folder = folder();
    let engine = open(folder.path());
    let [one, two, three] = [1, 2, 3].map(Scene::new);
    enter(&*engine, 1, NOW);
    let bought = buy(&*engine, &one, 0);
    let spent = one.spend(&bought.pair, 0);
    let effect = Effect::paid(insert(1), spent.entry.clone());
    assert_eq!(commit(&*engine, effect), Outcome::Inserted);
    for number in [2, 3] {
        commit(&*engine, Effect::unpaid(insert(number)));
    }
    let delete = |number: u64, epoch| {
        Effect::unpaid(Change::Delete {
            key: key(number),
            blob_hash: blob(number).hash(),
            epoch,
        })
    };
    commit(&*engine, delete(2, 1));

    let wrong = |current, oldest| {
        let refusal = Refusal::WrongEpoch {
            current: Epoch(current),
            oldest: Epoch(oldest),
        };
        Outcome::Declined(Box::new(Declined::Refused(refusal)))
    };
    let early = two.spend(&spent.pair, 1);
    let settle = |ready: &Ready| Effect::paid(Change::None, ready.entry.clone());
    assert_eq!(commit(&*engine, settle(&early)), wrong(1, 0));
    enter(&*engine, 2, NOW);
    commit(&*engine, delete(3, 2));
    let late = one.spend(&spent.pair, 2);
    assert_eq!(commit(&*engine, settle(&late)), wrong(2, 1));
    // An old pair is good for one epoch more, and so is its row.
    assert!(engine.row(&spent.references()[0]).unwrap().is_some());
    assert_eq!(commit(&*engine, settle(&early)), Outcome::Settled);

    let next = Enter {
        since: NOW,
        tombstones_before: 2,
        ..entering(2, 3)
    };
    engine.enter(next).unwrap().unwrap();
    let check = |engine: &dyn Engine| {
        for reference in spent.references() {
            assert!(engine.row(&reference).unwrap().is_none());
        }
        for reference in early.references() {
            let row = engine.row(&reference).unwrap();
            assert!(row.as_ref() == Some(early.entry.row()));
        }
        assert_eq!(engine.read(&key(1)).unwrap(), Reading::Found(blob(1)));
        assert_eq!(engine.stat(&key(2)).unwrap(), Stat::Absent);
        assert_eq!(engine.stat(&key(3)).unwrap(), Stat::Deleted);
        assert_eq!(outstanding(engine), u128::from(TOKENS - 2 * PRICE));
        let usage = engine.usage().unwrap();
        assert_eq!((usage.blobs, usage.tombstones), (1, 1));
    };
    check(&*engine);
    drop(engine);
    let engine = open(folder.path());
    check(&*engine);
    assert_eq!(
        commit(&*engine, Effect::unpaid(insert(2))),
        Outcome::Inserted
    );
    assert_eq!(
        commit(&*engine, Effect::unpaid(insert(3))),
        Outcome::Deleted
    );
    assert_eq!(
        commit(&*engine, settle(&three.spend(&early.pair, 3))),
        Outcome::Settled
    );
}

/// An unpaid claim goes a day after it expired, because a payment may be reported late. A paid
/// one waits for its purchase; a used one stays until it expired and its row is gone, so that
/// its payment is not used twice: not even when one epoch was entered by a wrong clock.
pub fn a_claim_stays_as_long_as_it_can_matter(open: Open) {
    let (folder, engine, scene) = in_epoch_1(open);
    buy(&*engine, &scene, 0);
    for (number, paid) in [(1, false), (2, true), (3, false)] {
        let opened = open_claims(payment(number, &[scene.tag(number.into())], paid));
        assert_eq!(commit(&*engine, opened), Outcome::Opened);
    }
    let there = |engine: &dyn Engine| {
        let claim = |number| engine.claim(&scene.tag(number)).unwrap().is_some();
        [0, 1, 2, 3].map(claim)
    };
    // Its second is the last in which a used payment counts.
    enter(&*engine, 2, EXPIRES);
    assert_eq!(there(&*engine), [true; 4]);
    enter(&*engine, 3, EXPIRES);
    assert_eq!(there(&*engine), [true; 4], "its row is gone");
    enter(&*engine, 4, EXPIRES + 1);
    assert_eq!(there(&*engine), [true; 4], "by one reading of the clock");
    enter(&*engine, 5, EXPIRES - 1);
    assert_eq!(there(&*engine), [true; 4], "that one was wrong");
    enter(&*engine, 6, EXPIRES + 1);
    enter(&*engine, 7, EXPIRES + 2);
    assert_eq!(there(&*engine), [false, true, true, true]);
    // Made in time, and told of at last.
    let paid = |number| {
        Effect::unpaid(Change::MarkPaid {
            payment: [number; 32],
        })
    };
    assert_eq!(commit(&*engine, paid(3)), Outcome::Paid);
    enter(&*engine, 8, EXPIRES + DAY);
    assert_eq!(there(&*engine), [false, true, true, true]);
    enter(&*engine, 9, EXPIRES + DAY + 1);
    assert_eq!(there(&*engine), [false, false, true, true]);
    drop(engine);
    let engine = open(folder.path());
    assert_eq!(there(&*engine), [false, false, true, true]);
    assert_eq!(commit(&*engine, paid(1)), Outcome::UnknownPayment);

    // Expired, but its row is live.
    let scene = Scene::new(9);
    let purchase = Effect::paid(Change::None, scene.purchase(2).entry);
    assert_eq!(commit(&*engine, purchase), Outcome::Settled);
    enter(&*engine, 10, EXPIRES + DAY + 2);
    assert_eq!(there(&*engine), [false, false, true, true]);
    enter(&*engine, 11, EXPIRES + DAY + 3);
    assert_eq!(there(&*engine), [false, false, false, true]);
}

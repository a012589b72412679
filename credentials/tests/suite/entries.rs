//! A server that prepares on all cores and applies many entries in one transaction of its own.

use larder_credentials::ledger::memory::Memory;
use larder_credentials::ledger::{
    Admitted, Declined, Entry, Floor, NotPrepared, Outcome, Reads as _, Storage as _, Supply,
    Teller, Transaction as _, Verified, Writes as _,
};
use larder_credentials::{
    AdjustRule, Epoch, InFlight, Refusal, Reply, Settled, Spending, Status, Unspent,
};

use crate::fixture::*;

/// A storage with one pair of 100 tokens, and the teller that serves it.
struct Scene {
    storage: Memory,
    teller: Teller<Prices>,
    pair: Unspent,
}

fn scene() -> Scene {
    let ledger = ledger();
    let pair = buy(&ledger, &root(), 0, 100);
    Scene {
        storage: ledger.into_storage(),
        teller: Teller::new(issuer(SERVICE, EPOCH), Prices),
        pair,
    }
}

impl Scene {
    fn work(&self, parameters: &[u8]) -> InFlight {
        let record = self.teller.issuer().record();
        let work = Spending::on(WORK, parameters, PRICE);
        spend(&self.pair, &root(), record, work)
    }

    fn verified(&self, in_flight: &InFlight) -> Verified {
        let Ok(mut reads) = self.storage.begin();
        let Ok(Admitted::Unverified(request)) = self.teller.admit(in_flight.core(), &mut reads)
        else {
            panic!("not admitted")
        };
        self.teller.verify(vec![request]).remove(0).unwrap()
    }

    fn entry(&self, in_flight: &InFlight, adjust: u64) -> Entry {
        let outcome = Outcome {
            status: Status(1),
            adjust,
        };
        let verified = self.verified(in_flight);
        self.teller.prepare(&verified, outcome).unwrap()
    }
}

#[test]
fn of_two_entries_for_one_pair_in_one_transaction_the_first_takes_effect() {
    let scene = scene();
    let (first, second) = (scene.work(b"one"), scene.work(b"two"));
    // Both are prepared before either is applied, as on two cores at once.
    let entries = [scene.entry(&first, 4), scene.entry(&second, 4)];
    let Ok(mut transaction) = scene.storage.begin();
    assert_eq!(entries[0].apply(&mut transaction), Ok(Ok(())));
    let row = entries[0].row().clone();
    let declined = Declined::Seen(Reply::NotPerformed(vec![row]));
    assert_eq!(entries[1].apply(&mut transaction), Ok(Err(declined)));
    let Ok(()) = transaction.commit();

    let Ok(mut reads) = scene.storage.begin();
    let Ok(Supply { outstanding, .. }) = reads.supply();
    assert_eq!(outstanding, 100 - u128::from(PRICE) + 4);
    drop(reads);
    let record = scene.teller.issuer().record();
    let accepted = first.accept(&root(), record, entries[0].reply(), AdjustRule::Exactly(4));
    let Ok(Settled::Performed(replaced)) = accepted else {
        panic!("not performed")
    };
    assert_eq!(replaced.pair.total(), 100 - u128::from(PRICE) + 4);
}

#[test]
fn an_entry_that_is_applied_twice_answers_as_a_replay_and_charges_once() {
    let scene = scene();
    let entry = scene.entry(&scene.work(b"one"), 0);
    let Ok(mut transaction) = scene.storage.begin();
    assert_eq!(entry.apply(&mut transaction), Ok(Ok(())));
    let Ok(once) = transaction.supply();
    let declined = Declined::Seen(entry.reply());
    assert_eq!(entry.apply(&mut transaction), Ok(Err(declined)));
    assert_eq!(transaction.supply(), Ok(once));
}

#[test]
fn an_entry_prepared_before_the_end_of_its_epoch_is_refused_untouched_after_it() {
    let scene = scene();
    let entry = scene.entry(&scene.work(b"one"), 0);
    let next = Floor {
        oldest: EPOCH,
        current: Epoch(EPOCH.0 + 1),
    };
    let Ok(mut transaction) = scene.storage.begin();
    assert_eq!(next.raise(false, &mut transaction), Ok(Ok(next)));
    let Ok(before) = transaction.supply();
    let refusal = Refusal::WrongEpoch {
        current: next.current,
        oldest: next.oldest,
    };
    let declined = Declined::Refused(refusal);
    assert_eq!(entry.apply(&mut transaction), Ok(Err(declined)));
    assert_eq!(transaction.supply(), Ok(before));
    for serial in entry.row().references().iter() {
        assert_eq!(transaction.row(&serial), Ok(None));
    }
}

#[test]
fn tokens_that_were_never_issued_halt_the_issuer_and_nothing_else_is_written() {
    let scene = scene();
    let entry = scene.entry(&scene.work(b"one"), 0);
    let Ok(mut transaction) = scene.storage.begin();
    let short = Supply {
        outstanding: u128::from(PRICE) - 1,
        halted: false,
    };
    let Ok(()) = transaction.put_supply(short);
    let declined = Declined::Refused(Refusal::Halted);
    assert_eq!(entry.apply(&mut transaction), Ok(Err(declined)));
    let halted = Supply {
        halted: true,
        ..short
    };
    assert_eq!(transaction.supply(), Ok(halted));
    for serial in entry.row().references().iter() {
        assert_eq!(transaction.row(&serial), Ok(None));
    }
}

#[test]
fn a_purchase_prepared_twice_is_issued_once() {
    let ledger = ledger();
    let claim = paid_claim(&ledger, &root(), 0, 100);
    let record = ledger.issuer().record();
    let requests = [[100, 0], [40, 60]]
        .map(|outputs| InFlight::purchase(&root(), record, &claim, 100, Some(outputs)).unwrap());
    let teller = Teller::new(issuer(SERVICE, EPOCH), Prices);
    let entries = requests.each_ref().map(|in_flight| {
        let Ok(Admitted::Unverified(request)) = ledger.admit(in_flight.core()) else {
            panic!("not admitted")
        };
        let verified = teller.verify(vec![request]).remove(0).unwrap();
        teller.prepare(&verified, Outcome::DONE).unwrap()
    });
    let Ok(mut transaction) = ledger.storage().begin();
    assert_eq!(entries[0].apply(&mut transaction), Ok(Ok(())));
    let declined = Declined::Refused(Refusal::AlreadyClaimed);
    assert_eq!(entries[1].apply(&mut transaction), Ok(Err(declined)));
    let Ok(supply) = transaction.supply();
    assert_eq!(supply.outstanding, 100);
}

#[test]
fn more_than_the_tariff_allows_is_never_issued() {
    let scene = scene();
    let verified = scene.verified(&scene.work(b"one"));
    let adjust = LARGEST_ADJUST + 1;
    let outcome = Outcome {
        status: Status::DONE,
        adjust,
    };
    let largest = LARGEST_ADJUST;
    let refused = NotPrepared::AdjustTooLarge { adjust, largest };
    assert_eq!(
        scene.teller.prepare(&verified, outcome).unwrap_err(),
        refused
    );
}

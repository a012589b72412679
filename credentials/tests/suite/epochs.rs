//! What happens at the boundary of an epoch, and to those who come late (§7.1).

use larder_credentials::ledger::{
    EpochError, Floor, Past, Storage as _, Supply, Transaction as _, Writes as _,
};
use larder_credentials::{
    AdjustRule, Epoch, HolderError, InFlight, Issuer, Ledger, Refusal, Reply, Root, Settled,
    Spending, Unspent, walk,
};

use crate::fixture::*;

#[test]
fn reissue_moves_a_pair_to_the_current_epoch_for_free() {
    let (mut ledger, root, pair) = funded();
    next_epoch(&mut ledger);
    let record = ledger.issuer().record();
    let in_flight = spend(&pair, &root, record, Spending::reissue());
    let reply = ledger.process(in_flight.core(), never).unwrap();
    let pair = performed(in_flight, &root, record, reply).pair;
    assert_eq!((pair.total(), pair.epoch()), (100, Epoch(6)));

    // Within an epoch it is not offered: that would be a free operation.
    let failed = pair.spend(&root, record, &Spending::reissue()).unwrap_err();
    assert_eq!(failed.error, HolderError::BadOperation);
}

#[test]
fn a_pair_expires_when_its_epoch_is_no_longer_accepted() {
    let (mut ledger, root, pair) = funded();
    let late = request(&ledger, &pair, &root, Spending::transfer(FEE));
    for _ in 0..EARLIER {
        next_epoch(&mut ledger);
    }
    let record = ledger.issuer().record();
    let last_chance = spend(&pair, &root, record, Spending::reissue());
    next_epoch(&mut ledger);
    for core in [late.core(), last_chance.core()] {
        assert!(matches!(
            refusal(ledger.process(core, never)),
            Refusal::WrongEpoch { .. }
        ));
    }
    let record = ledger.issuer().record();
    let failed = pair.spend(&root, record, &Spending::reissue()).unwrap_err();
    assert_eq!(failed.error, HolderError::UnknownEpoch(EPOCH));
}

#[test]
fn rows_are_kept_as_long_as_what_they_hold_can_be_spent() {
    let (mut ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    ledger.process(in_flight.core(), never).unwrap();
    // One claim, two serials.
    assert_eq!(ledger.storage().references(), 3);
    for _ in 0..EARLIER {
        next_epoch(&mut ledger);
        assert_eq!(ledger.storage().references(), 3);
    }
    next_epoch(&mut ledger);
    assert_eq!(ledger.storage().references(), 0);
    assert!(matches!(
        refusal(ledger.process(in_flight.core(), never)),
        Refusal::WrongEpoch { .. }
    ));
}

#[test]
fn credentials_of_two_epochs_are_no_pair() {
    let (mut ledger, root) = (ledger(), root());
    let [old, _] = buy(&ledger, &root, 0, 100).into_credentials();
    next_epoch(&mut ledger);
    let [new, _] = buy(&ledger, &root, 1, 100).into_credentials();
    assert!(matches!(
        Unspent::new([old, new]),
        Err(HolderError::MixedEpochs)
    ));
}

#[test]
fn a_credential_relabelled_with_another_epoch_does_not_verify() {
    let (mut ledger, root, pair) = funded();
    next_epoch(&mut ledger);
    let mut stored = pair.encode();
    for place in [0, 108] {
        stored[place..place + 4].copy_from_slice(&6_u32.to_le_bytes());
    }
    let relabelled = Unspent::decode(&*stored).unwrap();
    let record = ledger.issuer().record();
    let in_flight = relabelled
        .spend(&root, record, &Spending::transfer(FEE))
        .unwrap();
    assert_eq!(
        refusal(ledger.process(in_flight.core(), never)),
        Refusal::BadProof
    );
}

#[test]
fn a_walk_from_an_old_pair_crosses_a_reissue_and_finds_the_newest() {
    let (mut ledger, root) = (ledger(), root());
    let oldest = buy(&ledger, &root, 0, 100);
    let mut pair = copy(&oldest);
    for step in 0..5 {
        let spending = if step == 2 {
            next_epoch(&mut ledger);
            Spending::reissue()
        } else {
            Spending::on(WORK, b"", PRICE)
        };
        let record = ledger.issuer().record();
        let in_flight = spend(&pair, &root, record, spending);
        let reply = ledger.process(in_flight.core(), done).unwrap();
        pair = performed(in_flight, &root, record, reply).pair;
    }
    assert_eq!(pair.total(), 60);

    let record = ledger.issuer().record();
    let exchange = |core: &[u8]| ledger.process(core, never);
    let walked = walk(copy(&oldest), &root, record, FEE, &[1; 32], 10, exchange).unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (5, 59));
    assert!(walked.aside.is_empty());

    // Too short a limit stops on the way, and the walk goes on from there.
    let stopped = walk(copy(&oldest), &root, record, FEE, &[2; 32], 2, exchange).unwrap_err();
    let walked = walk(
        stopped.at.unwrap(),
        &root,
        record,
        FEE,
        &[3; 32],
        10,
        exchange,
    )
    .unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (3, 58));

    // Nobody else's root opens the rows.
    let stranger = Root::from_bytes([88; 32]);
    assert!(walk(oldest, &stranger, record, FEE, &[4; 32], 10, exchange).is_err());
}

#[test]
fn a_walk_that_loses_its_connection_goes_on_from_where_it_was() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let start = buy(&ledger, &root, 0, 100);
    let first = spend(&start, &root, record, Spending::transfer(FEE));
    ledger.process(first.core(), never).unwrap();
    let mut calls = 0;
    let flaky = |core: &[u8]| {
        calls += 1;
        if calls == 2 {
            return Err("no connection");
        }
        Ok(ledger.process(core, never).unwrap())
    };
    let stopped = walk(start, &root, record, FEE, &[5; 32], 10, flaky).unwrap_err();
    let exchange = |core: &[u8]| ledger.process(core, never);
    let walked = walk(
        stopped.at.unwrap(),
        &root,
        record,
        FEE,
        &[6; 32],
        10,
        exchange,
    )
    .unwrap();
    assert_eq!((walked.steps, walked.tip.pair.total()), (0, 98));
}

#[test]
fn two_devices_that_share_a_root_conflict_harmlessly() {
    let (ledger, root) = (ledger(), root());
    let record = ledger.issuer().record();
    let shared = buy(&ledger, &root, 0, 100);
    let winner = spend(&shared, &root, record, Spending::on(WORK, b"one", PRICE));
    let loser = spend(&shared, &root, record, Spending::on(WORK, b"two", PRICE));
    ledger.process(winner.core(), done).unwrap();
    let reply = ledger.process(loser.core(), never).unwrap();
    assert!(matches!(reply, Reply::NotPerformed(_)));
    let settled = loser
        .accept(&root, record, reply, AdjustRule::Exactly(0))
        .unwrap();
    let Settled::Overtaken { rows, .. } = settled else {
        panic!("the other device was first");
    };
    assert_eq!(rows[0].op_digest(), winner.request().op_digest());
    assert_eq!(rows[0].open(&root, record).unwrap().total(), 90);
}

/// A ledger on which a pair of [`EPOCH`] was spent, and another request on that pair.
fn spent() -> (TestLedger, InFlight) {
    let (ledger, root, pair) = funded();
    let first = request(&ledger, &pair, &root, Spending::on(WORK, b"", PRICE));
    ledger.process(first.core(), done).unwrap();
    // What the holder says in an epoch whose window would reach back to the pair's.
    let late = Issuer::new(&master(), SERVICE, Epoch(7), EARLIER);
    let again = spend(&pair, &root, late.record(), Spending::transfer(FEE));
    (ledger, again)
}

const CLOSED: Refusal = Refusal::WrongEpoch {
    current: Epoch(7),
    oldest: Epoch(6),
};

fn narrow(epoch: u32) -> Issuer {
    Issuer::new(&master(), SERVICE, Epoch(epoch), 0)
}

#[test]
fn an_epoch_that_was_closed_is_not_opened_by_a_wider_window() {
    let (mut ledger, again) = spent();
    ledger.enter(narrow(6)).unwrap();
    ledger.enter(issuer(SERVICE, Epoch(7))).unwrap();
    assert_eq!(refusal(ledger.process(again.core(), never)), CLOSED);
    // Nor is it published as live.
    assert_eq!(ledger.issuer().oldest(), Epoch(6));
    assert_eq!(ledger.issuer().record().live().count(), 2);
}

#[test]
fn an_epoch_that_was_closed_is_not_opened_by_a_restart() {
    let (mut ledger, again) = spent();
    ledger.enter(narrow(6)).unwrap();
    let storage = ledger.into_storage();
    let ledger = Ledger::new(issuer(SERVICE, Epoch(7)), storage, Prices).unwrap();
    assert_eq!(refusal(ledger.process(again.core(), never)), CLOSED);
    let past = EpochError::Past(Past {
        asked: Epoch(6),
        reached: Epoch(7),
    });
    let opened = Ledger::new(narrow(6), ledger.into_storage(), Prices);
    assert_eq!(opened.unwrap_err(), past);
}

#[test]
fn an_earlier_epoch_is_not_entered() {
    let mut ledger = ledger();
    let past = EpochError::Past(Past {
        asked: Epoch(4),
        reached: EPOCH,
    });
    assert_eq!(ledger.enter(narrow(4)), Err(past));
    assert_eq!(ledger.issuer().current(), EPOCH);
}

#[test]
fn a_ledger_whose_storage_went_on_without_it_takes_nothing_new() {
    let (ledger, root, pair) = funded();
    let in_flight = request(&ledger, &pair, &root, Spending::transfer(FEE));
    // What a replica does that enters the next epoch on the same tables.
    let Ok(mut transaction) = ledger.storage().begin();
    let (oldest, current) = (EPOCH, Epoch(6));
    let floor = Floor { oldest, current };
    let Ok(()) = transaction
        .put_floor(floor)
        .and_then(|()| transaction.commit());
    let gone_on = Refusal::WrongEpoch { current, oldest };
    assert_eq!(refusal(ledger.process(in_flight.core(), never)), gone_on);
}

#[test]
fn after_a_restore_nothing_older_is_ever_accepted_again() {
    // The backup was made before the pair was spent: equal seeds give an equal purchase.
    let (_, again) = spent();
    let backup = ledger();
    buy(&backup, &root(), 0, 100);
    let backup = backup.into_storage();
    let restored = Ledger::after_restore(issuer(SERVICE, Epoch(6)), backup, Prices).unwrap();
    assert_eq!(restored.issuer().record().live().count(), 1);
    // No later call undoes it: neither an epoch with the usual window nor a restart.
    let mut ledger = restored;
    ledger.enter(issuer(SERVICE, Epoch(7))).unwrap();
    assert_eq!(refusal(ledger.process(again.core(), never)), CLOSED);
    let storage = ledger.into_storage();
    let ledger = Ledger::new(issuer(SERVICE, Epoch(7)), storage, Prices).unwrap();
    assert_eq!(refusal(ledger.process(again.core(), never)), CLOSED);
}

#[test]
fn what_is_outstanding_ends_with_the_last_epoch_that_could_spend_it_and_not_before() {
    let ledger = ledger();
    buy(&ledger, &root(), 0, 100);
    let sold = supply(&ledger);
    assert_eq!(sold.outstanding, 100);
    let storage = ledger.into_storage();
    // A restart with the narrowest window is no new epoch.
    let same = Ledger::new(narrow(EPOCH.0), storage, Prices).unwrap();
    assert_eq!(supply(&same), sold);
    let storage = same.into_storage();
    let restored = Ledger::after_restore(issuer(SERVICE, Epoch(9)), storage, Prices).unwrap();
    assert_eq!(supply(&restored), Supply::default());
}

#[test]
fn a_restore_needs_an_epoch_that_the_backup_has_not_seen() {
    for epoch in [4, 5] {
        let backup = ledger().into_storage();
        let refused = Ledger::after_restore(issuer(SERVICE, Epoch(epoch)), backup, Prices);
        let past = EpochError::Past(Past {
            asked: Epoch(epoch),
            reached: EPOCH,
        });
        assert_eq!(refused.unwrap_err(), past);
    }
}

#[test]
fn a_row_outlives_the_epoch_of_its_pair_for_the_identical_request_only() {
    let (mut ledger, root, pair) = funded();
    for _ in 0..EARLIER {
        next_epoch(&mut ledger);
    }
    let record = ledger.issuer().record().clone();
    let reissue = spend(&pair, &root, &record, Spending::reissue());
    let reply = ledger.process(reissue.core(), never).unwrap();
    let other = spend(&pair, &root, &record, Spending::transfer(FEE));
    let rows = ledger.process(other.core(), never).unwrap();
    assert!(matches!(rows, Reply::NotPerformed(_)));
    next_epoch(&mut ledger);
    assert_eq!(ledger.process(reissue.core(), never), Ok(reply));
    // Possession can no longer be proved: the key of the pair's epoch is gone.
    assert!(matches!(
        refusal(ledger.process(other.core(), never)),
        Refusal::WrongEpoch { .. }
    ));
}

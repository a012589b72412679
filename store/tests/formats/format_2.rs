//! Version 2: epochs, rows, claims and a supply beside what version 1 has.

use std::fs;

use larder_credentials::ledger::Floor;
use larder_credentials::{Epoch, OpCode, Reference, References};
use larder_store::suite::sample::{blob, key};
use larder_store::suite::scene::{PRICE, Scene, TOKENS};
use larder_store::{Change, Effect, Engine, Enter, Epochs, Outcome, Payment, Reading, Stat};

use crate::{fixture, open, store};

/// When the payments of the fixture expire.
const EXPIRES: u64 = 5_000;

fn insert(n: u64, epoch: u32) -> Change {
    Change::Insert {
        key: key(n),
        blob: blob(n),
        epoch,
    }
}

fn delete(n: u64, epoch: u32) -> Change {
    Change::Delete {
        key: key(n),
        blob_hash: blob(n).hash(),
        epoch,
    }
}

fn payment(scene: &Scene, n: u8, paid: bool) -> Effect {
    let payment = Payment {
        id: [n; 32],
        tags: vec![scene.tag(n.into()), scene.tag(100 + u64::from(n))],
        amount: TOKENS,
        expires: EXPIRES,
        paid,
    };
    Effect::unpaid(Change::OpenClaims { payment, now: 0 })
}

fn enter(epoch: u32) -> Enter {
    Enter {
        floor: Floor {
            oldest: Epoch(epoch).oldest_live(1),
            current: Epoch(epoch),
        },
        since: 1_000 + u64::from(epoch),
        terms: vec![7, 8, 9],
        tombstones_before: 0,
    }
}

#[test]
fn a_store_of_format_2_is_read_and_written_on() {
    let folder = store("format-2", "index-0002");
    let engine = open(&folder);
    let expected = Epochs {
        floor: enter(12).floor,
        ordinal: 2,
        since: 1_012,
        terms: vec![7, 8, 9],
    };
    assert_eq!(engine.epochs().unwrap(), Some(expected));
    for n in [0, 1] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Deleted);
    }
    for (n, epoch) in [(2, 0), (3, 1), (4, 2)] {
        assert_eq!(engine.read(&key(n)).unwrap(), Reading::Found(blob(n)));
        let blob_hash = blob(n).hash();
        assert_eq!(
            engine.stat(&key(n)).unwrap(),
            Stat::Present { blob_hash, epoch }
        );
    }
    let supply = engine.supply().unwrap();
    assert_eq!(supply.outstanding, u128::from(TOKENS - PRICE));
    assert!(!supply.halted);

    let scene = Scene::new(12);
    let claims = [(0, true, true), (100, true, false), (1, false, false)];
    for (n, paid, consumed) in claims {
        let opened = engine.claim(&scene.tag(n)).unwrap().unwrap();
        assert_eq!(opened.expires, EXPIRES);
        let claim = opened.claim;
        assert_eq!(
            (claim.amount, claim.paid, claim.consumed),
            (TOKENS, paid, consumed)
        );
    }
    assert_eq!(engine.claim(&scene.tag(2)).unwrap(), None);

    let bought = engine.row(&Reference(scene.tag(0).0)).unwrap().unwrap();
    assert_eq!(
        (bought.op(), bought.out_epoch()),
        (OpCode::PURCHASE, Epoch(11))
    );
    // Its two references lead to one row.
    let spent = fs::read(fixture("format-2").join("references")).unwrap();
    for reference in spent.chunks_exact(32) {
        let row = engine
            .row(&Reference(reference.try_into().unwrap()))
            .unwrap();
        let row = row.unwrap();
        assert_eq!((row.cost(), row.out_epoch()), (PRICE as i64, Epoch(12)));
        assert!(matches!(row.references(), References::Serials(_)));
    }

    let batch = vec![
        Effect::unpaid(insert(0, 2)),
        Effect::unpaid(delete(3, 2)),
        payment(&scene, 0, true),
        Effect::unpaid(Change::MarkPaid { payment: [1; 32] }),
        Effect::paid(Change::None, scene.purchase(1).entry),
    ];
    let expected = [
        Outcome::Deleted,
        Outcome::Removed,
        Outcome::Opened,
        Outcome::Paid,
        Outcome::Settled,
    ];
    assert_eq!(engine.commit(batch).unwrap(), expected);
    assert_eq!(engine.enter(enter(13)).unwrap().unwrap().ordinal, 3);
    drop(engine);
    let engine = open(&folder);
    assert_eq!(engine.read(&key(3)).unwrap(), Reading::Deleted);
    assert_eq!(engine.read(&key(4)).unwrap(), Reading::Found(blob(4)));
    assert!(engine.row(&Reference(scene.tag(0).0)).unwrap().is_none());
    assert!(engine.row(&Reference(scene.tag(1).0)).unwrap().is_some());
}

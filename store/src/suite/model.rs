//! Random histories, judged by a map and a ledger in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use larder_credentials::ledger::memory::{Memory, MemoryTransaction};
use larder_credentials::ledger::{Claim, Entry, Floor, Reads, Storage, Transaction, Writes};
use larder_credentials::{ClaimTag, Epoch, Reference};
use larder_protocol::{Blob, Cell, Key};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Open;
use super::sample;
use super::scene::{EARLIER, Scene, TOKENS};
use crate::{
    Change, Effect, Engine, Enter, OpenedClaim, Outcome, Payment, Reading, Stat, StoredCell,
};

/// Few enough that histories meet themselves again.
const KEYS: usize = 6;
const BLOBS: usize = 3;
const PAYMENTS: usize = 3;
const ENTRIES: usize = 9;
const CELL_KEYS: usize = 2;
const CELLS: usize = 2;

/// The clock of cells: it may be set back, and a doom lasts from one tick to this many.
const TICKS: u64 = 6;

/// Unix seconds that an epoch takes; payment `n` expires after `n` of them.
const EPOCH: u64 = 50_000;

/// How long an unpaid claim is kept after its expiry: into the second epoch.
const GRACE: u64 = 86_400;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>),
    Enter { tombstones_before: u32 },
    Reopen,
}

#[derive(Debug, Clone, Copy)]
struct Op {
    what: What,
    entry: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Nothing,
    Insert {
        key: usize,
        blob: usize,
        epoch: u32,
    },
    Delete {
        key: usize,
        blob: usize,
        epoch: u32,
    },
    Open {
        payment: usize,
        paid: bool,
    },
    MarkPaid {
        payment: usize,
    },
    PutCell {
        key: usize,
        sequence: u64,
        cell: usize,
        now: u64,
    },
    DoomCell {
        key: usize,
        deadline: u64,
        now: u64,
    },
    DropCells {
        now: u64,
    },
}

/// What the histories are made of.
struct Sample {
    keys: Vec<Key>,
    blobs: Vec<Blob>,
    payments: Vec<Payment>,
    entries: Vec<Entry>,
    cells: Vec<Cell>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let [one, two] = [1, 2].map(Scene::new);
    let bought = [0, 1].map(|number| one.purchase(number));
    let spent = one.spend(&bought[0].pair, 0);
    let mut entries = vec![
        // On one pair, in either epoch, or with what the first of them leaves.
        one.spend(&bought[0].pair, 1).entry,
        two.spend(&bought[0].pair, 2).entry,
        two.spend(&spent.pair, 0).entry,
        one.spend(&bought[1].pair, 0).entry,
        two.purchase(0).entry,
        two.purchase(1).entry,
        spent.entry,
    ];
    entries.extend(bought.map(|ready| ready.entry));
    assert_eq!(entries.len(), ENTRIES);
    // The last has a tag of the one before.
    let tags = [
        vec![one.tag(0)],
        vec![one.tag(1), one.tag(2)],
        vec![one.tag(2)],
    ];
    let payment = |(number, tags): (u8, Vec<ClaimTag>)| Payment {
        id: [number; 32],
        tags,
        amount: TOKENS,
        expires: u64::from(number) * EPOCH,
        paid: false,
    };
    Sample {
        keys: (0..KEYS as u64).map(sample::key).collect(),
        blobs: (0..BLOBS as u64).map(sample::blob).collect(),
        payments: (0..).zip(tags).map(payment).collect(),
        entries,
        cells: (0..CELLS as u64).map(sample::cell).collect(),
    }
});

#[derive(Debug, Clone, Copy)]
enum Held {
    Blob { blob: usize, epoch: u32 },
    Tombstone { epoch: u32 },
}

/// What the engine ought to hold.
#[derive(Default)]
struct Model {
    keys: BTreeMap<usize, Held>,
    ledger: Memory,
    /// The payments that opened claims.
    payments: Vec<usize>,
    cells: BTreeMap<usize, HeldCell>,
    epoch: u32,
}

#[derive(Debug, Clone, Copy)]
struct HeldCell {
    sequence: u64,
    cell: usize,
    deadline: Option<u64>,
}

impl HeldCell {
    fn stored(self) -> StoredCell {
        StoredCell {
            sequence: self.sequence,
            cell: SAMPLE.cells[self.cell].clone(),
            deadline: self.deadline,
        }
    }
}

impl Model {
    fn begin(&self) -> MemoryTransaction<'_> {
        let Ok(transaction) = self.ledger.begin();
        transaction
    }

    fn apply(&mut self, Op { what, entry }: Op) -> Outcome {
        if let Some(refused) = self.refuse(what) {
            return refused;
        }
        if let Some(number) = entry {
            let mut transaction = self.begin();
            let Ok(applied) = SAMPLE.entries[number].apply(&mut transaction);
            // Also when it was declined: issuance may have been halted.
            let Ok(()) = transaction.commit();
            if let Err(declined) = applied {
                return Outcome::Declined(Box::new(declined));
            }
        }
        self.carry_out(what)
    }

    /// The cell under a key, unless its time is over.
    fn cell(&self, key: usize, now: u64) -> Option<HeldCell> {
        let held = self.cells.get(&key).copied();
        held.filter(|held| held.deadline.is_none_or(|deadline| deadline > now))
    }

    fn refuse(&self, what: What) -> Option<Outcome> {
        match what {
            What::Nothing => None,
            What::Insert { key, .. } => match self.keys.get(&key)? {
                Held::Blob { blob, .. } => Some(Outcome::AlreadyExists(hash(*blob))),
                Held::Tombstone { .. } => Some(Outcome::Deleted),
            },
            What::Delete { key, blob, .. } => match self.keys.get(&key) {
                None => Some(Outcome::Absent),
                Some(Held::Tombstone { .. }) => Some(Outcome::Deleted),
                Some(Held::Blob { blob: stored, .. }) if *stored == blob => None,
                Some(Held::Blob { blob, .. }) => Some(Outcome::HashMismatch(hash(*blob))),
            },
            What::Open { payment, .. } if self.payments.contains(&payment) => None,
            What::Open { payment, .. } => {
                let mut ledger = self.begin();
                let mut used = |tag: &ClaimTag| {
                    let Ok(claim) = ledger.claim(tag);
                    let Ok(row) = ledger.row(&Reference(tag.0));
                    claim.is_some() || row.is_some()
                };
                let used = SAMPLE.payments[payment].tags.iter().any(&mut used);
                used.then_some(Outcome::TagUsed)
            }
            What::MarkPaid { payment } => {
                let awaited = self.payments.contains(&payment);
                (!awaited).then_some(Outcome::UnknownPayment)
            }
            What::PutCell {
                key,
                sequence,
                cell,
                now,
            } => {
                let there = self.cell(key, now)?;
                let same = (there.sequence, there.cell, there.deadline) == (sequence, cell, None);
                (there.sequence >= sequence && !same)
                    .then_some(Outcome::StaleSequence(there.sequence))
            }
            What::DoomCell { key, now, .. } => {
                let there = self.cell(key, now);
                there.is_none().then_some(Outcome::Absent)
            }
            What::DropCells { .. } => None,
        }
    }

    fn carry_out(&mut self, what: What) -> Outcome {
        match what {
            What::Nothing => Outcome::Settled,
            What::Insert { key, blob, epoch } => {
                self.keys.insert(key, Held::Blob { blob, epoch });
                Outcome::Inserted
            }
            What::Delete { key, epoch, .. } => {
                self.keys.insert(key, Held::Tombstone { epoch });
                Outcome::Removed
            }
            What::Open { payment, paid } => {
                if !self.payments.contains(&payment) {
                    self.payments.push(payment);
                    self.each_claim(payment, |ledger, tag, _| {
                        let claim = Claim {
                            payment: SAMPLE.payments[payment].id,
                            amount: TOKENS,
                            paid,
                            consumed: false,
                        };
                        let Ok(()) = ledger.put_claim(tag, claim);
                    });
                }
                Outcome::Opened
            }
            What::MarkPaid { payment } => {
                self.each_claim(payment, |ledger, tag, claim| {
                    let claim = claim.expect("it was opened");
                    let Ok(()) = ledger.put_claim(
                        tag,
                        Claim {
                            paid: true,
                            ..claim
                        },
                    );
                });
                Outcome::Paid
            }
            What::PutCell {
                key,
                sequence,
                cell,
                ..
            } => {
                let held = HeldCell {
                    sequence,
                    cell,
                    deadline: None,
                };
                self.cells.insert(key, held);
                Outcome::CellStored
            }
            What::DoomCell { key, deadline, .. } => {
                let held = self.cells.get_mut(&key).expect("it was not refused");
                held.deadline.get_or_insert(deadline);
                Outcome::CellDoomed(Box::new(held.stored()))
            }
            What::DropCells { now } => {
                let before = self.cells.len();
                let stays = |held: &HeldCell| held.deadline.is_none_or(|deadline| deadline > now);
                self.cells.retain(|_, held| stays(held));
                Outcome::CellsDropped(before - self.cells.len())
            }
        }
    }

    fn each_claim(
        &self,
        payment: usize,
        mut change: impl FnMut(&mut MemoryTransaction<'_>, &ClaimTag, Option<Claim>),
    ) {
        let mut ledger = self.begin();
        for tag in &SAMPLE.payments[payment].tags {
            let Ok(claim) = ledger.claim(tag);
            change(&mut ledger, tag, claim);
        }
        let Ok(()) = ledger.commit();
    }

    /// Enters the next epoch; returns how the engine is told.
    fn enter(&mut self, tombstones_before: u32) -> Enter {
        self.epoch += 1;
        let floor = Floor {
            oldest: Epoch(self.epoch).oldest_live(EARLIER),
            current: Epoch(self.epoch),
        };
        let since = u64::from(self.epoch) * EPOCH;
        let mut ledger = self.begin();
        let Ok(raised) = floor.raise(true, &mut ledger);
        assert_eq!(raised, Ok(floor));
        let Ok(()) = ledger.commit();
        self.keys.retain(|_, held| match held {
            Held::Blob { .. } => true,
            Held::Tombstone { epoch } => *epoch >= tombstones_before,
        });

        let mut kept = Vec::new();
        for payment in self.payments.clone() {
            let expires = SAMPLE.payments[payment].expires;
            let before = since - EPOCH;
            let mut needed = false;
            self.each_claim(payment, |ledger, tag, claim| {
                let claim = claim.expect("it was opened");
                let Ok(row) = ledger.row(&Reference(tag.0));
                needed |= match claim.paid {
                    true => !claim.consumed || row.is_some() || expires >= before,
                    false => expires + GRACE >= since,
                };
            });
            if !needed {
                self.each_claim(payment, |ledger, tag, _| {
                    let Ok(()) = ledger.drop_claim(tag);
                });
            } else {
                kept.push(payment);
            }
        }
        self.payments = kept;
        Enter {
            floor,
            since,
            terms: vec![self.epoch as u8],
            tombstones_before,
        }
    }

    fn agrees_with(&self, engine: &dyn Engine) {
        for (number, key) in SAMPLE.keys.iter().enumerate() {
            let (reading, stat) = match self.keys.get(&number) {
                None => (Reading::Absent, Stat::Absent),
                Some(Held::Tombstone { .. }) => (Reading::Deleted, Stat::Deleted),
                Some(Held::Blob { blob, epoch }) => (
                    Reading::Found(SAMPLE.blobs[*blob].clone()),
                    Stat::Present {
                        blob_hash: hash(*blob),
                        epoch: *epoch,
                    },
                ),
            };
            assert_eq!(engine.read(key).unwrap(), reading);
            assert_eq!(engine.stat(key).unwrap(), stat);
        }
        for key in 0..CELL_KEYS {
            for now in 0..=2 * TICKS {
                let there = self.cell(key, now).map(HeldCell::stored);
                assert_eq!(engine.cell(&SAMPLE.keys[key], now).unwrap(), there);
            }
        }
        let usage = engine.usage().unwrap();
        assert_eq!(usage.cells, self.cells.len() as u64);
        let is_blob = |held: &&Held| matches!(held, Held::Blob { .. });
        let blobs = self.keys.values().filter(is_blob).count();
        assert_eq!(usage.blobs, blobs as u64);
        assert_eq!(usage.tombstones, (self.keys.len() - blobs) as u64);

        let mut ledger = self.begin();
        for entry in &SAMPLE.entries {
            for reference in entry.row().references().iter() {
                let Ok(row) = ledger.row(&reference);
                assert!(engine.row(&reference).unwrap() == row);
            }
        }
        for payment in &SAMPLE.payments {
            for tag in &payment.tags {
                let Ok(claim) = ledger.claim(tag);
                let opened = engine.claim(tag).unwrap();
                assert_eq!(opened.map(|opened| opened.claim), claim);
                if let Some(OpenedClaim { claim, expires }) = opened {
                    let by = usize::from(claim.payment[0]);
                    assert_eq!(expires, SAMPLE.payments[by].expires);
                }
            }
        }
        let Ok(supply) = ledger.supply();
        assert_eq!(engine.supply().unwrap(), supply);
        let Ok(floor) = ledger.floor();
        let epochs = engine.epochs().unwrap();
        assert_eq!(epochs.as_ref().map(|epochs| epochs.floor), floor);
        assert_eq!(epochs.map_or(0, |epochs| epochs.ordinal), self.epoch);
    }
}

fn hash(blob: usize) -> larder_protocol::BlobHash {
    SAMPLE.blobs[blob].hash()
}

fn op() -> impl Strategy<Value = Op> {
    let ordinal = 0_u32..3;
    let what = prop_oneof![
        4 => (0..KEYS, 0..BLOBS, ordinal.clone())
            .prop_map(|(key, blob, epoch)| What::Insert { key, blob, epoch }),
        4 => (0..KEYS, 0..BLOBS, ordinal)
            .prop_map(|(key, blob, epoch)| What::Delete { key, blob, epoch }),
        2 => Just(What::Nothing),
        2 => (0..PAYMENTS, any::<bool>())
            .prop_map(|(payment, paid)| What::Open { payment, paid }),
        1 => (0..PAYMENTS).prop_map(|payment| What::MarkPaid { payment }),
        2 => (0..CELL_KEYS, 0_u64..4, 0..CELLS, 0..TICKS).prop_map(
            |(key, sequence, cell, now)| What::PutCell { key, sequence, cell, now }
        ),
        2 => (0..CELL_KEYS, 1..TICKS, 0..TICKS).prop_map(
            |(key, lasts, now)| What::DoomCell { key, deadline: now + lasts, now }
        ),
        1 => (0..TICKS).prop_map(|now| What::DropCells { now }),
    ];
    (what, option::weighted(0.6, 0..ENTRIES)).prop_map(|(what, entry)| Op { what, entry })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => vec(op(), 0..10).prop_map(Step::Commit),
        2 => (0_u32..3).prop_map(|tombstones_before| Step::Enter { tombstones_before }),
        1 => Just(Step::Reopen),
    ]
}

/// Effects of all kinds, epochs and reopenings in any order do what a map and a ledger in
/// memory would.
pub fn every_history_agrees_with_a_map(open: Open) {
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    // Little can be settled before an epoch is entered.
    let history = (any::<bool>(), vec(step(), 1..20));
    let outcome = TestRunner::new(config).run(&history, |(entered, history)| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut engine: Option<Arc<dyn Engine>> = Some(open(folder.path()));
        let mut model = Model::default();
        let begin = entered.then_some(Step::Enter {
            tombstones_before: 0,
        });
        for step in begin.into_iter().chain(history) {
            match (step, &engine) {
                (Step::Commit(ops), Some(engine)) => {
                    let batch = ops.iter().map(|op| effect(*op)).collect();
                    let expected: Vec<_> = ops.iter().map(|op| model.apply(*op)).collect();
                    prop_assert_eq!(engine.commit(batch).unwrap(), expected);
                }
                (Step::Enter { tombstones_before }, Some(engine)) => {
                    let next = model.enter(tombstones_before);
                    let entered = engine.enter(next).unwrap();
                    prop_assert!(entered.is_ok());
                }
                _ => {
                    // One process at a time: close, then open.
                    engine = None;
                    engine.get_or_insert_with(|| open(folder.path()));
                }
            }
            model.agrees_with(&**engine.as_ref().expect("it was opened"));
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn effect(Op { what, entry }: Op) -> Effect {
    let change = match what {
        What::Nothing => Change::None,
        What::Insert { key, blob, epoch } => Change::Insert {
            key: SAMPLE.keys[key],
            blob: SAMPLE.blobs[blob].clone(),
            epoch,
        },
        What::Delete { key, blob, epoch } => Change::Delete {
            key: SAMPLE.keys[key],
            blob_hash: hash(blob),
            epoch,
        },
        What::Open { payment, paid } => Change::OpenClaims {
            payment: Payment {
                paid,
                ..SAMPLE.payments[payment].clone()
            },
            now: 0,
        },
        What::MarkPaid { payment } => Change::MarkPaid {
            payment: SAMPLE.payments[payment].id,
        },
        What::PutCell {
            key,
            sequence,
            cell,
            now,
        } => Change::PutCell {
            key: SAMPLE.keys[key],
            sequence,
            cell: Box::new(SAMPLE.cells[cell].clone()),
            now,
        },
        What::DoomCell { key, deadline, now } => Change::DoomCell {
            key: SAMPLE.keys[key],
            deadline,
            now,
        },
        What::DropCells { now } => Change::DropCells { now },
    };
    let entry = entry.map(|number| Box::new(SAMPLE.entries[number].clone()));
    Effect { change, entry }
}

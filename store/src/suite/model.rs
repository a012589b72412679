//! Random histories, judged by a map in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder_protocol::{Blob, Key};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::Open;
use super::sample;
use crate::{Change, Effect, Engine, Outcome, Reading, Stat};

/// Few enough that histories meet themselves again.
const KEYS: usize = 6;
const BLOBS: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>),
    Reopen,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Insert { key: usize, blob: usize },
    Delete { key: usize, blob: usize, epoch: u32 },
}

/// A map from keys to the number of their blob, or `None` for a tombstone.
#[derive(Default)]
struct Model(BTreeMap<usize, Option<usize>>);

impl Model {
    fn apply(&mut self, op: Op, blobs: &[Blob]) -> Outcome {
        let (Op::Insert { key, .. } | Op::Delete { key, .. }) = op;
        match (op, self.0.get(&key).copied()) {
            (_, Some(None)) => Outcome::Deleted,
            (Op::Insert { blob, .. }, None) => {
                self.0.insert(key, Some(blob));
                Outcome::Inserted
            }
            (Op::Insert { .. }, Some(Some(stored))) => Outcome::AlreadyExists(blobs[stored].hash()),
            (Op::Delete { .. }, None) => Outcome::Absent,
            (Op::Delete { blob, .. }, Some(Some(stored))) if blob == stored => {
                self.0.insert(key, None);
                Outcome::Removed
            }
            (Op::Delete { .. }, Some(Some(stored))) => Outcome::HashMismatch(blobs[stored].hash()),
        }
    }

    fn agrees_with(&self, engine: &dyn Engine, keys: &[Key], blobs: &[Blob]) {
        for (number, key) in keys.iter().enumerate() {
            let (reading, stat) = match self.0.get(&number).copied() {
                None => (Reading::Absent, Stat::Absent),
                Some(None) => (Reading::Deleted, Stat::Deleted),
                Some(Some(blob)) => (
                    Reading::Found(blobs[blob].clone()),
                    Stat::Present {
                        blob_hash: blobs[blob].hash(),
                        epoch: 0,
                    },
                ),
            };
            assert_eq!(engine.read(key).unwrap(), reading);
            assert_eq!(engine.stat(key).unwrap(), stat);
        }
        let usage = engine.usage().unwrap();
        let blobs = self.0.values().filter(|blob| blob.is_some()).count();
        assert_eq!(usage.blobs, blobs as u64);
        assert_eq!(usage.tombstones, (self.0.len() - blobs) as u64);
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..KEYS, 0..BLOBS).prop_map(|(key, blob)| Op::Insert { key, blob }),
        (0..KEYS, 0..BLOBS, 0_u32..3).prop_map(|(key, blob, epoch)| Op::Delete {
            key,
            blob,
            epoch
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(op(), 0..8).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// Inserts, deletes, reads and reopenings in any order do what a map would.
pub fn every_history_agrees_with_a_map(open: Open) {
    let keys: Vec<Key> = (0..KEYS as u64).map(sample::key).collect();
    let blobs: Vec<Blob> = (0..BLOBS as u64).map(sample::blob).collect();
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(step(), 1..16), |history| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut engine: Option<Arc<dyn Engine>> = Some(open(folder.path()));
        let mut model = Model::default();
        for step in history {
            match (step, &engine) {
                (Step::Commit(ops), Some(engine)) => {
                    let batch = ops.iter().map(|op| effect(*op, &keys, &blobs)).collect();
                    let expected: Vec<_> = ops.iter().map(|op| model.apply(*op, &blobs)).collect();
                    prop_assert_eq!(engine.commit(batch).unwrap(), expected);
                }
                _ => {
                    // One process at a time: close, then open.
                    engine = None;
                    engine.get_or_insert_with(|| open(folder.path()));
                }
            }
            model.agrees_with(&**engine.as_ref().expect("it was opened"), &keys, &blobs);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

fn effect(op: Op, keys: &[Key], blobs: &[Blob]) -> Effect {
    match op {
        Op::Insert { key, blob } => Effect::unpaid(Change::Insert {
            key: keys[key],
            blob: blobs[blob].clone(),
            epoch: 0,
        }),
        Op::Delete { key, blob, epoch } => Effect::unpaid(Change::Delete {
            key: keys[key],
            blob_hash: blobs[blob].hash(),
            epoch,
        }),
    }
}

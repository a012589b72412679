//! Group commit, against an engine that waits to be told.
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::Key;
use larder_store::suite::sample::{blob, key};
use larder_store::{
    Busy, Change, Committer, Done, Effect, Engine, Enter, Epochs, Limits, Notes, OpenedClaim,
    Outcome, Reading, Stat, StoreError, StoredCell, Usage,
};

/// An engine that announces each batch's size and waits for its result.
struct Gate {
    began: Mutex<Sender<usize>>,
    verdicts: Mutex<Receiver<Result<(), StoreError>>>,
}

impl Engine for Gate {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        self.began.lock().unwrap().send(batch.len()).unwrap();
        self.verdicts.lock().unwrap().recv().unwrap()?;
        Ok(vec![Outcome::Inserted; batch.len()])
    }

    fn read(&self, _key: &Key) -> Result<Reading, StoreError> {
        unreachable!("a committer does not read")
    }

    fn stat(&self, _key: &Key) -> Result<Stat, StoreError> {
        unreachable!("a committer does not read")
    }

    fn cell(&self, _key: &Key, _now: u64) -> Result<Option<StoredCell>, StoreError> {
        unreachable!("a committer does not read")
    }

    fn row(&self, _reference: &Reference) -> Result<Option<Row>, StoreError> {
        unreachable!("a committer does not read")
    }

    fn claim(&self, _tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        unreachable!("a committer does not read")
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        unreachable!("a committer does not read")
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        unreachable!("a committer does not read")
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        unreachable!("a committer does not read")
    }

    fn enter(&self, _next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        unreachable!("a committer does not read")
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        unreachable!("a committer does not count")
    }
}

struct Bench {
    committer: Committer,
    began: Receiver<usize>,
    verdict: Sender<Result<(), StoreError>>,
    results: Receiver<Result<Outcome, Arc<StoreError>>>,
    result: Sender<Result<Outcome, Arc<StoreError>>>,
}

fn bench(limits: Limits) -> Bench {
    let (began, batches) = channel();
    let (verdict, verdicts) = channel();
    let (result, results) = channel();
    let gate = Gate {
        began: Mutex::new(began),
        verdicts: Mutex::new(verdicts),
    };
    Bench {
        committer: Committer::start(Arc::new(gate), limits).unwrap(),
        began: batches,
        verdict,
        results,
        result,
    }
}

impl Bench {
    fn submit(&self) -> Result<(), Busy> {
        let result = self.result.clone();
        let done: Done = Box::new(move |outcome| result.send(outcome).unwrap());
        let effect = Effect::unpaid(Change::Insert {
            key: key(0),
            blob: blob(0),
            epoch: 0,
        });
        self.committer.submit(effect, done)
    }
}

#[test]
fn effects_in_flight_share_the_next_batch() {
    let bench = bench(Limits { queue: 8, batch: 3 });
    bench.submit().unwrap();
    assert_eq!(bench.began.recv().unwrap(), 1, "one alone does not wait");
    for _ in 0..5 {
        bench.submit().unwrap();
    }
    assert!(
        bench.results.try_recv().is_err(),
        "acknowledged before it was durable"
    );
    bench.verdict.send(Ok(())).unwrap();
    assert_eq!(bench.began.recv().unwrap(), 3, "no more than a batch takes");
    bench.verdict.send(Ok(())).unwrap();
    assert_eq!(bench.began.recv().unwrap(), 2);
    bench.verdict.send(Ok(())).unwrap();
    for _ in 0..6 {
        assert_eq!(bench.results.recv().unwrap().unwrap(), Outcome::Inserted);
    }
}

#[test]
fn a_full_queue_refuses_at_once() {
    let bench = bench(Limits { queue: 2, batch: 1 });
    bench.submit().unwrap();
    bench.began.recv().unwrap();
    bench.submit().unwrap();
    bench.submit().unwrap();
    assert_eq!(bench.submit(), Err(Busy));
    for _ in 0..3 {
        bench.verdict.send(Ok(())).unwrap();
    }
    for _ in 0..3 {
        bench.results.recv().unwrap().unwrap();
    }
    drop(bench.committer);
    assert!(
        bench.results.try_recv().is_err(),
        "a refused effect was answered"
    );
}

#[test]
fn every_effect_of_a_failed_batch_hears_of_it() {
    let bench = bench(Limits { queue: 8, batch: 8 });
    bench.submit().unwrap();
    bench.began.recv().unwrap();
    bench.submit().unwrap();
    bench.submit().unwrap();
    bench.verdict.send(Ok(())).unwrap();
    bench.results.recv().unwrap().unwrap();
    assert_eq!(bench.began.recv().unwrap(), 2);
    bench.verdict.send(Err(StoreError::Stopped)).unwrap();
    for _ in 0..2 {
        let error = bench.results.recv().unwrap().unwrap_err();
        assert!(matches!(*error, StoreError::Stopped));
    }
}

#[test]
fn shutting_down_commits_what_was_taken() {
    let bench = bench(Limits { queue: 8, batch: 8 });
    for _ in 0..4 {
        bench.submit().unwrap();
        bench.verdict.send(Ok(())).unwrap();
    }
    bench.committer.shutdown();
    assert_eq!(bench.results.try_iter().count(), 4);
}

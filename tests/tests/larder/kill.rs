//! kill -9 of `larderd` at random moments under load: what was acknowledged is there, whole.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_protocol::Key;
use larder_recovery::{Looked, Removed, Written};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;

use crate::processes::{field, paid_larderd, relay};
use crate::samples::samples;
use crate::wallet::{Client, blob, patient, runtime};

/// How often it is killed; see [`samples`].
const KILLS: [usize; 2] = [20, 60];
const WORKERS: u64 = 12;

/// What was acknowledged for a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Acknowledged {
    Insert,
    Delete,
}

#[derive(Default)]
struct Ledger {
    acknowledged: Mutex<HashMap<u64, Acknowledged>>,
    /// Numbers whose delete was sent and not answered yet.
    deleting: Mutex<HashSet<u64>>,
    count: AtomicU64,
    progress: Notify,
}

impl Ledger {
    fn enter(&self, number: u64, what: Acknowledged) {
        self.acknowledged
            .lock()
            .expect("no panic")
            .insert(number, what);
        if what == Acknowledged::Delete {
            self.deleting.lock().expect("no panic").remove(&number);
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        self.progress.notify_waiters();
    }

    /// Waits until so many more were acknowledged.
    async fn wait_for(&self, more: u64) {
        let goal = self.count.load(Ordering::SeqCst) + more;
        loop {
            let progress = self.progress.notified();
            if self.count.load(Ordering::SeqCst) >= goal {
                return;
            }
            progress.await;
        }
    }
}

/// Inserts new numbers for ever, and deletes every third one.
async fn load(client: Arc<Client>, ledger: Arc<Ledger>, worker: u64) {
    for number in (worker..).step_by(WORKERS as usize) {
        let keypair = client.keypair(number);
        let written = client
            .provider
            .insert(keypair.public_key().into(), blob(number))
            .await;
        assert!(
            matches!(written, Ok(Written::New | Written::Already)),
            "{written:?}"
        );
        ledger.enter(number, Acknowledged::Insert);
        if number % 3 == 0 {
            ledger.deleting.lock().expect("no panic").insert(number);
            let removed = client.provider.delete(&keypair, blob(number).hash()).await;
            assert!(
                matches!(removed, Ok(Removed::Now | Removed::Before)),
                "{removed:?}"
            );
            ledger.enter(number, Acknowledged::Delete);
        }
    }
}

#[test]
fn every_acknowledged_insert_and_delete_survives_twenty_kills_or_sixty() {
    let kills = samples(KILLS);
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut node = paid_larderd(folder.path(), &[relay.peer]);
    let address = node.address.clone();
    let mut rng = StdRng::seed_from_u64(20);
    runtime().block_on(async {
        let client = Arc::new(Client::connect(patient(relay.peer), &address).await);
        let ledger = Arc::new(Ledger::default());
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| tokio::spawn(load(client.clone(), ledger.clone(), worker)))
            .collect();
        for _ in 0..kills {
            ledger.wait_for(rng.random_range(1..40)).await;
            // Any moment between two acknowledgements, and any step of a commit.
            tokio::time::sleep(rng.random_range(Duration::ZERO..Duration::from_millis(50))).await;
            node.process.kill();
            node = paid_larderd(folder.path(), &[relay.peer]);
            assert_eq!(node.address, address);
        }
        ledger.wait_for(WORKERS).await;
        node.process.kill();
        for worker in workers {
            worker.abort();
            assert!(
                worker.await.is_err_and(|error| error.is_cancelled()),
                "a worker failed"
            );
        }

        let node = paid_larderd(folder.path(), &[relay.peer]);
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let acknowledged = ledger.acknowledged.lock().expect("no panic").clone();
        let deleting = ledger.deleting.lock().expect("no panic").clone();
        assert!(acknowledged.len() > kills);
        // What was under way can be no more than one request per worker.
        assert!(deleting.len() <= WORKERS as usize, "{}", deleting.len());
        let last = acknowledged.keys().max().copied().unwrap_or_default();
        let (mut blobs, mut tombstones) = (0, 0);
        for number in 0..=last + WORKERS {
            let key = Key::from(client.keypair(number).public_key());
            let looked = client.provider.lookup(key).await.expect("an answer");
            let whole = looked == Looked::Found(blob(number));
            let fine = match acknowledged.get(&number) {
                Some(Acknowledged::Delete) => looked == Looked::Deleted,
                // Its delete may have been done and not been acknowledged.
                Some(Acknowledged::Insert) if deleting.contains(&number) => {
                    whole || looked == Looked::Deleted
                }
                Some(Acknowledged::Insert) => whole,
                None => whole || looked == Looked::Absent,
            };
            blobs += u64::from(whole);
            tombstones += u64::from(looked == Looked::Deleted);
            assert!(
                fine,
                "{number}: {:?}, {looked:?}",
                acknowledged.get(&number)
            );
        }
        // The store holds this and nothing else.
        let (_, log) = node.process.terminate();
        assert_eq!(field(&log, "blobs"), blobs, "{log}");
        assert_eq!(field(&log, "tombstones"), tombstones, "{log}");
    });
}

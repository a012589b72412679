//! An endless stream of garbage at full speed: memory stays bounded, honest requests get through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use larder_onion::{CircuitsConfig, PeerAddress};
use larder_protocol::Key;
use larder_recovery::{Looked, Written};

use crate::processes::{larderd, relay};
use crate::wallet::{Client, blob, patient, runtime};

/// Requests that the flood keeps in flight.
const FLOOD: usize = 128;

/// What the storage node may need beyond what it needs at rest: its inboxes, its outboxes, its
/// writes in flight, and what the allocator keeps.
const ROOM_KIB: u64 = 128 * 1024;

fn greedy(first_hop: PeerAddress) -> CircuitsConfig {
    CircuitsConfig {
        connections_per_hop: 4,
        window_start: 64,
        window_max: 64,
        deadline: Duration::from_millis(500),
        ..CircuitsConfig::new(vec![first_hop])
    }
}

#[test]
fn a_flood_of_garbage_neither_fills_the_memory_nor_starves_honest_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let honest = Client::connect(patient(relay.peer), &node.address).await;
        let key = |number| Key::from(honest.keypair(number).public_key());
        assert_eq!(
            honest.provider.insert(key(0), blob(0)).await,
            Ok(Written::New)
        );
        let at_rest = node.process.memory();

        // The attacker connects to the storage node itself, so that no relay slows it down.
        let attacker = Arc::new(Client::connect(greedy(node.peer), &node.address).await);
        let (over, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let flood: Vec<_> = (0..FLOOD)
            .map(|number| {
                let (attacker, over, sent) = (attacker.clone(), over.clone(), sent.clone());
                tokio::spawn(async move {
                    let garbage = vec![number as u8; 20_000];
                    while !over.load(Ordering::Relaxed) {
                        attacker.send_garbage(&garbage).await;
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let mut most = 0;
        for number in 1..40 {
            assert_eq!(
                honest.provider.insert(key(number), blob(number)).await,
                Ok(Written::New)
            );
            let looked = honest.provider.lookup(key(number)).await;
            assert!(looked == Ok(Looked::Found(blob(number))), "{number}");
            most = most.max(node.process.memory());
        }
        over.store(true, Ordering::Relaxed);
        for task in flood {
            task.await.expect("the flood ends");
        }
        assert!(
            sent.load(Ordering::Relaxed) > FLOOD as u64,
            "it was no flood"
        );
        assert!(
            most < at_rest + ROOM_KIB,
            "{at_rest} KiB at rest, {most} KiB under the flood"
        );
    });
}

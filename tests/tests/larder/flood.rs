//! A flood at full speed, of garbage and of valid inserts: memory stays bounded, what is too
//! much is dropped, honest requests get through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder_attacker::{Attacker, OnionMessage};
use larder_onion::ServiceConfig;
use larder_protocol::insert::Insert;
use larder_protocol::{Call, Key, Nonce, Request, SizeClass, envelope};
use larder_recovery::{Looked, Written};
use rand::RngCore;
use secp256k1::{Keypair, SECP256K1};

use crate::processes::{field, larderd_command, relay, start};
use crate::wallet::{Client, blob, patient, runtime};

/// Connections that pour garbage, and connections that pour inserts.
pub(crate) const GARBAGE: u8 = 4;
pub(crate) const INSERTERS: u8 = 8;

/// Inserts with fresh keys per connection. They are poured round and round: what was dropped
/// in one round is as fresh in the next.
const INSERTS: usize = 250;

/// Messages per connection after which the flood ends by itself (3 GB).
const AT_MOST: u64 = 100_000;

/// Inserts, and look-ups, of the honest client under the flood.
const HONEST: u64 = 40;

pub(crate) const CACHE_MIB: u64 = 8;
pub(crate) const WRITES: u64 = 128;
pub(crate) const WORKERS: u64 = 1;

/// KiB that a storage node may need beyond what it needs at rest: the sum of what its limits
/// allow to wait.
pub(crate) fn room_kib() -> u64 {
    let limits = ServiceConfig::new([0; 32]);
    // A big message waits as 32,834 bytes in one allocation, plus its place in the queue.
    let message = 34;
    // The blob of a write, and its caller.
    let write = 18;
    // A request being served: the message, its contents as peeled, as unwrapped, as answered.
    let served = 4 * message;
    // LDK reads a message of up to 64 KiB into a buffer, and takes one from the outbox.
    let peer = 64 + 64 + message;
    let queues = (limits.inbox_total + limits.outbox_total) as u64 * message + WRITES * write;
    let hands = 2 * WORKERS * served + (u64::from(GARBAGE + INSERTERS) + 1) * peer;
    // sled writes its log through buffers of 512 KiB each.
    let sled = CACHE_MIB * 1024 + 4 * 512;
    queues + hands + sled
}

fn fresh_insert() -> Vec<u8> {
    let mut rng = rand::rng();
    let mut random = || {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let nonce = Nonce(random());
    let secret = secp256k1::SecretKey::from_slice(&random()).expect("a scalar");
    let key = Keypair::from_secret_key(SECP256K1, &secret)
        .public_key()
        .into();
    let blob = blob(u64::from_be_bytes(
        random()[..8].try_into().expect("8 bytes"),
    ));
    let request = Request::unpaid(nonce, Call::Insert(Insert { key, blob }));
    envelope::wrap(&request.encode(), SizeClass::Big).expect("it fits")
}

/// What the floods share.
#[derive(Default)]
pub(crate) struct Valve {
    pub(crate) closed: AtomicBool,
    pub(crate) poured: AtomicU64,
    /// Connections that had poured all they may.
    pub(crate) dry: AtomicU64,
}

pub(crate) fn pour(attacker: &Attacker, messages: Vec<OnionMessage>, valve: &Arc<Valve>) {
    let (valve, mut next, mut left) = (Arc::clone(valve), 0, AT_MOST);
    attacker.pour(move || {
        if valve.closed.load(Ordering::Relaxed) {
            return None;
        }
        if left == 0 {
            valve.dry.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        left -= 1;
        next = (next + 1) % messages.len();
        valve.poured.fetch_add(1, Ordering::Relaxed);
        Some(messages[next].clone())
    });
}

#[test]
fn a_flood_neither_fills_the_memory_nor_starves_honest_requests() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut command = larderd_command(folder.path(), &[relay.peer]);
    command
        .env("LARDERD_STORE_CACHE_MIB", CACHE_MIB.to_string())
        .env("LARDERD_LIMITS_WRITES_IN_FLIGHT", WRITES.to_string())
        .env("LARDERD_LIMITS_WORKERS", WORKERS.to_string());
    let node = start(&mut command);
    let valve = Arc::new(Valve::default());
    let (at_rest, peak) = runtime().block_on(async {
        let honest = Client::connect(patient(relay.peer), &node.address).await;
        let key = |number| Key::from(honest.keypair(number).public_key());
        assert_eq!(
            honest.provider.insert(key(0), blob(0)).await,
            Ok(Written::New)
        );
        let at_rest = node.process.memory();

        // The attackers connect to the storage node itself, so that no relay slows them down.
        let mut attackers = Vec::new();
        for number in 1..=GARBAGE + INSERTERS {
            let attacker = Attacker::connect(number, node.peer).await;
            let messages = match number <= GARBAGE {
                true => vec![attacker.garbage(), attacker.request(vec![0x5a; 20_000])],
                false => (0..INSERTS)
                    .map(|_| attacker.request(fresh_insert()))
                    .collect(),
            };
            attackers.push((attacker, messages));
        }
        let attackers: Vec<Attacker> = attackers
            .into_iter()
            .map(|(attacker, messages)| {
                pour(&attacker, messages, &valve);
                attacker
            })
            .collect();
        for number in 1..=HONEST {
            let written = honest.provider.insert(key(number), blob(number)).await;
            // `Already` is a retry whose first answer came too late.
            assert!(
                matches!(written, Ok(Written::New | Written::Already)),
                "{written:?}"
            );
            let looked = honest.provider.lookup(key(number)).await;
            assert!(looked == Ok(Looked::Found(blob(number))), "{number}");
        }
        valve.closed.store(true, Ordering::Relaxed);
        drop(attackers);
        (at_rest, node.process.peak_memory())
    });
    let (status, log) = node.process.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    let poured = valve.poured.load(Ordering::Relaxed);
    let room = room_kib();
    println!("{poured} poured; {at_rest} KiB at rest, {peak} at the peak, {room} of room\n{log}");
    assert_eq!(
        valve.dry.load(Ordering::Relaxed),
        0,
        "the flood ended before the honest client did"
    );
    // Far more came than could wait, and what was too much was dropped.
    let inbox = ServiceConfig::new([0; 32]).inbox_total as u64;
    assert!(field(&log, "arrived") > 4 * inbox, "{log}");
    assert!(field(&log, "dropped") > inbox, "{log}");
    // Every kind got as far as it can.
    assert!(field(&log, "rejected") > 0, "{log}");
    assert!(field(&log, "malformed") > 0, "{log}");
    assert!(field(&log, "blobs") > 2 * HONEST, "{log}");
    assert!(
        peak < at_rest + room,
        "{at_rest} KiB at rest, {peak} KiB at the peak, {room} KiB of room"
    );
}

//! A flood of free opens at full speed, of garbage and of well-signed ones for cells that do not
//! exist: whoever pays gets through, memory stays bounded, and no more are looked at than are
//! allowed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use larder_attacker::Attacker;
use larder_onion::ServiceConfig;
use larder_protocol::{BreakglassOpen, Call, Key, Nonce, Request, SizeClass, envelope};
use larder_recovery::{Looked, Written};

use crate::flood::{CACHE_MIB, GARBAGE, INSERTERS, Valve, WORKERS, WRITES, pour, room_kib};
use crate::processes::{field, larderd_command, relay, start};
use crate::wallet::{Client, blob, patient, runtime};

/// As many connections as the room is reckoned for. Every other one pours garbage.
const FLOODERS: u8 = GARBAGE + INSERTERS;

/// Opens of each connection, poured round and round.
const OPENS: u64 = 64;

/// Paid inserts, and look-ups, of the honest client under the flood.
const HONEST: u64 = 20;

/// Opens that are looked at in a second: far fewer than get to the desk however busy the machine is, which were some
/// ninety in a second of one with four times as much to do as it had cores.
const ALLOWANCE: u64 = 4;

/// How many times as many messages are poured as may wait. A slow machine takes longer for it.
const TIMES: u64 = 8;

fn opens(number: u8, honest: &Client) -> Vec<Vec<u8>> {
    let server = honest.provider.record().server_key;
    let opens = (0..OPENS).map(|at| {
        let keypair = honest.keypair(1_000_000 * u64::from(number) + at);
        let nonce = Nonce([number; 32]);
        let open = match number % 2 {
            0 => BreakglassOpen::sign(&keypair, &server, nonce),
            _ => BreakglassOpen {
                key: keypair.public_key().into(),
                signature: [at as u8; 64],
            },
        };
        let request = Request::unpaid(nonce, Call::BreakglassOpen(open));
        envelope::wrap(&request.encode(), SizeClass::Big).expect("it fits")
    });
    opens.collect()
}

#[test]
fn a_flood_of_opens_neither_fills_the_memory_nor_starves_those_who_pay() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut command = larderd_command(folder.path(), &[relay.peer]);
    command
        .env("LARDERD_PAYMENT", "credentials")
        .env("LARDERD_CREDENTIALS_TILL", "instant")
        .env("LARDERD_STORE_CACHE_MIB", CACHE_MIB.to_string())
        .env("LARDERD_LIMITS_OPENS_PER_SECOND", ALLOWANCE.to_string())
        .env("LARDERD_LIMITS_WRITES_IN_FLIGHT", WRITES.to_string())
        .env("LARDERD_LIMITS_WORKERS", WORKERS.to_string());
    let started = Instant::now();
    let node = start(&mut command);
    let valve = Arc::new(Valve::default());
    let inbox = ServiceConfig::new([0; 32]).inbox_total as u64;
    let (at_rest, peak) = runtime().block_on(async {
        let honest = Client::connect(patient(relay.peer), &node.address).await;
        let key = |number| Key::from(honest.keypair(number).public_key());
        let written = honest.provider.insert(key(0), blob(0)).await;
        assert_eq!(written, Ok(Written::New));
        let at_rest = node.process.memory();

        let mut attackers = Vec::new();
        for number in 1..=FLOODERS {
            let attacker = Attacker::connect(number, node.peer).await;
            let opens = opens(number, &honest).into_iter();
            let messages = opens.map(|open| attacker.request(open)).collect();
            pour(&attacker, messages, &valve);
            attackers.push(attacker);
        }
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
        // The flood is as large on a machine where that took less time than pouring it.
        while valve.poured.load(Ordering::Relaxed) < TIMES * inbox {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        valve.closed.store(true, Ordering::Relaxed);
        drop(attackers);
        (at_rest, node.process.peak_memory())
    });
    let (status, log) = node.process.terminate();
    // The seconds of the clock that a run of this length can touch: it begins and ends inside one.
    let seconds = started.elapsed().as_secs() + 2;
    assert_eq!(status.code(), Some(0), "{log}");
    let poured = valve.poured.load(Ordering::Relaxed);
    let room = room_kib();
    println!("{poured} poured; {at_rest} KiB at rest, {peak} at the peak, {room} of room\n{log}");
    assert_eq!(
        valve.dry.load(Ordering::Relaxed),
        0,
        "the flood ended before the honest client did"
    );
    // Far more came than could wait, and more of that got to the desk than it may look at.
    assert!(field(&log, "arrived") > 4 * inbox, "{log}");
    let (looked_at, unread) = (field(&log, "opens"), field(&log, "opens_unread"));
    assert!(unread > looked_at && looked_at > 0, "{log}");
    assert!(looked_at <= ALLOWANCE * seconds, "{log}");
    assert_eq!(field(&log, "blobs"), 1 + HONEST, "{log}");
    assert!(
        peak < at_rest + room,
        "{at_rest} KiB at rest, {peak} KiB at the peak, {room} KiB of room"
    );
}

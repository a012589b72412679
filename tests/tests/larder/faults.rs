//! A relay that drops, delays, duplicates or disconnects loses nothing but time.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use larder_onion::{CircuitsConfig, FaultCounts, PeerAddress};
use larder_protocol::Key;
use larder_recovery::{Looked, Removed, Written};

use crate::processes::{faulty_relay, field, larderd, paid_larderd, relay};
use crate::wallet::{Client, blob, patient, runtime};

/// Inserts, deletes a half and looks everything up, `at_once` at a time; nothing may be lost.
/// Returns the number of requests that were sent, retries included.
async fn work(client: &Client, count: u64, at_once: usize) -> u64 {
    let key = |number| Key::from(client.keypair(number).public_key());
    let inserts = stream::iter(0..count)
        .map(|number| client.provider.insert(key(number), blob(number)))
        .buffer_unordered(at_once);
    let written: Vec<_> = inserts.collect().await;
    // `Already` is a retry whose first answer was lost; anything else would be a second insert.
    let fine = |result: &Result<Written, _>| matches!(result, Ok(Written::New | Written::Already));
    assert!(written.iter().all(fine), "{written:?}");

    let deletes = stream::iter((0..count).step_by(2))
        .map(|number| async move {
            client
                .provider
                .delete(&client.keypair(number), blob(number).hash())
                .await
        })
        .buffer_unordered(at_once);
    let removed: Vec<_> = deletes.collect().await;
    let fine = |result: &Result<Removed, _>| matches!(result, Ok(Removed::Now | Removed::Before));
    assert!(removed.iter().all(fine), "{removed:?}");

    let lookups = stream::iter(0..count)
        .map(|number| async move { (number, client.provider.lookup(key(number)).await) })
        .buffer_unordered(at_once);
    let found: Vec<_> = lookups.collect().await;
    let mut seen = HashSet::new();
    for (number, looked) in found {
        let wanted = match number % 2 {
            0 => Looked::Deleted,
            _ => Looked::Found(blob(number)),
        };
        assert!(looked == Ok(wanted), "{number}");
        seen.insert(number);
    }
    assert_eq!(seen.len() as u64, count);
    let spent = client.transport.spent();
    spent.round_trips + spent.retries
}

/// What a run through a faulty relay has shown.
struct Ran {
    /// Requests that the client sent, retries included.
    sent: u64,
    /// Those of them that were retries.
    retries: u64,
    /// Requests that the storage node served.
    served: u64,
    /// Messages that showed it a pass.
    with_pass: u64,
    /// The longest smoothed round trip of a connection.
    round_trip: Duration,
    /// What the relay did.
    faults: FaultCounts,
}

/// Does the work of `count` keys through a relay with these faults; nothing may be applied
/// twice, whatever arrives twice.
fn through(relay_args: &[&str], count: u64) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = faulty_relay(relay_args);
    let node = paid_larderd(folder.path(), &[relay.peer]);
    let (sent, retries, round_trip) = runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let sent = work(&client, count, 8).await;
        let links = client.circuits.report();
        let round_trips = links.iter().filter_map(|link| link.pace.round_trip);
        let round_trip = round_trips.max().unwrap_or_default();
        (sent, client.transport.spent().retries, round_trip)
    });
    let (_, log) = node.process.terminate();
    assert_eq!(field(&log, "blobs"), count / 2, "{log}");
    assert_eq!(field(&log, "tombstones"), count.div_ceil(2), "{log}");
    let served = [
        "info",
        "inserts",
        "deletes",
        "lookups",
        "quotes",
        "purchases",
        "exchanges",
    ];
    Ran {
        sent,
        retries,
        served: served.iter().map(|what| field(&log, what)).sum(),
        with_pass: field(&log, "with_pass"),
        round_trip,
        faults: relay.end(),
    }
}

#[test]
fn a_relay_that_drops_loses_nothing() {
    let ran = through(&["--drop", "0.1", "--seed", "7"], 40);
    assert!(ran.faults.dropped > 0 && ran.retries > 0);
    // All that follows the first payment shows a pass: 40 inserts, 20 deletes and 40 look-ups but for the 8 that
    // were sent before its answer, and but for every other retry.
    assert!(ran.with_pass > 60, "{}", ran.with_pass);
}

#[test]
fn a_relay_that_duplicates_repeats_nothing() {
    let ran = through(&["--duplicate", "0.5", "--seed", "8"], 40);
    assert!(ran.faults.duplicated > 0);
    assert!(ran.served > ran.sent, "no request came twice");
}

#[test]
fn a_relay_that_delays_beyond_the_least_timeout_loses_nothing() {
    let ran = through(&["--delay", "1000", "--seed", "9"], 24);
    assert!(ran.faults.delayed > 0);
    let least = CircuitsConfig::new(Vec::<PeerAddress>::new()).min_timeout;
    assert!(ran.round_trip > least, "{:?}", ran.round_trip);
}

#[test]
fn a_relay_that_disconnects_loses_nothing() {
    let ran = through(&["--disconnect-every", "60", "--seed", "10"], 40);
    assert!(ran.faults.disconnected > 1);
}

#[test]
fn a_relay_that_does_all_of_it_loses_nothing() {
    let ran = through(
        &[
            "--drop",
            "0.05",
            "--duplicate",
            "0.1",
            "--delay",
            "30",
            "--disconnect-every",
            "40",
            "--seed",
            "11",
        ],
        40,
    );
    let faults = ran.faults;
    let counts = [
        faults.dropped,
        faults.duplicated,
        faults.delayed,
        faults.disconnected,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{faults:?}");
}

#[test]
fn with_64_requests_in_flight_through_one_stock_relay_none_is_finally_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let config = CircuitsConfig {
            window_start: 32,
            window_max: 32,
            ..CircuitsConfig::new(vec![relay.peer])
        };
        let client = Client::connect(config, &node.address).await;
        work(&client, 256, 64).await;
    });
}

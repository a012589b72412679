//! A relay that drops, delays, duplicates or disconnects loses nothing but time.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt};
use larder_onion::CircuitsConfig;
use larder_protocol::Key;
use larder_recovery::{Looked, Removed, Written};

use crate::processes::{faulty_relay, larderd, relay};
use crate::wallet::{Client, blob, patient, runtime};

/// Inserts, deletes a half and looks everything up, `at_once` at a time; nothing may be lost or
/// done twice. Returns the number of retries it took.
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
    client.transport.spent().retries
}

fn through(relay_args: &[&str]) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = faulty_relay(relay_args);
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        work(&client, 40, 8).await
    })
}

#[test]
fn a_relay_that_drops_loses_nothing() {
    assert!(
        through(&["--drop", "0.1", "--seed", "7"]) > 0,
        "the relay dropped nothing"
    );
}

#[test]
fn a_relay_that_duplicates_repeats_nothing() {
    through(&["--duplicate", "0.5", "--seed", "8"]);
}

#[test]
fn a_relay_that_delays_loses_nothing() {
    through(&["--delay", "60", "--seed", "9"]);
}

#[test]
fn a_relay_that_disconnects_loses_nothing() {
    through(&["--disconnect-every", "60", "--seed", "10"]);
}

#[test]
fn a_relay_that_does_all_of_it_loses_nothing() {
    through(&[
        "--drop",
        "0.05",
        "--duplicate",
        "0.1",
        "--delay",
        "30",
        "--disconnect-every",
        "150",
        "--seed",
        "11",
    ]);
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

//! Breakglass cells on a `larderd`: `kill -9` around an open, and what its log says of them.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_protocol::receipt::Finding;
use larder_protocol::{
    BreakglassOpen, BreakglassPut, CELL_BYTES, Call, Cell, Done, Key, Nonce, OpenedCell, Refusal,
    Reply, Request, SizeClass, envelope,
};
use larder_store::{Engine, Options, SledEngine, StoredCell};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::privacy::form_found;
use crate::processes::{field, larderd, larderd_command, relay, start};
use crate::wallet::{Client, patient, runtime};

const THREE_DAYS: u64 = 72 * 60 * 60;

fn cell(number: u64) -> Cell {
    let mut bytes = [0; CELL_BYTES];
    StdRng::seed_from_u64(number).fill(&mut bytes[..]);
    Cell(bytes)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Sends a call in the small class, and checks the receipt of the answer.
async fn ask(client: &Client, nonce: Nonce, call: Call) -> Result<Done, Refusal> {
    let stored = match &call {
        Call::BreakglassPut(put) => Some(put.cell.hash()),
        _ => None,
    };
    let request = Request::unpaid(nonce, call);
    let subject = request.subject();
    let contents = envelope::wrap(&request.encode(), SizeClass::Small).expect("it fits");
    let reply = client.send_raw(&contents).await;
    let finding: Finding = Reply::finding(&subject, &reply.outcome, stored).expect("of a key");
    let record = client.provider.record();
    let receipt = reply.receipt.expect("a receipt");
    assert!(receipt.proves(&record.receipt_key, &finding));
    reply.outcome
}

async fn put(client: &Client, number: u64, sequence: u64) {
    let server = client.provider.record().server_key;
    let put = BreakglassPut::sign(&client.keypair(number), &server, sequence, cell(number));
    let outcome = ask(client, Nonce([1; 32]), Call::BreakglassPut(Box::new(put))).await;
    assert_eq!(outcome, Ok(Done::CellStored));
}

async fn open(client: &Client, number: u64) -> Result<Done, Refusal> {
    let server = client.provider.record().server_key;
    let nonce = Nonce([2; 32]);
    let open = BreakglassOpen::sign(&client.keypair(number), &server, nonce);
    ask(client, nonce, Call::BreakglassOpen(open)).await
}

/// What the store of a node that is not running holds.
fn stored(folder: &Path, key: &Key, now: u64) -> Option<StoredCell> {
    let options = Options {
        free_space_floor: 0,
        ..Options::default()
    };
    let engine = SledEngine::open(&folder.join("store"), options).expect("the node is gone");
    engine.cell(key, now).expect("intact")
}

/// However soon after its answer the node is killed, the cell is doomed, as it was said; and it is
/// there until then.
#[test]
fn a_cell_is_doomed_before_its_opener_hears_of_it() {
    const KILLS: u64 = 10;
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut rng = StdRng::seed_from_u64(7);
    for number in 0..KILLS {
        let node = larderd(folder.path(), &[relay.peer]);
        let (key, answered) = runtime().block_on(async {
            let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
            put(&client, number, 5).await;
            let key = Key::from(client.keypair(number).public_key());
            // Half of them die with the answer, half at some moment around it.
            let answered = if number % 2 == 0 {
                let answered = open(&client, number).await;
                node.process.kill();
                Some(answered)
            } else {
                let soon = rng.random_range(Duration::ZERO..Duration::from_millis(20));
                let answered = tokio::time::timeout(soon, open(&client, number)).await.ok();
                node.process.kill();
                answered
            };
            (key, answered)
        });
        let there = stored(folder.path(), &key, now()).expect("it is not gone yet");
        assert_eq!((there.sequence, there.cell), (5, cell(number)));
        if let Some(answered) = answered {
            let Ok(Done::Cell(opened)) = answered else {
                panic!("{answered:?}")
            };
            let OpenedCell {
                sequence,
                cell: found,
                seconds,
            } = *opened;
            assert_eq!((sequence, found), (5, cell(number)));
            let deadline = there.deadline.expect("it was doomed before the answer");
            let left = deadline - now();
            assert!(left <= u64::from(seconds) && u64::from(seconds) <= THREE_DAYS);
            // By default, but for what passed since it was doomed.
            assert!(u64::from(seconds) > THREE_DAYS - 60 * 60);
        } else {
            assert!(number % 2 == 1);
        }
    }
    // All of them can be opened by whoever comes back, and no open moved a deadline.
    let before: Vec<_> = (0..KILLS).collect();
    let node = larderd(folder.path(), &[relay.peer]);
    let keys: Vec<Key> = runtime().block_on(async {
        let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
        for number in &before {
            let answered = open(&client, *number).await;
            assert!(
                matches!(answered, Ok(Done::Cell(_))),
                "{number}: {answered:?}"
            );
        }
        let keys = before.iter().map(|number| client.keypair(*number));
        keys.map(|keypair| keypair.public_key().into()).collect()
    });
    let (_, log) = node.process.terminate();
    assert_eq!(field(&log, "cells"), KILLS, "{log}");
    for key in keys {
        let there = stored(folder.path(), &key, now()).expect("not yet");
        assert!(there.deadline.is_some());
        // Nobody was there when it was over.
        assert_eq!(stored(folder.path(), &key, now() + THREE_DAYS), None);
    }
}

/// Put, opened, not there: at its most talkative the log names no cell and no key, and
/// counts what was done.
#[test]
fn the_log_names_no_cell() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut command = larderd_command(folder.path(), &[relay.peer]);
    command
        .env("LARDERD_LOG_LEVEL", "debug")
        .env("LARDERD_LIMITS_OPENS_PER_SECOND", "1000");
    let node = start(&mut command);
    let values = runtime().block_on(async {
        let client = Client::connect_without_tokens(patient(relay.peer), &node.address).await;
        let mut values = Vec::new();
        for number in 0..3 {
            put(&client, number, 5).await;
            assert!(matches!(open(&client, number).await, Ok(Done::Cell(_))));
            let key = Key::from(client.keypair(number).public_key());
            values.extend([key.as_bytes().to_vec(), cell(number).0.to_vec()]);
            values.push(cell(number).hash().0.to_vec());
        }
        assert_eq!(open(&client, 9).await, Err(Refusal::Absent));
        values
    });
    let (_, log) = node.process.terminate();
    assert_eq!((field(&log, "puts"), field(&log, "opens")), (3, 4), "{log}");
    for value in values {
        assert_eq!(form_found(&log, &value), None, "{log}");
    }
}

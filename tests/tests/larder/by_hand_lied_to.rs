//! `larder` with a storage node that answers what it likes, under its own good signature.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_onion::{PeerAddress, Service, ServiceConfig};
use larder_protocol::{
    Address, BlobHash, Call, Done, NodeId, Receipt, Record, Refusal, Reply, Request, SizeClass,
    envelope,
};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use serde_json::Value;

use crate::by_hand::{folder_names, json_of, random};
use crate::by_hand_providers::Several;
use crate::processes::{larder, larderd, relay, run, succeed};
use crate::wallet::runtime;

type Outcome = Result<Done, Refusal>;

fn keypair(byte: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[byte; 32]).expect("a scalar");
    Keypair::from_secret_key(SECP256K1, &secret)
}

/// A storage node that says whatever `lie` says.
async fn liar(
    lsp: PeerAddress,
    lie: impl Fn(&Call) -> Outcome + Send + 'static,
) -> (Service, Address) {
    let mut config = ServiceConfig::new([8; 32]);
    config.connect_to = vec![lsp];
    let (service, intake) = Service::start(config).await.expect("it does not listen");
    service.wait_connected().await;
    let node_id: NodeId = service.node_id();
    let (server, signer) = (keypair(1), keypair(2));
    let record = Record {
        server_key: server.public_key().into(),
        receipt_key: signer.public_key().into(),
        node_id,
        epoch: 0,
        epoch_seconds: 0,
        tariff: None,
    };
    let address = Address::new(record.server_key, node_id, vec![lsp.node_id]);
    // It ends with the service.
    std::thread::spawn(move || {
        while let Some(incoming) = intake.recv() {
            let body = envelope::unwrap(&incoming.contents).expect("an honest client");
            let request = Request::decode(body).expect("an honest client");
            let stored: Option<BlobHash> = match &request.call {
                Call::Insert(insert) => Some(insert.blob.hash()),
                _ => None,
            };
            let outcome = match request.call {
                Call::Info => Ok(Done::Info(Box::new(record.clone().sign(&server)))),
                _ => lie(&request.call),
            };
            let mut reply = Reply::bare(outcome);
            reply.receipt = Reply::finding(&request.subject(), &reply.outcome, stored)
                .map(|finding| Receipt::sign(&signer, &finding, record.epoch, record.hash()));
            let contents = envelope::wrap(&reply.encode(), SizeClass::Big).expect("it fits");
            // A client that is gone needs no answer.
            let _ = incoming.responder.answer(&contents);
        }
    });
    (service, address)
}

/// Puts twice under one name; returns the exit code and the result of the second put.
fn put_twice(lie: impl Fn(&Call) -> Outcome + Send + 'static) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let runtime = runtime();
    let (_service, address) = runtime.block_on(liar(relay.peer, lie));
    let wallet = folder.path().join("wallet");
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &address.to_string()])
        .args(["--lsp", &relay.peer.to_string()]);
    succeed(&mut init);
    let put = || run(larder(&wallet).args(["--json", "put", "a", "/dev/null"]));
    put();
    let second = put();
    let json = serde_json::from_slice(&second.stdout).expect("one object");
    (second.status.code(), json)
}

#[test]
fn a_put_that_is_told_taken_and_empty_in_turn_ends() {
    let (code, json) = put_twice(|call| match call {
        Call::Insert(_) => Err(Refusal::Deleted),
        _ => Err(Refusal::Absent),
    });
    assert_eq!(code, Some(1));
    let error = json["error"].as_str().expect("text");
    assert!(error.contains("misbehaves"), "{error}");
}

#[test]
fn one_of_three_that_begins_to_say_that_all_was_deleted_is_retired_and_takes_nothing_with_it() {
    let several = Several::start(2, larderd);
    let runtime = runtime();
    let lies = Arc::new(AtomicBool::new(false));
    let is_lying = lies.clone();
    let lie = move |call: &Call| match call {
        _ if is_lying.load(Ordering::Relaxed) => Err(Refusal::Deleted),
        Call::Insert(_) => Ok(Done::Inserted),
        _ => Err(Refusal::Absent),
    };
    let (_service, liar) = runtime.block_on(liar(several.relay.peer, lie));
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1], &["--provider", &liar.to_string()]);
    several.put(&wallet, "small", b"small");
    several.put(&wallet, "large", &random(200_000, 4));

    lies.store(true, Ordering::Relaxed);
    let stopped = run(larder(&wallet).args(["put", "other", "/dev/null"]));
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    let retired = json_of(&wallet, &["providers", "retire", "3"]);
    assert_eq!(retired["providers"], 2, "{retired}");
    several.put(&wallet, "other", b"other");

    let new = several.path("new");
    let root = wallet.join("root.key");
    let root = ["--root-file", root.to_str().expect("text")];
    several.init(&new, &[1], &root);
    let all = several.path("all");
    json_of(&new, &["restore", "--to", all.to_str().expect("text")]);
    assert_eq!(folder_names(&all), ["large", "other", "small"]);
    assert!(fs::read(all.join("large")).expect("restored") == random(200_000, 4));
}

#[test]
fn a_storage_node_that_shows_less_than_it_acknowledged_is_not_believed() {
    let (code, json) = put_twice(|call| match call {
        Call::Insert(_) => Ok(Done::Inserted),
        _ => Err(Refusal::Absent),
    });
    assert_eq!(code, Some(1));
    let error = json["error"].as_str().expect("text");
    assert!(error.contains("an older state"), "{error}");
}

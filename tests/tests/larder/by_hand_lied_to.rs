//! `larder` with a storage node that answers what it likes, under its own good signature.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_onion::{PeerAddress, Service, ServiceConfig};
use larder_protocol::{
    Address, BLOB_LEN, Blob, BlobHash, Call, Done, NodeId, Receipt, Record, Refusal, Reply,
    Request, SizeClass, envelope,
};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::by_hand::{folder_names, json_of, random};
use crate::by_hand_providers::Several;
use crate::processes::{RelayProcess, larder, larderd, relay, run, succeed};
use crate::wallet::runtime;

type Outcome = Result<Done, Refusal>;

fn keypair(byte: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[byte; 32]).expect("a scalar");
    Keypair::from_secret_key(SECP256K1, &secret)
}

/// A storage node that says whatever `lie` says, which may change its terms.
async fn liar(
    lsp: PeerAddress,
    lie: impl Fn(&Call, &mut Record) -> Outcome + Send + 'static,
) -> (Service, Address) {
    let mut config = ServiceConfig::new([8; 32]);
    config.connect_to = vec![lsp.into()];
    let (service, intake) = Service::start(config).await.expect("it does not listen");
    service.wait_connected().await;
    let node_id: NodeId = service.node_id();
    let (server, signer) = (keypair(1), keypair(2));
    let mut record = Record {
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
                Call::Info => {
                    // What it says of that is another matter.
                    let _ = lie(&request.call, &mut record);
                    Ok(Done::Info(Box::new(record.clone().sign(&server))))
                }
                _ => lie(&request.call, &mut record),
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

/// A wallet that has nobody else.
struct LiedTo {
    folder: TempDir,
    relay: RelayProcess,
    _service: Service,
    _runtime: Runtime,
}

impl LiedTo {
    fn by(lie: impl Fn(&Call, &mut Record) -> Outcome + Send + 'static) -> Self {
        let (relay, runtime) = (relay(), runtime());
        let (service, address) = runtime.block_on(liar(relay.peer, lie));
        let set = LiedTo {
            folder: tempfile::tempdir().expect("a folder"),
            relay,
            _service: service,
            _runtime: runtime,
        };
        let mut init = larder(&set.wallet());
        init.args(["init", "--provider", &address.to_string()])
            .args(["--lsp", &set.relay.peer.to_string()]);
        succeed(&mut init);
        set
    }

    fn wallet(&self) -> PathBuf {
        self.folder.path().join("wallet")
    }

    fn put(&self) -> (Option<i32>, Value) {
        let put = run(larder(&self.wallet()).args(["--json", "put", "a", "/dev/null"]));
        let json = serde_json::from_slice(&put.stdout).expect("one object");
        (put.status.code(), json)
    }
}

#[test]
fn a_put_that_is_told_taken_and_empty_in_turn_ends() {
    let set = LiedTo::by(|call, _| match call {
        Call::Insert(_) => Err(Refusal::Deleted),
        _ => Err(Refusal::Absent),
    });
    let (code, json) = set.put();
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
    let lie = move |call: &Call, _: &mut Record| match call {
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
    let set = LiedTo::by(|call, _| match call {
        Call::Insert(_) => Ok(Done::Inserted),
        _ => Err(Refusal::Absent),
    });
    assert_eq!(set.put().0, Some(0));
    let (code, json) = set.put();
    assert_eq!(code, Some(7));
    let error = json["error"].as_str().expect("text");
    assert!(error.contains("an older state"), "{error}");
}

#[test]
fn a_storage_node_with_other_terms_for_each_question_is_convicted_and_used_no_more_until_it_is_pardoned()
 {
    let lies = Arc::new(AtomicBool::new(false));
    let is_lying = lies.clone();
    let set = LiedTo::by(move |call, record| {
        if *call == Call::Info && is_lying.load(Ordering::Relaxed) {
            record.epoch_seconds += 1;
        }
        match call {
            Call::Insert(_) => Ok(Done::Inserted),
            _ => Err(Refusal::Absent),
        }
    });
    assert_eq!(set.put().0, Some(0));
    let status = || {
        let status = run(larder(&set.wallet()).args(["--json", "status"]));
        let json: Value = serde_json::from_slice(&status.stdout).expect("one object");
        (status.status.code(), json)
    };
    let (code, told) = status();
    let hash = told["providers"][0]["terms"]
        .as_str()
        .expect("a hash")
        .to_owned();
    assert_eq!((code, hash.len()), (Some(0), 64));

    lies.store(true, Ordering::Relaxed);
    let (code, told) = status();
    assert_eq!(code, Some(1));
    let error = told["error"].to_string();
    assert!(
        error.contains("changed its terms") && error.contains("pardon"),
        "{error}"
    );
    // It may say what it likes now.
    lies.store(false, Ordering::Relaxed);
    assert_eq!(status().0, Some(1));
    assert_eq!(set.put().0, Some(1));
    let receipts = run(larder(&set.wallet()).args(["--json", "receipts"]));
    assert_eq!(receipts.status.code(), Some(1));
    let kept: Value = serde_json::from_slice(&receipts.stdout).expect("one object");
    assert_eq!(kept["providers"][0]["contradictions"], 1, "{kept}");

    json_of(&set.wallet(), &["receipts", "pardon", "1"]);
    let (code, told) = status();
    assert_eq!(code, Some(0), "{told}");
    assert_ne!(told["providers"][0]["terms"], hash);
    // The proof is kept, and a second one counts as well.
    lies.store(true, Ordering::Relaxed);
    assert_eq!(status().0, Some(1));
    let receipts = run(larder(&set.wallet()).args(["--json", "receipts"]));
    let kept: Value = serde_json::from_slice(&receipts.stdout).expect("one object");
    assert_eq!(kept["providers"][0]["contradictions"], 2, "{kept}");
}

#[test]
fn receipts_of_an_epoch_that_began_during_a_command_can_be_checked() {
    let set = LiedTo::by(|call, record| match call {
        Call::Insert(_) => {
            record.epoch = 1;
            Ok(Done::Inserted)
        }
        _ => Err(Refusal::Absent),
    });
    assert_eq!(set.put().0, Some(0));
    let kept = &json_of(&set.wallet(), &["receipts"])["providers"][0];
    // A seal and an entry.
    assert_eq!((&kept["kept"], &kept["proven"]), (&2.into(), &2.into()));
}

/// A blob that nobody's root key ever wrote.
fn made_up() -> Blob {
    Blob::try_from(vec![1; BLOB_LEN]).expect("a blob's length")
}

/// How many forgeries of each storage node are kept, and that the command fails if there are any.
fn forged(wallet: &Path) -> Vec<u64> {
    let receipts = run(larder(wallet).args(["--json", "receipts"]));
    let json: Value = serde_json::from_slice(&receipts.stdout).expect("one object");
    let rows = json["providers"].as_array().expect("a list").iter();
    let forged: Vec<u64> = rows
        .map(|row| row["forged"].as_u64().expect("a number"))
        .collect();
    let is_none = forged.iter().all(|&forged| forged == 0);
    assert_eq!(receipts.status.code(), Some(i32::from(!is_none)), "{json}");
    let status = json_of(wallet, &["status"]);
    let rows = status["providers"].as_array().expect("a list").iter();
    assert!(
        rows.map(|row| row["forged"].as_u64())
            .eq(forged.iter().copied().map(Some))
    );
    forged
}

#[test]
fn a_storage_node_that_makes_blobs_up_is_named_and_what_it_signed_is_kept() {
    let set = LiedTo::by(|call, _| match call {
        Call::Insert(_) => Ok(Done::Inserted),
        _ => Ok(Done::Found(made_up())),
    });
    assert_eq!(forged(&set.wallet()), [0]);
    let (code, json) = set.put();
    let error = json["error"].as_str().expect("text");
    assert!(code == Some(1) && error.contains("never wrote"), "{json}");
    assert_eq!(forged(&set.wallet()), [1]);
    let text = run(larder(&set.wallet()).args(["receipts"])).stdout;
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("FORGED: it signed for 1 blob(s)"), "{text}");

    // Bytes that it did not sign for, another place, and what is no file of ours prove nothing.
    let receipts = fs::read_dir(set.wallet().join("receipts")).expect("they are kept");
    let mut entries = receipts.map(|entry| entry.expect("read").path());
    let folder = entries.find(|path| path.is_dir()).expect("forgeries");
    let file = folder.join(&folder_names(&folder)[0]);
    let kept: Value = serde_json::from_slice(&fs::read(&file).expect("kept")).expect("JSON");
    let changed = |field: &str, value: Value| {
        let mut changed = kept.clone();
        changed[field] = value;
        changed
    };
    let changes = [
        changed("blob", "02".repeat(BLOB_LEN).into()),
        changed("generation", 7.into()),
        Value::Null,
    ];
    for changed in changes {
        fs::write(&file, changed.to_string()).expect("written");
        assert_eq!(forged(&set.wallet()), [0]);
    }
}

#[test]
fn one_of_three_that_makes_blobs_up_is_left_out_and_named() {
    let several = Several::start(2, larderd);
    let runtime = runtime();
    let lies = Arc::new(AtomicBool::new(false));
    let is_lying = lies.clone();
    let blob_hash = made_up().hash();
    let lie = move |call: &Call, _: &mut Record| match (call, is_lying.load(Ordering::Relaxed)) {
        (Call::Insert(_), true) => Err(Refusal::AlreadyExists { blob_hash }),
        (_, true) => Ok(Done::Found(made_up())),
        (Call::Insert(_), false) => Ok(Done::Inserted),
        (_, false) => Err(Refusal::Absent),
    };
    let (_service, liar) = runtime.block_on(liar(several.relay.peer, lie));
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1], &["--provider", &liar.to_string()]);
    several.put(&wallet, "small", b"small");
    several.put(&wallet, "large", &random(200_000, 4));
    assert_eq!(forged(&wallet), [0; 3]);

    lies.store(true, Ordering::Relaxed);
    several.put(&wallet, "other", b"other");
    several.put(&wallet, "small", b"new");
    let kept = forged(&wallet);
    assert!(kept[..2] == [0; 2] && kept[2] > 0, "{kept:?}");
    let new = several.path("new");
    let root = wallet.join("root.key");
    several.init(&new, &[1], &["--root-file", root.to_str().expect("text")]);
    let all = several.path("all");
    json_of(&new, &["restore", "--to", all.to_str().expect("text")]);
    assert_eq!(folder_names(&all), ["large", "other", "small"]);
    assert!(fs::read(all.join("large")).expect("restored") == random(200_000, 4));
    assert!(fs::read(all.join("small")).expect("restored") == b"new");
    assert!(forged(&new)[2] > 0);
}

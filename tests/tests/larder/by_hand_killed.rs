//! `larder` is killed in the middle of whatever it does. What it had acknowledged is there, and
//! the wallet works on.
//!
//! The moments are counted in onion messages that passed the relay, which runs in the test.

use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use larder_onion::{Relay, RelayConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use crate::by_hand::{folder_names, paid_as, random, voucher};
use crate::processes::{field, larder, run, succeed};
use crate::wallet::runtime;

/// Messages that passed the relay so far.
pub(crate) fn passed(relay: &Relay) -> u64 {
    relay.received().iter().map(|(_, messages)| messages).sum()
}

/// Runs a command and kills it after so many more messages, unless it ends before.
pub(crate) fn killed_after(messages: u64, relay: &Relay, command: &mut Command) -> ExitStatus {
    let end = passed(relay) + messages;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program was built with this test");
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if passed(relay) >= end {
            child.kill().expect("a child");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn whatever_is_killed_what_was_acknowledged_is_there_and_the_wallet_works() {
    let runtime = runtime();
    let relay = runtime
        .block_on(Relay::start(RelayConfig::loopback([9; 32])))
        .expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let node = paid_as("credentials", &path("node"), relay.address());
    let init = |wallet: &str, more: &[&str]| {
        let mut command = larder(&path(wallet));
        command
            .args(["init", "--provider", &node.address.to_string()])
            .args(["--lsp", &relay.address().to_string()])
            .args(more);
        succeed(&mut command);
        let code = voucher(&path("node"), 160_000);
        succeed(larder(&path(wallet)).args(["buy", "--voucher", &code]));
    };
    let wallet = path("wallet");
    init("wallet", &[]);
    let root = wallet.join("root.key");
    let root = root.to_str().expect("text");
    let file = path("file");
    fs::write(&file, "small").expect("a file");
    succeed(larder(&wallet).args(["put", "small"]).arg(&file));
    let mut rng = StdRng::seed_from_u64(40);

    // About 600 messages store five megabytes, and 1,200 delete what was there before.
    let mut stored: Option<Vec<u8>> = None;
    let mut kills = 0;
    for round in 0..3 {
        let new = random(5_000_000, 100 + round);
        fs::write(&file, &new).expect("a file");
        let mut put = larder(&wallet);
        put.args(["put", "large"]).arg(&file);
        let ended = killed_after(rng.random_range(20..1_500), &relay, &mut put);
        kills += u32::from(!ended.success());
        let got = run(larder(&wallet)
            .args(["get", "large", "-o"])
            .arg(path("back")));
        let read = got
            .status
            .success()
            .then(|| fs::read(path("back")).expect("written"));
        if ended.success() || read != stored {
            assert!(read.as_ref() == Some(&new), "round {round}: {got:?}");
        }
        stored = read;
        assert_eq!(succeed(larder(&wallet).args(["get", "small"])), "small");
    }
    assert!(kills > 0, "nothing was cut short");
    let large = random(5_000_000, 99);
    fs::write(&file, &large).expect("a file");
    succeed(larder(&wallet).args(["put", "large"]).arg(&file));

    // A restore, with nothing but the root key.
    init("restored", &["--root-file", root]);
    let restored = path("restored");
    let restore = || {
        let mut command = larder(&restored);
        command.args(["restore", "--to"]).arg(path("all"));
        command
    };
    for _ in 0..2 {
        let messages = rng.random_range(20..600);
        let ended = killed_after(messages, &relay, &mut restore());
        assert!(!ended.success(), "it was over before {messages} messages");
    }
    succeed(&mut restore());
    let names = folder_names(&path("all"));
    let names: Vec<_> = names.iter().filter(|name| !name.starts_with('.')).collect();
    assert_eq!(names, ["large", "small"]);
    assert!(fs::read(path("all").join("large")).expect("written") == large);

    // A delete: before its commit, or past it and while what it leaves behind is deleted.
    let messages = rng.random_range(40..800);
    let mut delete = larder(&wallet);
    let ended = killed_after(messages, &relay, delete.args(["delete", "large"]));
    assert!(!ended.success());
    init("heir", &["--root-file", root]);
    let heir = path("heir");
    let json = succeed(larder(&heir).args(["--json", "restore"]));
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let values = json["values"].as_u64().expect("a number");
    // It is whole or gone, and who does it again finishes it.
    let again = run(larder(&heir).args(["delete", "large"]));
    assert_eq!(again.status.success(), values == 2, "{json}");
    fs::write(&file, "afterwards").expect("a file");
    for wallet in [&wallet, &restored, &heir] {
        assert_eq!(
            run(larder(wallet).args(["get", "large"])).status.code(),
            Some(1)
        );
        succeed(larder(wallet).args(["put", "large"]).arg(&file));
        assert_eq!(succeed(larder(wallet).args(["get", "small"])), "small");
        succeed(larder(wallet).args(["delete", "large"]));
    }
    // Of what was killed nothing is left, and what was deleted is gone: five megabytes are 306 blobs.
    let (_, log) = node.process.terminate();
    let blobs = field(&log, "blobs");
    assert!(blobs < 150, "{blobs} blobs are left");
}

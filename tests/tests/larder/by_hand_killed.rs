//! `larder` is killed in the middle of whatever it does. What it had acknowledged is there, and
//! the wallet works on.
//!
//! The moments are counted in onion messages that passed the relay, which runs in the test.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use larder_onion::{CircuitsConfig, Relay, RelayConfig};
use larder_protocol::Address;
use larder_recovery::RootKey;
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::by_hand::{delete_all, folder_names, paid_as, random, voucher};
use crate::processes::{NodeProcess, field, larder, run, succeed};
use crate::wallet::{Client, runtime};

/// Messages that passed the relay so far.
pub(crate) fn passed(relay: &Relay) -> u64 {
    relay.received().iter().map(|(_, messages)| messages).sum()
}

/// Starts a command and returns after so many more messages, or when it has ended before.
pub(crate) fn started_until(messages: u64, relay: &Relay, command: &mut Command) -> Child {
    let end = passed(relay) + messages;
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .expect("the program was built with this test");
    while passed(relay) < end && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

/// Runs a command and kills it after so many more messages, unless it ends before.
pub(crate) fn killed_after(messages: u64, relay: &Relay, command: &mut Command) -> ExitStatus {
    let mut child = started_until(messages, relay, command.stdout(Stdio::null()));
    child.kill().expect("a child");
    child.wait().expect("a child")
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
    let messages = rng.random_range(3..14);
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
        delete_all(wallet);
    }
    // Of what was killed nothing is left, and what was deleted is gone: five megabytes are 306 blobs.
    let (_, log) = node.process.terminate();
    let blobs = field(&log, "blobs");
    assert!(blobs < 150, "{blobs} blobs are left");
}

/// A relay in the test, a storage node, and a wallet.
pub(crate) struct Counted {
    runtime: Runtime,
    pub(crate) relay: Relay,
    pub(crate) node: NodeProcess,
    pub(crate) folder: TempDir,
}

impl Counted {
    /// The storage node serves for free.
    pub(crate) fn start() -> Self {
        Counted::paid_as("none")
    }

    pub(crate) fn paid_as(payment: &str) -> Self {
        let runtime = runtime();
        let relay = Relay::start(RelayConfig::loopback([9; 32]));
        let relay = runtime.block_on(relay).expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let node = paid_as(payment, &folder.path().join("node"), relay.address());
        let set = Counted {
            runtime,
            relay,
            node,
            folder,
        };
        let mut init = set.larder();
        init.args(["init", "--provider", &set.node.address.to_string()]);
        succeed(init.args(["--lsp", &set.relay.address().to_string()]));
        set
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn larder(&self) -> Command {
        larder(&self.path("wallet"))
    }

    /// A command that puts this.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Command {
        fs::write(self.path("file"), content).expect("a file");
        let mut put = self.larder();
        put.args(["put", name]).arg(self.path("file"));
        put
    }

    /// Ends the storage node; returns how many blobs it holds.
    fn blobs(self) -> u64 {
        field(&self.node.process.terminate().1, "blobs")
    }
}

/// Commits from a second device, all at once.
async fn commit_at_once(config: CircuitsConfig, address: &Address, root: &RootKey, values: usize) {
    let client = Client::connect_without_tokens(config, address).await;
    let registers = Arc::new(OneProvider::new(root, client.provider.clone()));
    let map = Map::open(registers, &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("the storage node answers");
    map.take_over().await.expect("the storage node answers");
    let commits = (0..values).map(|n| {
        let write = Write::put(format!("small/{n}"), Expect::Absent, vec![7; 4_000]);
        map.commit(Commit::of([write]))
    });
    for committed in join_all(commits).await {
        committed.expect("nobody else writes");
    }
}

#[test]
fn a_roll_up_of_a_megabyte_that_is_killed_leaves_no_blob_that_nothing_names() {
    let set = Counted::start();
    succeed(&mut set.put("a", b"small"));
    let root = fs::read_to_string(set.path("wallet").join("root.key")).expect("a root key");
    let root = root.trim().parse().expect("a root key");
    let config = CircuitsConfig::new(vec![set.relay.address()]);
    let address = set.node.address.clone();
    let commits = commit_at_once(config, &address, &root, 250);
    set.runtime.block_on(commits);

    // Some 20 messages take over, and 130 store a snapshot of the map, if something large is replaced.
    let large = random(300_000, 7);
    let mut kills = 0;
    for messages in (25..=145).step_by(40) {
        succeed(&mut set.put("a", &large));
        let ended = killed_after(messages, &set.relay, &mut set.put("a", b"small"));
        kills += u32::from(!ended.success());
    }
    assert!(kills > 2, "{kills} were cut short");
    succeed(&mut set.put("a", &large));
    succeed(&mut set.put("a", b"small"));
    delete_all(&set.path("wallet"));
    // The snapshot, its anchor, and what was written behind it.
    let blobs = set.blobs();
    assert!((62..75).contains(&blobs), "{blobs} blobs are left");
}

#[test]
fn a_restore_from_the_start_does_not_forget_what_a_killed_put_left_behind() {
    let set = Counted::start();
    succeed(&mut set.put("a", b"small"));
    let ended = killed_after(150, &set.relay, &mut set.put("b", &random(5_000_000, 8)));
    assert!(!ended.success());
    succeed(set.larder().args(["restore", "--from-start"]));
    succeed(&mut set.put("a", b"again"));
    delete_all(&set.path("wallet"));
    let blobs = set.blobs();
    assert!(blobs < 15, "{blobs} blobs are left");
}

//! Several storage nodes: one of them down, lost, added or retired while the wallet is in use.

use std::fs;
use std::path::{Path, PathBuf};

use larder_onion::PeerAddress;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::by_hand::{delete_all, json_of, random};
use crate::processes::{
    NodeProcess, RelayProcess, field, larder, larderd, paid_larderd, relay, run, succeed,
};

pub(crate) struct Several {
    pub(crate) folder: TempDir,
    pub(crate) relay: RelayProcess,
    pub(crate) nodes: Vec<Option<NodeProcess>>,
}

impl Several {
    pub(crate) fn start(nodes: usize, start: fn(&Path, &[PeerAddress]) -> NodeProcess) -> Self {
        let (folder, relay) = (tempfile::tempdir().expect("a folder"), relay());
        let nodes = (0..nodes).map(|at| {
            Some(start(
                &folder.path().join(format!("node-{at}")),
                &[relay.peer],
            ))
        });
        Several {
            nodes: nodes.collect(),
            folder,
            relay,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self, at: usize) -> String {
        self.nodes[at]
            .as_ref()
            .expect("running")
            .address
            .to_string()
    }

    /// Makes a wallet with these of them.
    pub(crate) fn init(&self, wallet: &Path, nodes: &[usize], more: &[&str]) {
        let mut init = larder(wallet);
        init.args(["init", "--lsp", &self.relay.peer.to_string()]);
        for node in nodes {
            init.args(["--provider", &self.address(*node)]);
        }
        succeed(init.args(more));
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].take().expect("running").process.kill();
    }

    /// Starts one again that was killed, perhaps behind another relay.
    pub(crate) fn start_again(&mut self, at: usize, lsp: PeerAddress) {
        self.nodes[at] = Some(larderd(&self.path(&format!("node-{at}")), &[lsp]));
    }

    /// Ends one; returns how many blobs it holds.
    pub(crate) fn blobs(&mut self, at: usize) -> u64 {
        let node = self.nodes[at].take().expect("running");
        field(&node.process.terminate().1, "blobs")
    }

    pub(crate) fn put(&self, wallet: &Path, name: &str, content: &[u8]) -> Value {
        let file = self.path("file");
        fs::write(&file, content).expect("a file");
        json_of(wallet, &["put", name, file.to_str().expect("text")])
    }
}

/// How far each of them is behind; `None` when it does not answer.
pub(crate) fn behind(wallet: &Path) -> Vec<Option<u64>> {
    let listed = json_of(wallet, &["providers"]);
    let rows = listed["providers"].as_array().expect("a list");
    rows.iter().map(|row| row["behind"].as_u64()).collect()
}

#[test]
fn one_of_three_may_be_down_and_is_brought_up_to_date_when_it_is_back() {
    let mut several = Several::start(3, larderd);
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1, 2], &[]);
    several.put(&wallet, "a", b"before");
    assert_eq!(behind(&wallet), [Some(0); 3]);

    several.kill(1);
    let large = random(100_000, 3);
    let told = several.put(&wallet, "large", &large);
    let warnings = told["warnings"].to_string();
    assert!(
        warnings.contains("storage node 2 may be behind"),
        "{warnings}"
    );
    assert_eq!(succeed(larder(&wallet).args(["get", "a"])), "before");
    assert_eq!(behind(&wallet), [Some(0), None, Some(0)]);

    several.start_again(1, several.relay.peer);
    assert_eq!(behind(&wallet), [Some(0), Some(1), Some(0)]);
    let healed = json_of(&wallet, &["providers", "heal"]);
    assert_eq!(healed["left"], 0);
    let copied = healed["copied"][1].as_u64().expect("a number");
    assert!(copied >= 100_000 / 16_384, "{healed}");
    assert_eq!(behind(&wallet), [Some(0); 3]);

    // It can stand in for another one now.
    several.kill(0);
    succeed(
        larder(&wallet)
            .args(["get", "large", "-o"])
            .arg(several.path("back")),
    );
    assert!(fs::read(several.path("back")).expect("written") == large);

    // Of two that are down there is no majority.
    several.kill(2);
    let failed = run(larder(&wallet).args(["--timeout", "3", "--json", "get", "a", "-o", "x"]));
    assert_eq!(failed.status.code(), Some(5));
    let error = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(error.contains("2 are needed"), "{error}");
}

#[test]
fn what_was_deleted_while_one_was_down_is_deleted_there_when_it_is_back() {
    let mut several = Several::start(3, larderd);
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1, 2], &[]);
    several.put(&wallet, "a", &random(600_000, 1));
    several.kill(1);
    // This rolls up, and begins to delete what it leaves behind, which then waits for the one that is away.
    several.put(&wallet, "a", b"small");
    several.put(&wallet, "b", &random(300_000, 2));
    several.put(&wallet, "b", b"small");
    several.start_again(1, several.relay.peer);
    several.put(&wallet, "c", b"small");

    // It lacks what came meanwhile, and has deleted what was before: nobody calls that a lie.
    let listed = json_of(&wallet, &["providers"])["providers"][1].clone();
    assert_eq!(listed["problem"], Value::Null, "{listed}");
    assert!(listed["behind"].as_u64() > Some(0), "{listed}");
    let healed = json_of(&wallet, &["providers", "heal"]);
    assert_eq!(healed["left"], 0, "{healed}");
    assert_eq!(behind(&wallet), [Some(0); 3]);
    delete_all(&wallet);
    // 600 kB are 37 blobs.
    let blobs = several.blobs(1);
    assert!(blobs < 30, "{blobs} blobs are left");
}

#[test]
fn the_root_key_and_one_address_restore_all_while_another_is_lost() {
    let mut several = Several::start(3, larderd);
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1, 2], &[]);
    for (name, seed) in [("small", 100), ("large", 200_000)] {
        several.put(&wallet, name, &random(seed, 5));
    }
    several.put(&wallet, "small", b"newer");
    let root = several.path("kept");
    fs::copy(wallet.join("root.key"), &root).expect("copied");
    fs::remove_dir_all(&wallet).expect("lost");
    several.kill(1);

    let new = several.path("new");
    several.init(&new, &[2], &["--root-file", root.to_str().expect("text")]);
    let all = several.path("all");
    let restored = json_of(&new, &["restore", "--to", all.to_str().expect("text")]);
    assert_eq!(
        (&restored["values"], &restored["providers"]),
        (&2.into(), &3.into())
    );
    assert_eq!(fs::read(all.join("small")).expect("restored"), b"newer");
    assert!(fs::read(all.join("large")).expect("restored") == random(200_000, 5));
    let entries = json_of(&new, &["list"])["entries"].clone();
    assert_eq!(
        entries[1],
        json!({ "name": "small", "version": 2, "bytes": 5 })
    );
}

#[test]
fn a_storage_node_is_added_and_another_retired_while_other_devices_write() {
    let mut several = Several::start(2, paid_larderd);
    let [one, two] = ["one", "two"].map(|name| several.path(name));
    let buy = |device: &Path, which: &str| {
        succeed(larder(device).args(["buy", "16000", "--provider", which]));
    };
    several.init(&one, &[0], &[]);
    buy(&one, "1");
    let root = one.join("root.key");
    several.init(&two, &[0], &["--root-file", root.to_str().expect("text")]);
    buy(&two, "1");
    // Nothing is stored yet.
    succeed(larder(&two).args(["restore", "--new"]));
    let large = random(50_000, 8);
    several.put(&one, "large", &large);
    several.put(&two, "a", b"of two");

    // The new one asks for tokens of its own, and has everything before it counts.
    let second = several.address(1);
    let refused = run(larder(&one).args(["providers", "add", &second]));
    assert_eq!(refused.status.code(), Some(3), "no tokens there yet");
    several.put(&two, "b", b"meanwhile");
    buy(&one, &second);
    let added = json_of(&one, &["providers", "add", &second]);
    assert_eq!(
        (&added["acknowledge"], &added["recover"]),
        (&2.into(), &2.into())
    );
    // Three commits behind three seals, and the chunks of a large value.
    assert!(added["copied"][1].as_u64() >= Some(10), "{added}");
    assert_eq!(added["copied"][0], 0, "{added}");
    assert_eq!(behind(&one), [Some(0); 2]);

    // The other device learns of it, and that it needs tokens there.
    buy(&two, &second);
    several.put(&two, "c", b"with both");
    assert_eq!(
        json_of(&two, &["providers"])["providers"][1]["address"],
        second
    );

    // The first one is gone for good; it takes nothing with it.
    several.kill(0);
    let retired = json_of(&one, &["--timeout", "3", "providers", "retire", "1"]);
    assert_eq!(
        (&retired["providers"], &retired["recover"]),
        (&1.into(), &1.into())
    );
    several.put(&one, "d", b"with the second");

    // Nothing but the root key and one address.
    let new = several.path("new");
    several.init(&new, &[1], &["--root-file", root.to_str().expect("text")]);
    buy(&new, "1");
    let all = several.path("all");
    let restored = json_of(&new, &["restore", "--to", all.to_str().expect("text")]);
    assert_eq!(
        (&restored["values"], &restored["providers"]),
        (&5.into(), &1.into())
    );
    assert!(fs::read(all.join("large")).expect("restored") == large);
    assert_eq!(fs::read(all.join("b")).expect("restored"), b"meanwhile");
}

#[test]
fn one_of_three_that_cannot_be_paid_makes_no_later_write_dearer_for_the_others() {
    let several = Several::start(3, paid_larderd);
    let wallet = several.path("wallet");
    several.init(&wallet, &[0, 1, 2], &[]);
    for which in ["1", "2"] {
        succeed(larder(&wallet).args(["buy", "16000", "--provider", which]));
    }
    // Each replaces a value of nineteen blobs, so it rolls up and deletes.
    let spent = (0..5).map(|seed| {
        let told = several.put(&wallet, "a", &random(300_000, seed));
        told["tokens_spent"].as_i64().expect("a number")
    });
    let spent: Vec<i64> = spent.collect();
    assert!(spent[4] <= spent[2] + 50, "{spent:?}");
}

#[test]
fn a_list_that_makes_no_sense_is_refused_before_anything_is_asked() {
    let several = Several::start(1, larderd);
    let wallet = several.path("wallet");
    let address = several.address(0);
    let mut twice = larder(&wallet);
    twice.args(["init", "--lsp", &several.relay.peer.to_string()]);
    let refused = run(twice.args(["--provider", &address, "--provider", &address]));
    assert_eq!(refused.status.code(), Some(2));
    several.init(&wallet, &[0], &[]);
    for args in [
        &["providers", "retire", "1"][..],
        &["providers", "retire", "2"],
        &["purse", "--provider", "2"],
    ] {
        assert_eq!(
            run(larder(&wallet).args(args)).status.code(),
            Some(2),
            "{args:?}"
        );
    }
}

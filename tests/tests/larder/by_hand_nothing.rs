//! A wallet that knows nothing: it finds what is there before it writes anything, and does not take "nothing" for an answer.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use larder_protocol::Address;
use serde_json::Value;

use crate::by_hand::{Set, folder_names, json_of};
use crate::processes::{larder, larderd, run, succeed};

/// Good words of nobody.
const OTHER: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

fn path(set: &Set, name: &str) -> PathBuf {
    set.folder.path().join(name)
}

/// Makes a wallet with one value in it, and returns the file with its words.
fn stored(set: &Set, wallet: &Path) -> PathBuf {
    fs::write(path(set, "file"), "precious").expect("a file");
    succeed(larder(wallet).args(["put", "a"]).arg(path(set, "file")));
    let words = path(set, "words");
    fs::copy(wallet.join("root.words"), &words).expect("copied");
    words
}

/// The exit code of a restore, and what it said.
fn restore(wallet: &Path, args: &[&str]) -> (Option<i32>, String) {
    let ended = run(larder(wallet)
        .args(["--timeout", "20", "restore"])
        .args(args));
    let said = String::from_utf8(ended.stderr).expect("text");
    (ended.status.code(), said)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn a_restore_of_nothing_is_no_success_and_begins_no_history() {
    let set = Set::unpaid();
    let words = {
        set.init(&path(&set, "wallet"), &[]);
        stored(&set, &path(&set, "wallet"))
    };
    let other = larderd(&path(&set, "other"), &[set.relay.peer]);
    let (here, there) = (set.node.address.to_string(), other.address.to_string());
    let lsp = set.relay.peer.to_string();
    fs::write(path(&set, "wrong"), OTHER).expect("a file");
    // Words of nobody, and a storage node where nothing is.
    for (number, (words, provider)) in [(path(&set, "wrong"), &here), (words.clone(), &there)]
        .into_iter()
        .enumerate()
    {
        let wallet = path(&set, &format!("new-{number}"));
        let way = [
            "--words",
            text(&words),
            "--provider",
            provider,
            "--lsp",
            &lsp,
        ];
        let (code, said) = restore(&wallet, &way);
        assert_eq!(code, Some(10), "{said}");
        for part in ["another wallet", "--provider", "--new"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!wallet.join("known.json").exists());
        let refused = run(larder(&wallet).args(["put", "a", "/dev/null"]));
        assert_eq!(refused.status.code(), Some(2));
        // Asked again it says the same, for machines in one object.
        let json = run(larder(&wallet).args(["--json", "restore", "--from-start"]));
        assert_eq!(
            (json.status.code(), json.stderr.as_slice()),
            (Some(10), &b""[..])
        );
        let json: Value = serde_json::from_slice(&json.stdout).expect("one object");
        assert_eq!(json["exit_code"], 10);
        // Who knows better says so.
        assert_eq!(restore(&wallet, &["--new"]).0, Some(0));
        succeed(larder(&wallet).args(["put", "b", "/dev/null"]));
        assert_eq!(restore(&wallet, &[]).0, Some(0));
    }
    // Where the root key was drawn nothing is what there has to be.
    let drawn = path(&set, "drawn");
    set.init(&drawn, &[]);
    for more in [&[][..], &["--from-start"]] {
        assert_eq!(restore(&drawn, more).0, Some(0));
    }
}

#[test]
fn a_restore_that_was_told_a_wrong_way_obeys_the_right_one() {
    let set = Set::unpaid();
    set.init(&path(&set, "wallet"), &[]);
    let words = stored(&set, &path(&set, "wallet"));
    let other = larderd(&path(&set, "other"), &[set.relay.peer]);
    let (here, there) = (set.node.address.to_string(), other.address.to_string());
    let lsp = set.relay.peer.to_string();
    // Held for as long as the test lasts, and silent.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let nowhere = silent.local_addr().expect("bound");
    let nowhere = format!("{}@{nowhere}", set.relay.peer.node_id);
    let new = path(&set, "new");
    let ways = [(&there, &lsp, 10), (&here, &nowhere, 5), (&here, &lsp, 0)];
    for (provider, lsp, expected) in ways {
        let mut restore = larder(&new);
        restore.args(["--timeout", if expected == 5 { "1" } else { "60" }]);
        restore.args(["restore", "--words", text(&words)]);
        restore.args(["--provider", provider, "--lsp", lsp]);
        assert_eq!(run(&mut restore).status.code(), Some(expected));
    }
    assert_eq!(succeed(larder(&new).args(["get", "a"])), "precious");

    // What is known is not changed by the way.
    let settings = || fs::read_to_string(new.join("wallet.toml")).expect("settings");
    let before = settings();
    let (code, said) = restore(&new, &["--words", text(&words), "--provider", &there]);
    assert_eq!(code, Some(2));
    assert!(said.contains("larder providers"), "{said}");
    assert_eq!(settings(), before);
    let (code, _) = restore(&new, &["--provider", &here, "--lsp", &lsp]);
    assert_eq!((code, settings()), (Some(0), before));
    let _: Address = here.parse().expect("an address");
}

#[test]
fn words_that_are_left_without_their_root_key_are_not_written_over() {
    let set = Set::unpaid();
    let wallet = path(&set, "wallet");
    set.init(&wallet, &[]);
    stored(&set, &wallet);
    let words = succeed(larder(&wallet).arg("words"));
    fs::remove_file(wallet.join("root.key")).expect("it was there");
    let (provider, lsp) = (set.node.address.to_string(), set.relay.peer.to_string());
    let way = ["--provider", &provider, "--lsp", &lsp];
    fs::write(path(&set, "wrong"), OTHER).expect("a file");
    let wrong = path(&set, "wrong");
    let of_another = ["init", "--words", text(&wrong)];
    for args in [
        &["list"][..],
        &[&["init"], &way[..]].concat(),
        &[&of_another, &way[..]].concat(),
    ] {
        let refused = run(larder(&wallet).args(args));
        let said = String::from_utf8(refused.stderr).expect("text");
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(
            said.contains("restore --words") && said.contains("root.words"),
            "{said}"
        );
        assert!(!wallet.join("root.key").exists());
    }
    let kept = wallet.join("root.words");
    let again = [&["--words", text(&kept)], &way[..]].concat();
    assert_eq!(restore(&wallet, &again).0, Some(0));
    assert_eq!(succeed(larder(&wallet).args(["get", "a"])), "precious");
    assert_eq!(succeed(larder(&wallet).arg("words")), words);
}

#[test]
fn a_wallet_of_which_only_the_root_key_is_left_looks_before_it_writes() {
    let set = Set::start();
    let wallet = path(&set, "wallet");
    set.open(&wallet, &[]);
    stored(&set, &wallet);
    let held = json_of(&wallet, &["purse"])["tokens"]
        .as_u64()
        .expect("a number");
    for name in folder_names(&wallet) {
        let file = wallet.join(&name);
        match (name.as_str(), file.is_dir()) {
            ("root.key" | "wallet.toml", _) => {}
            (_, true) => fs::remove_dir_all(file).expect("there"),
            (_, false) => fs::remove_file(file).expect("there"),
        }
    }
    let address = set.node.address.to_string();
    let way = ["--provider", &address, "--lsp", &set.relay.peer.to_string()];
    // What writes does not begin.
    for args in [
        &["put", "a", "/dev/null"][..],
        &["delete", "a"],
        &["get", "a"],
        &["list"],
        &["log"],
        &["upkeep"],
        &["upkeep", "--at-once"],
        &["providers", "heal"],
        &["providers", "retire", "1"],
        &["providers", "add", &address],
        &[&["init"], &way[..]].concat(),
    ] {
        let refused = run(larder(&wallet).args(args));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {said}");
        assert!(!wallet.join("known.json").exists(), "{args:?}");
    }
    // What looks, or buys, leaves the cell and the history as they are.
    for args in [
        &["status"][..],
        &["purse"],
        &["price", "1k"],
        &["receipts"],
        &["receipts", "verify"],
        &["providers"],
    ] {
        run(larder(&wallet).args(args));
        assert!(!wallet.join("known.json").exists(), "{args:?}");
    }
    let bought = run(larder(&wallet).args(["buy", "--voucher", &set.voucher(16_000)]));
    assert!(bought.status.success(), "{bought:?}");
    assert!(
        String::from_utf8_lossy(&bought.stderr).contains("in its cell"),
        "{bought:?}"
    );
    let new = path(&set, "new");
    let root = wallet.join("root.key");
    let found = json_of(
        &new,
        &[&["restore", "--root-file", text(&root)], &way[..]].concat(),
    );
    assert_eq!(found["values"], 1, "{found}");
    let left = found["tokens_left"].as_u64().expect("a number");
    assert!(left > held / 2, "{left} of {held} tokens came back");
    assert_eq!(succeed(larder(&new).args(["get", "a"])), "precious");
}

//! The LSP of a wallet: not there, and found by the name of its host.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use larder_onion::PeerAddress;
use serde_json::Value;

use crate::by_hand::Set;
use crate::processes::{larder, larderd_command, run, start, succeed};

fn init(set: &Set, wallet: &Path, lsp: &str) {
    let mut init = larder(wallet);
    init.args(["init", "--provider", &set.node.address.to_string()]);
    succeed(init.args(["--lsp", lsp]));
}

/// The address of an LSP that has gone.
fn nowhere(set: &Set) -> PeerAddress {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    PeerAddress {
        node_id: set.relay.peer.node_id,
        address: listener.local_addr().expect("bound"),
    }
}

#[test]
fn an_lsp_where_nothing_listens_is_named_at_once_and_the_storage_node_is_not_blamed() {
    let set = Set::unpaid();
    let wallet = set.folder.path().join("wallet");
    let lsp = nowhere(&set).to_string();
    init(&set, &wallet, &lsp);
    // It tries for a day, and says so before.
    let mut list = larder(&wallet);
    list.args(["--timeout", "86400", "list"])
        .stderr(Stdio::piped());
    let mut list = list.stdin(Stdio::null()).spawn().expect("it was built");
    let mut said = String::new();
    let mut log = BufReader::new(list.stderr.take().expect("piped"));
    log.read_line(&mut said).expect("text");
    let begins = format!("the LSP {lsp} is not connected: ");
    assert!(said.starts_with(&begins), "{said}");
    assert!(list.try_wait().expect("a child").is_none());
    list.kill().expect("still running");
    list.wait().expect("killed");

    let failed = run(larder(&wallet).args(["--timeout", "1", "list"]));
    let text = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(5), "{text}");
    let last = text.lines().last().expect("it says why");
    assert!(
        last.contains("no LSP is connected") && last.contains(&lsp),
        "{text}"
    );
    assert!(
        !text.contains("first hop") && !text.contains("did not answer"),
        "{text}"
    );
    let failed = run(larder(&wallet).args(["--timeout", "1", "--json", "list"]));
    let json: Value = serde_json::from_slice(&failed.stdout).expect("one object");
    assert!(
        json["error"]
            .as_str()
            .is_some_and(|error| error.contains(&lsp))
    );
    assert_eq!(failed.stderr, b"");
}

#[test]
fn an_lsp_is_found_by_the_name_of_its_host_by_both_ends() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let PeerAddress { node_id, address } = set.relay.peer;
    let named = format!("{node_id}@localhost:{}", address.port());
    let node = start(larderd_command(&path("other"), &[]).args(["--lsp", &named]));
    let wallet = path("wallet");
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &node.address.to_string()]);
    succeed(init.args(["--lsp", &named]));
    let settings = fs::read_to_string(wallet.join("wallet.toml")).expect("settings");
    assert!(settings.contains(&named), "{settings}");
    fs::write(path("file"), "by name").expect("a file");
    succeed(larder(&wallet).args(["put", "a"]).arg(path("file")));
    assert_eq!(succeed(larder(&wallet).args(["get", "a"])), "by name");
    for wrong in ["127.1:9735", "lsp.example", "x.onion:9735"] {
        let wrong = format!("{node_id}@{wrong}");
        let mut init = larder(&path("none"));
        init.args([
            "init",
            "--provider",
            &node.address.to_string(),
            "--lsp",
            &wrong,
        ]);
        assert_eq!(run(&mut init).status.code(), Some(2), "{wrong}");
    }
}

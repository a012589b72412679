//! The hash of a storage node's terms: printed on both sides, kept in the map, and compared with what is there.

use std::sync::Arc;

use larder_onion::CircuitsConfig;
use larder_recovery::RootKey;
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::by_hand::json_of;
use crate::by_hand_killed::Counted;
use crate::processes::{larderd_command, run, succeed};
use crate::wallet::{Client, runtime};

const KEY: &str = "\0terms";

/// What a second device finds there; it leaves something else there if `put` says so.
async fn in_the_map(set: &Counted, put: Option<&dyn Fn(&str) -> String>) -> String {
    let config = CircuitsConfig::new(vec![set.relay.address()]);
    let root = std::fs::read_to_string(set.path("wallet").join("root.key")).expect("a root key");
    let root: RootKey = root.trim().parse().expect("a root key");
    let client = Client::connect_without_tokens(config, &set.node.address).await;
    let registers = Arc::new(OneProvider::new(&root, client.provider.clone()));
    let map = Map::open(registers, &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("the storage node answers");
    let found = map.get(KEY).await.expect("the storage node answers").value;
    let found = String::from_utf8(found.expect("the tool has put something there")).expect("text");
    if let Some(put) = put {
        map.take_over().await.expect("the storage node answers");
        let write = Write::put(KEY, Expect::Present, put(&found));
        map.commit(Commit::of([write]))
            .await
            .expect("nobody else writes");
    }
    found
}

#[test]
fn the_hash_is_printed_on_both_sides_kept_in_the_map_and_another_one_there_stops_a_wallet() {
    let (set, runtime) = (Counted::start(), runtime());
    let wallet = set.path("wallet");
    let told = json_of(&wallet, &["status"]);
    let hash = told["providers"][0]["terms"]
        .as_str()
        .expect("a hash")
        .to_owned();
    let node = run(larderd_command(&set.path("node"), &[]).arg("address"));
    let said = String::from_utf8(node.stdout).expect("text");
    assert!(said.contains(&format!("terms    {hash}\n")), "{said}");

    succeed(&mut set.put("a", b"small"));
    let found = runtime.block_on(in_the_map(&set, None));
    assert!(found.ends_with(&format!(" 0 {hash}")), "{found}");
    // Nothing of that is a value of the user's, or a change of one.
    let log = json_of(&wallet, &["log"]);
    assert_eq!(
        log["commits"][0]["changes"].as_array().map(Vec::len),
        Some(1),
        "{log}"
    );
    assert_eq!(
        json_of(&wallet, &["list"])["entries"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    // What is the same is not written again.
    succeed(&mut set.put("b", b"small"));
    assert_eq!(runtime.block_on(in_the_map(&set, None)), found);

    let other = |found: &str| found.replace(&hash, &"ab".repeat(32));
    runtime.block_on(in_the_map(&set, Some(&other)));
    for command in [&["list"][..], &["log"], &["delete", "a"]] {
        let stopped = run(set.larder().arg("--json").args(command));
        assert_eq!(stopped.status.code(), Some(1), "{command:?}");
        let said = String::from_utf8(stopped.stdout).expect("text");
        assert!(
            said.contains("other terms") && said.contains("pardon 1"),
            "{said}"
        );
    }
    json_of(&wallet, &["receipts", "pardon", "1"]);
    json_of(&wallet, &["list"]);
    // Whoever writes says what it was shown.
    succeed(&mut set.put("c", b"small"));
    assert_eq!(runtime.block_on(in_the_map(&set, None)), found);
}

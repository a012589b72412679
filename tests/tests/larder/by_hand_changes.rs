//! The storage nodes change: a change is killed, a device has not heard of it, one of them moves.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::by_hand::{delete_all, json_of, random};
use crate::by_hand_killed::{Counted, killed_after, passed, started_until};
use crate::by_hand_providers::{Several, behind};
use crate::processes::{field, larder, larderd, relay_beside, succeed};

#[test]
fn a_change_that_is_killed_anywhere_is_done_again_and_nothing_is_left_of_what_was_killed() {
    let set = Counted::start();
    let (wallet, relay) = (set.path("wallet"), &set.relay);
    let joins = larderd(&set.path("joins"), &[relay.address()]);
    succeed(&mut set.put("small", b"small"));
    // Two megabytes are 123 blobs, most of which are stored, and nothing names them.
    let ended = killed_after(250, relay, &mut set.put("large", &random(2_000_000, 1)));
    assert!(!ended.success());

    let add = || {
        let mut add = set.larder();
        add.args(["providers", "add", &joins.address.to_string()]);
        add
    };
    // How many messages it takes is seen at the end; it takes more each time, as each leaves a seal behind.
    let mut kills = 0;
    for messages in [15, 60, 100, 130, 160, 190, 220, 250] {
        kills += u32::from(!killed_after(messages, relay, &mut add()).success());
        assert_eq!(succeed(larder(&wallet).args(["get", "small"])), "small");
    }
    assert!(kills > 2, "{kills} were cut short");
    let before = passed(relay);
    succeed(&mut add());
    let took = passed(relay) - before;
    assert_eq!(behind(&wallet), [Some(0); 2]);
    delete_all(&wallet);
    let blobs = [set.node, joins].map(|node| field(&node.process.terminate().1, "blobs"));
    assert!(blobs.iter().all(|blobs| *blobs < 60), "{blobs:?}, {took}");
}

#[test]
fn a_device_that_has_not_heard_that_a_lost_one_was_retired_retires_it_too() {
    let mut several = Several::start(2, larderd);
    let [one, two] = ["one", "two"].map(|name| several.path(name));
    several.init(&one, &[0, 1], &[]);
    several.put(&one, "a", b"1");
    let root = one.join("root.key");
    let root = root.to_str().expect("text");
    several.init(&two, &[0, 1], &["--root-file", root]);
    succeed(larder(&two).arg("restore"));

    several.kill(0);
    let retire = ["--timeout", "3", "providers", "retire", "1"];
    json_of(&one, &retire);
    several.put(&one, "b", b"2");
    let retired = json_of(&two, &retire);
    assert_eq!(retired["providers"], 1, "{retired}");
    assert_eq!(succeed(larder(&two).args(["get", "b"])), "2");
    several.put(&two, "c", b"3");
    assert_eq!(succeed(larder(&one).args(["get", "c"])), "3");
}

fn addresses(wallet: &Path) -> Vec<Value> {
    let listed = json_of(wallet, &["--timeout", "3", "providers"]);
    let rows = listed["providers"].as_array().expect("a list");
    rows.iter().map(|row| row["address"].clone()).collect()
}

#[test]
fn where_one_has_moved_to_every_device_learns_from_any_that_knows() {
    let mut several = Several::start(3, larderd);
    let [one, two, new] = ["one", "two", "new"].map(|name| several.path(name));
    several.init(&one, &[0, 1, 2], &[]);
    several.put(&one, "a", b"1");
    let root = one.join("root.key");
    let root = root.to_str().expect("text");
    several.init(&two, &[0, 1, 2], &["--root-file", root]);
    succeed(larder(&two).arg("restore"));

    // One is told.
    let old = several.address(1);
    several.kill(1);
    let elsewhere = relay_beside(several.relay.peer);
    several.start_again(1, elsewhere.peer);
    let moved = several.address(1);
    assert_ne!(old, moved);
    json_of(&one, &["--timeout", "3", "providers", "add", &moved]);
    for device in [&one, &two] {
        assert_eq!(addresses(device)[1], *moved);
        assert_eq!(behind(device), [Some(0); 3]);
    }

    // It moves again. A new device is told, whose next write tells the others.
    several.kill(1);
    several.start_again(1, several.relay.peer);
    assert_eq!(several.address(1), old);
    several.init(&new, &[1], &["--root-file", root]);
    succeed(larder(&new).args(["--timeout", "3", "restore"]));
    assert_eq!(addresses(&one)[1], *moved);
    several.put(&new, "b", b"2");
    for device in [&new, &one, &two] {
        assert_eq!(addresses(device)[1], *old);
        assert_eq!(behind(device), [Some(0); 3]);
    }
    // Whoever has the older address of the two does not bring it back.
    several.put(&two, "c", b"3");
    assert_eq!(addresses(&one)[1], *old);
}

#[test]
fn the_only_one_is_found_where_it_has_moved_to() {
    let mut several = Several::start(1, larderd);
    let wallet = several.path("wallet");
    several.init(&wallet, &[0], &[]);
    several.put(&wallet, "a", b"1");
    several.kill(0);
    let elsewhere = relay_beside(several.relay.peer);
    several.start_again(0, elsewhere.peer);
    let moved = several.address(0);
    json_of(&wallet, &["--timeout", "3", "providers", "add", &moved]);
    assert_eq!(succeed(larder(&wallet).args(["get", "a"])), "1");
}

#[test]
fn an_address_where_one_is_not_reached_does_not_take_the_place_of_one_where_it_is() {
    let mut several = Several::start(1, larderd);
    let [one, two] = ["one", "two"].map(|name| several.path(name));
    several.init(&one, &[0], &[]);
    several.put(&one, "a", b"1");
    let root = one.join("root.key");
    several.init(&two, &[0], &["--root-file", root.to_str().expect("text")]);
    succeed(larder(&two).arg("restore"));

    // One device is told of an address that is gone when the other hears of it.
    let old = several.address(0);
    several.kill(0);
    let elsewhere = relay_beside(several.relay.peer);
    several.start_again(0, elsewhere.peer);
    let moved = several.address(0);
    json_of(&one, &["--timeout", "3", "providers", "add", &moved]);
    several.kill(0);
    drop(elsewhere);
    several.start_again(0, several.relay.peer);
    for _ in 0..2 {
        let got = succeed(larder(&two).args(["--timeout", "3", "get", "a"]));
        assert_eq!(got, "1");
    }
    assert_eq!(addresses(&two), [old]);
    json_of(&two, &["--timeout", "3", "put", "a", "/dev/null"]);
}

#[test]
fn a_change_that_this_device_cannot_write_down_is_made_and_ended() {
    let set = Counted::start();
    let (wallet, relay) = (set.path("wallet"), &set.relay);
    let joins = larderd(&set.path("joins"), &[relay.address()]);
    succeed(&mut set.put("large", &random(2_000_000, 1)));

    let mut add = set.larder();
    add.args(["--json", "providers", "add", &joins.address.to_string()]);
    // Blobs are under way, so the settings are read.
    let add = started_until(100, relay, add.stdout(Stdio::piped()));
    let settings = wallet.join("wallet.toml");
    let before = fs::read(&settings).expect("a file");
    fs::remove_file(&settings).expect("it was there");
    fs::create_dir(&settings).expect("a folder in its place");
    let added = add.wait_with_output().expect("it ends");
    let told: Value = serde_json::from_slice(&added.stdout).expect("one object");
    assert_eq!(added.status.code(), Some(0), "{told}");
    let warnings = told["warnings"].to_string();
    assert!(warnings.contains("could not be written"), "{warnings}");
    fs::remove_dir(&settings).expect("it is empty");
    fs::write(&settings, before).expect("written");

    // It has been ended: nothing is left to be deleted. The map names both.
    let known = fs::read(wallet.join("known.json")).expect("a file");
    let known: Value = serde_json::from_slice(&known).expect("JSON");
    assert_eq!(known["unfinished"], serde_json::json!([]));
    assert_eq!(behind(&wallet), [Some(0); 2]);
}

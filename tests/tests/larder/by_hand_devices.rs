//! Two devices with one root key: neither overwrites what it has not seen, and neither waits for the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::by_hand::{Set, json_of};
use crate::processes::{larder, run, succeed};

/// Two folders with one root key, both restored.
fn two_devices(set: &Set) -> [PathBuf; 2] {
    let devices = ["one", "two"].map(|name| set.folder.path().join(name));
    set.open(&devices[0], &[]);
    let root = devices[0].join("root.key");
    set.open(&devices[1], &["--root-file", root.to_str().expect("text")]);
    // Nothing is stored yet, which the second one could not know.
    succeed(larder(&devices[1]).args(["restore", "--new"]));
    devices
}

/// Puts a text, with more arguments; returns the exit code and what was printed.
fn put(set: &Set, device: &Path, name: &str, text: &str, more: &[&str]) -> (Option<i32>, Value) {
    let file = set.folder.path().join("file");
    fs::write(&file, text).expect("a file");
    let mut put = larder(device);
    put.args(["--json", "put", name]).arg(&file).args(more);
    let ended = run(&mut put);
    let json = serde_json::from_slice(&ended.stdout).expect("one object");
    (ended.status.code(), json)
}

#[test]
fn a_condition_that_another_device_broke_is_a_conflict_that_names_the_version() {
    let set = Set::start();
    let [one, two] = two_devices(&set);
    assert_eq!(put(&set, &one, "a", "1", &["--if-absent"]).1["version"], 1);
    let (code, told) = put(&set, &two, "a", "x", &["--if-absent"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        (&told["version"], &told["exists"]),
        (&1.into(), &true.into())
    );

    assert_eq!(
        put(&set, &two, "a", "2", &["--if-version", "1"]).1["version"],
        2
    );
    let (code, told) = put(&set, &one, "a", "x", &["--if-version", "1"]);
    assert_eq!((code, &told["version"]), (Some(4), &2.into()));
    let delete = run(larder(&one).args(["delete", "a", "--if-version", "1"]));
    assert_eq!(delete.status.code(), Some(4));
    assert_eq!(succeed(larder(&one).args(["get", "a"])), "2");

    // A version is never used twice, so nothing that came and went meets a condition.
    let deleted = json_of(&one, &["delete", "a", "--if-version", "2"]);
    assert_eq!(deleted["version"], 3, "{deleted}");
    let (code, told) = put(&set, &two, "a", "x", &["--if-version", "2"]);
    assert_eq!(code, Some(4));
    assert_eq!(
        (&told["version"], &told["exists"]),
        (&3.into(), &false.into())
    );
    assert_eq!(put(&set, &two, "a", "4", &["--if-absent"]).1["version"], 4);
}

#[test]
fn who_is_refused_writes_nothing_and_fences_nobody() {
    let set = Set::start();
    let [one, two] = two_devices(&set);
    put(&set, &one, "a", "1", &[]);
    for args in [
        &["put", "a", "/dev/null", "--if-absent"][..],
        &["delete", "b"],
        &["list"],
        &["get", "a"],
        &["log"],
    ] {
        run(larder(&two).args(args));
        let log = json_of(&one, &["log"]);
        assert_eq!(log["last_writer"], "this device", "{args:?}");
    }
    assert_eq!(json_of(&two, &["log"])["last_writer"], "another device");
}

#[test]
fn the_log_names_what_each_commit_changed() {
    let set = Set::start();
    let [one, two] = two_devices(&set);
    put(&set, &one, "a", "1", &[]);
    put(&set, &two, "b", "22", &[]);
    succeed(larder(&one).args(["delete", "a"]));
    let log = json_of(&two, &["log"]);
    let commits = log["commits"].as_array().expect("a list");
    let changed: Vec<(u64, &str, Option<u64>)> = commits
        .iter()
        .map(|commit| {
            let change = &commit["changes"][0];
            (
                commit["number"].as_u64().expect("a number"),
                change["name"].as_str().expect("text"),
                change["bytes"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        changed,
        [(1, "a", Some(1)), (2, "b", Some(2)), (3, "a", None)]
    );
    // The list of storage nodes, which the first commit of all sets, is nobody's value.
    let changed = commits.iter().map(|commit| &commit["providers_changed"]);
    assert!(changed.eq([true, false, false].iter()), "{log}");
    assert!(!log.to_string().contains("u0000"), "{log}");
    let printed = succeed(larder(&two).arg("log"));
    assert!(printed.contains("deleted a"), "{printed}");
    assert!(printed.contains("1  storage nodes set"), "{printed}");
    assert!(printed.contains("another device wrote last"), "{printed}");
    // Whoever has read it looks for what is new: one look-up, and a credential changed for it at most.
    let spent = |json: &Value| json["tokens_spent"].as_u64().expect("a number");
    let listed = json_of(&two, &["list"]);
    assert!((1..=2).contains(&spent(&listed)), "{listed}");
    assert!(spent(&log) > spent(&listed), "{log}");
    // Without what it keeps it reads all of it again, and says the same.
    std::fs::remove_dir_all(two.join("cache")).expect("a folder");
    let again = json_of(&two, &["log"]);
    assert_eq!(again["commits"], log["commits"]);
    assert!(spent(&again) > 6, "{again}");
}

#[test]
fn devices_that_write_at_once_all_get_in() {
    let set = Set::start();
    let devices = two_devices(&set);
    for round in 0..3 {
        let puts: Vec<_> = devices
            .iter()
            .enumerate()
            .map(|(at, device)| {
                let mut put = larder(device);
                put.args(["put", &format!("{round}-{at}"), "/dev/null"]);
                put.stdin(Stdio::null()).stdout(Stdio::null());
                put.spawn().expect("the program was built with this test")
            })
            .collect();
        for mut put in puts {
            assert!(put.wait().expect("it ends").success());
        }
    }
    for device in &devices {
        let list = json_of(device, &["list"]);
        assert_eq!(list["entries"].as_array().map(Vec::len), Some(6));
        assert_eq!(
            json_of(device, &["list", "1-"])["entries"][1]["name"],
            "1-1"
        );
    }
}

#[test]
fn a_log_that_became_long_is_rolled_up_and_its_space_comes_back() {
    let set = Set::start();
    let [one, two] = two_devices(&set);
    let mut last = Value::Null;
    for round in 0..20 {
        let text = format!("round {round}");
        let (code, json) = put(&set, &one, "a", &text, &[]);
        assert_eq!((code, &json["warnings"]), (Some(0), &Value::Array(vec![])));
        last = json["version"].clone();
    }
    assert_eq!(last, 20);
    let log = json_of(&two, &["log"]);
    assert_eq!(log["generation"], 1, "{log}");
    let commits = log["commits"].as_array().expect("a list").len();
    assert!(commits < 20, "{commits}");
    assert_eq!(succeed(larder(&two).args(["get", "a"])), "round 19");
    // Twenty commits and as many seals, less those of the first generation.
    let (_, log) = set.node.process.terminate();
    let blobs = crate::processes::field(&log, "blobs");
    assert!(blobs < 20, "{blobs}");
    assert!(
        blobs > 2 * commits as u64,
        "{blobs} blobs, {commits} commits"
    );
}

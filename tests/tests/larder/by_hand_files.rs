//! What `larder` does to files, its own and its user's, and to its standard output.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::by_hand::{Set, folder_names, json_of, random};
use crate::by_hand_killed::{Counted, started_until};
use crate::processes::{larder, run, succeed};

fn complaint(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

#[test]
fn get_and_restore_write_the_files_they_are_asked_for_and_no_others() {
    let set = Set::start();
    let here = set.folder.path().join("here");
    let wallet = set.folder.path().join("wallet");
    fs::create_dir(&here).expect("a folder");
    set.open(&wallet, &[]);
    let larder = || {
        let mut command = larder(&wallet);
        command.current_dir(&here);
        command
    };
    for name in ["state.new", "state.db", "state.tmp"] {
        fs::write(here.join(name), name).expect("a file");
        succeed(larder().args(["put", name, name]));
    }
    succeed(larder().args(["get", "state.db", "-o", "state.txt"]));
    succeed(larder().args(["get", "state.db", "-o", "./state.db"]));
    succeed(larder().args(["get", "state.db", "-o", "/dev/null"]));
    let printed = succeed(larder().args(["get", "state.db", "-o", "/dev/stdout"]));
    assert!(printed.starts_with("state.db"), "{printed}");
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
    assert_eq!(
        folder_names(&here),
        ["state.db", "state.new", "state.tmp", "state.txt"]
    );
    assert_eq!(
        fs::read(here.join("state.txt")).expect("written"),
        b"state.db"
    );

    succeed(larder().args(["restore", "--from-start", "--to", "all"]));
    let all = here.join("all");
    assert_eq!(folder_names(&all), ["state.db", "state.new", "state.tmp"]);
    for name in folder_names(&all) {
        assert_eq!(fs::read_to_string(all.join(&name)).expect("written"), name);
    }
}

#[test]
fn one_file_that_cannot_be_written_keeps_no_other_back() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, all) = (path("wallet"), path("all"));
    set.open(&wallet, &[]);
    let long = "n".repeat(255);
    for name in ["in the way", &long] {
        fs::write(path("file"), name).expect("a file");
        succeed(larder(&wallet).args(["put", name]).arg(path("file")));
    }
    fs::create_dir_all(all.join("in the way")).expect("a folder");
    let restored = run(larder(&wallet)
        .args(["--json", "restore", "--to"])
        .arg(&all));
    assert_eq!(restored.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&restored.stdout).expect("one object");
    assert_eq!(json["values"], 2);
    let unwritten = json["unwritten"].as_object().expect("a map");
    assert_eq!(unwritten.keys().collect::<Vec<_>>(), ["in the way"]);
    assert_eq!(fs::read_to_string(all.join(&long)).expect("written"), long);

    let too_long = "n".repeat(256);
    for name in [too_long.as_str(), "\u{1b}[2J", "a\nb"] {
        let refused = run(larder(&wallet).args(["put", name, "/dev/null"]));
        assert_eq!(refused.status.code(), Some(2), "{name:?}");
    }
}

#[test]
fn an_init_that_was_cut_short_can_be_done_again() {
    let set = Set::start();
    let wallet = set.folder.path().join("wallet");
    // The words are written last but one, and the root key last.
    set.init(&wallet, &[]);
    for name in ["root.key", "root.words"] {
        fs::remove_file(wallet.join(name)).expect("removed");
    }
    let (code, text) = complaint(&run(larder(&wallet).arg("list")));
    assert_eq!(code, Some(2), "{text}");
    set.open(&wallet, &[]);
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));

    let root = fs::read(wallet.join("root.key")).expect("a root key");
    let mut again = larder(&wallet);
    again
        .args(["init", "--provider", &set.node.address.to_string()])
        .args(["--lsp", &set.relay.peer.to_string()]);
    let (code, text) = complaint(&run(&mut again));
    assert_eq!(code, Some(2));
    assert!(text.contains("is a wallet already"), "{text}");
    assert_eq!(fs::read(wallet.join("root.key")).expect("kept"), root);
}

#[test]
fn a_root_key_that_others_can_read_is_refused() {
    let set = Set::start();
    let wallet = set.folder.path().join("wallet");
    set.open(&wallet, &[]);
    let root = wallet.join("root.key");
    let mode = || fs::metadata(&root).expect("there").permissions().mode();
    assert_eq!(mode() & 0o777, 0o600);
    fs::set_permissions(&root, Permissions::from_mode(0o640)).expect("changed");
    let (code, text) = complaint(&run(larder(&wallet).args(["put", "a", "/dev/null"])));
    assert_eq!(code, Some(2));
    assert!(text.contains("chmod 600"), "{text}");
    fs::set_permissions(&root, Permissions::from_mode(0o600)).expect("changed");
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
}

#[test]
fn status_works_while_another_larder_does_and_nothing_else_that_might_pay() {
    let set = Set::start();
    let wallet = set.folder.path().join("wallet");
    set.open(&wallet, &[]);
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    let lock = File::open(wallet.join("lock")).expect("there");
    lock.lock().expect("nobody has it");
    let status = succeed(larder(&wallet).arg("status"));
    assert!(status.contains("answers"), "{status}");
    assert!(status.contains("1 value(s)"), "{status}");
    assert!(status.contains("another larder is using it"), "{status}");
    for args in [&["list"][..], &["put", "b", "/dev/null"]] {
        let (code, text) = complaint(&run(larder(&wallet).args(args)));
        assert_eq!(code, Some(1));
        assert!(text.contains("another larder is using"), "{text}");
    }
}

#[test]
fn a_wallet_of_the_layout_before_the_map_is_refused() {
    let set = Set::unpaid();
    let wallet = set.folder.path().join("wallet");
    set.init(&wallet, &[]);
    fs::write(wallet.join("index.json"), "{}").expect("written");
    for args in [&["list"][..], &["put", "a", "/dev/null"], &["status"]] {
        let (code, text) = complaint(&run(larder(&wallet).args(args)));
        assert_eq!(code, Some(2));
        assert!(text.contains("an earlier larder"), "{text}");
    }
}

#[test]
fn an_output_that_nobody_reads_is_no_failure_and_a_full_disk_is_one() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    set.open(&wallet, &[]);
    fs::write(path("file"), random(1_000_000, 6)).expect("a file");
    succeed(larder(&wallet).args(["put", "a"]).arg(path("file")));
    let commands: [&[&str]; 3] = [&["list"], &["--json", "status"], &["get", "a"]];
    let ran = |command: &mut Command| complaint(&command.output().expect("it was built"));
    for args in commands {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let (code, text) = ran(larder(&wallet).args(args).stdout(writer));
        assert_eq!((code, text.as_str()), (Some(0), ""), "{args:?}");

        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("Linux");
        let (code, text) = ran(larder(&wallet).args(args).stdout(full));
        assert_eq!(code, Some(1), "{args:?}: {text}");
        assert!(!text.contains("panicked"), "{args:?}: {text}");
    }
}

#[test]
fn what_is_stored_is_stored_though_this_device_cannot_write_down_something_about_it() {
    let set = Counted::start();
    let wallet = set.path("wallet");
    succeed(&mut set.put("a", b"small"));
    let [receipts] = &folder_names(&wallet.join("receipts"))[..] else {
        panic!("one file per storage node")
    };
    let receipts = wallet.join("receipts").join(receipts);
    let known = wallet.join("known.json");
    let large = random(5_000_000, 9);
    for (file, version) in [(&receipts, 2), (&known, 3)] {
        let mut put = set.put("a", &large);
        let put = put.arg("--json").stdout(Stdio::piped());
        // Chunks are under way: it has noted that it writes, and has yet to note what it wrote.
        let put = started_until(150, &set.relay, put);
        fs::remove_file(file).expect("it was there");
        fs::create_dir(file).expect("a folder in its place");
        let put = put.wait_with_output().expect("it ends");
        let told: Value = serde_json::from_slice(&put.stdout).expect("one object");
        let ended = (put.status.code(), &told["version"]);
        assert_eq!(ended, (Some(0), &version.into()), "{told}");
        let warnings = told["warnings"].to_string();
        assert!(warnings.contains("could not be written"), "{warnings}");
        fs::remove_dir(file).expect("it is empty");
        // No other note is missing.
        match file == &known {
            false => assert_eq!(json_of(&wallet, &["status"])["bytes"], 5_000_000),
            true => {
                let kept = &json_of(&wallet, &["receipts"])["providers"][0]["kept"];
                assert!(kept.as_u64() > Some(300), "{kept}");
            }
        }
    }
    succeed(set.larder().arg("restore"));
    let read = run(set.larder().args(["get", "a"]));
    assert!(read.stdout == large);
}

//! Where `larder` writes values in the clear: what is planted there, what is there already, and what a killed command
//! leaves.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use crate::by_hand::{Set, folder_names, json_of, random};
use crate::processes::{larder, run, succeed};

fn put(wallet: &Path, name: &str, content: &[u8]) {
    let file = wallet.with_file_name("file");
    fs::write(&file, content).expect("a file");
    succeed(larder(wallet).args(["put", name]).arg(&file));
}

/// What a restore into this folder could not write, and its exit code.
fn unwritten(wallet: &Path, to: &Path, more: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut restore = larder(wallet);
    restore
        .args(["--json", "restore", "--to"])
        .arg(to)
        .args(more);
    let ended = run(&mut restore);
    let json: Value = serde_json::from_slice(&ended.stdout).expect("one object");
    let unwritten = json["unwritten"].as_object().expect("a map");
    (unwritten.keys().cloned().collect(), ended.status.code())
}

#[test]
fn nothing_that_is_planted_is_followed_replaced_or_waited_for() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, to) = (path("wallet"), path("to"));
    set.init(&wallet, &[]);
    for name in ["A", "a", "folder", "link", "other", "pipe", "same"] {
        put(&wallet, name, format!("value of {name}").as_bytes());
    }
    fs::create_dir_all(to.join("folder")).expect("a folder");
    fs::write(path("outside"), "outside").expect("a file");
    symlink(path("outside"), to.join("link")).expect("a link");
    fs::write(to.join("other"), "mine").expect("a file");
    fs::write(to.join("same"), "value of same").expect("a file");
    mknodat(CWD, to.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("a pipe");

    let kept = ["folder", "link", "other", "pipe"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(unwritten(&wallet, &to, &[]), (kept, Some(1)));
    let read = |name: &str| fs::read_to_string(to.join(name)).expect("a file");
    assert_eq!([read("A"), read("a")], ["value of A", "value of a"]);
    assert_eq!([read("other"), read("same")], ["mine", "value of same"]);
    assert_eq!(read("link"), "outside");
    let kept = ["folder", "link", "pipe"].map(str::to_owned).to_vec();
    assert_eq!(unwritten(&wallet, &to, &["--replace"]), (kept, Some(1)));
    assert_eq!(read("other"), "value of other");
    assert_eq!(read("link"), "outside");
    let names = ["A", "a", "folder", "link", "other", "pipe", "same"];
    assert_eq!(folder_names(&to), names);

    for (name, what) in [("link", "is a link"), ("pipe", "is a pipe")] {
        let refused = run(larder(&wallet).args(["get", "a", "-o"]).arg(to.join(name)));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{text}");
        assert!(text.contains(what), "{text}");
    }
    assert_eq!(read("link"), "outside");
    // Nor the wallet itself, whatever its values are called.
    put(&wallet, "root.key", b"0");
    let root = fs::read(wallet.join("root.key")).expect("there");
    let mut restore = larder(&wallet);
    restore.args(["restore", "--replace", "--to"]).arg(&wallet);
    assert_eq!(run(&mut restore).status.code(), Some(2));
    assert_eq!(fs::read(wallet.join("root.key")).expect("there"), root);
}

#[test]
fn what_is_written_in_the_clear_is_for_its_owner_only() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, to) = (path("wallet"), path("new").join("to"));
    set.init(&wallet, &[]);
    put(&wallet, "a", b"secret");
    assert_eq!(unwritten(&wallet, &to, &[]), (vec![], Some(0)));
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!([mode(&to), mode(&to.join("a"))], [0o700, 0o600]);
}

/// Runs a command that may write no file larger than this: the kernel kills it in the middle of one.
fn killed_at(bytes: u64, command: &mut Command) -> ExitStatus {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = piped.spawn().expect("the program was built with this test");
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    // Long before anything has come over the network.
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).expect("still running");
    child.wait().expect("a child")
}

#[test]
fn what_a_killed_command_left_in_the_clear_the_next_one_removes() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, to) = (path("wallet"), path("to"));
    set.init(&wallet, &[]);
    let large = random(1_000_000, 3);
    put(&wallet, "large", &large);
    fs::create_dir(&to).expect("a folder");
    let mine = ".larder-mine";
    File::create(to.join(mine)).expect("a file");

    let (mut get, mut restore) = (larder(&wallet), larder(&wallet));
    get.args(["get", "large", "-o"]).arg(to.join("large"));
    restore.args(["restore", "--to"]).arg(&to);
    for (command, next) in [(&mut get, "list"), (&mut restore, "status")] {
        let ended = killed_at(600_000, command);
        assert_eq!(ended.signal(), Some(Signal::XFSZ.as_raw()), "{ended:?}");
        let left = folder_names(&to);
        let of_ours = left.iter().find(|name| *name != mine);
        let half = fs::read(to.join(of_ours.expect("something is left"))).expect("a file");
        assert!(large.starts_with(&half) && !half.is_empty());
        run(larder(&wallet).arg(next));
        assert_eq!(folder_names(&to), [mine], "{left:?} was left");
    }
    assert_eq!(
        json_of(&wallet, &["restore", "--to", to.to_str().expect("text")])["values"],
        1
    );
    assert!(fs::read(to.join("large")).expect("written") == large);
    assert_eq!(folder_names(&to), [mine, "large"]);
}

#[test]
fn a_name_in_which_something_is_not_seen_is_refused_or_shown() {
    let set = Set::unpaid();
    let wallet = set.folder.path().join("wallet");
    set.init(&wallet, &[]);
    for name in ["a\u{200b}b", "a\u{202e}txt.exe", "\u{2066}a"] {
        let refused = run(larder(&wallet).args(["put", name, "/dev/null"]));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2));
        assert!(text.contains("\\u{2") && !text.contains(name), "{text}");
    }
    let joined = "\u{1f469}\u{200d}\u{1f680}";
    let shown = "\u{1f469}\\u{200d}\u{1f680}";
    let stored = succeed(larder(&wallet).args(["put", joined, "/dev/null"]));
    let listed = succeed(larder(&wallet).arg("list"));
    let logged = succeed(larder(&wallet).arg("log"));
    let gone = succeed(larder(&wallet).args(["delete", joined]));
    for text in [stored, listed, logged, gone] {
        assert!(text.contains(shown) && !text.contains(joined), "{text}");
    }
}

//! A wallet with one storage node that goes back to an older state: who remembers, and who is told.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::by_hand::{folder_names, json_of};
use crate::processes::{copy, larder, larderd, relay, run, succeed};

/// The same without a word about it on standard output.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_restore_with_a_checkpoint_refuses_an_older_state_until_it_is_shown_all_or_told_to_believe() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let relay = relay();
    let node = larderd(&path("node"), &[relay.peer]);
    let wallet = path("wallet");
    let parties = [
        "--provider",
        &node.address.to_string(),
        "--lsp",
        &relay.peer.to_string(),
    ];
    succeed(larder(&wallet).arg("init").args(parties));
    assert_eq!(json_of(&wallet, &["status"])["checkpoint"], Value::Null);
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    let before = json_of(&wallet, &["status"])["checkpoint"].clone();
    assert!(node.process.terminate().0.success());
    copy(&path("node"), &path("older"));
    let node = larderd(&path("node"), &[relay.peer]);
    succeed(larder(&wallet).args(["put", "b", "/dev/null"]));

    // It is shown to whoever is to write it down, and the words stay alone.
    let status = json_of(&wallet, &["status"]);
    assert_eq!(status["can_be_shown_older"], true);
    let checkpoint = status["checkpoint"].as_str().expect("text");
    let words = run(larder(&wallet).arg("words"));
    assert!(said(&words).contains(checkpoint), "{words:?}");
    assert_eq!(words.stdout.split(|byte| *byte == b' ').count(), 12);
    let status = succeed(larder(&wallet).arg("status"));
    assert!(
        status.contains(checkpoint) && status.contains("three storage nodes"),
        "{status}"
    );

    assert!(node.process.terminate().0.success());
    fs::rename(path("node"), path("newer")).expect("moved");
    copy(&path("older"), &path("node"));
    let node = larderd(&path("node"), &[relay.peer]);
    let root = wallet.join("root.key");
    let restore = |name: &str, more: &[&str]| {
        let mut restore = larder(&path(name));
        restore.args(["restore", "--root-file"]).arg(&root);
        run(restore.args(parties).args(more))
    };
    let to = path("files");
    let to = ["--to", to.to_str().expect("text")];

    // Nobody remembers, which is said.
    let believed = restore("believes", &[]);
    assert!(believed.status.success(), "{believed:?}");
    assert!(
        said(&believed).contains("nothing vouches for"),
        "{believed:?}"
    );
    // An older checkpoint vouches for what it saw.
    let older = restore(
        "older-witness",
        &["--at-least", before.as_str().expect("text")],
    );
    assert!(older.status.success(), "{older:?}");
    assert!(
        said(&older).contains("of 1 commit(s) 1 are vouched for"),
        "{older:?}"
    );

    // Written in groups, in capitals.
    let (head, tail) = checkpoint.split_at(20);
    let grouped = format!("{head} {tail}").to_uppercase();
    let named = ["--at-least", &grouped, to[0], to[1]];
    let refused = restore("refuses", &named);
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");
    let told = said(&refused);
    assert!(told.contains("with 1 commits where 2 were seen"), "{told}");
    assert!(told.contains("shown by storage node 1"), "{told}");
    assert!(folder_names(Path::new(to[1])).is_empty());
    // It stays refused, and no other command goes on from there.
    assert_eq!(restore("refuses", &to).status.code(), Some(7));
    let put = run(larder(&path("refuses")).args(["put", "c", "/dev/null"]));
    assert_eq!(put.status.code(), Some(2), "{put:?}");
    let refused = restore("believes-in-the-end", &named);
    assert_eq!(refused.status.code(), Some(7), "{refused:?}");
    assert!(
        restore("believes-in-the-end", &["--from-start"])
            .status
            .success()
    );

    // A slip of the pen, and another wallet's.
    let mut slip = checkpoint.to_owned();
    slip.replace_range(30..31, if &slip[30..31] == "q" { "p" } else { "q" });
    let wrong = restore("slips", &["--at-least", &slip]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said(&wrong).contains("character 31"), "{wrong:?}");
    succeed(larder(&path("other")).arg("init").args(parties));
    let foreign = run(larder(&path("other")).args(["restore", "--at-least", checkpoint]));
    assert_eq!(foreign.status.code(), Some(2));
    assert!(
        said(&foreign).contains("not made with this root key"),
        "{foreign:?}"
    );

    // All of it is back.
    assert!(node.process.terminate().0.success());
    fs::rename(path("node"), path("lost")).expect("moved");
    fs::rename(path("newer"), path("node")).expect("moved");
    let _node = larderd(&path("node"), &[relay.peer]);
    let restored = json_of(&path("refuses"), &["restore", to[0], to[1]]);
    assert_eq!(
        (&restored["values"], &restored["vouched"]),
        (&2.into(), &2.into())
    );
    assert_eq!(restored["checkpoint"], checkpoint);
    assert_eq!(folder_names(Path::new(to[1])), ["a", "b"]);
    assert!(!path("refuses").join("at-least").exists());
}

//! What a storage node signed is kept, can be checked, and convicts it when it loses what it signed for.

use std::fs;

use serde_json::Value;

use crate::by_hand::{folder_names, json_of};
use crate::processes::{copy, larder, larderd, relay, run, succeed};

#[test]
fn a_storage_node_that_goes_back_is_convicted_by_its_own_receipts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let relay = relay();
    let node = larderd(&path("node"), &[relay.peer]);
    let wallet = path("wallet");
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &node.address.to_string()]);
    succeed(init.args(["--lsp", &relay.peer.to_string()]));
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    assert!(node.process.terminate().0.success());
    copy(&path("node"), &path("older"));

    let node = larderd(&path("node"), &[relay.peer]);
    succeed(larder(&wallet).args(["put", "b", "/dev/null"]));
    let kept = &json_of(&wallet, &["receipts"])["providers"][0];
    // A seal and an entry each.
    assert_eq!((&kept["kept"], &kept["proven"]), (&4.into(), &4.into()));
    let verified = &json_of(&wallet, &["receipts", "verify"])["providers"][0];
    assert_eq!(
        (&verified["asked"], &verified["convictions"]),
        (&4.into(), &0.into())
    );
    assert_eq!(
        (&verified["deleted"], &verified["missing"]),
        (&0.into(), &0.into())
    );

    // One that was changed proves nothing.
    let [file] = &folder_names(&wallet.join("receipts"))[..] else {
        panic!("one file per storage node")
    };
    let file = wallet.join("receipts").join(file);
    let written = fs::read(&file).expect("written");
    let mut forged: Value = serde_json::from_slice(&written).expect("JSON");
    forged["stored"][0]["epoch"] = 7.into();
    fs::write(&file, forged.to_string()).expect("written");
    assert_eq!(json_of(&wallet, &["receipts"])["providers"][0]["proven"], 3);

    assert!(node.process.terminate().0.success());
    fs::rename(path("node"), path("newer")).expect("moved");
    copy(&path("older"), &path("node"));
    let node = larderd(&path("node"), &[relay.peer]);
    // Nor does it prove what is missing, which is said all the same, and again until it is back.
    for receipt in forged["stored"].as_array_mut().expect("a list") {
        receipt["epoch"] = 7.into();
    }
    fs::write(&file, forged.to_string()).expect("written");
    for args in [&["receipts", "verify"][..], &["receipts"]] {
        let missing = run(larder(&wallet).arg("--json").args(args));
        let json: Value = serde_json::from_slice(&missing.stdout).expect("one object");
        let row = &json["providers"][0];
        assert_eq!(missing.status.code(), Some(6), "{json}");
        assert_eq!(
            (&row["missing"], &row["convictions"]),
            (&2.into(), &0.into())
        );
        let text = String::from_utf8(run(larder(&wallet).args(args)).stdout).expect("text");
        let said = "2 blob(s) are missing and no receipt proves it";
        assert!(text.contains(said), "{text}");
    }
    assert!(node.process.terminate().0.success());
    fs::rename(path("node"), path("lost")).expect("moved");
    fs::rename(path("newer"), path("node")).expect("moved");
    let node = larderd(&path("node"), &[relay.peer]);
    let found = json_of(&wallet, &["receipts", "verify"]);
    assert_eq!(found["providers"][0]["missing"], 0);

    fs::write(&file, written).expect("written");
    assert!(node.process.terminate().0.success());
    fs::remove_dir_all(path("node")).expect("removed");
    fs::rename(path("lost"), path("node")).expect("moved");
    let _node = larderd(&path("node"), &[relay.peer]);
    let convicted = run(larder(&wallet).args(["--json", "receipts", "verify"]));
    assert_eq!(convicted.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&convicted.stdout).expect("one object");
    assert_eq!(json["providers"][0]["convictions"], 2, "{json}");
    assert_eq!(json["providers"][0]["missing"], 0, "{json}");

    // The proof stays, and who relies on that storage node is told.
    let listed = run(larder(&wallet).args(["--json", "providers"]));
    let json: Value = serde_json::from_slice(&listed.stdout).expect("one object");
    assert_eq!(json["providers"][0]["convictions"], 2, "{json}");
    let put = run(larder(&wallet).args(["put", "c", "/dev/null"]));
    assert_eq!(put.status.code(), Some(7), "{put:?}");
    let text = String::from_utf8_lossy(&put.stderr).into_owned();
    assert!(text.contains("an older state"), "{text}");
    // Unless that is what the user wants.
    let restored = json_of(&wallet, &["restore", "--from-start"]);
    assert_eq!(restored["values"], 1);
}

//! `larder` and the malicious `larderd`, that is alone or one of three, which are paid.
//!
//! Terms that differ from asking to asking, times that jump and passes that are kept back are noticed by the next command,
//! which stops and says so; one of three that does so is done without.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::attacked::{Asks, Attacked};
use crate::processes::{larder, run, succeed};

/// Terms of their own for everybody, and terms of another time.
const OTHER_TERMS: [&str; 6] = [
    "tag prices",
    "tag passes",
    "tag timers",
    "time back",
    "time ahead 1000",
    "time seconds 1",
];

fn get(wallet: &Path, name: &str) -> (Option<i32>, Vec<u8>, String) {
    let get = run(larder(wallet).args(["--timeout", "4", "get", name]));
    let said = String::from_utf8_lossy(&get.stderr).into_owned();
    (get.status.code(), get.stdout, said)
}

/// A wallet with tokens and a value, of its own root key: what one has noticed another one has not.
fn another(scene: &Attacked, name: &str) -> PathBuf {
    let wallet = scene.path(name);
    succeed(larder(&wallet).arg("init").args(scene.parties()));
    succeed(larder(&wallet).args(["buy", "1000"]));
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    wallet
}

#[test]
fn one_that_is_alone_tells_nobody_apart_and_misdates_nothing_unnoticed() {
    let mut scene = Attacked::start(0, Asks::Tokens);
    let wallets = OTHER_TERMS.map(|terms| another(&scene, terms));
    scene.malicious.order("enter 1");
    for (terms, wallet) in OTHER_TERMS.iter().zip(&wallets) {
        // It has seen the terms of this epoch.
        assert_eq!(get(wallet, "a").0, Some(0));
        scene.malicious.order(terms);
        let (code, _, said) = get(wallet, "a");
        assert_eq!(code, Some(1), "{terms}: {said}");
        assert!(
            said.contains("the storage node misbehaves"),
            "{terms}: {said}"
        );
        assert!(scene.malicious.told().0 > 0, "{terms}");
        scene.malicious.order("honest");
    }

    // Whoever pays and gets no passes takes nothing that shows who had none.
    scene.malicious.order("withhold passes");
    let (code, _, said) = get(&scene.wallet(), "large");
    assert!(scene.malicious.told().0 > 0);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the storage node misbehaves"), "{said}");
    scene.is_unharmed();
}

#[test]
fn one_of_three_is_done_without_whatever_its_terms_say() {
    let mut scene = Attacked::start(2, Asks::Tokens);
    let before = scene.honest_blobs();
    for terms in OTHER_TERMS.iter().chain(&["withhold passes", "enter 9"]) {
        scene.malicious.order(terms);
        let (code, late, said) = get(&scene.wallet(), "late");
        assert_eq!(
            (code, &late[..]),
            (Some(0), &b"late"[..]),
            "{terms}: {said}"
        );
    }
    assert_eq!(scene.honest_blobs(), before);
    // The tokens that were set aside there are lost with its epochs, and nothing else.
    let restored = scene.restore(&scene.parties(), &[]);
    assert!(restored.code == 0 && restored.is_whole, "{}", restored.json);
    assert_ne!(restored.json["without_tokens"], Value::Array(Vec::new()));
    // Each has a page more, of the cell that the restore has written.
    assert_eq!(
        scene.honest_blobs(),
        before.iter().map(|blobs| blobs + 1).collect::<Vec<_>>()
    );
}

//! `larder` and the malicious `larderd`, that is alone or one of three, which serve for free.
//!
//! Whatever it does, a restore brings back every byte or fails and says whose fault it is; no file is written that was
//! never stored; and nothing of what the honest storage nodes hold is lost.

use crate::attacked::{Asks, Attacked, LIMIT};
use crate::by_hand::{delete_all, json_of};
use crate::processes::{copy, larder, run_within};

/// Every way of making a blob from what a storage node was shown, where nothing is or where something is.
const FORGERIES: [&str; 7] = [
    "random everywhere",
    "foreign",
    "swapped everywhere",
    "sealed",
    "sealed everywhere",
    "keyed",
    "keyed everywhere",
];

/// True as far as the log, and noise there: of three the others may be done before anybody sees it.
const TORN: &str = "torn everywhere";

#[test]
fn one_that_is_alone_forges_nothing_that_is_believed() {
    let mut scene = Attacked::start(0, Asks::Nothing);
    let parties = scene.parties();
    for how in FORGERIES.into_iter().chain([TORN]) {
        scene.malicious.order(&format!("forge {how}"));
        let restored = scene.restore(&parties, &[]);
        assert!(scene.malicious.told().0 > 0, "{how}");
        // For the forgery itself, and not for what a blob that was believed does not go with.
        restored.blames(1, "that the root key never wrote there");
    }
    // Nor by a device that has kept what it read, and can go without asking. What convicts is kept by that device.
    let device = scene.path("device");
    copy(&scene.wallet(), &device);
    let get = run_within(LIMIT, larder(&device).args(["get", "large"]));
    let is_whole = get.status.success() && get.stdout == scene.stored["large"];
    assert!(is_whole || get.status.code() == Some(1), "{get:?}");
    scene.is_unharmed();
}

#[test]
fn one_of_three_forges_nothing_that_is_believed_copied_or_has_anything_deleted() {
    let mut scene = Attacked::start(2, Asks::Nothing);
    let before = scene.honest_blobs();
    let parties = scene.parties();
    for how in FORGERIES {
        // What comes when the two others have agreed is not waited for, so one that forges a single blob may not be noticed.
        let mut is_named = false;
        for _ in 0..6 {
            scene.malicious.order(&format!("forge {how}"));
            let restored = scene.restore(&parties, &[]);
            assert!(scene.malicious.told().0 > 0, "{how}");
            is_named = restored.is_whole_and_names_the_third();
            if is_named {
                break;
            }
        }
        assert!(is_named, "{how}");
    }
    // It shows the way to the others, or it does not.
    let alone = [
        "--lsp",
        &scene.relay.peer.to_string(),
        "--provider",
        &scene.malicious.address.to_string(),
    ];
    let alone = alone.map(str::to_owned);
    let restored = scene.restore(&alone, &[]);
    restored.blames(1, "misbehaves");
    assert_eq!(scene.honest_blobs(), before);
    scene.is_unharmed();
}

#[test]
fn one_that_is_alone_and_keeps_back_or_misdates_restores_nothing_less() {
    let mut scene = Attacked::start(0, Asks::Nothing);
    let parties = scene.parties();
    let checkpoint = json_of(&scene.wallet(), &["status"])["checkpoint"].clone();
    let checkpoint = ["--at-least", checkpoint.as_str().expect("text")];

    // Nothing shows that there was more but the checkpoint.
    scene.malicious.order("roll-back");
    scene
        .restore(&parties, &checkpoint)
        .blames(7, "an older state");
    assert_eq!(scene.put("later", b"later").status.code(), Some(7));
    scene.malicious.order("roll-forward");

    // What it says to be deleted and what it says not to be there contradict each other, once all of the first is deleted.
    delete_all(&scene.wallet());
    scene.malicious.order("withhold blobs");
    scene.restore(&parties, &[]).blames(1, "misbehaves");
    assert!(scene.malicious.told().0 > 0);

    scene.malicious.order("withhold answers");
    scene.restore(&parties, &[]).blames(5, "answer");
    assert!(scene.malicious.told().0 > 0);

    for time in [
        "time ahead 1000",
        "time seconds 1",
        "time seconds 4294967295",
    ] {
        scene.malicious.order(time);
        let restored = scene.restore(&parties, &[]);
        assert!(scene.malicious.told().0 > 0, "{time}");
        // Times are its own; what is restored by them is all of it.
        let is_fine = restored.code == 0 && restored.is_whole;
        assert!(is_fine || restored.code == 1, "{time}: {}", restored.json);
    }
    scene.is_unharmed();
}

#[test]
fn one_of_three_keeps_nothing_back_and_misdates_nothing() {
    let mut scene = Attacked::start(2, Asks::Nothing);
    let before = scene.honest_blobs();
    let parties = scene.parties();
    scene.malicious.order("roll-back");
    let restored = scene.restore(&parties, &[]);
    assert!(restored.code == 0 && restored.is_whole, "{}", restored.json);
    scene.malicious.order("roll-forward");
    for lie in ["withhold blobs", "withhold answers", "time ahead 1000"] {
        scene.malicious.order(lie);
        let restored = scene.restore(&parties, &[]);
        assert!(
            restored.code == 0 && restored.is_whole,
            "{lie}: {}",
            restored.json
        );
        assert!(scene.malicious.told().0 > 0, "{lie}");
        let late = run_within(
            LIMIT,
            larder(&scene.wallet()).args(["--timeout", "4", "get", "late"]),
        );
        assert_eq!(late.stdout, b"late", "{lie}: {late:?}");
    }
    // Other terms of the same epoch are no accident: a wallet stops, and names it.
    scene.malicious.order("time seconds 1");
    let restored = scene.restore(&parties, &[]);
    restored.blames(1, "storage node 3");
    assert_eq!(scene.honest_blobs(), before);
    scene.is_unharmed();
}

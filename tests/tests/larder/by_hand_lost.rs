//! Total loss, by hand: nothing is left but the words and an address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_node::Node;
use larder_onion::PeerAddress;
use larder_protocol::Address;
use serde_json::Value;

use crate::by_hand::{Set, json_of, paid_as, random, standing_of, voucher};
use crate::by_hand_buying::refusal;
use crate::by_hand_killed::{Counted, killed_after};
use crate::by_hand_providers::Several;
use crate::processes::{copy, larder, paid_larderd, relay, run, succeed};
use crate::rollover;
use crate::wallet::runtime;

/// The words of a wallet, in a file of their own.
pub(crate) fn write_down(wallet: &Path, words: &Path) {
    fs::write(words, succeed(larder(wallet).arg("words"))).expect("paper");
}

fn word_count(words: &Path) -> usize {
    let text = fs::read_to_string(words).expect("paper");
    text.split_whitespace().count()
}

/// `larder restore` in a folder that is not there yet, or that it has begun with.
pub(crate) fn restore(wallet: &Path, words: &Path, address: &Address, lsp: PeerAddress) -> Command {
    restore_from(wallet, "--words", words, address, lsp)
}

/// The same from the words, or from the root key itself.
fn restore_from(
    wallet: &Path,
    what: &str,
    file: &Path,
    address: &Address,
    lsp: PeerAddress,
) -> Command {
    let mut restore = larder(wallet);
    restore.args(["--json", "restore", what]).arg(file);
    restore.args(["--provider", &address.to_string()]);
    restore.args(["--lsp", &lsp.to_string()]);
    restore
}

/// All but the storage node and the words of a wallet that had bought tokens and stored three megabytes.
fn lost_with_a_large_value() -> (Counted, PathBuf, Vec<u8>) {
    let set = Counted::paid_as("credentials");
    let (wallet, words) = (set.path("wallet"), set.path("words"));
    write_down(&wallet, &words);
    let code = voucher(&set.path("node"), 16_000);
    succeed(set.larder().args(["buy", "--voucher", &code]));
    let large = random(3_000_000, 7);
    succeed(&mut set.put("large", &large));
    fs::remove_dir_all(&wallet).expect("lost");
    (set, words, large)
}

pub(crate) fn result(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command)).expect("JSON")
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value}"))
}

pub(crate) fn put(wallet: &Path, folder: &Path, name: &str, content: &[u8]) {
    let file = folder.join("file");
    fs::write(&file, content).expect("a file");
    succeed(larder(wallet).args(["put", name]).arg(file));
}

/// What `larder status` says of the one storage node.
pub(crate) fn restorable(wallet: &Path) -> Value {
    let (code, status) = standing_of(wallet, &["status"]);
    let one = status["providers"][0]["restorable"].clone();
    assert_eq!(status["restorable"], one["now"], "{status}");
    let expected = if one["now"] == true { 0 } else { 11 };
    assert_eq!(code, Some(expected), "{status}");
    one
}

#[test]
fn the_words_or_the_root_key_alone_bring_values_and_tokens_back_again_and_again() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, words, all) = (path("wallet"), path("words"), path("all"));
    set.init(&wallet, &[]);
    write_down(&wallet, &words);
    assert_eq!(word_count(&words), 12);
    let none = restorable(&wallet);
    assert_eq!(
        (&none["now"], &none["epochs"]),
        (&false.into(), &Value::Null)
    );
    let why = none["why_not"].as_str().expect("text");
    assert!(why.contains("larder upkeep"), "{why}");
    let code = set.voucher(16_000);
    let bought = json_of(&wallet, &["buy", "--voucher", &code]);
    assert_eq!(bought["restorable"], true, "{bought}");
    let text = succeed(larder(&wallet).arg("status"));
    let line = text.lines().find(|line| line.starts_with("restorable "));
    let line = line.expect("of the one storage node");
    let (times, expires) = line.split_once(" times covered, ").expect(line);
    assert!(times.starts_with("restorable    yes: "), "{line}");
    assert_eq!(expires, "expires in 2 epochs by the present terms");

    let large = random(400_000, 1);
    put(&wallet, set.folder.path(), "large", &large);
    put(&wallet, set.folder.path(), "small", b"small");
    let root = path("root");
    fs::copy(wallet.join("root.key"), &root).expect("64 digits");
    for (what, file) in [("--words", &words), ("--root-file", &root)] {
        let covered = restorable(&wallet);
        assert!(number(&covered["times"]) >= 2, "{covered}");
        let before = number(&json_of(&wallet, &["purse"])["tokens"]);
        fs::remove_dir_all(&wallet).expect("lost");

        let (address, lsp) = (&set.node.address, set.relay.peer);
        let mut restore = restore_from(&wallet, what, file, address, lsp);
        let restored = result(restore.arg("--to").arg(&all));
        assert_eq!(restored["values"], 2);
        assert!(fs::read(all.join("large")).expect("restored") == large);
        assert_eq!(fs::read(all.join("small")).expect("restored"), b"small");
        let left = number(&restored["tokens_left"]);
        assert_eq!(left, number(&json_of(&wallet, &["purse"])["tokens"]));
        assert!(left > before * 2 / 3, "{what}: {left} of {before}");
        let kept = fs::read_dir(wallet.join("restoring")).expect("it was there");
        assert_eq!(kept.count(), 0, "what was read is forgotten");

        // It can be lost again this moment.
        assert_eq!(restored["restorable"], true, "{restored}");
        assert_eq!(restorable(&wallet)["now"], true);
    }
}

#[test]
fn one_of_three_is_down_and_the_others_give_values_and_tokens_back() {
    let mut several = Several::start(3, paid_larderd);
    let (wallet, words) = (several.path("wallet"), several.path("words"));
    several.init(&wallet, &[0, 1, 2], &["--long"]);
    write_down(&wallet, &words);
    assert_eq!(word_count(&words), 24);
    for which in ["1", "2", "3"] {
        succeed(larder(&wallet).args(["buy", "16000", "--provider", which]));
    }
    let large = random(200_000, 5);
    several.put(&wallet, "large", &large);
    assert_eq!(json_of(&wallet, &["status"])["restorable"], true);
    fs::remove_dir_all(&wallet).expect("lost");
    several.kill(0);

    let all = several.path("all");
    let address = several.address(2).parse().expect("an address");
    let mut restore = restore(&wallet, &words, &address, several.relay.peer);
    let restored = result(restore.arg("--to").arg(&all));
    assert_eq!(
        (&restored["values"], &restored["providers"]),
        (&1.into(), &3.into())
    );
    // With each of the two that answered.
    assert_eq!(restored["restorable"], true, "{restored}");
    assert!(fs::read(all.join("large")).expect("restored") == large);
    let purse = run(larder(&wallet).args(["--timeout", "3", "--json", "purse"]));
    let purse: Value = serde_json::from_slice(&purse.stdout).expect("JSON");
    for (at, least) in [(0, 0), (1, 10_000), (2, 10_000)] {
        let held = number(&purse["purses"][at]["tokens"]);
        assert!(held >= least, "{purse}");
    }
}

#[test]
fn a_restore_that_is_killed_at_any_point_goes_on_and_pays_for_nothing_twice() {
    let (set, words, large) = lost_with_a_large_value();
    let Counted {
        relay,
        node,
        folder,
        ..
    } = set;
    let path = |name: &str| folder.path().join(name);
    node.process.terminate();
    copy(&path("node"), &path("twin"));

    // What it comes to when nothing is in the way, and then what it comes to like this.
    let all = path("all");
    let restored = |data: &str, wallet: &Path, killed: &[u64]| {
        let node = paid_as("credentials", &path(data), relay.address());
        let begin = || {
            let mut restore = restore(wallet, &words, &node.address, relay.address());
            restore.arg("--to").arg(&all);
            restore
        };
        let _ = fs::remove_dir_all(&all);
        let mut kills = 0;
        let mut over = killed.iter().map(|messages| {
            let ended = killed_after(*messages, &relay, &mut begin());
            kills += usize::from(!ended.success());
            ended.success()
        });
        if !over.any(|over| over) {
            succeed(&mut begin());
        }
        assert!(fs::read(all.join("large")).expect("restored") == large);
        (kills, number(&json_of(wallet, &["purse"])["tokens"]))
    };
    let (_, whole) = restored("node", &path("whole"), &[]);
    // Each goes on where the one before was killed, from the first message on.
    let early = (0..20).chain((20..60).step_by(5));
    let points: Vec<u64> = early.chain([80; 30]).collect();
    let (kills, killed) = restored("twin", &path("killed"), &points);
    assert!(kills > 20, "{kills}");
    // To the token: a look-up in flight is sent again as it was, and one that was answered is kept.
    assert_eq!(killed, whole);
}

#[test]
fn out_of_tokens_a_restore_says_how_many_are_missing_and_goes_on_when_they_are_bought() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, words, all) = (path("wallet"), path("words"), path("all"));
    set.init(&wallet, &[]);
    write_down(&wallet, &words);
    // The cell names what was bought first, which is not much.
    for tokens in [2_000, 100_000] {
        succeed(larder(&wallet).args(["buy", "--voucher", &set.voucher(tokens)]));
    }
    let large = random(34_000_000, 3);
    put(&wallet, set.folder.path(), "large", &large);
    fs::remove_dir_all(&wallet).expect("lost");

    let begin = || {
        let mut restore = restore(&wallet, &words, &set.node.address, set.relay.peer);
        restore.arg("--to").arg(&all);
        restore
    };
    let short = run(&mut begin());
    assert_eq!(short.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&short.stdout).expect("one object");
    let missing = number(&json["missing"]);
    let error = json["error"].as_str().expect("text");
    assert!(
        error.contains("missing") && error.contains("larder buy"),
        "{error}"
    );
    // It keeps what it has: the value alone has 2,076 blobs, which 2,000 tokens would not pay for. It goes
    // by what it has found, not by the page, which is older; and says the same when it is asked again.
    let again = run(&mut begin());
    assert_eq!(again.status.code(), Some(3));
    let again: Value = serde_json::from_slice(&again.stdout).expect("one object");
    assert_eq!(again["missing"], missing, "{again}");
    let enough = missing.next_multiple_of(1_000);
    succeed(larder(&wallet).args(["buy", "--voucher", &set.voucher(enough)]));
    let restored = result(&mut begin());
    assert_eq!(restored["values"], 1);
    assert!(fs::read(all.join("large")).expect("restored") == large);
    // Nor is it told to buy what would pay for all of it again.
    assert!(missing < 2_076 + 128, "{missing}");
}

#[test]
fn a_reserve_lasts_as_many_epochs_as_are_accepted_and_past_them_the_data_does() {
    let runtime = runtime();
    let relay = relay();
    for age in [2, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let node: Node = runtime.block_on(rollover::node(&path("node"), relay.peer));
        let (wallet, words) = (path("wallet"), path("words"));
        let mut init = larder(&wallet);
        init.args(["init", "--provider", &node.address().to_string()]);
        succeed(init.args(["--lsp", &relay.peer.to_string()]));
        write_down(&wallet, &words);
        succeed(larder(&wallet).args(["buy", "16000"]));
        put(&wallet, folder.path(), "a", b"a");
        fs::remove_dir_all(&wallet).expect("lost");
        for _ in 0..age {
            let next = node.enter_next_epoch();
            runtime.block_on(next).expect("the next epoch");
        }
        let begin = || restore(&wallet, &words, node.address(), relay.peer);
        if age == 3 {
            let expired = run(&mut begin());
            assert_eq!(expired.status.code(), Some(3));
            let json: Value = serde_json::from_slice(&expired.stdout).expect("one object");
            let error = json["error"].as_str().expect("text");
            assert!(error.contains("the reserve expired 1 epoch"), "{error}");
            assert!(error.contains("larder buy"), "{error}");
            let status = run(larder(&wallet).arg("status"));
            let text = String::from_utf8_lossy(&status.stdout).into_owned();
            assert_eq!(status.status.code(), Some(11), "{text}");
            assert!(
                text.contains("restorable    no: not everything is here yet"),
                "{text}"
            );
            succeed(larder(&wallet).args(["buy", "1000"]));
        }
        let restored = result(&mut begin());
        assert_eq!(restored["values"], 1);
        // A thousand tokens do not suffice for a reserve.
        assert_eq!(restored["restorable"], age == 2, "{restored}");
        let least = if age == 3 { 800 } else { 10_000 };
        assert!(number(&restored["tokens_left"]) > least, "{restored}");
        assert_eq!(succeed(larder(&wallet).args(["get", "a"])), "a");
        if age == 3 {
            is_restorable_with_more_tokens(&wallet, &restored["warnings"].to_string());
        }
        let text = succeed(larder(&wallet).arg("status"));
        assert!(
            text.contains(" times covered, expires in 2 epochs by the present terms"),
            "{text}"
        );
        runtime.block_on(node.shutdown());
    }
}

/// A wallet that has come back without its tokens says how many are missing, wherever it is asked.
fn is_restorable_with_more_tokens(wallet: &Path, warnings: &str) {
    assert!(warnings.contains("are missing"), "{warnings}");
    assert!(warnings.contains("larder upkeep --at-once"), "{warnings}");
    let why = restorable(wallet)["why_not"].to_string();
    assert!(why.contains("tokens"), "{why}");
    let short = run(larder(wallet).args(["--json", "upkeep", "--at-once"]));
    assert_eq!(short.status.code(), Some(3));
    let told: Value = serde_json::from_slice(&short.stdout).expect("one object");
    let missing = number(&told["providers"][0]["missing"]);
    let enough = missing.next_multiple_of(1_000).to_string();
    succeed(larder(wallet).args(["buy", &enough]));
    let kept = json_of(wallet, &["upkeep", "--at-once"]);
    assert_eq!(kept["providers"][0]["restorable"]["now"], true, "{kept}");
    assert_eq!(restorable(wallet)["now"], true);
}

#[test]
fn a_second_restore_says_that_one_cut_short_has_the_tokens_and_finds_them_when_it_walks() {
    let (set, words, _) = lost_with_a_large_value();
    let path = |name: &str| set.path(name);
    let (address, lsp) = (&set.node.address, set.relay.address());
    let begin = |wallet: &str| restore(&path(wallet), &words, address, lsp);
    // It has the tokens, and reads a value whose end it does not see.
    let mut first = begin("first");
    first.arg("--to").arg(path("all"));
    let ended = killed_after(150, &set.relay, &mut first);
    assert!(!ended.success());
    let held = json_of(&path("first"), &["purse"]);
    assert!(number(&held["tokens"]) > 10_000, "{held}");

    let taken = run(&mut begin("second"));
    assert_eq!(taken.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&taken.stdout).expect("one object");
    let error = json["error"].as_str().expect("text");
    assert!(error.contains("another restore has taken"), "{error}");
    assert!(error.contains("larder restore --walk"), "{error}");
    // Which is not done unasked, and what it shows is in the help.
    let help = succeed(larder(&path("second")).args(["restore", "--help"]));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("--walk Follow tokens through what the lost wallet did"),
        "{help}"
    );
    assert!(
        help.contains("which of those operations belong together"),
        "{help}"
    );
    // Where there is no terminal for a bar, a line says what it is at.
    let mut second = larder(&path("second"));
    let told = run(second.args(["restore", "--walk"]));
    assert_eq!(told.status.code(), Some(0));
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    let mut lines = said.lines();
    for stage in [
        "opening the cell",
        "taking the tokens",
        "reading the page",
        "all is there",
    ] {
        assert!(lines.any(|line| line.contains(stage)), "{stage}: {said}");
    }
    let result = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(result.contains("can be restored again"), "{result}");
    let held = json_of(&path("second"), &["purse"]);
    assert!(number(&held["tokens"]) > 10_000, "{held}");
}

#[test]
fn a_second_device_with_tokens_of_its_own_leaves_those_of_the_first_alone() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (one, two, words) = (path("one"), path("two"), path("words"));
    set.open(&one, &[]);
    write_down(&one, &words);
    put(&one, set.folder.path(), "a", b"a");
    let before = json_of(&one, &["purse"])["tokens"].clone();
    set.open(&two, &["--words", words.to_str().expect("text")]);
    assert_eq!(json_of(&two, &["restore"])["values"], 1);
    assert_eq!(json_of(&one, &["purse"])["tokens"], before);
    assert_eq!(restorable(&one)["now"], true);
}

#[test]
fn a_device_without_a_cell_is_told_when_upkeep_writes_it_and_how_it_is_written_now() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (one, two, words) = (path("one"), path("two"), path("words"));
    set.open(&one, &[]);
    write_down(&one, &words);
    put(&one, set.folder.path(), "small", b"small");
    set.open(&two, &["--words", words.to_str().expect("text")]);
    let restored = json_of(&two, &["restore"]);
    assert_eq!(restored["restorable"], false, "it took no tokens");
    let warnings = restored["warnings"].to_string();
    assert!(warnings.contains("larder status"), "{warnings}");
    let file = path("file");
    let told = json_of(&two, &["put", "small", file.to_str().expect("text")]);
    let warnings = told["warnings"].to_string();
    assert!(warnings.contains("larder status"), "{warnings}");
    // The page comes first; behind either write the cell waits for hours.
    let (code, rests) = standing_of(&two, &["upkeep"]);
    assert_eq!(rests["providers"][0]["wrote"].to_string(), r#"["page"]"#);
    assert_eq!(code, Some(11), "{rests}");
    let waits = run(larder(&two).arg("upkeep"));
    let text = String::from_utf8_lossy(&waits.stdout).into_owned();
    assert_eq!(waits.status.code(), Some(11), "{text}");
    assert!(text.starts_with("nothing was due; "), "{text}");
    assert!(text.contains("goes on in "), "{text}");
    let why = restorable(&two)["why_not"].to_string();
    assert!(why.contains("larder upkeep --at-once"), "{why}");
    let kept = json_of(&two, &["upkeep", "--at-once"]);
    assert_eq!(kept["providers"][0]["restorable"]["now"], true, "{kept}");
    assert_eq!(restorable(&two)["now"], true);
}

#[test]
fn a_word_that_is_none_is_named_and_words_that_were_given_are_not_kept() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, words) = (path("wallet"), path("words"));
    set.init(&wallet, &["--long"]);
    put(&wallet, set.folder.path(), "a", b"a");
    write_down(&wallet, &words);
    let text = fs::read_to_string(&words).expect("paper");
    let mut all: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(all.len(), 24);

    let other = path("other");
    let begin = || restore(&other, &words, &set.node.address, set.relay.peer);
    all[2] = "lardr";
    fs::write(&words, all.join(" ")).expect("paper");
    let refused = run(&mut begin());
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        error.contains("word 3") && error.contains("lardr"),
        "{error}"
    );
    fs::write(&words, all[3..].join(" ")).expect("paper");
    assert_eq!(run(&mut begin()).status.code(), Some(2), "too few");
    assert!(!other.exists(), "nothing was made of wrong words");

    // As they are written down: with line breaks, and in capitals.
    fs::write(&words, text.to_uppercase().replace(' ', "\n")).expect("paper");
    assert_eq!(result(&mut begin())["values"], 1);
    let key = |wallet: &Path| fs::read(wallet.join("root.key")).expect("a key");
    assert!(key(&other) == key(&wallet));
    let (exit, error) = refusal(&other, &["words"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("root.key"), "{error}");
    let (exit, _) = refusal(&path("third"), &["restore", "--words", "/dev/null"]);
    assert_eq!(exit, Some(2));
}

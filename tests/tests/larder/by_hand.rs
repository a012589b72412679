//! What the README says, typed by hand: a relay, a storage node, a wallet that only knows the
//! relay, tokens for a voucher, total loss, and everything back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use larder_onion::PeerAddress;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::processes::{
    NodeProcess, Process, RelayProcess, larder, larderd, larderd_command, relay, run, start,
    succeed,
};

pub(crate) struct Set {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) relay: RelayProcess,
    pub(crate) node: NodeProcess,
}

impl Set {
    /// A storage node that takes tokens.
    pub(crate) fn start() -> Self {
        Set::with("credentials")
    }

    /// One that serves for free.
    pub(crate) fn unpaid() -> Self {
        Set::with("none")
    }

    fn with(payment: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let relay = relay();
        let node = paid_as(payment, &folder.path().join("node"), relay.peer);
        Set {
            folder,
            relay,
            node,
        }
    }

    /// The code of a new voucher.
    pub(crate) fn voucher(&self, tokens: u64) -> String {
        voucher(&self.folder.path().join("node"), tokens)
    }

    /// Makes a wallet with tokens in it.
    pub(crate) fn open(&self, wallet: &Path, more: &[&str]) {
        self.init(wallet, more);
        succeed(larder(wallet).args(["buy", "--voucher", &self.voucher(16_000)]));
    }

    pub(crate) fn init(&self, wallet: &Path, more: &[&str]) {
        let mut command = larder(wallet);
        command.args(["init", "--provider", &self.node.address.to_string()]);
        command
            .args(["--lsp", &self.relay.peer.to_string()])
            .args(more);
        succeed(&mut command);
    }
}

/// `larderd` that is paid like this, whatever other tests have it do.
pub(crate) fn paid_as(payment: &str, data: &Path, lsp: PeerAddress) -> NodeProcess {
    start(larderd_command(data, &[lsp]).env("LARDERD_PAYMENT", payment))
}

/// What the operator types beside a running storage node.
pub(crate) fn voucher(data: &Path, tokens: u64) -> String {
    let mut create = larderd_command(data, &[]);
    create.env("LARDERD_PAYMENT", "credentials");
    let code = succeed(create.args(["voucher", "create", "--tokens", &tokens.to_string()]));
    code.trim().to_owned()
}

/// The one object that a command prints.
pub(crate) fn json_of(wallet: &Path, args: &[&str]) -> Value {
    let printed = succeed(larder(wallet).arg("--json").args(args));
    serde_json::from_str(&printed).expect("JSON")
}

/// The same of a command that may say that not everything could be restored now, with its exit code.
pub(crate) fn standing_of(wallet: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let ended = run(larder(wallet).arg("--json").args(args));
    let json = serde_json::from_slice(&ended.stdout).expect("one object");
    (ended.status.code(), json)
}

pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Has all that is due deleted, of which commands leave the most to later ones.
pub(crate) fn delete_all(wallet: &Path) {
    // Whether tokens are missing for a reserve is another matter.
    let done = run(larder(wallet).args(["--json", "upkeep", "--delete-all"]));
    let done: Value = serde_json::from_slice(&done.stdout).expect("one object");
    assert_eq!(done["to_delete"], 0, "{done}");
}

/// The names in a folder, in order.
pub(crate) fn folder_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("readable").file_name())
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.sort();
    names
}

#[test]
fn buy_put_get_delete_and_restore_after_total_loss() {
    journey(&Set::start(), true);
}

#[test]
fn a_storage_node_that_serves_for_free_needs_no_purse() {
    let set = Set::unpaid();
    journey(&set, false);
    let wallet = set.folder.path().join("new-wallet");
    assert!(!wallet.join("purse").exists());
    assert_eq!(json_of(&wallet, &["price", "1MB"])["paid"], false);
    assert_eq!(json_of(&wallet, &["purse"])["purses"][0]["paid"], false);
    let refused = run(larder(&wallet).args(["buy", "1000"]));
    assert_eq!(refused.status.code(), Some(2));
}

/// The README from "A wallet" on.
fn journey(set: &Set, paid: bool) {
    let path = |name: &str| set.folder.path().join(name);
    let (wallet, kept) = (path("wallet"), path("kept"));
    let open = |wallet: &Path, more: &[&str]| match paid {
        true => set.open(wallet, more),
        false => set.init(wallet, more),
    };
    open(&wallet, &[]);

    let files = [
        ("large", random(1_500_000, 1)),
        ("small", random(100, 2)),
        ("none", vec![]),
    ];
    for (name, content) in &files {
        fs::write(path("file"), content).expect("a file");
        succeed(larder(&wallet).args(["put", name]).arg(path("file")));
    }
    fs::write(path("file"), "newer").expect("a file");
    succeed(larder(&wallet).args(["put", "small"]).arg(path("file")));
    succeed(
        larder(&wallet)
            .args(["get", "large", "-o"])
            .arg(path("back")),
    );
    assert!(fs::read(path("back")).expect("written") == files[0].1);
    assert_eq!(succeed(larder(&wallet).args(["get", "small"])), "newer");

    // Total loss: all that is left is the copy of one file.
    fs::copy(wallet.join("root.key"), &kept).expect("copied");
    fs::remove_dir_all(&wallet).expect("lost");
    let new = path("new-wallet");
    open(&new, &["--root-file", kept.to_str().expect("text")]);
    let refused = run(larder(&new).args(["put", "small"]).arg(&kept));
    assert_eq!(
        refused.status.code(),
        Some(2),
        "nothing may be put before what is there is known"
    );
    let restored = succeed(
        larder(&new)
            .args(["--json", "restore", "--to"])
            .arg(path("all")),
    );
    let restored: Value = serde_json::from_str(&restored).expect("JSON");
    assert_eq!(restored["values"], 3);
    assert!(fs::read(path("all").join("large")).expect("restored") == files[0].1);
    assert_eq!(
        fs::read(path("all").join("small")).expect("restored"),
        b"newer"
    );
    assert_eq!(fs::read(path("all").join("none")).expect("restored"), b"");

    succeed(larder(&new).args(["delete", "large"]));
    let gone = run(larder(&new).args(["get", "large"]));
    assert_eq!(gone.status.code(), Some(1));
    let again = succeed(larder(&new).args(["--json", "restore", "--from-start"]));
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["values"], 2, "what was deleted does not come back");
    let list: Value =
        serde_json::from_str(&succeed(larder(&new).args(["--json", "list"]))).expect("JSON");
    assert_eq!(list["entries"][1]["name"], "small");
    if !paid {
        return;
    }
    // Refunds come with any command that deletes something. What is due a restore from the start has forgotten, and the
    // next command that writes finds it in the log.
    succeed(larder(&new).args(["put", "before", "/dev/null"]));
    delete_all(&new);
    // What was spent and what is left is what was bought, to the token.
    let mut held = json_of(&new, &["purse"])["tokens"]
        .as_i64()
        .expect("a number");
    assert_eq!(json_of(&new, &["price", "300k"])["tokens"], held);
    // It took no tokens from a cell, and has written none.
    let (code, status) = standing_of(&new, &["status"]);
    assert_eq!((code, &status["tokens"]), (Some(11), &held.into()));
    for (args, least) in [
        // A seal and an entry each; nothing is due any more.
        (&["put", "other", "/dev/null"][..], 32),
        (&["delete", "none"], 32),
    ] {
        let done = json_of(&new, args);
        let spent = done["tokens_spent"].as_i64().expect("a number");
        assert!(spent >= least, "{done}");
        held -= spent;
        assert_eq!(done["tokens_left"], held);
        assert_eq!(json_of(&new, &["purse"])["tokens"], held);
    }
}

#[test]
fn a_second_device_finds_what_the_first_one_wrote_and_goes_on_behind_it() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (one, two) = (path("one"), path("two"));
    set.open(&one, &[]);
    let root = one.join("root.key");
    set.open(&two, &["--root-file", root.to_str().expect("text")]);
    succeed(larder(&two).args(["restore", "--new"]));
    for (wallet, name) in [(&one, "a"), (&two, "b"), (&one, "c"), (&two, "d")] {
        fs::write(path("file"), name).expect("a file");
        succeed(larder(wallet).args(["put", name]).arg(path("file")));
    }
    for wallet in [&one, &two] {
        succeed(larder(wallet).arg("restore"));
        for name in ["a", "b", "c", "d"] {
            assert_eq!(succeed(larder(wallet).args(["get", name])), name);
        }
    }
}

#[test]
fn a_restore_that_was_cut_short_can_be_done_again() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    set.open(&wallet, &[]);
    for name in ["a", "b", "c"] {
        fs::write(path("file"), name).expect("a file");
        succeed(larder(&wallet).args(["put", name]).arg(path("file")));
    }
    // What is known is written last.
    fs::remove_file(wallet.join("known.json")).expect("it was there");
    let refused = run(larder(&wallet).args(["get", "a"]));
    assert_eq!(refused.status.code(), Some(2));
    let all = path("all");
    for _ in 0..2 {
        let mut restore = larder(&wallet);
        let exported = succeed(restore.args(["--json", "restore", "--to"]).arg(&all));
        let exported: Value = serde_json::from_str(&exported).expect("JSON");
        assert_eq!(exported["values"], 3);
        assert_eq!(exported["damaged"], json!({}));
        for name in ["a", "b", "c"] {
            assert_eq!(fs::read_to_string(all.join(name)).expect("written"), name);
        }
    }
    assert_eq!(succeed(larder(&wallet).args(["get", "c"])), "c");
}

#[test]
fn a_restore_that_reaches_nobody_leaves_what_is_known() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    set.open(&wallet, &[]);
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    let known = fs::read(wallet.join("known.json")).expect("there");
    set.node.process.kill();
    for more in ["--to=all", "--from-start"] {
        let mut restore = larder(&wallet);
        restore
            .current_dir(set.folder.path())
            .args(["--timeout", "3", "restore", more]);
        assert_eq!(run(&mut restore).status.code(), Some(5));
        assert_eq!(fs::read(wallet.join("known.json")).expect("there"), known);
    }
}

#[test]
fn what_another_device_replaced_or_deleted_is_not_read_from_an_old_index() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let (one, two) = (path("one"), path("two"));
    set.open(&one, &[]);
    let put = |wallet: &Path, content: &str| {
        fs::write(path("file"), content).expect("a file");
        succeed(larder(wallet).args(["put", "a"]).arg(path("file")));
    };
    put(&one, "old");
    let root = one.join("root.key");
    set.open(&two, &["--root-file", root.to_str().expect("text")]);
    succeed(larder(&two).arg("restore"));
    put(&two, "new");
    assert_eq!(succeed(larder(&one).args(["get", "a"])), "new");

    put(&one, "newer");
    succeed(larder(&two).args(["delete", "a"]));
    let gone = run(larder(&one).args(["get", "a"]));
    let text = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert_eq!(gone.status.code(), Some(1));
    assert!(text.contains("nothing is stored under `a`"), "{text}");
    assert!(succeed(larder(&one).arg("list")).contains("0 value(s)"));
}

#[test]
fn a_relay_keeps_its_identity_in_a_file_and_a_wallet_can_change_its_lsp() {
    let folder = tempfile::tempdir().expect("a folder");
    let seed = folder.path().join("relay.seed");
    let start = |listen: &str| {
        let mut command = larder(Path::new("unused"));
        command.args(["relay", "--listen", listen, "--seed-file"]);
        let mut process = Process::start(command.arg(&seed));
        let peer: PeerAddress = process.line("lsp").parse().expect("a peer address");
        process.line("ready");
        (process, peer)
    };
    let (first, peer) = start("127.0.0.1:0");
    let mode = fs::metadata(&seed).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    first.kill();
    let (_second, again) = start(&peer.address.to_string());
    assert_eq!(again, peer);

    let node = larderd(&folder.path().join("node"), &[peer]);
    let wallet = folder.path().join("wallet");
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &node.address.to_string()]);
    // Nobody listens there.
    let nowhere = peer
        .to_string()
        .replace(&peer.address.to_string(), "127.0.0.1:1");
    succeed(init.args(["--lsp", &nowhere]));
    let status = |patience: &str| run(larder(&wallet).args(["--timeout", patience, "status"]));
    assert_eq!(status("2").status.code(), Some(5));
    let settings = wallet.join("wallet.toml");
    let text = fs::read_to_string(&settings).expect("settings");
    fs::write(&settings, text.replace(&nowhere, &peer.to_string())).expect("written");
    assert_eq!(status("60").status.code(), Some(0));
    fs::write(&settings, "lsps = 1").expect("written");
    assert_eq!(status("60").status.code(), Some(2), "wrong settings");
}

#[test]
fn exit_codes_say_what_kind_of_failure_it_was() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    let code = |args: &[&str]| run(larder(&wallet).args(args)).status.code();
    assert_eq!(code(&["get", "a"]), Some(2), "no wallet");
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(
        code(&["init", "--provider", "larder1wrong", "--lsp", "x"]),
        Some(2)
    );
    set.init(&wallet, &[]);
    assert_eq!(code(&["put", "name", "/dev/null"]), Some(3), "no tokens");
    assert_eq!(code(&["buy", "--voucher", &set.voucher(1_000)]), Some(0));
    assert_eq!(code(&["buy", "999"]), Some(2), "not sold");
    assert_eq!(code(&["get", "nothing"]), Some(1));
    assert_eq!(code(&["put", "a/b"]), Some(2), "no name for a file");
    assert_eq!(code(&["put", "name", "/nowhere/file"]), Some(1));
    assert_eq!(code(&["status"]), Some(11), "too few tokens for a cell");
    let mistyped = set.node.address.to_string().replace("larder1q", "larder1p");
    let wrong = run(larder(&path("other"))
        .args(["init", "--lsp", &set.relay.peer.to_string()])
        .args(["--provider", &mistyped]));
    let text = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(text.contains("character 8"), "{text}");

    set.node.process.kill();
    assert_eq!(code(&["--timeout", "3", "status"]), Some(5));
    for (args, code) in [
        (&["--timeout", "3", "put", "name", "/dev/null"][..], 5),
        (&["--timeout", "3", "status"], 5),
        (&["get"], 2),
        (&["--nonsense"], 2),
    ] {
        let failed = run(larder(&wallet).arg("--json").args(args));
        // One object: a second one would not parse.
        let json: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
        assert_eq!(json["exit_code"], code, "{json}");
        assert_eq!(failed.status.code(), Some(code));
        assert_eq!(failed.stderr, b"");
    }
}

#[test]
fn the_demo_restores_a_real_file_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, random(10_000_000, 4)).expect("a file");
    let report = succeed(larder(folder.path()).args(["--json", "demo"]).arg(&file));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let phases = report["demo"]["phases"].as_array().expect("phases");
    let names: Vec<&str> = phases
        .iter()
        .filter_map(|phase| phase["phase"].as_str())
        .collect();
    assert_eq!(names, ["stored", "deleted", "restored"]);
    let number = |value: &Value| value.as_u64().expect("a number");
    let [stored, deleted, restored] = [0, 1, 2].map(|phase| number(&phases[phase]["bytes"]));
    assert_eq!(stored, 10_000_000);
    assert_eq!(restored, stored - deleted);
    let [before, _, not_found] = books(&report);
    // What was off the page, in use or ahead of need: a wallet that still had its purse would hold it.
    assert!(not_found > 0 && not_found <= before / 4, "{report}");
    let blobs = number(&phases[0]["blobs"]);
    assert!(number(&phases[0]["tokens_spent"]) >= 16 * blobs);
    let refunded = number(&phases[1]["tokens_refunded"]);
    assert_eq!(refunded, 8 * number(&phases[1]["blobs"]));
}

#[test]
fn the_demo_finds_every_token_when_it_walks() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = succeed(larder(folder.path()).args(["--json", "demo", "--walk"]));
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let [_, _, not_found] = books(&report);
    assert_eq!(not_found, 0, "{report}");
}

/// What there was when everything was lost, what the restore paid, and what it did not find. No token is anywhere else.
fn books(report: &Value) -> [u64; 3] {
    let (tokens, phases) = (&report["demo"]["tokens"], &report["demo"]["phases"]);
    let number = |value: &Value| value.as_u64().expect("a number");
    let [before, paid, not_found] =
        ["before", "paid", "not_found"].map(|name| number(&tokens[name]));
    let (held, outstanding) = (number(&tokens["held"]), number(&tokens["outstanding"]));
    assert_eq!(held + paid + not_found, before, "{report}");
    assert_eq!(held + not_found, outstanding, "{report}");
    assert_eq!(held, number(&phases[2]["tokens_left"]));
    assert_eq!(paid, number(&phases[2]["tokens_spent"]));
    // A look-up of each blob and of what is not there, at a token each, and the exchanges.
    assert!(paid > number(&phases[2]["blobs"]), "{report}");
    // Writing page and cell is what it paid for between the last phase and the loss.
    assert!(before < number(&phases[1]["tokens_left"]), "{report}");
    [before, paid, not_found]
}

#[test]
fn the_demo_without_a_file_makes_its_own_states() {
    let folder = tempfile::tempdir().expect("a folder");
    let demo = run(larder(folder.path()).arg("demo"));
    assert!(demo.status.success(), "{demo:?}");
    let text = [demo.stderr, demo.stdout].concat();
    let text = String::from_utf8(text).expect("text");
    for part in [
        "restored",
        "tokens are back; the restore paid",
        "`larder restore --walk` finds them as well",
        "kept twelve words",
        "relay saw",
        "storage node",
        "outstanding",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, random(10_000_000, 5)).expect("a file");
    let temporary = folder.path().join("temporary");
    fs::create_dir(&temporary).expect("a folder");
    let mut demo = larder(folder.path())
        .arg("demo")
        .arg(&file)
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with this test");
    // It says what it is about to store when everything runs.
    let mut log = BufReader::new(demo.stderr.take().expect("piped")).lines();
    assert!(log.any(|line| line.is_ok_and(|line| line.starts_with("data"))));
    assert!(!folder_names(&temporary).is_empty());
    kill_process(Pid::from_child(&demo), Signal::INT).expect("still running");
    let rest: Vec<String> = log.map_while(Result::ok).collect();
    assert_eq!(demo.wait().expect("it ends").code(), Some(1), "{rest:?}");
    assert_eq!(folder_names(&temporary), [""; 0]);
}

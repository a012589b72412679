//! `larder buy`, for vouchers and for payments that take their time, and cut short on the way.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use larder_node::till::{NoPayment, Order, Ordered, Settlements, Till, Vouchers};
use larder_node::{Desk, Identity};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::by_hand::{Set, json_of};
use crate::processes::{RelayProcess, larder, relay, run, succeed};
use crate::served::Served;

/// The text that a wallet would pay.
const REQUEST: &str = "lnbc1invoice";

/// What the first purchase of a wallet goes on to spend, so that its tokens survive a loss: a page, a
/// cell, and two transfers.
const KEPT: u64 = 16 + 64 + 2;

/// Long after this test.
pub(crate) const NEVER: u64 = 4_000_000_000;

pub(crate) fn refusal(wallet: &Path, args: &[&str]) -> (Option<i32>, String) {
    let refused = run(larder(wallet).arg("--json").args(args));
    let json: Value = serde_json::from_slice(&refused.stdout).expect("one object");
    let error = json["error"].as_str().expect("text").to_owned();
    (refused.status.code(), error)
}

#[test]
fn a_voucher_is_good_once_in_its_time_and_at_its_own_storage_node() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    set.init(&wallet, &[]);
    let code = set.voucher(2_000);
    fs::write(path("code"), format!("{code}\n")).expect("written");
    let file = path("code");
    let from = ["buy", "--from", file.to_str().expect("text")];
    let bought = json_of(&wallet, &from);
    assert_eq!(
        (&bought["bought"], &bought["tokens"]),
        (&2_000.into(), &(2_000 - KEPT).into())
    );
    assert_eq!(bought["purchases"][0]["pairs"], 2);

    let (exit, error) = refusal(&wallet, &from);
    assert_eq!(exit, Some(1));
    assert!(error.contains("used before"), "{error}");

    let seed = set.folder.path().join("node").join("seed");
    let vouchers = Vouchers::new(&Identity::load(&seed).expect("a seed"));
    let expired = vouchers.issue([1; 16], 1_000, 1).to_string();
    let (exit, error) = refusal(&wallet, &["buy", "--voucher", &expired]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("has expired"), "{error}");

    let foreign = Vouchers::new(&Identity::from_seed([7; 32]));
    let foreign = foreign.issue([2; 16], 1_000, NEVER).to_string();
    let (exit, error) = refusal(&wallet, &["buy", "--voucher", &foreign]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("not of this storage node"), "{error}");

    let mistyped = code.replace("larderv1q", "larderv1p");
    let (exit, error) = refusal(&wallet, &["buy", "--voucher", &mistyped]);
    assert_eq!(exit, Some(2));
    assert!(error.contains("character"), "{error}");

    let (exit, error) = refusal(&wallet, &["buy", "1000"]);
    assert_eq!(exit, Some(1));
    assert!(error.contains("vouchers only"), "{error}");

    // None of that has cost or left anything.
    let purse = json_of(&wallet, &["purse"]);
    assert_eq!(purse["tokens"], 2_000 - KEPT);
    assert_eq!(purse["purses"][0]["purchases"], json!([]));
}

#[test]
fn a_code_from_standard_input_is_in_no_shell_history() {
    let set = Set::start();
    let wallet = set.folder.path().join("wallet");
    set.init(&wallet, &[]);
    let mut buy = larder(&wallet)
        .args(["buy", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the program was built with this test");
    let mut stdin = buy.stdin.take().expect("piped");
    writeln!(stdin, "{}", set.voucher(1_000)).expect("it reads");
    drop(stdin);
    assert!(buy.wait().expect("it ends").success());
    assert_eq!(json_of(&wallet, &["purse"])["tokens"], 1_000);
}

#[test]
fn who_is_out_of_tokens_is_told_so_before_anything_is_spent() {
    let set = Set::start();
    let path = |name: &str| set.folder.path().join(name);
    let wallet = path("wallet");
    set.init(&wallet, &[]);
    succeed(larder(&wallet).args(["buy", "--voucher", &set.voucher(1_000)]));
    fs::write(path("file"), vec![7; 2_000_000]).expect("a file");
    let needed = &json_of(&wallet, &["price", "2MB"])["store"];
    let mut put = larder(&wallet);
    let refused = run(put.args(["--json", "put", "large"]).arg(path("file")));
    assert_eq!(refused.status.code(), Some(3));
    let json: Value = serde_json::from_slice(&refused.stdout).expect("one object");
    assert_eq!(&json["needed"], needed);
    let error = json["error"].as_str().expect("text");
    assert!(error.contains("larder buy"), "{error}");
    // Looking at what is there costs a look-up or two.
    let held = json_of(&wallet, &["purse"])["tokens"].as_u64();
    assert!((990..=1_000).contains(&held.expect("a number")), "{held:?}");

    // A restore stops where its tokens end, and goes on with more.
    succeed(larder(&wallet).args(["put", "a", "/dev/null"]));
    let root = wallet.join("root.key");
    let new = path("new");
    set.init(&new, &["--root-file", root.to_str().expect("text")]);
    assert_eq!(run(larder(&new).arg("restore")).status.code(), Some(3));
    succeed(larder(&new).args(["buy", "--voucher", &set.voucher(1_000)]));
    assert_eq!(json_of(&new, &["restore"])["values"], 1);
}

/// A till that asks for a payment, which arrives when the test says so.
#[derive(Default)]
struct Counter {
    settlements: Mutex<Option<Settlements>>,
    asked: Mutex<Option<[u8; 32]>>,
}

impl Counter {
    fn pay(&self) {
        let payment = self.asked.lock().expect("no panic").expect("an order");
        let settlements = self.settlements.lock().expect("no panic");
        let settled = settlements.as_ref().expect("opened").settle(payment);
        assert!(settled.expect("durable"), "a claim waits for it");
    }
}

impl Till for Counter {
    fn order(&self, order: &Order<'_>) -> Result<Ordered, NoPayment> {
        let payment = order.tags[0].0;
        *self.asked.lock().expect("no panic") = Some(payment);
        Ok(Ordered {
            payment,
            request: REQUEST.to_owned(),
            expires: NEVER,
            settled: false,
        })
    }

    fn open(&self, settlements: Settlements) {
        *self.settlements.lock().expect("no panic") = Some(settlements);
    }

    fn name(&self) -> &'static str {
        "the test's"
    }
}

/// A storage node with that till.
struct Shop {
    till: Arc<Counter>,
    folder: TempDir,
    relay: RelayProcess,
    node: Served,
}

impl Shop {
    fn open() -> Self {
        let (folder, relay) = (tempfile::tempdir().expect("a folder"), relay());
        let till = Arc::new(Counter::default());
        let answer = |desk: &Desk, contents: &[u8]| Some(desk.answer(contents));
        let node = Served::start(folder.path(), relay.peer, till.clone(), answer);
        Shop {
            till,
            folder,
            relay,
            node,
        }
    }
}

/// Starts a purchase, and returns when it waits for the payment.
fn begin(wallet: &Path) -> Child {
    let mut buy = larder(wallet)
        .args(["buy", "10000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with this test");
    let mut lines = BufReader::new(buy.stderr.take().expect("piped")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == REQUEST)));
    // Nobody reads the rest, which must not stop it.
    std::thread::spawn(move || lines.for_each(drop));
    buy
}

#[test]
fn a_payment_is_waited_for_and_a_purchase_that_was_killed_is_collected_later() {
    let shop = Shop::open();
    let wallet = shop.folder.path().join("wallet");
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &shop.node.address.to_string()])
        .args(["--lsp", &shop.relay.peer.to_string()]);
    succeed(&mut init);

    let mut waiting = begin(&wallet);
    shop.till.pay();
    assert!(waiting.wait().expect("it ends").success());
    assert_eq!(json_of(&wallet, &["purse"])["tokens"], 10_000 - KEPT);

    // kill -9 while it waits; the payment arrives when nobody is there.
    let mut killed = begin(&wallet);
    killed.kill().expect("still running");
    killed.wait().expect("killed");
    let purse = json_of(&wallet, &["purse"]);
    assert_eq!(purse["purses"][0]["purchases"][0]["request"], REQUEST);
    let asked = json_of(&wallet, &["buy"]);
    assert_eq!(asked["purchases"][0]["stage"], "unpaid");
    assert_eq!(asked["bought"], 0);
    let printed = succeed(larder(&wallet).args(["buy", "--no-wait"]));
    assert!(printed.contains(REQUEST), "{printed}");
    shop.till.pay();
    let bought = json_of(&wallet, &["buy"]);
    assert_eq!(
        (&bought["bought"], &bought["tokens"]),
        (&10_000.into(), &(20_000 - KEPT).into())
    );
    assert_eq!(json_of(&wallet, &["buy"])["purchases"], json!([]));

    succeed(larder(&wallet).args(["buy", "1000", "--no-wait"]));
    succeed(larder(&wallet).args(["buy", "--give-up"]));
    assert_eq!(
        json_of(&wallet, &["purse"])["purses"][0]["purchases"],
        json!([])
    );

    // What is paid is collected, not given up.
    succeed(larder(&wallet).args(["buy", "1000", "--no-wait"]));
    shop.till.pay();
    let kept = json_of(&wallet, &["buy", "--give-up"]);
    assert_eq!(
        (&kept["bought"], &kept["tokens"]),
        (&1_000.into(), &(21_000 - KEPT).into())
    );
    assert_eq!(
        json_of(&wallet, &["purse"])["purses"][0]["purchases"],
        json!([])
    );
}

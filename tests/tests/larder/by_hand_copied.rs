//! A wallet folder that was copied to a second machine, with its purse, and is used on both: each says so once, spends
//! what the other one has not, and works on; no command does more than a little in vain, or pays more than was said.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::by_hand::{Set, json_of, random};
use crate::by_hand_lost::number;
use crate::processes::{copy, larder, run, succeed};

/// Exit codes.
const USED_ELSEWHERE: i32 = 9;
const OVER_LIMIT: i32 = 8;

const MEGABYTE: usize = 1_000_000;

/// Requests of a command that shows pair after pair of another copy: three in a row, by each of four that may be under way
/// at once. Each may take an exchange.
const IN_VAIN: u64 = 2 * 3 * 4;

/// A wallet with something in it, and a copy of its folder.
fn two_copies(set: &Set) -> [PathBuf; 2] {
    let [one, two] = ["one", "two"].map(|name| set.folder.path().join(name));
    set.open(&one, &[]);
    put(set, &one, "first", 30_000);
    copy(&one, &two);
    [one, two]
}

/// Puts so many bytes; returns the exit code and what was printed.
fn try_put(set: &Set, wallet: &Path, name: &str, len: usize, more: &[&str]) -> (i32, Value) {
    let file = set.folder.path().join("file");
    fs::write(&file, random(len, len as u64)).expect("a file");
    let mut put = larder(wallet);
    put.args(["--json", "put", name]).arg(&file).args(more);
    let ended = run(&mut put);
    let printed = serde_json::from_slice(&ended.stdout).expect("one object");
    (ended.status.code().expect("it ended by itself"), printed)
}

fn put(set: &Set, wallet: &Path, name: &str, len: usize) -> Value {
    let (code, printed) = try_put(set, wallet, name, len, &[]);
    assert_eq!(code, 0, "{printed}");
    printed
}

/// Requests for payments that were refused because their pairs were spent, as the storage node counts them when it
/// ends.
fn refused(set: Set) -> u64 {
    let (_, log) = set.node.process.terminate();
    crate::processes::field(&log, "already_spent")
}

#[test]
fn a_copied_purse_is_noticed_at_its_first_spent_pair_and_neither_copy_loops_or_pays_twice() {
    let set = Set::start();
    let wallets = two_copies(&set);
    let said = |wallet: &Path| number(&json_of(wallet, &["price", "1MB"])["store"]);
    let price = said(&wallets[0]);
    let plain = number(&put(&set, &wallets[0], "a", MEGABYTE)["round_trips"]);
    // In turns, the other copy first, which comes upon what this one has spent.
    let (mut told, mut stored) = ([0, 0], 1);
    for (turn, at) in [1, 0, 1, 0].into_iter().enumerate() {
        let wallet = &wallets[at];
        for attempt in 0.. {
            assert!(attempt <= 8, "{told:?}");
            let held = number(&json_of(wallet, &["purse"])["tokens"]);
            let (code, printed) = try_put(&set, wallet, &format!("b{turn}"), MEGABYTE, &[]);
            if code == USED_ELSEWHERE {
                let text = printed["error"].as_str().expect("text");
                for part in ["also used elsewhere", "init --words", "--take-back"] {
                    assert!(text.contains(part), "{text}");
                }
                told[at] += 1;
                continue;
            }
            assert_eq!(code, 0, "{printed}");
            let trips = number(&printed["round_trips"]);
            // Reading the log, and an exchange in front of each that was listed.
            assert!(trips < plain + 2 * IN_VAIN + 60, "{trips} of {plain}");
            told[at] += u64::from(printed.get("used_elsewhere").is_some());
            let spent = printed["tokens_spent"].as_i64().expect("a number");
            // What was said, the look-ups in front and behind, and its margin.
            assert!(
                spent > 0 && spent as u64 <= price + price / 4 + 128 + 60,
                "{spent} of {price}"
            );
            let left = number(&printed["tokens_left"]);
            assert!(left < held, "{left} of {held}");
            stored += 1;
            break;
        }
    }
    assert!(told[0] + told[1] > 0, "nobody noticed");
    let listed = json_of(&wallets[1], &["list"]);
    assert_eq!(listed["entries"].as_array().map(Vec::len), Some(1 + stored));
    // What is another copy's is no copy's token twice.
    let purses = [0, 1].map(|at| json_of(&wallets[at], &["purse"]));
    let theirs = purses
        .iter()
        .any(|purse| purse["purses"][0]["elsewhere"].is_u64());
    assert!(theirs, "{purses:?}");
    let status = run(larder(&wallets[1]).arg("status"));
    assert!(String::from_utf8_lossy(&status.stderr).contains("also used elsewhere"));
    // Each pair of the sixteen that both had was shown in vain once by each, at most.
    let refused = refused(set);
    assert!((1..=2 * 2 * 17).contains(&refused), "{refused}");
}

#[test]
fn what_a_copy_left_that_is_gone_is_taken_back_by_the_other_one_when_it_is_told_to() {
    let set = Set::start();
    let [one, two] = two_copies(&set);
    put(&set, &one, "a", 300_000);
    let theirs = number(&json_of(&one, &["purse"])["tokens"]);
    fs::remove_dir_all(&one).expect("it is there");
    // What it has not shown yet is not known to be spent.
    let mut noticed = None;
    for _ in 0..20 {
        drop(run(larder(&two).args(["--json", "list"])));
        let purse = json_of(&two, &["purse"]);
        noticed = purse["purses"][0]["elsewhere"].as_u64();
        if noticed.is_some() {
            break;
        }
    }
    assert!(noticed.is_some());
    let taken = json_of(&two, &["purse", "--take-back"]);
    assert_eq!(taken["purses"][0]["elsewhere"], Value::Null, "{taken}");
    // But for look-ups and a fee for each pair.
    let back = number(&taken["tokens"]);
    assert!(back <= theirs && back + 200 > theirs, "{back} of {theirs}");
    succeed(larder(&two).arg("list"));
}

#[test]
fn a_put_that_would_cost_more_than_was_said_ends_and_says_so() {
    let set = Set::start();
    let wallet = set.folder.path().join("one");
    set.open(&wallet, &[]);
    let held = || number(&json_of(&wallet, &["purse"])["tokens"]);
    let before = held();
    let (code, printed) = try_put(&set, &wallet, "a", 300_000, &["--max-tokens", "100"]);
    assert_eq!(code, OVER_LIMIT, "{printed}");
    let text = printed["error"].as_str().expect("text");
    assert!(
        text.contains("more than 100 tokens") && text.contains("--max-tokens"),
        "{text}"
    );
    // The look-ups in front of it were paid before.
    assert!(before - held() <= 100 + 100, "{before}");
    assert_eq!(put(&set, &wallet, "a", 300_000)["version"], 1);
}

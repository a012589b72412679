//! `kill -9` under load.
//!
//! A child process keeps inserts and deletes in flight through a [`Committer`] and prints
//! a line for each acknowledgement. The parent kills it after a random number of lines,
//! opens the store, and checks every number up to the highest that can have been begun.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write, stdout};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};

use super::Open;
use super::sample::{blob, key};
use crate::{Change, Committer, Effect, Engine, Limits, Outcome, Reading};

/// Kills in one test.
const KILLS: u64 = 20;

/// Effects that the child keeps in flight.
const IN_FLIGHT: u64 = 32;

const FOLDER: &str = "LARDER_KILL_FOLDER";
const FIRST: &str = "LARDER_KILL_FIRST";

/// Number `n` is inserted, and number `n - LAG` deleted in the same breath if it is even.
const LAG: u64 = 48;

fn deleted_by(n: u64) -> Option<u64> {
    n.checked_sub(LAG).filter(|old| old % 2 == 0)
}

/// The process to kill; it ends by being killed, or when its parent is gone.
pub fn child(open: Open) {
    let folder = std::env::var(FOLDER).expect("started by its parent");
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let committer = Committer::start(open(Path::new(&folder)), Limits::default()).unwrap();
    let (acknowledged, acknowledgements) = channel();
    for n in first..first + IN_FLIGHT {
        begin(&committer, first, n, &acknowledged);
    }
    let mut next = first + IN_FLIGHT;
    // One write per line: a line is there as a whole or not at all.
    let mut out = stdout().lock();
    for (n, what) in acknowledgements {
        if writeln!(out, "{what} {n}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
        if what == "insert" {
            begin(&committer, first, next, &acknowledged);
            next += 1;
        }
    }
}

fn begin(committer: &Committer, first: u64, n: u64, acknowledged: &Sender<(u64, &'static str)>) {
    let submit = |number, effect, what, expected: Outcome| {
        let acknowledged = acknowledged.clone();
        let done = Box::new(move |outcome: Result<Outcome, _>| {
            assert_eq!(outcome.unwrap(), expected);
            // The receiver is gone only when the process ends.
            let _ = acknowledged.send((number, what));
        });
        committer.submit(effect, done).unwrap();
    };
    let insert = Effect::unpaid(Change::Insert {
        key: key(n),
        blob: blob(n),
        epoch: 0,
    });
    submit(n, insert, "insert", Outcome::Inserted);
    // What an earlier life began may not have survived it, so it is left alone.
    if let Some(old) = deleted_by(n).filter(|old| *old >= first) {
        let delete = Effect::unpaid(Change::Delete {
            key: key(old),
            blob_hash: blob(old).hash(),
            epoch: 0,
        });
        submit(old, delete, "delete", Outcome::Removed);
    }
}

/// Kills the child 20 times in one store's life and looks for what it acknowledged.
/// `child_test` names the `#[test]` of this program that calls [`child`].
pub fn loses_nothing_acknowledged(open: Open, child_test: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lives: Vec<Life> = Vec::new();
    let mut first = 0;
    for kill in 0..KILLS {
        // From hardly begun to well under way; unlike any other run's.
        let lines = kill * 11 + u64::from(std::process::id()) % 17;
        let life = live_and_die(child_test, folder.path(), first, lines);
        first = life.begun.end;
        lives.push(life);
        let engine = open(folder.path());
        for life in &lives {
            life.check(&*engine);
        }
    }
    let deletes: usize = lives.iter().map(|life| life.deleted.len()).sum();
    assert!(deletes > 0, "no kill came after a delete");
}

struct Life {
    begun: Range<u64>,
    inserted: HashSet<u64>,
    deleted: HashSet<u64>,
}

fn live_and_die(child_test: &str, folder: &Path, first: u64, lines: u64) -> Life {
    let mut child = Command::new(std::env::current_exe().expect("this program's path"))
        .args([child_test, "--exact", "--ignored", "--nocapture", "--quiet"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut life = Life {
        begun: first..first,
        inserted: HashSet::new(),
        deleted: HashSet::new(),
    };
    let mut seen = 0;
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    for line in out.lines() {
        let line = line.expect("the child's output");
        let mut words = line.split(' ');
        let (what, number) = (
            words.next(),
            words.next().and_then(|word| word.parse().ok()),
        );
        let (Some(what), Some(number)) = (what, number) else {
            continue; // the test harness's own
        };
        match what {
            "insert" => life.inserted.insert(number),
            "delete" => life.deleted.insert(number),
            _ => continue,
        };
        if seen == lines {
            child.kill().expect("the child can be killed");
        }
        seen += 1;
    }
    child.wait().expect("the child ends");
    assert!(seen > lines, "the child ended before it was killed");
    // As many were begun as could be in flight beyond what was acknowledged.
    life.begun.end = first + life.inserted.len() as u64 + IN_FLIGHT;
    life
}

impl Life {
    fn check(&self, engine: &dyn Engine) {
        for n in self.begun.clone() {
            let may_be_deleted = n % 2 == 0 && n + LAG < self.begun.end;
            match engine.read(&key(n)).expect("nothing is half-done") {
                Reading::Found(found) => {
                    assert!(found == blob(n), "number {n} is another blob");
                    assert!(!self.deleted.contains(&n), "number {n} came back");
                }
                Reading::Deleted => assert!(may_be_deleted, "number {n} was deleted by nobody"),
                Reading::Absent => {
                    assert!(
                        !self.inserted.contains(&n),
                        "acknowledged number {n} is lost"
                    );
                }
            }
        }
    }
}

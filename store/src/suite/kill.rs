//! `kill -9` under load.
//!
//! The test starts itself again as a child process. The child keeps inserts and deletes in flight
//! through a [`Committer`], some of them paid, puts and dooms cells beside them, enters an epoch
//! now and then, and prints a line for each acknowledgement. The parent kills it after a random
//! number of lines, opens the store, and checks every number up to the highest that can have been
//! begun: a paid one has its blob and its row, or neither.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write, stdout};
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use larder_credentials::Reference;

use super::Open;
use super::sample::{blob, cell, entering, key};
use super::scene::{Scene, TOKENS};
use crate::{Change, Committer, Effect, Engine, Limits, Outcome, Payment, Reading};

/// Kills in one test.
const KILLS: u64 = 20;

/// Inserts that the child keeps in flight.
const IN_FLIGHT: u64 = 32;

/// What `engine_suite!` calls the test: how the child asks for it.
const TEST: &str = "kill_9_loses_nothing_acknowledged";

/// In the environment of the child, and of nobody else.
const FOLDER: &str = "LARDER_KILL_FOLDER";
const FIRST: &str = "LARDER_KILL_FIRST";

/// Number `n` is inserted, and number `n - LAG` deleted in the same breath if it is even.
const LAG: u64 = 48;

fn deleted_by(n: u64) -> Option<u64> {
    n.checked_sub(LAG).filter(|old| old % 2 == 0)
}

/// Whether with number `n` a cell is put, and the one before doomed in the same breath.
fn is_cell(n: u64) -> bool {
    n % 8 == 3
}

/// When the doomed cells will be gone: not in this test.
const DEADLINE: u64 = 1 << 40;

/// Whether number `n` is inserted together with a purchase.
fn is_paid(n: u64) -> bool {
    n % 8 == 5
}

/// Whether an epoch is entered before number `n` is begun.
fn begins_an_epoch(n: u64) -> bool {
    n.is_multiple_of(48)
}

/// The process to kill; it ends by being killed, or when its parent is gone.
fn child(open: Open, folder: &Path) {
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let engine = open(folder);
    let (acknowledged, acknowledgements) = channel();
    let mut child = Child {
        committer: Committer::start(Arc::clone(&engine), Limits::default()).unwrap(),
        scene: enter_next_epoch(&*engine),
        engine,
        first,
        acknowledged,
    };
    for n in first..first + IN_FLIGHT {
        child.begin(n);
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
        if matches!(what, "insert" | "decline") {
            child.begin(next);
            next += 1;
        }
    }
}

struct Child {
    engine: Arc<dyn Engine>,
    committer: Committer,
    scene: Scene,
    first: u64,
    acknowledged: Sender<(u64, &'static str)>,
}

impl Child {
    fn begin(&mut self, n: u64) {
        if begins_an_epoch(n) {
            self.scene = enter_next_epoch(&*self.engine);
        }
        let insert = Change::Insert {
            key: key(n),
            blob: blob(n),
            epoch: 1,
        };
        if is_paid(n) {
            let payment = Payment {
                id: payment_id(n),
                tags: vec![self.scene.tag(n)],
                amount: TOKENS,
                expires: u64::MAX,
                paid: true,
            };
            let opened = Change::OpenClaims { payment, now: 0 };
            self.submit(Effect::unpaid(opened), |_| None);
            let purchase = self.scene.purchase(n).entry;
            self.submit(Effect::paid(insert, purchase), move |outcome| {
                // The next epoch may have been entered before it was committed.
                Some(match outcome {
                    Outcome::Inserted => (n, "insert"),
                    Outcome::Declined(_) => (n, "decline"),
                    other => panic!("number {n}: {other:?}"),
                })
            });
        } else {
            self.submit(Effect::unpaid(insert), move |outcome| {
                assert_eq!(outcome, Outcome::Inserted);
                Some((n, "insert"))
            });
        }
        if is_cell(n) {
            let put = Change::PutCell {
                key: key(n),
                sequence: n,
                cell: Box::new(cell(n)),
                now: 0,
            };
            self.submit(Effect::unpaid(put), move |outcome| {
                assert_eq!(outcome, Outcome::CellStored);
                Some((n, "put"))
            });
        }
        if let Some(old) = n
            .checked_sub(8)
            .filter(|old| is_cell(*old) && *old >= self.first)
        {
            let doom = Change::DoomCell {
                key: key(old),
                deadline: DEADLINE,
                now: 0,
            };
            self.submit(Effect::unpaid(doom), move |outcome| {
                assert!(matches!(outcome, Outcome::CellDoomed(_)));
                Some((old, "doom"))
            });
        }
        // What an earlier life began may not have survived it, so it is left alone.
        if let Some(old) = deleted_by(n).filter(|old| *old >= self.first) {
            let delete = Change::Delete {
                key: key(old),
                blob_hash: blob(old).hash(),
                epoch: 0,
            };
            self.submit(Effect::unpaid(delete), move |outcome| {
                assert_eq!(outcome, Outcome::Removed);
                Some((old, "delete"))
            });
        }
    }

    fn submit(
        &self,
        effect: Effect,
        line: impl FnOnce(Outcome) -> Option<(u64, &'static str)> + Send + 'static,
    ) {
        let acknowledged = self.acknowledged.clone();
        let done = Box::new(move |outcome: Result<Outcome, _>| {
            if let Some(line) = line(outcome.unwrap()) {
                // The receiver is gone only when the process ends.
                let _ = acknowledged.send(line);
            }
        });
        self.committer.submit(effect, done).unwrap();
    }
}

fn payment_id(n: u64) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    id
}

/// Every row stays, so that all can be checked.
fn enter_next_epoch(engine: &dyn Engine) -> Scene {
    let current = engine
        .epochs()
        .unwrap()
        .map_or(0, |now| now.floor.current.0);
    engine.enter(entering(0, current + 1)).unwrap().unwrap();
    Scene::new(current + 1)
}

/// Kills the child 20 times in one store's life and looks for what it acknowledged.
pub fn kill_9_loses_nothing_acknowledged(open: Open) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return child(open, Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut lives: Vec<Life> = Vec::new();
    let mut first = 0;
    let scene = Scene::new(1);
    for kill in 0..KILLS {
        // From hardly begun to well under way; unlike any other run's.
        let lines = kill * 11 + u64::from(std::process::id()) % 17;
        let life = live_and_die(folder.path(), first, lines);
        first = life.begun.end;
        lives.push(life);
        let engine = open(folder.path());
        let purchases: u64 = lives.iter().map(|life| life.check(&*engine, &scene)).sum();
        let tokens = u128::from(purchases * TOKENS);
        assert_eq!(engine.supply().unwrap().outstanding, tokens);
    }
    let paid = |life: &Life| life.inserted.iter().filter(|n| is_paid(**n)).count();
    let paid: usize = lives.iter().map(paid).sum();
    assert!(paid > 0, "no kill came after a purchase");
    let deletes: usize = lives.iter().map(|life| life.deleted.len()).sum();
    assert!(deletes > 0, "no kill came after a delete");
    let dooms: usize = lives.iter().map(|life| life.doomed.len()).sum();
    assert!(dooms > 0, "no kill came after a doom");
}

struct Life {
    begun: Range<u64>,
    inserted: HashSet<u64>,
    declined: HashSet<u64>,
    deleted: HashSet<u64>,
    put: HashSet<u64>,
    doomed: HashSet<u64>,
}

fn live_and_die(folder: &Path, first: u64, lines: u64) -> Life {
    let mut child = Command::new(std::env::current_exe().expect("this program's path"))
        .args([TEST, "--exact", "--nocapture", "--quiet"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let mut life = Life {
        begun: first..first,
        inserted: HashSet::new(),
        declined: HashSet::new(),
        deleted: HashSet::new(),
        put: HashSet::new(),
        doomed: HashSet::new(),
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
            "decline" => life.declined.insert(number),
            "delete" => life.deleted.insert(number),
            "put" => life.put.insert(number),
            "doom" => life.doomed.insert(number),
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
    let answered = life.inserted.len() + life.declined.len();
    life.begun.end = first + answered as u64 + IN_FLIGHT;
    life
}

impl Life {
    /// Returns the number of purchases.
    fn check(&self, engine: &dyn Engine, scene: &Scene) -> u64 {
        let mut purchases = 0;
        for n in self.begun.clone() {
            if is_paid(n) {
                let found = matches!(engine.read(&key(n)), Ok(Reading::Found(_)));
                let row = engine.row(&Reference(scene.tag(n).0)).unwrap();
                let claim = engine.claim(&scene.tag(n)).unwrap();
                let consumed = claim.is_some_and(|opened| opened.claim.consumed);
                assert_eq!((row.is_some(), consumed), (found, found), "half of {n}");
                purchases += u64::from(found);
                assert!(!found || !self.declined.contains(&n), "{n} was declined");
            }
            self.check_cell(n, engine);
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
        purchases
    }

    /// What was acknowledged is there, whole, and as doomed as it was said to be.
    fn check_cell(&self, n: u64, engine: &dyn Engine) {
        match engine.cell(&key(n), 0).expect("nothing is half-done") {
            Some(found) => {
                assert!(is_cell(n), "cell {n} was put by nobody");
                assert!(found.sequence == n && found.cell == cell(n), "cell {n}");
                let expected = found.deadline.map(|_| DEADLINE);
                assert_eq!(found.deadline, expected);
                let doomed = found.deadline.is_some();
                assert!(doomed || !self.doomed.contains(&n), "cell {n} was saved");
                let may_be_doomed = n + 8 < self.begun.end;
                assert!(!doomed || may_be_doomed, "cell {n} was doomed by nobody");
            }
            None => assert!(!self.put.contains(&n), "acknowledged cell {n} is lost"),
        }
    }
}

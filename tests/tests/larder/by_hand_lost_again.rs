//! A restore ends with a page and a cell, so that all can be lost again. What becomes of it when the storage
//! node is away just then, and when `larder` is killed at any kind of request.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use larder_node::till::Vouchers;
use larder_node::{Desk, Identity};
use larder_protocol::{Op, Request, envelope};
use serde_json::Value;
use tempfile::TempDir;

use crate::by_hand::json_of;
use crate::by_hand_buying::NEVER;
use crate::by_hand_lost::{number, put, restorable, restore, result, write_down};
use crate::processes::{RelayProcess, copy, larder, relay, run, succeed};
use crate::served::{SEED, Served};

/// How far a storage node answers.
#[derive(Clone, Copy)]
enum Answers {
    All,
    /// Up to the first request of this kind, which it may still perform.
    Until(Op, bool),
    None,
}

/// A storage node that goes away when the test says so, and what it was asked for.
struct Node {
    served: Served,
    answers: Arc<Mutex<Answers>>,
    gone: Receiver<()>,
    asked: Arc<Mutex<Vec<Op>>>,
}

impl Node {
    /// An epoch may begin in front of the first request.
    fn start(data: &Path, relay: &RelayProcess, mut begins_epoch: bool) -> Self {
        let answers = Arc::new(Mutex::new(Answers::All));
        let asked = Arc::<Mutex<Vec<Op>>>::default();
        let (goes, gone): (Sender<()>, _) = channel();
        let (until, ops) = (answers.clone(), asked.clone());
        let answer = move |desk: &Desk, contents: &[u8]| {
            let request = envelope::unwrap(contents).and_then(Request::decode);
            let op = request.expect("clients send requests").call.op();
            ops.lock().expect("no panic").push(op);
            if std::mem::take(&mut begins_epoch) {
                desk.enter_next_epoch().expect("the next epoch");
            }
            let mut until = until.lock().expect("no panic");
            match *until {
                Answers::Until(at, performs) if at == op => {
                    let _ = performs.then(|| desk.answer(contents));
                    *until = Answers::None;
                    goes.send(()).expect("the test waits for it");
                    None
                }
                Answers::None => None,
                Answers::All | Answers::Until(..) => Some(desk.answer(contents)),
            }
        };
        let till = Arc::new(Vouchers::new(&Identity::from_seed(SEED)));
        Node {
            served: Served::start(data, relay.peer, till, answer),
            answers,
            gone,
            asked,
        }
    }

    fn answers(&self, answers: Answers) {
        *self.answers.lock().expect("no panic") = answers;
    }
}

/// What is left of a wallet with tokens and values: the words, and what the storage node has.
struct Lost {
    folder: TempDir,
    relay: RelayProcess,
}

const LARGE: usize = 200_000;

impl Lost {
    fn all() -> Self {
        let lost = Lost {
            folder: tempfile::tempdir().expect("a folder"),
            relay: relay(),
        };
        let wallet = lost.path("wallet");
        let node = Node::start(&lost.path("node"), &lost.relay, false);
        let mut init = larder(&wallet);
        init.args(["init", "--provider", &node.served.address.to_string()]);
        succeed(init.args(["--lsp", &lost.relay.peer.to_string()]));
        write_down(&wallet, &lost.path("words"));
        lost.buys(&wallet, 1);
        put(&wallet, lost.folder.path(), "large", &[7; LARGE]);
        node.served.end();
        fs::remove_dir_all(&wallet).expect("lost");
        lost
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A storage node that has lived through the same as the first, in the next epoch.
    fn twin(&self, name: &str) -> Node {
        copy(&self.path("node"), &self.path(name));
        Node::start(&self.path(name), &self.relay, true)
    }

    fn buys(&self, wallet: &Path, id: u8) {
        let vouchers = Vouchers::new(&Identity::from_seed(SEED));
        let code = vouchers.issue([id; 16], 16_000, NEVER).to_string();
        succeed(larder(wallet).args(["buy", "--voucher", &code]));
    }

    fn restore(&self, wallet: &Path, node: &Node) -> Command {
        let words = self.path("words");
        let mut restore = restore(wallet, &words, &node.served.address, self.relay.peer);
        restore.arg("--to").arg(self.path("all"));
        restore
    }

    fn has_all(&self) {
        assert!(fs::read(self.path("all").join("large")).expect("restored") == [7; LARGE]);
        fs::remove_dir_all(self.path("all")).expect("it is there");
    }
}

fn tokens(wallet: &Path) -> u64 {
    number(&json_of(wallet, &["purse"])["tokens"])
}

#[test]
fn killed_at_any_kind_of_request_a_restore_goes_on_and_costs_no_token_more() {
    let lost = Lost::all();
    let node = lost.twin("undisturbed");
    let wallet = lost.path("wallet");
    succeed(&mut lost.restore(&wallet, &node));
    lost.has_all();
    let whole = tokens(&wallet);
    let mut kinds = node.asked.lock().expect("no panic").clone();
    kinds.sort_by_key(|op| *op as u8);
    kinds.dedup();
    node.served.end();
    let all = [
        Op::Info,
        Op::Insert,
        Op::Lookup,
        Op::BreakglassPut,
        Op::BreakglassOpen,
        Op::Transfer,
        Op::Reissue,
    ];
    assert_eq!(kinds, all);
    for (op, performs) in all.into_iter().flat_map(|op| [(op, false), (op, true)]) {
        let name = format!("{op:?} {performs}");
        let (node, wallet) = (lost.twin(&name), lost.path(&format!("{name} restored")));
        node.answers(Answers::Until(op, performs));
        let mut restore = lost.restore(&wallet, &node);
        let mut killed = restore
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program was built with this test");
        node.gone.recv().expect("it comes to that");
        killed.kill().expect("it waits for an answer");
        killed.wait().expect("killed");
        node.answers(Answers::All);
        let restored = result(&mut lost.restore(&wallet, &node));
        assert_eq!(restored["restorable"], true, "{name}: {restored}");
        lost.has_all();
        assert_eq!(tokens(&wallet), whole, "{name}");
        node.served.end();
    }
}

#[test]
fn a_storage_node_that_goes_away_at_the_end_of_a_restore_keeps_no_value_back() {
    let lost = Lost::all();
    for (op, performs) in [(Op::Insert, false), (Op::BreakglassPut, true)] {
        let name = format!("{op:?} {performs}");
        let (node, wallet) = (lost.twin(&name), lost.path(&format!("{name} restored")));
        node.answers(Answers::Until(op, performs));
        let mut restore = lost.restore(&wallet, &node);
        let away = run(restore.args(["--timeout", "5"]));
        let errors = String::from_utf8_lossy(&away.stderr).into_owned();
        assert_eq!(away.status.code(), Some(0), "{name}: {errors}");
        lost.has_all();
        let restored: Value = serde_json::from_slice(&away.stdout).expect("one object");
        assert_eq!(
            (&restored["values"], &restored["restorable"]),
            (&1.into(), &false.into())
        );
        let why = restored["warnings"].to_string();
        assert!(why.contains("larder upkeep --at-once"), "{name}: {why}");
        assert!(why.contains("no answer"), "{name}: {why}");

        node.answers(Answers::All);
        let told = restorable(&wallet);
        assert_eq!(told["now"], false, "{name}");
        let why = told["why_not"].to_string();
        assert!(why.contains("larder upkeep --at-once"), "{name}: {why}");
        // Nothing of what there is has to be read again, and what was read is forgotten.
        assert_eq!(json_of(&wallet, &["restore"])["values"], 1);
        let kept = json_of(&wallet, &["upkeep", "--at-once"]);
        assert_eq!(kept["providers"][0]["restorable"]["now"], true, "{kept}");

        let before = tokens(&wallet);
        fs::remove_dir_all(&wallet).expect("lost");
        let restored = result(&mut lost.restore(&wallet, &node));
        lost.has_all();
        let left = number(&restored["tokens_left"]);
        assert!(left > before * 2 / 3, "{name}: {left} of {before}");
        assert_eq!(restored["restorable"], true, "{restored}");
        node.served.end();
    }
}

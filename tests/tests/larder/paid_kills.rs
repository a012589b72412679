//! kill -9 of `larder` at random writes of its purse's journal, and of `larderd` meanwhile: one
//! charge, one effect, and no token lost.
//!
//! What is done again after a kill is the very command that was cut short. In the end the wallet
//! holds to the token what the storage node counts as outstanding: a token that one side had lost
//! or counted twice would part the two for ever.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use larder_store::{Engine, Options, SledEngine};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::by_hand::{folder_names, json_of, random};
use crate::processes::{larder, paid_larderd, relay, run, succeed};

const ROUNDS: u64 = 24;
const TOKENS: &str = "16000";

/// Runs a command and kills it after so many more writes of the journal, unless it ends before.
fn killed_after(writes: u32, journal: &Path, command: &mut Command) -> ExitStatus {
    let len = || fs::metadata(journal).map_or(0, |file| file.len());
    let (mut last, mut left) = (len(), writes);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program was built with this test");
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        let now = len();
        if now != last {
            (last, left) = (now, left.saturating_sub(1));
        }
        if left == 0 {
            child.kill().expect("a child");
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn wallets_and_nodes_that_are_killed_agree_on_every_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let relay = relay();
    let (data, wallet) = (path("node"), path("wallet"));
    let mut node = paid_larderd(&data, &[relay.peer]);
    let mut init = larder(&wallet);
    init.args(["init", "--provider", &node.address.to_string()]);
    succeed(init.args(["--lsp", &relay.peer.to_string()]));
    let server = node.address.server_key().to_string();
    let journal = wallet.join("purse").join(server).join("purse");
    succeed(larder(&wallet).args(["buy", TOKENS]));

    let mut rng = StdRng::seed_from_u64(41);
    let mut values: [Option<Vec<u8>>; 3] = Default::default();
    let (mut kills, mut bought) = (0, 1);
    for round in 0..ROUNDS {
        let at = rng.random_range(0..values.len());
        let name = format!("value-{at}");
        let file = path("file");
        let args: Vec<String> = match rng.random_range(0..6) {
            0 | 5 if round % 4 == 0 => {
                bought += 1;
                vec!["buy".to_owned(), TOKENS.to_owned()]
            }
            1..3 if values[at].is_some() => {
                values[at] = None;
                vec!["delete".to_owned(), name]
            }
            _ => {
                let value = random(rng.random_range(0..60_000), round);
                fs::write(&file, &value).expect("a file");
                values[at] = Some(value);
                let file = file.to_str().expect("text").to_owned();
                vec!["put".to_owned(), name, file]
            }
        };
        // Killed twice, and then left to its end.
        for _ in 0..2 {
            let mut command = larder(&wallet);
            let ended = killed_after(rng.random_range(1..16), &journal, command.args(&args));
            kills += u32::from(!ended.success());
            if rng.random_bool(0.3) {
                node.process.kill();
                node = paid_larderd(&data, &[relay.peer]);
            }
            if ended.success() || args[0] == "buy" {
                break;
            }
        }
        match args[0].as_str() {
            // What was begun is collected; what nobody had heard of was not bought.
            "buy" => drop(run(larder(&wallet).arg("buy"))),
            // It may have been done when it was killed.
            "delete" => drop(run(larder(&wallet).args(&args))),
            _ => drop(succeed(larder(&wallet).args(&args))),
        }
    }
    assert!(kills > ROUNDS as u32 / 2, "{kills} were cut short");

    let all = path("all");
    succeed(larder(&wallet).args(["restore", "--to"]).arg(&all));
    let mut kept = 0;
    for (at, value) in values.iter().enumerate() {
        let name = format!("value-{at}");
        let found = folder_names(&all).contains(&name);
        assert_eq!(found, value.is_some(), "{name}");
        if let Some(value) = value {
            kept += 1;
            assert!(fs::read(all.join(&name)).expect("restored") == *value);
        }
    }
    assert!(kept > 0);

    let held = json_of(&wallet, &["purse"]);
    assert_eq!(held["purses"][0]["in_flight"], 0, "{held}");
    let held = held["tokens"].as_u64().expect("a number");
    assert!(node.process.terminate().0.success());
    let options = Options {
        free_space_floor: 0,
        ..Options::default()
    };
    let engine = SledEngine::open(&data.join("store"), options).expect("a store");
    let supply = engine.supply().expect("a supply");
    assert_eq!((supply.outstanding, supply.halted), (held.into(), false));
    let all_bought: u64 = bought * TOKENS.parse::<u64>().expect("a number");
    assert!(held < all_bought, "nothing was paid for");
    println!("{kills} kills of the wallet, {held} tokens left");
}

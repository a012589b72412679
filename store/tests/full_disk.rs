//! A disk on which sled itself runs out of room.
//!
//! Nothing stands between sled and its file, so the test starts itself again as a child process
//! under a file-size limit (`ulimit -f`, signal ignored): past it, every write fails as on a full
//! disk.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use larder_store::suite::sample::{blob, key, options};
use larder_store::{Change, Effect, Engine, Outcome, Reading, SledEngine, StoreError};
use tempfile::TempDir;

/// In the environment of the child, and of nobody else.
const FOLDER: &str = "LARDER_FULL_FOLDER";

/// 512-byte blocks; 1 MiB holds the slots that the child needs and little of sled's log.
const BLOCKS: &str = "2048";

fn open(folder: &Path) -> SledEngine {
    SledEngine::open(folder, options()).unwrap()
}

#[test]
fn when_sled_runs_out_of_room_nothing_acknowledged_is_lost() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_it_is_full(Path::new(&folder));
    }
    let folder = TempDir::new().unwrap();
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args([
            "when_sled_runs_out_of_room_nothing_acknowledged_is_lost",
            "--exact",
            "--nocapture",
            "--quiet",
        ])
        .env(FOLDER, folder.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the child failed");

    let mut acknowledged = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.split_once(' ') {
            Some(("insert", n)) => acknowledged.insert(n.parse().unwrap(), true),
            Some(("delete", n)) => acknowledged.insert(n.parse().unwrap(), false),
            _ => continue, // the test harness's own
        };
    }
    assert!(
        acknowledged.len() > 100,
        "the limit came too early to prove anything"
    );
    let engine = open(folder.path());
    for (n, present) in acknowledged {
        match engine.read(&key(n)).unwrap() {
            Reading::Found(read) => assert!(present && read == blob(n), "number {n} came back"),
            Reading::Deleted => assert!(!present, "number {n} was deleted by nobody"),
            Reading::Absent => panic!("acknowledged number {n} is lost"),
        }
    }
    // With room again, it works again.
    let insert = Effect::unpaid(Change::Insert {
        key: key(u64::MAX),
        blob: blob(0),
        epoch: 0,
    });
    assert_eq!(engine.commit(vec![insert]).unwrap(), [Outcome::Inserted]);
}

/// Inserts and deletes, with a line for each acknowledgement, until a commit fails.
fn write_until_it_is_full(folder: &Path) {
    let engine = open(folder);
    for n in 0_u64.. {
        let insert = Effect::unpaid(Change::Insert {
            key: key(n),
            blob: blob(n),
            epoch: 0,
        });
        if !acknowledges(&engine, insert, Outcome::Inserted) {
            break;
        }
        println!("insert {n}");
        let Some(old) = n.checked_sub(20) else {
            continue;
        };
        let delete = Effect::unpaid(Change::Delete {
            key: key(old),
            blob_hash: blob(old).hash(),
            epoch: 0,
        });
        if !acknowledges(&engine, delete, Outcome::Removed) {
            break;
        }
        println!("delete {old}");
    }
    // It stays stopped.
    assert!(matches!(
        engine.commit(Vec::new()),
        Err(StoreError::Stopped)
    ));
}

/// `false` when the commit failed, which it must do for want of room.
fn acknowledges(engine: &SledEngine, effect: Effect, expected: Outcome) -> bool {
    match engine.commit(vec![effect]) {
        Ok(outcomes) => {
            assert_eq!(outcomes, [expected]);
            true
        }
        Err(StoreError::Io { .. }) => false,
        Err(other) => panic!("blames something else: {other}"),
    }
}

//! Memory does not follow the number of blobs, and look-ups do not wait for an epoch.
//!
//! `larder-bench engine` has the figures of larger stores.
#![expect(
    clippy::unwrap_used,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::path::Path;
use std::process::{Command, Stdio};

use larder_store::suite::sample::options;
use larder_store::suite::sparse::{enter_amid_look_ups, fill, open_and_use};
use larder_store::{Engine, SledEngine};

/// In the environment of the child whose memory is measured, and of nobody else.
const FOLDER: &str = "LARDER_MANY_FOLDER";

/// The store is opened by a process of its own, whose resident memory is then the store's, too:
/// this test, started again.
#[test]
fn a_hundred_thousand_records_open_in_64_mib() {
    const RECORDS: u64 = 100_000;
    if let Some(folder) = std::env::var_os(FOLDER) {
        let _engine = open_and_use(Path::new(&folder), RECORDS);
        return println!("peak {}", peak_kib());
    }
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), RECORDS);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["a_hundred_thousand_records_open_in_64_mib", "--exact"])
        .args(["--nocapture", "--quiet"])
        .env(FOLDER, folder.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the child failed");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let peak = lines.find_map(|line| line.strip_prefix("peak ")).unwrap();
    let kib: u64 = peak.parse().unwrap();
    assert!(kib < 64 << 10, "{kib} KiB");
}

/// This process's largest resident memory so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let peak = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn look_ups_go_on_while_an_epoch_is_entered() {
    const RECORDS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), RECORDS);
    let engine = SledEngine::open(folder.path(), options()).unwrap();
    let entered = enter_amid_look_ups(&engine, RECORDS);
    assert!(entered.look_ups > 100, "{entered:?}");
    assert_eq!(engine.usage().unwrap().blobs, RECORDS);
}

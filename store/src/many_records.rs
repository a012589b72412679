//! Memory does not follow the number of blobs.
//!
//! The 16 KiB in a slot play no part in that, so they are not written: records go straight
//! into the index, over a sparse slot file. The store is opened by a process of its own,
//! whose resident memory is then its own, too.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use larder_credentials::Epoch;
use larder_credentials::ledger::Floor;
use larder_protocol::BlobHash;
use tempfile::TempDir;

use crate::books::Books;
use crate::index::Index;
use crate::medium::Disk;
use crate::overlay::Write;
use crate::record::{Record, Stored, TAIL_LEN};
use crate::slot_file::{SLOT_LEN, SlotFile};
use crate::suite::sample::key;
use crate::table::Table;
use crate::{Engine, Enter, Options, SledEngine, Stat};

const FOLDER: &str = "LARDER_MANY_FOLDER";
const RECORDS: &str = "LARDER_MANY_RECORDS";
const CACHE: u64 = 8 << 20;

fn options() -> Options {
    Options {
        cache_bytes: CACHE,
        free_space_floor: 0,
        growth_slots: 1,
        ..Options::default()
    }
}

fn record(n: u64) -> Record {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&n.to_le_bytes());
    Record {
        slot: n,
        hash: BlobHash(hash),
        tail: [7; TAIL_LEN],
        epoch: 0,
    }
}

/// Fills a new store with this many records.
fn fill(folder: &Path, records: u64) {
    drop(SledEngine::open(folder, options()).unwrap());
    let slots = OpenOptions::new()
        .write(true)
        .open(SlotFile::path(folder))
        .unwrap();
    slots.set_len((records + 1) * SLOT_LEN as u64).unwrap();
    let index = Index::open(&folder.join("index"), CACHE, Arc::new(Disk)).unwrap();
    let mut books = Books::default();
    let numbers: Vec<u64> = (0..records).collect();
    for batch in numbers.chunks(4096) {
        let insert = |n: &u64| Write {
            table: Table::Index,
            key: key(*n).as_bytes().to_vec(),
            before: None,
            after: Some(record(*n).to_bytes().into()),
        };
        let writes: Vec<Write> = batch.iter().map(insert).collect();
        index.apply(&mut books, &writes).unwrap();
    }
}

/// Resident bytes of a process that opened a store of this many records and used it.
fn resident(records: u64) -> u64 {
    let folder = TempDir::new().unwrap();
    fill(folder.path(), records);
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "many_records::child",
            "--exact",
            "--ignored",
            "--nocapture",
            "--quiet",
        ])
        .env(FOLDER, folder.path())
        .env(RECORDS, records.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("resident "));
    let bytes = line
        .unwrap_or_else(|| panic!("the child failed: {text}"))
        .parse()
        .unwrap();
    println!("{records} records: {bytes} bytes resident");
    bytes
}

#[test]
#[ignore = "a process for the tests below to measure"]
fn child() {
    let records: u64 = std::env::var(RECORDS).unwrap().parse().unwrap();
    let folder = std::env::var(FOLDER).unwrap();
    let engine = SledEngine::open(Path::new(&folder), options()).unwrap();
    assert_eq!(engine.usage().unwrap().blobs, records);
    // Look-ups all over the index, so that the cache has been through all of it.
    for n in (0..records).step_by(7) {
        assert_eq!(
            engine.stat(&key(n)).unwrap(),
            Stat::Present {
                blob_hash: record(n).hash,
                epoch: 0,
            }
        );
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("resident {}", kib * 1024);
}

#[test]
fn a_hundred_thousand_records_open_in_64_mib() {
    let bytes = resident(100_000);
    assert!(bytes < 64 << 20, "{bytes} bytes");
}

#[test]
#[ignore = "takes minutes; in a release build, one and a half"]
fn ten_times_as_many_records_take_less_than_64_mib_more() {
    let (few, many) = (resident(100_000), resident(1_000_000));
    assert!(many < few + (64 << 20), "{few} bytes grew to {many}");
}

#[test]
fn look_ups_go_on_while_an_epoch_is_entered() {
    look_up_while_entering(20_000);
}

#[test]
#[ignore = "for the length of the pause; in a release build"]
fn look_ups_go_on_while_an_epoch_of_a_hundred_thousand_records_is_entered() {
    look_up_while_entering(100_000);
}

/// Looks up all over a store of so many records while it enters an epoch.
fn look_up_while_entering(records: u64) {
    let folder = TempDir::new().unwrap();
    fill(folder.path(), records);
    let engine = SledEngine::open(folder.path(), options()).unwrap();
    let next = Enter {
        floor: Floor {
            oldest: Epoch(1),
            current: Epoch(1),
        },
        since: 0,
        terms: Vec::new(),
        tombstones_before: 0,
    };
    let entered = AtomicBool::new(false);
    let began = Barrier::new(2);
    let (pause, lookups, longest) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            began.wait();
            let (mut lookups, mut longest) = (0, Duration::ZERO);
            while !entered.load(Ordering::Relaxed) {
                let n = lookups * 7919 % records;
                let asked = Instant::now();
                let stat = engine.stat(&key(n)).unwrap();
                longest = longest.max(asked.elapsed());
                let blob_hash = record(n).hash;
                assert_eq!(
                    stat,
                    Stat::Present {
                        blob_hash,
                        epoch: 0
                    }
                );
                lookups += 1;
            }
            (lookups, longest)
        });
        began.wait();
        let asked = Instant::now();
        engine.enter(next).unwrap().unwrap();
        let pause = asked.elapsed();
        entered.store(true, Ordering::Relaxed);
        let (lookups, longest) = reader.join().unwrap();
        (pause, lookups, longest)
    });
    println!(
        "{records} records: commits waited {pause:?}; {lookups} look-ups, the longest {longest:?}"
    );
    assert!(lookups > 100, "{lookups} look-ups in {pause:?}");
    assert_eq!(engine.usage().unwrap().blobs, records);
}

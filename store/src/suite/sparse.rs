//! A store with many records and nothing in its slots.
//!
//! The 16 KiB in a slot play no part in how much memory a store takes nor in how long entering an
//! epoch does, so they are not written: records go straight into the index, over a slot file that
//! is one hole. Of [`SledEngine`] only.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use larder_protocol::BlobHash;

use super::sample::{entering, key, options};
use crate::books::Books;
use crate::folder::Generation;
use crate::index::Index;
use crate::medium::Disk;
use crate::overlay::Write;
use crate::record::{Record, Stored, TAIL_LEN};
use crate::slot_file::{SLOT_LEN, SlotFile};
use crate::table::Table;
use crate::{Engine, SledEngine, Stat};

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

/// Makes a store of this many records in an empty folder.
pub fn fill(folder: &Path, records: u64) {
    drop(SledEngine::open(folder, options()).expect("a new store"));
    let slots = OpenOptions::new().write(true).open(SlotFile::path(folder));
    let length = (records + 1) * SLOT_LEN as u64;
    slots
        .and_then(|slots| slots.set_len(length))
        .expect("a hole");
    let place = Generation::current(folder)
        .expect("it has one")
        .folder(folder);
    let index = Index::open(&place, options().cache_bytes, Arc::new(Disk)).expect("its index");
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
        index.apply(&mut books, &writes).expect("it applies");
    }
}

/// Looks up a record that [`fill`] made.
fn look_up(engine: &SledEngine, n: u64) {
    let expected = Stat::Present {
        blob_hash: record(n).hash,
        epoch: 0,
    };
    assert_eq!(engine.stat(&key(n)).expect("it is there"), expected);
}

/// Opens a store of so many records, and makes look-ups all over its index, so that the cache
/// has been through all of it.
#[must_use]
pub fn open_and_use(folder: &Path, records: u64) -> SledEngine {
    let engine = SledEngine::open(folder, options()).expect("it opens");
    assert_eq!(engine.usage().expect("its usage").blobs, records);
    for n in (0..records).step_by(7) {
        look_up(&engine, n);
    }
    engine
}

/// What happened while an epoch was entered.
#[derive(Debug)]
pub struct Entered {
    /// How long commits waited.
    pub pause: Duration,
    /// Look-ups that were answered meanwhile, one after the other.
    pub look_ups: u64,
    /// The longest of them.
    pub longest: Duration,
}

/// Enters the first epoch of a store of so many records, and looks them up meanwhile.
#[must_use]
pub fn enter_amid_look_ups(engine: &SledEngine, records: u64) -> Entered {
    let over = AtomicBool::new(false);
    let began = Barrier::new(2);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            began.wait();
            let (mut look_ups, mut longest) = (0, Duration::ZERO);
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                look_up(engine, look_ups * 7919 % records);
                longest = longest.max(asked.elapsed());
                look_ups += 1;
            }
            (look_ups, longest)
        });
        began.wait();
        let asked = Instant::now();
        let entered = engine.enter(entering(1, 1)).expect("it enters");
        let pause = asked.elapsed();
        over.store(true, Ordering::Relaxed);
        entered.expect("it is the first");
        let (look_ups, longest) = reader.join().expect("every record is there");
        Entered {
            pause,
            look_ups,
            longest,
        }
    })
}

//! Flipped bits and truncation, in either file: reported, never served.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests say what they expect by panicking when it is not so"
)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use larder_store::suite::sample::{blob, entering, key, options};
use larder_store::{Change, Effect, Engine, Enter, Place, Reading, SledEngine, StoreError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

const BLOBS: u64 = 24;
const DELETED: u64 = 6;
const SLOT: u64 = 16_384;

fn open(folder: &Path) -> Result<SledEngine, StoreError> {
    SledEngine::open(folder, options())
}

/// A closed store; blob n is in slot n, the first six are deleted.
fn store() -> TempDir {
    let folder = TempDir::new().unwrap();
    let engine = open(folder.path()).unwrap();
    for n in 0..BLOBS {
        let insert = Effect::unpaid(Change::Insert {
            key: key(n),
            blob: blob(n),
            epoch: 0,
        });
        engine.commit(vec![insert]).unwrap();
    }
    drop(engine);
    // When it opens, sled writes a snapshot, which is a file to damage like any other.
    let engine = open(folder.path()).unwrap();
    for n in 0..DELETED {
        let delete = Effect::unpaid(Change::Delete {
            key: key(n),
            blob_hash: blob(n).hash(),
            epoch: 1,
        });
        engine.commit(vec![delete]).unwrap();
    }
    folder
}

fn copy(from: &Path) -> TempDir {
    fn copy_into(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&to).unwrap();
                copy_into(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let folder = TempDir::new().unwrap();
    copy_into(from, folder.path());
    folder
}

fn flip(file: &Path, bit: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

/// Bytes up to the last that is not zero: sled fills up its last segment when it opens.
fn used(file: &Path) -> u64 {
    let bytes = fs::read(file).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

fn truncate(file: &Path, len: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(len).unwrap();
}

/// `true` when the damage is reported, by the opening or by a look-up; panics when
/// anything is served that is not what was stored.
fn is_reported(folder: &Path) -> bool {
    let engine = match open(folder) {
        Ok(engine) => engine,
        Err(StoreError::Corrupt { .. } | StoreError::Io { .. }) => return true,
        Err(other) => panic!("blames something else: {other}"),
    };
    let mut reported = false;
    for n in 0..BLOBS {
        match engine.read(&key(n)) {
            Ok(Reading::Found(read)) => assert!(n >= DELETED && read == blob(n), "served at {n}"),
            Ok(Reading::Deleted) => assert!(n < DELETED, "{n} was never deleted"),
            Ok(Reading::Absent) => panic!("{n} is lost without a word"),
            Err(StoreError::Corrupt { .. }) => reported = true,
            Err(other) => panic!("blames something else: {other}"),
        }
    }
    reported
}

#[test]
fn an_undamaged_copy_is_served_in_full() {
    assert!(!is_reported(copy(store().path()).path()));
}

#[test]
fn a_bit_flipped_anywhere_in_the_index_is_reported_or_did_not_matter() {
    let intact = store();
    let mut random = StdRng::seed_from_u64(1);
    let files = fs::read_dir(intact.path().join("index")).unwrap();
    let files = files
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file());
    let names: Vec<String> = files
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names.len(),
        3,
        "the log, its parameters and a snapshot: {names:?}"
    );
    for name in names {
        let file = Path::new("index").join(&name);
        let bits = used(&intact.path().join(&file)) * 8;
        let mut reported = 0;
        for _ in 0..100 {
            let damaged = copy(intact.path());
            flip(&damaged.path().join(&file), random.random_range(0..bits));
            reported += u32::from(is_reported(damaged.path()));
        }
        println!("{name}: {reported} of 100 flips reported, {bits} bits");
        assert!(reported > 0, "no flip in {name} hit anything");
    }
}

#[test]
fn an_index_cut_off_anywhere_is_reported() {
    let intact = store();
    let db = Path::new("index/db");
    let len = used(&intact.path().join(db));
    let mut random = StdRng::seed_from_u64(2);
    let mut reported = 0;
    for cut in 0..40 {
        let damaged = copy(intact.path());
        let len = if cut == 0 {
            0
        } else {
            random.random_range(0..len)
        };
        truncate(&damaged.path().join(db), len);
        reported += u32::from(is_reported(damaged.path()));
    }
    println!("{reported} of 40 truncations reported, {len} bytes");
    assert!(reported >= 36, "only {reported} of 40 were reported");
}

#[test]
fn an_index_that_lost_only_its_last_commit_is_reported() {
    let folder = store();
    let earlier = copy(folder.path());
    let engine = open(folder.path()).unwrap();
    let insert = Effect::unpaid(Change::Insert {
        key: key(BLOBS),
        blob: blob(BLOBS),
        epoch: 0,
    });
    engine.commit(vec![insert]).unwrap();
    drop(engine);
    // A whole and consistent index, but not the newest: as after a careless restore.
    fs::remove_dir_all(folder.path().join("index")).unwrap();
    fs::rename(earlier.path().join("index"), folder.path().join("index")).unwrap();
    match open(folder.path()) {
        Err(StoreError::Corrupt { place, .. }) => assert_eq!(place, Place::Index),
        other => panic!("it should be reported: {:?}", other.err()),
    }
}

#[test]
fn a_missing_or_foreign_file_is_reported() {
    let intact = store();
    for part in ["index", "blobs.slots"] {
        let damaged = copy(intact.path());
        let path = damaged.path().join(part);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        assert!(is_reported(damaged.path()), "{part} is missing");

        let damaged = copy(intact.path());
        let other = store();
        let path = damaged.path().join(part);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::rename(other.path().join(part), &path).unwrap();
        assert!(
            is_reported(damaged.path()),
            "{part} belongs to another store"
        );
    }
}

#[test]
fn a_bit_flipped_in_a_slot_is_reported_for_its_blob_alone() {
    let folder = store();
    let slots = folder.path().join("blobs.slots");
    let mut random = StdRng::seed_from_u64(3);
    for slot in [DELETED, BLOBS - 1] {
        flip(
            &slots,
            (slot + 1) * SLOT * 8 + random.random_range(0..SLOT * 8),
        );
    }
    let engine = open(folder.path()).unwrap();
    for n in DELETED..BLOBS {
        match engine.read(&key(n)) {
            Err(StoreError::Corrupt { place, .. }) => {
                assert!(n == DELETED || n == BLOBS - 1);
                assert_eq!(place, Place::Slot(n));
            }
            read => {
                assert!(n != DELETED && n != BLOBS - 1, "a flipped bit was served");
                assert_eq!(read.unwrap(), Reading::Found(blob(n)));
            }
        }
    }
}

#[test]
fn every_bit_of_the_slot_files_header_counts() {
    let intact = store();
    for byte in 0..64 {
        let damaged = copy(intact.path());
        flip(&damaged.path().join("blobs.slots"), byte * 8 + byte % 8);
        assert!(is_reported(damaged.path()), "byte {byte}");
    }
}

#[test]
fn one_illegible_witness_is_survived_and_two_are_reported() {
    let folder = store();
    let slots = folder.path().join("blobs.slots");
    flip(&slots, 4096 * 8);
    assert!(!is_reported(folder.path()));
    flip(&slots, 8192 * 8);
    assert!(is_reported(folder.path()));
}

#[test]
fn a_slot_file_cut_off_anywhere_is_reported() {
    let intact = store();
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..20 {
        let damaged = copy(intact.path());
        let len = random.random_range(0..(BLOBS + 1) * SLOT);
        truncate(&damaged.path().join("blobs.slots"), len);
        assert!(is_reported(damaged.path()), "cut off at {len}");
    }
}

/// A store that has entered an epoch, with the same blobs.
fn store_in_an_epoch() -> TempDir {
    let folder = store();
    let next = Enter {
        terms: vec![1, 2, 3],
        ..entering(1, 1)
    };
    let engine = open(folder.path()).unwrap();
    engine.enter(next).unwrap().unwrap();
    folder
}

#[test]
fn whatever_happens_to_the_pointer_is_reported_and_costs_nothing() {
    let intact = store_in_an_epoch();
    let pointer = intact.path().join("index.current");
    let name = fs::read(&pointer).unwrap();
    assert_eq!(name, b"index-0001\n");
    assert!(!is_reported(copy(intact.path()).path()));
    let flips = (0..name.len() * 8).map(|bit| {
        let mut name = name.clone();
        name[bit / 8] ^= 1 << (bit % 8);
        name
    });
    let cuts = (0..name.len()).map(|len| name[..len].to_vec());
    let damaged = copy(intact.path());
    let pointer = damaged.path().join("index.current");
    for wrong in flips.chain(cuts) {
        fs::write(&pointer, &wrong).unwrap();
        assert!(is_reported(damaged.path()), "{wrong:?}");
    }
    fs::remove_file(&pointer).unwrap();
    assert!(is_reported(damaged.path()));
    // It is the pointer that was damaged, and nothing else.
    fs::write(&pointer, &name).unwrap();
    assert!(!is_reported(damaged.path()));
}

#[test]
fn a_newer_format_is_named_and_left_alone() {
    use sha2::{Digest, Sha256};
    let folder = store();
    let slots = OpenOptions::new()
        .read(true)
        .write(true)
        .open(folder.path().join("blobs.slots"))
        .unwrap();
    let mut header = [0; 64];
    slots.read_exact_at(&mut header, 0).unwrap();
    header[8] = 2;
    let checksum = Sha256::digest(&header[..32]);
    header[32..].copy_from_slice(&checksum);
    slots.write_all_at(&header, 0).unwrap();
    match open(folder.path()) {
        Err(StoreError::UnknownFormat { found, supported }) => {
            assert_eq!((found, supported), (2, 1));
        }
        other => panic!("it should be named: {:?}", other.err()),
    }
}

#[test]
fn a_second_opening_is_locked_out() {
    let folder = store();
    let engine = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(StoreError::Locked)));
    drop(engine);
    assert!(open(folder.path()).is_ok());
}

//! A simulated power cut, on a [`CutDisk`].
//!
//! kill -9 leaves the page cache alone and cannot show any of this.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use larder_credentials::ledger::Entry;
use larder_credentials::{ClaimTag, Epoch, Reference, References};
use larder_protocol::Key;
use tempfile::TempDir;

use crate::cut_disk::{CutDisk, copy_folder};
use crate::medium::Medium;
use crate::suite::sample::{blob, cell, entering, key, options};
use crate::suite::scene::{Scene, TOKENS};
use crate::{Change, Effect, Engine, Enter, Outcome, Payment, Reading, SledEngine, StoreError};

/// When cells are gone.
const DEADLINE: u64 = 1_000;

/// Where the cell of batch `n` is: where no blob is.
fn cell_key(n: u64) -> Key {
    key(1_000_000 + n)
}

/// Batch `n` inserts three blobs and deletes one of batch `n - 2`, under the last epoch's
/// tree of tombstones; puts a cell, dooms that of batch `n - 1` and drops that of `n - 2`.
pub(crate) fn batch(n: u64) -> Vec<Effect> {
    let mut effects: Vec<Effect> = (0..3)
        .map(|i| {
            Effect::unpaid(Change::Insert {
                key: key(n * 3 + i),
                blob: blob(n * 3 + i),
                epoch: 0,
            })
        })
        .collect();
    if let Some(old) = n.checked_sub(2) {
        effects.push(Effect::unpaid(Change::Delete {
            key: key(old * 3),
            blob_hash: blob(old * 3).hash(),
            epoch: u32::try_from(n / 4).unwrap(),
        }));
    }
    effects.push(Effect::unpaid(Change::DropCells { now: DEADLINE }));
    effects.push(Effect::unpaid(Change::PutCell {
        key: cell_key(n),
        sequence: n,
        cell: Box::new(cell(n)),
        now: 0,
    }));
    if let Some(last) = n.checked_sub(1) {
        effects.push(Effect::unpaid(Change::DoomCell {
            key: cell_key(last),
            deadline: DEADLINE,
            now: 0,
        }));
    }
    effects
}

/// As many batches as these bring a purchase with them.
const PURCHASES: u64 = 48;

static PURCHASED: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let scene = Scene::new(1);
    let numbers = 0..PURCHASES;
    numbers.map(|n| scene.purchase(n).entry).collect()
});

/// [`batch`], its first insert together with a purchase: an effect on every table.
fn paid_batch(n: u64) -> Vec<Effect> {
    let mut effects = batch(n);
    let Some(purchase) = PURCHASED.get(usize::try_from(n).unwrap()) else {
        return effects;
    };
    effects[0].entry = Some(Box::new(purchase.clone()));
    let payment = Payment {
        id: [u8::try_from(n).unwrap(); 32],
        tags: vec![tag(n)],
        amount: TOKENS,
        expires: u64::MAX,
        paid: true,
    };
    let opened = Change::OpenClaims { payment, now: 0 };
    effects.insert(0, Effect::unpaid(opened));
    effects
}

fn tag(n: u64) -> ClaimTag {
    match PURCHASED[usize::try_from(n).unwrap()].row().references() {
        References::Claim(tag) => *tag,
        References::Serials(_) => unreachable!("a purchase spends no pair"),
    }
}

fn next_epoch(engine: &SledEngine) -> Enter {
    let current = engine
        .epochs()
        .unwrap()
        .map_or(0, |now| now.floor.current.0);
    entering(1, current + 1)
}

/// Works until the power goes; counts the batches that were acknowledged.
fn work(disk: &Arc<CutDisk>, batches: &mut u64) {
    let medium: Arc<dyn Medium> = Arc::<CutDisk>::clone(disk);
    let Ok(engine) = SledEngine::open_on(&disk.folder, options(), medium) else {
        return;
    };
    if engine.epochs().unwrap().is_none() && engine.enter(next_epoch(&engine)).is_err() {
        return;
    }
    while let Ok(outcomes) = engine.commit(paid_batch(*batches)) {
        let declined = |outcome: &Outcome| matches!(outcome, Outcome::Declined(_));
        assert!(!outcomes.iter().any(declined));
        *batches += 1;
    }
}

/// What is wrong with a store after `batches` were acknowledged, if anything; otherwise how
/// many there are.
pub(crate) fn verdict(folder: &Path, batches: u64) -> Result<u64, String> {
    let engine = SledEngine::open(folder, options()).map_err(|error| error.to_string())?;
    check(&engine, batches)
}

fn check(engine: &SledEngine, batches: u64) -> Result<u64, String> {
    let read = |number| engine.read(&key(number)).map_err(|error| error.to_string());
    // The batch in flight is there as a whole, or not at all.
    let extra = u64::from(read(batches * 3)? == Reading::Found(blob(batches * 3)));
    let there = batches + extra;
    for number in 0..(batches + 1) * 3 {
        let deleted = number % 3 == 0 && number / 3 + 2 < there;
        let expected = match number / 3 < there {
            true if deleted => Reading::Deleted,
            true => Reading::Found(blob(number)),
            false => Reading::Absent,
        };
        if read(number)? != expected {
            return Err(format!(
                "number {number} of {there} batches is not as it should be"
            ));
        }
    }
    for number in 0..=there {
        let found = engine
            .cell(&cell_key(number), 0)
            .map_err(|error| error.to_string())?;
        let found = found.map(|found| (found.sequence, found.cell, found.deadline));
        let expected = match there.checked_sub(number) {
            Some(1) => Some((number, cell(number), None)),
            Some(2) => Some((number, cell(number), Some(DEADLINE))),
            _ => None,
        };
        if found != expected {
            return Err(format!("cell {number} of {there} is not as it should be"));
        }
    }
    Ok(there)
}

/// The same of a store that [`work`] has filled: with its rows, claims and tokens.
fn paid_verdict(folder: &Path, batches: u64) -> Result<u64, String> {
    let engine = SledEngine::open(folder, options()).map_err(|error| error.to_string())?;
    let there = check(&engine, batches)?;
    let paid = there.min(PURCHASES);
    for n in 0..PURCHASES.min(batches + 2) {
        let row = engine.row(&Reference(tag(n).0)).unwrap();
        let claim = engine.claim(&tag(n)).unwrap();
        let expected = (n < paid).then_some(true);
        if row.is_some() != (n < paid) || claim.map(|it| it.claim.consumed) != expected {
            return Err(format!("purchase {n} of {there} is not as it should be"));
        }
    }
    let tokens = u128::from(TOKENS * paid);
    if engine.supply().unwrap().outstanding != tokens {
        return Err(format!("of {there} batches there are not {tokens} tokens"));
    }
    Ok(there)
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let mut acknowledged = 0;
    for cut in 0..24 {
        let first = TempDir::new().unwrap();
        // Every step of the first commits, then further apart.
        let disk = CutDisk::new(first.path(), cut + cut * cut / 4, u64::from(cut), None);
        let mut batches = 0;
        work(&disk, &mut batches);
        let second = disk.restart();
        let there =
            paid_verdict(second.path(), batches).unwrap_or_else(|what| panic!("cut {cut}: {what}"));
        acknowledged += batches;

        // Life goes on, and the power goes again.
        let disk = CutDisk::new(second.path(), 3 + cut, u64::from(cut) + 100, None);
        let mut batches = there;
        work(&disk, &mut batches);
        let third = disk.restart();
        paid_verdict(third.path(), batches)
            .unwrap_or_else(|what| panic!("second cut {cut}: {what}"));
        acknowledged += batches - there;
    }
    assert!(
        acknowledged > 500,
        "the cuts came too early to prove anything: {acknowledged}"
    );
}

/// Each step of entering an epoch, with what a disk may make of the cut.
#[test]
fn a_power_cut_leaves_the_old_epoch_or_the_new_one_whole() {
    const BATCHES: u64 = 5;
    let filled = TempDir::new().unwrap();
    let engine = SledEngine::open(filled.path(), options()).unwrap();
    engine.enter(next_epoch(&engine)).unwrap().unwrap();
    for n in 0..BATCHES {
        engine.commit(paid_batch(n)).unwrap();
    }
    drop(engine);

    let (mut old, mut new, mut acknowledged) = (0, 0, 0);
    for seed in 0..6 {
        for step in 0.. {
            let folder = TempDir::new().unwrap();
            copy_folder(filled.path(), folder.path(), &mut |_, now| now).unwrap();
            let disk = CutDisk::new(folder.path(), step, seed, None);
            let medium: Arc<dyn Medium> = Arc::<CutDisk>::clone(&disk);
            let entered = SledEngine::open_on(folder.path(), options(), medium)
                .and_then(|engine| engine.enter(next_epoch(&engine)));
            let whole = entered.is_ok();
            let found = match whole {
                true => folder,
                false => disk.restart(),
            };
            let there = paid_verdict(found.path(), BATCHES).unwrap();
            assert_eq!(there, BATCHES, "step {step}");
            let engine = SledEngine::open(found.path(), options()).unwrap();
            let epochs = engine.epochs().unwrap().unwrap();
            match (epochs.ordinal, epochs.floor.current) {
                (1, Epoch(1)) if !whole => old += 1,
                (2, Epoch(2)) => new += 1,
                other => panic!("step {step}: {other:?}"),
            }
            let indexes = fs::read_dir(found.path()).unwrap();
            let indexes = indexes
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.is_dir());
            assert_eq!(indexes.count(), 1, "one index is left after step {step}");
            // Life goes on, with further epochs.
            engine.commit(batch(BATCHES)).unwrap();
            engine.enter(next_epoch(&engine)).unwrap().unwrap();
            drop(engine);
            verdict(found.path(), BATCHES + 1).unwrap();
            if whole {
                acknowledged += 1;
                break;
            }
        }
    }
    assert!(acknowledged == 6 && old > 6 && new > 12, "{old} and {new}");
}

#[test]
fn a_disk_that_lies_about_the_indexs_syncs_is_found_out() {
    let mut caught = 0;
    for cut in 0..12 {
        let folder = TempDir::new().unwrap();
        let disk = CutDisk::new(folder.path(), 40 + cut, u64::from(cut), Some("db"));
        let mut batches = 0;
        work(&disk, &mut batches);
        // Either the data happened to arrive, or opening says that it did not.
        let found = disk.restart();
        match SledEngine::open(found.path(), options()) {
            Err(StoreError::Corrupt { .. }) => caught += 1,
            Err(other) => panic!("cut {cut}: {other}"),
            Ok(engine) => {
                drop(engine);
                verdict(found.path(), batches).unwrap_or_else(|what| panic!("cut {cut}: {what}"));
            }
        }
    }
    assert!(
        caught > 0,
        "the simulated disk lost nothing, so it proves nothing"
    );
}

#[test]
fn a_disk_that_lies_about_the_slots_syncs_is_found_out() {
    let mut caught = 0;
    for cut in 0..12 {
        let folder = TempDir::new().unwrap();
        let disk = CutDisk::new(folder.path(), 40 + cut, u64::from(cut), Some("blobs.slots"));
        let mut batches = 0;
        work(&disk, &mut batches);
        let found = disk.restart();
        let Ok(engine) = SledEngine::open(found.path(), options()) else {
            caught += 1;
            continue;
        };
        for number in 0..batches * 3 {
            match engine.read(&key(number)) {
                Ok(Reading::Found(read)) => assert!(read == blob(number), "it was served"),
                Ok(Reading::Deleted) => assert_eq!(number % 3, 0),
                Ok(Reading::Absent) => panic!("the index was honest, yet {number} is lost"),
                Err(StoreError::Corrupt { .. }) => caught += 1,
                Err(other) => panic!("cut {cut}: {other}"),
            }
        }
    }
    assert!(
        caught > 0,
        "the simulated disk lost nothing, so it proves nothing"
    );
}

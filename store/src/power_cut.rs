//! A simulated power cut.
//!
//! The method: a fake [`Medium`] that needs no privileges. sled opens and writes its file
//! itself, but what makes a file durable passes through `Medium::sync`, so the fake knows
//! of both files what the platter holds: their content at the last sync. A cut takes that,
//! and of every 512-byte sector written since, the new content or the old one, at random:
//! a disk may reorder and tear whatever no flush has fixed. What sled synced on its own
//! (its snapshot, when it opened) counts as whole; of its log it counts for nothing. A cut
//! while a file is replaced leaves either content, one while a folder is removed any part
//! of it.
//!
//! kill -9 leaves the page cache alone and cannot show any of this.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use larder_credentials::ledger::{Entry, Floor};
use larder_credentials::{ClaimTag, Epoch, Reference, References};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::medium::{Disk, Medium};
use crate::suite::sample::{blob, key};
use crate::suite::scene::{Scene, TOKENS};
use crate::{
    Change, Effect, Engine, Enter, Options, Outcome, Payment, Reading, SledEngine, StoreError,
};

const SECTOR: usize = 512;

pub(crate) fn options() -> Options {
    Options {
        cache_bytes: 4 << 20,
        free_space_floor: 0,
        growth_slots: 8,
        ..Options::default()
    }
}

/// A disk whose power fails at the step of a given number, and on which a sync of a file
/// may be a lie. Steps are syncs, replacements and removals.
struct CutDisk {
    folder: PathBuf,
    /// The file, by its name, whose syncs do nothing.
    lies_about: Option<&'static str>,
    state: Mutex<CutState>,
}

struct CutState {
    platter: HashMap<PathBuf, Vec<u8>>,
    steps_left: u32,
    random: StdRng,
    /// What a restart finds, once the power is gone.
    found: Option<TempDir>,
}

impl CutDisk {
    fn new(folder: &Path, steps: u32, seed: u64, lies_about: Option<&'static str>) -> Arc<Self> {
        // What is there when the power comes on has reached the platter.
        let mut platter = HashMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let log = entry.unwrap().path().join("db");
            if let Ok(content) = fs::read(&log) {
                platter.insert(log, content);
            }
        }
        Arc::new(CutDisk {
            folder: folder.to_owned(),
            lies_about,
            state: Mutex::new(CutState {
                platter,
                steps_left: steps,
                random: StdRng::seed_from_u64(seed),
                found: None,
            }),
        })
    }

    /// The store's folder as the power cut left it.
    fn restart(&self) -> TempDir {
        let mut state = self.state.lock().unwrap();
        state.found.take().expect("the power was cut")
    }

    /// Takes a step, unless there is no power any more. If it goes now, `half` is what is
    /// done of the step.
    fn step(
        &self,
        half: impl FnOnce(&mut StdRng) -> io::Result<()>,
    ) -> io::Result<MutexGuard<'_, CutState>> {
        let mut state = self.state.lock().unwrap();
        if state.found.is_some() {
            return Err(io::Error::other("there is no power"));
        }
        if state.steps_left == 0 {
            half(&mut state.random)?;
            self.cut(&mut state)?;
            return Err(io::Error::other("the power went"));
        }
        state.steps_left -= 1;
        Ok(state)
    }

    fn cut(&self, state: &mut CutState) -> io::Result<()> {
        let found = tempfile::tempdir()?;
        let CutState {
            platter, random, ..
        } = state;
        // How much of what was not synced reaches the platter: none, some, or all.
        let arrives = [0.0, 0.3, 0.7, 1.0][random.random_range(0..4)];
        copy_folder(&self.folder, found.path(), &mut |path, now| {
            let synced = match platter.get(path) {
                Some(synced) => synced,
                None if is_fresh_log(path) => &Vec::new(),
                None => return now,
            };
            let mut left = if random.random() {
                now.clone()
            } else {
                synced.clone()
            };
            let len = left.len();
            left.resize(len.max(now.len()), 0);
            for at in (0..left.len()).step_by(SECTOR) {
                let from = if random.random_bool(arrives) {
                    &now
                } else {
                    synced
                };
                let end = (at + SECTOR).min(left.len());
                let sector = &mut left[at..end];
                sector.fill(0);
                let there = from.get(at..end.min(from.len())).unwrap_or_default();
                sector[..there.len()].copy_from_slice(there);
            }
            left.truncate(len);
            left
        })?;
        state.found = Some(found);
        Ok(())
    }
}

impl Medium for CutDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, _file: &File, path: &Path) -> io::Result<()> {
        let mut state = self.step(|_| Ok(()))?;
        let name = path.file_name().and_then(|name| name.to_str());
        if self.lies_about.is_none_or(|lie| name != Some(lie)) || !state.platter.contains_key(path)
        {
            state.platter.insert(path.to_owned(), fs::read(path)?);
        }
        Ok(())
    }

    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        Disk.lengthen(file, from, to)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let state = self.step(|random| match random.random() {
            true => Disk.replace(path, content),
            false => Ok(()),
        })?;
        drop(state);
        Disk.replace(path, content)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let state = self.step(|random| {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_file() && random.random() {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        })?;
        drop(state);
        Disk.remove_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        Disk.free_bytes(folder)
    }
}

/// Whether this is the log of an index that is being written: what was not synced of it has
/// never been there.
fn is_fresh_log(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let fresh = folder.is_some_and(|name| name.to_string_lossy().starts_with("index-"));
    fresh && path.ends_with("db")
}

/// Copies a store, passing each file's content through `change`.
fn copy_folder(
    from: &Path,
    to: &Path,
    change: &mut dyn FnMut(&Path, Vec<u8>) -> Vec<u8>,
) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_folder(&path, &copy, change)?;
        } else {
            let content = change(&path, fs::read(&path)?);
            fs::write(copy, content)?;
        }
    }
    Ok(())
}

/// Batch `n` inserts three blobs and deletes one of batch `n - 2`, under the last epoch's
/// tree of tombstones.
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
    Enter {
        floor: Floor {
            oldest: Epoch(1),
            current: Epoch(current + 1),
        },
        since: 0,
        terms: Vec::new(),
        tombstones_before: 0,
    }
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

//! Several devices, one root key, a rough sea: one history, and nothing acknowledged is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::join_all;
use larder_recovery::RecoveryError;
use larder_recovery::log::cache::{Cached, Name, Storage};
use larder_recovery::log::{Log, News, Registers};
use larder_recovery::seal::BODY_MAX;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::sea::{Sea, Task, run};
use crate::shelf::root;

/// Attempts to write, each with an id of its own, and all that any device was ever told.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Told>>);

#[derive(Default)]
pub(crate) struct Told {
    next: u64,
    /// What is at each place, as far as anybody read it or had it acknowledged.
    history: Vec<Option<u64>>,
    pub(crate) acknowledged: u64,
    pub(crate) violation: Option<String>,
    pub(crate) fenced: u64,
    pub(crate) rolled_up: u64,
}

impl Witness {
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.0.lock().expect("no test panics in here"))
    }

    fn id(&self) -> u64 {
        self.with(|told| {
            told.next += 1;
            told.next
        })
    }

    fn saw(&self, from: usize, ids: &[u64]) {
        self.with(|told| {
            if told.history.len() < from + ids.len() {
                told.history.resize(from + ids.len(), None);
            }
            for (place, id) in told.history[from..].iter_mut().zip(ids) {
                let other = place.replace(*id);
                if other.is_some_and(|other| other != *id) {
                    let both = format!("two records in one place: {other:?}, {id}");
                    told.violation.get_or_insert(both);
                }
            }
        });
    }

    fn violated(&self, what: &str, error: &RecoveryError) {
        self.with(|told| {
            told.violation
                .get_or_insert(format!("{what}: {error}"))
                .len()
        });
    }
}

/// A device: all that it knows, in order.
struct Device {
    log: Log,
    ids: Vec<u64>,
    witness: Witness,
}

/// A record of an id; some are too large for an entry.
fn record(id: u64) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    if id.is_multiple_of(23) {
        bytes.resize(BODY_MAX + 100, 1);
    }
    bytes
}

fn ids(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let id = |id: &[u8]| u64::from_be_bytes(id.try_into().expect("eight bytes"));
    bytes.chunks(8).map(id)
}

impl Device {
    fn learn(&mut self, news: News) {
        if news.anew {
            self.ids.clear();
        }
        if let Some(snapshot) = news.snapshot {
            self.ids = ids(&snapshot).collect();
        }
        for record in news.records {
            assert!(record.len() == 8 || record.len() == BODY_MAX + 100);
            self.ids.extend(ids(&record[..8]));
        }
        self.witness.saw(0, &self.ids);
        assert_eq!(self.ids.len() as u64, self.log.records());
    }

    /// Writes several records at once.
    async fn write(&mut self, count: usize) -> Result<(), RecoveryError> {
        let written = join_all((0..count).map(|_| async {
            let id = self.witness.id();
            let record = self.log.record(record(id), Vec::new()).await?;
            let ticket = self.log.submit(record)?;
            let settled = loop {
                match self.log.settle(ticket).await {
                    Err(RecoveryError::Unreachable(_)) => {}
                    settled => break settled,
                }
            };
            if settled.is_ok() {
                self.witness.saw(ticket.number as usize - 1, &[id]);
                self.witness.with(|told| told.acknowledged += 1);
            }
            settled.map(|()| (ticket.number, id))
        }))
        .await;
        let mut done: Vec<_> = written.iter().filter_map(|w| w.as_ref().ok()).collect();
        done.sort();
        for (number, id) in done {
            assert_eq!(*number, self.ids.len() as u64 + 1, "without gaps");
            self.ids.push(*id);
        }
        written.into_iter().try_for_each(|w| w.map(drop))
    }

    async fn act(&mut self, rng: &mut StdRng) -> Result<(), RecoveryError> {
        match rng.random_range(0..10) {
            0..4 => self.write(rng.random_range(1..5)).await,
            4 => {
                let state: Vec<u8> = self.ids.iter().flat_map(|id| id.to_be_bytes()).collect();
                self.log.roll_up(|| state).await?;
                self.witness.with(|told| told.rolled_up += 1);
                Ok(())
            }
            5 => self.log.confirm().await,
            6 => {
                let news = self.log.follow().await?;
                self.learn(news);
                Ok(())
            }
            _ => self.log.upkeep(30).await.map(drop),
        }
    }
}

/// A cache on a disk that forgets, and now and then comes back out of a backup.
#[derive(Default)]
struct Fickle(Mutex<Disk>);

#[derive(Default)]
struct Disk {
    entries: HashMap<Name, Vec<u8>>,
    backup: HashMap<Name, Vec<u8>>,
    reads: usize,
    /// Every so many reads find nothing.
    loses: usize,
}

impl Fickle {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics in here")
    }

    /// What a new session finds.
    fn restarts(&self, rng: &mut StdRng) {
        let disk = &mut *self.disk();
        match rng.random_range(0..6) {
            0 => disk.entries.clear(),
            1 => disk.entries.clone_from(&disk.backup),
            2 => disk.backup.clone_from(&disk.entries),
            _ => {}
        }
        disk.loses = rng.random_range(2..40);
    }
}

impl Storage for Fickle {
    fn read(&self, name: &Name) -> Option<Vec<u8>> {
        let disk = &mut *self.disk();
        disk.reads += 1;
        let is_there = !disk.reads.is_multiple_of(disk.loses.max(2));
        disk.entries.get(name).cloned().filter(|_| is_there)
    }

    fn write(&self, name: &Name, entry: &[u8]) {
        self.disk().entries.insert(*name, entry.to_vec());
    }

    fn remove(&self, name: &Name) {
        self.disk().entries.remove(name);
    }

    fn retain(&self, keep: &dyn Fn(&Name) -> bool) {
        self.disk().entries.retain(|name, _| keep(name));
    }
}

/// Half of the devices have a cache, and begin where they know the newest generation to have been, now and then.
pub(crate) async fn device(registers: Arc<dyn Registers>, witness: Witness, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let fickle = rng.random::<bool>().then(|| Arc::new(Fickle::default()));
    let registers: Arc<dyn Registers> = match &fickle {
        Some(fickle) => Arc::new(Cached::new(&root(1), registers, fickle.clone())),
        None => registers,
    };
    let mut generation = None;
    let mut actions = 8;
    while actions > 0 {
        let hint = generation.filter(|_| rng.random());
        if let Some(fickle) = &fickle {
            fickle.restarts(&mut rng);
        }
        let log = match Log::open(registers.clone(), &mut rng, hint).await {
            Ok(log) => log,
            Err(RecoveryError::Unreachable(_)) => continue,
            Err(error) => return witness.violated("open", &error),
        };
        let witness = witness.clone();
        let mut device = Device {
            log,
            ids: Vec::new(),
            witness: witness.clone(),
        };
        // Until it crashes.
        while actions > 0 && rng.random_range(0..12) > 0 {
            actions -= 1;
            let acted = match device.act(&mut rng).await {
                Err(RecoveryError::Fenced(_) | RecoveryError::Following) => {
                    device.witness.with(|told| told.fenced += 1);
                    let news = device.log.take_over().await;
                    news.map(|news| device.learn(news))
                }
                acted => acted,
            };
            match acted {
                Ok(()) | Err(RecoveryError::Unreachable(_)) => {}
                Err(error) => return witness.violated("device", &error),
            }
        }
        generation = fickle.is_some().then(|| device.log.generation());
    }
}

/// What a device finds that has only the root key, against all that anybody was told.
pub(crate) async fn restore(registers: Arc<dyn Registers>, last: Witness, mut rng: StdRng) {
    let log = match Log::open(registers, &mut rng, None).await {
        Ok(log) => log,
        Err(error) => return last.violated("restore", &error),
    };
    let news = match log.follow().await {
        Ok(news) => news,
        Err(error) => return last.violated("restore", &error),
    };
    let mut device = Device {
        log,
        ids: Vec::new(),
        witness: last.clone(),
    };
    device.learn(news);
    let restored = device.ids.len();
    last.with(|told| {
        if told.history.len() > restored {
            let lost = format!("{} were seen, {restored} restored", told.history.len());
            told.violation.get_or_insert(lost);
        }
        let mut seen = told.history.clone();
        seen.sort();
        seen.dedup();
        if seen.len() != told.history.len() {
            told.violation
                .get_or_insert("a record is there twice".to_owned());
        }
    });
}

/// One history. What was wrong with it, if anything, and what happened in it.
fn history(seed: u64, tombstones: bool) -> Told {
    let sea = Sea::rough(seed);
    if !tombstones {
        sea.forgets_deletes();
    }
    let mut rng = StdRng::seed_from_u64(seed);
    let witness = Witness::default();
    let devices = rng.random_range(1..=3);
    let tasks =
        (0..devices).map(|_| Task::new(device(sea.registers(), witness.clone(), rng.random())));
    run(&sea, tasks.collect(), &mut rng);
    // Whatever is still under way arrives.
    while sea.tide() {}
    sea.calms_down();
    let restore = Task::new(restore(sea.registers(), witness.clone(), rng));
    run(&Sea::calm(), vec![restore], &mut StdRng::seed_from_u64(0));
    witness.with(std::mem::take)
}

/// As many histories as it takes; in two halves, as tests run side by side.
fn ten_thousand_histories(from: u64) {
    let (mut acknowledged, mut fenced, mut rolled_up) = (0, 0, 0);
    for seed in from..from + 10_000 {
        let told = history(seed, true);
        assert_eq!(told.violation, None, "seed {seed}");
        acknowledged += told.acknowledged;
        fenced += told.fenced;
        rolled_up += told.rolled_up;
    }
    println!("{acknowledged} acknowledged, {fenced} take-overs, {rolled_up} roll-ups");
    assert!(acknowledged > 50_000 && fenced > 25_000 && rolled_up > 2_500);
}

#[test]
fn random_histories_of_up_to_three_devices_lose_nothing_acknowledged_and_never_differ() {
    ten_thousand_histories(0);
}

#[test]
fn ten_thousand_more_such_histories_do_neither() {
    ten_thousand_histories(10_000);
}

#[test]
fn without_tombstones_the_same_histories_lose_acknowledged_commits() {
    let differ = |seed| {
        let violation = history(seed, false).violation;
        violation.is_some_and(|violation| violation.starts_with("two records in one place"))
    };
    let differing = (0..2_000).filter(|&seed| differ(seed)).count();
    println!("{differing} of 2,000");
    assert!(differing > 0);
}

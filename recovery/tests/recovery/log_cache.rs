//! What a device knows of the log it does not ask for again, whatever becomes of what it keeps.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use larder_protocol::Op;
use larder_recovery::log::cache::{Cached, ENTRY_MAX, FolderStorage, MemoryStorage, Name, Storage};
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};
use larder_recovery::log::{Look, OneProvider, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::{Lane, Purpose, RecoveryError, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_shown::{commit, put};
use crate::sea::{Asked, Noted, Sea, Task, round_trips};
use crate::shelf::{Shelf, root};

/// A storage that a test can look into, and spoil.
#[derive(Default)]
struct Open(Mutex<HashMap<Name, Vec<u8>>>);

impl Open {
    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<Name, Vec<u8>>> {
        self.0.lock().expect("no test panics in here")
    }
}

impl Storage for Open {
    fn read(&self, name: &Name) -> Option<Vec<u8>> {
        self.entries().get(name).cloned()
    }

    fn write(&self, name: &Name, entry: &[u8]) {
        assert!(entry.len() <= ENTRY_MAX);
        self.entries().insert(*name, entry.to_vec());
    }

    fn remove(&self, name: &Name) {
        self.entries().remove(name);
    }

    fn retain(&self, keep: &dyn Fn(&Name) -> bool) {
        self.entries().retain(|name, _| keep(name));
    }
}

/// A device with a cache, in front of registers that note what reaches them.
struct Device {
    noted: Arc<Noted>,
    storage: Arc<dyn Storage>,
    sessions: u64,
}

impl Device {
    fn new(registers: Arc<dyn Registers>, storage: Arc<dyn Storage>) -> Self {
        let noted = Noted::new(registers);
        Device {
            noted,
            storage,
            sessions: 0,
        }
    }

    fn cached(&self) -> Arc<Cached> {
        Arc::new(Cached::new(
            &root(1),
            self.noted.clone(),
            self.storage.clone(),
        ))
    }

    async fn open(&mut self, hint: Option<u64>) -> Result<Map, RecoveryError> {
        self.sessions += 1;
        let rng = &mut StdRng::seed_from_u64(100 + self.sessions);
        Map::open(self.cached(), rng, hint).await
    }

    async fn lead(&mut self, hint: Option<u64>) -> Result<Map, RecoveryError> {
        let map = self.open(hint).await?;
        map.take_over().await?;
        Ok(map)
    }

    /// Registers that were looked up since the last call.
    fn looked_up(&self) -> Vec<Slot> {
        let asked = self.noted.take().into_iter();
        let lookups = asked.filter(|(asked, _)| *asked == Asked::Lookup);
        lookups.map(|(_, slot)| slot).collect()
    }
}

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

async fn tidy(map: &Map) {
    while map.log().upkeep(100).await.expect("an honest one") {}
}

async fn value(map: &Map, key: &str) -> Option<Vec<u8>> {
    map.get(key).await.expect("an honest one").value
}

fn three() -> (Vec<Sea>, Arc<dyn Registers>) {
    let seas: Vec<Sea> = (0..3).map(|_| Sea::calm()).collect();
    let quorum = Quorum::new(seas.iter().map(Sea::registers), Policy::majority(3));
    (seas, Arc::new(quorum.expect("majorities overlap")))
}

#[tokio::test]
async fn two_commands_look_up_nothing_that_the_one_before_has_but_the_end_of_the_log() {
    for registers in [Sea::calm().registers(), three().1] {
        let mut device = Device::new(registers, memory());
        // Of a fresh root key nothing is searched for.
        let first = device.lead(Some(0)).await.expect("an honest one");
        assert_eq!(device.looked_up().len(), 1, "the very beginning is empty");
        commit(&first, [put("small", 10), put("large", 3 * BODY_MAX)]).await;
        let generation = first.roll_up().await.expect("an honest one");
        commit(&first, [put("small", 11)]).await;
        drop(first);
        device.looked_up();

        let mut seen = HashSet::new();
        for turn in 0..4 {
            let map = device.open(Some(generation)).await.expect("an honest one");
            assert_eq!(value(&map, "large").await, Some(vec![7; 3 * BODY_MAX]));
            assert_eq!(map.commits(), 2);
            let end = map.log().ahead()[0];
            assert_eq!(device.looked_up(), [end], "read {turn}");
        }
        for turn in 0..4 {
            let map = device.lead(Some(generation)).await.expect("an honest one");
            let looked_up = device.looked_up();
            // The last register, which vouches for the rest, and the place behind it.
            assert_eq!(looked_up.len(), 2, "write {turn}");
            for slot in looked_up {
                assert!(seen.insert(slot), "write {turn}");
            }
            commit(&map, [put("small", 20 + turn)]).await;
            assert_eq!(device.looked_up(), []);
        }
    }
}

#[tokio::test]
async fn what_another_device_wrote_is_looked_up_once_and_no_further() {
    let sea = Sea::calm();
    let mut one = Device::new(sea.registers(), memory());
    let mut two = Device::new(sea.registers(), memory());
    let writer = one.lead(Some(0)).await.expect("an honest one");
    commit(&writer, [put("a", 1)]).await;
    two.open(Some(0)).await.expect("an honest one");
    commit(&writer, [put("b", 1)]).await;
    two.looked_up();
    let map = two.open(Some(0)).await.expect("an honest one");
    assert_eq!(map.commits(), 2);
    assert_eq!(two.looked_up().len(), 2, "the new entry, and the end");
}

#[test]
fn whoever_reads_much_of_one_segment_reads_it_at_once_and_who_reads_little_looks_for_nothing_in_vain()
 {
    let sea = Sea::smooth(1);
    sea.calms_down();
    let write = |sea: Sea, count: u8| async move {
        let map = crate::log_shown::lead(sea.registers(), 1).await;
        let map = map.expect("an honest one");
        for n in 0..count {
            commit(&map, [put("k", n.into())]).await;
        }
    };
    let done = &mut StdRng::seed_from_u64(1);
    crate::sea::run(&sea, vec![Task::new(write(sea.clone(), 100))], done);
    sea.gets_rough();
    let before = sea.requests();
    let registers = sea.registers();
    let read = Task::new(async move {
        let map = Map::open(registers, &mut StdRng::seed_from_u64(2), Some(0)).await;
        assert_eq!(map.expect("an honest one").commits(), 100);
    });
    let round_trips = round_trips(std::slice::from_ref(&sea), read);
    assert!(round_trips < 30, "{round_trips}");
    let in_vain = sea.requests() - before - 102;
    assert!((1..=32).contains(&in_vain), "{in_vain}");
}

#[tokio::test]
async fn other_devices_roll_ups_are_found_without_a_search() {
    let sea = Sea::calm();
    let mut one = Device::new(sea.registers(), memory());
    let mut two = Device::new(sea.registers(), memory());
    let writer = one.lead(Some(0)).await.expect("an honest one");
    commit(&writer, [put("a", 1)]).await;
    two.open(Some(0)).await.expect("an honest one");
    two.looked_up();
    let mut hint = 0;
    for roll_ups in [1, 0, 2, 7, 30] {
        for _ in 0..roll_ups {
            commit(&writer, [put("a", 2)]).await;
            writer.roll_up().await.expect("an honest one");
        }
        tidy(&writer).await;
        let map = two.open(Some(hint)).await.expect("an honest one");
        assert_eq!(map.commits(), writer.commits());
        let anchors = two.looked_up().into_iter();
        let anchors = anchors.filter(|slot| slot.purpose == Purpose::Anchor);
        let anchors = anchors.count();
        // The old one at most, the new one, and what is between them.
        let most = 2 + 2 * (64 - u64::leading_zeros(roll_ups) as usize);
        assert!(anchors <= most, "{anchors} for {roll_ups}");
        hint = map.log().generation();
    }
}

/// A wallet's log, and what a device has kept of it.
async fn kept() -> (Sea, Arc<Open>, u64) {
    let (sea, storage) = (Sea::calm(), Arc::new(Open::default()));
    let mut device = Device::new(sea.registers(), storage.clone());
    let map = device.lead(Some(0)).await.expect("an honest one");
    commit(&map, [put("large", 2 * BODY_MAX)]).await;
    let generation = map.roll_up().await.expect("an honest one");
    tidy(&map).await;
    for n in 0..6 {
        commit(&map, [put("small", n)]).await;
    }
    (sea, storage, generation)
}

#[tokio::test]
async fn a_cache_that_is_lost_old_damaged_cut_short_or_moved_is_as_if_it_were_not_there() {
    let (sea, storage, generation) = kept().await;
    let whole = storage.entries().clone();
    assert!(whole.len() > 8);
    let names: Vec<Name> = whole.keys().copied().collect();
    let spoilt: Vec<HashMap<Name, Vec<u8>>> = [
        HashMap::new(),
        // Every one of them is that of its neighbour.
        names
            .iter()
            .zip(names.iter().cycle().skip(1))
            .map(|(name, other)| (*name, whole[other].clone()))
            .collect(),
    ]
    .into_iter()
    .chain((0..12).map(|seed| {
        let spoil = |(at, name): (usize, &Name)| {
            let mut entry = whole[name].clone();
            match (at + seed) % 4 {
                0 => return None,
                1 => entry.truncate(entry.len() * (seed + at) % entry.len()),
                2 => {
                    let at = (seed * 7_919 + at) % entry.len();
                    entry[at] ^= 1 << (seed % 8);
                }
                _ => {}
            }
            Some((*name, entry))
        };
        names.iter().enumerate().filter_map(spoil).collect()
    }))
    .collect();
    for (at, entries) in spoilt.into_iter().enumerate() {
        *storage.entries() = entries;
        let mut device = Device::new(sea.registers(), storage.clone());
        let map = device.open(Some(generation)).await.expect("an honest one");
        assert_eq!(map.commits(), 7, "{at}");
        assert_eq!(value(&map, "small").await, Some(vec![7; 5]), "{at}");
        assert_eq!(value(&map, "large").await, Some(vec![7; 2 * BODY_MAX]));
        map.take_over().await.expect("an honest one");
        // What was missing is there again.
        device.looked_up();
        device.open(Some(generation)).await.expect("an honest one");
        assert_eq!(device.looked_up().len(), 1, "{at}");
    }
}

#[tokio::test]
async fn nothing_is_believed_that_another_root_key_has_sealed() {
    let (sea, storage, generation) = kept().await;
    // Another wallet's entry under this one's name, as a disk can have it.
    let slot = larder_recovery::log::anchor::anchor_slot(generation);
    let strangers = Arc::new(Open::default());
    let stranger = Cached::new(&root(2), sea.registers(), strangers.clone());
    let Ok(Look::Found(anchor)) = stranger.lookup(slot).await else {
        panic!("it is there");
    };
    let theirs = strangers.entries().values().next().cloned();
    let theirs = theirs.expect("it was kept");
    assert!(stranger.kept(&slot) == Some(anchor));
    for entry in storage.entries().values_mut() {
        entry.clone_from(&theirs);
    }
    let ours = Cached::new(&root(1), sea.registers(), storage.clone());
    assert!(ours.kept(&slot).is_none());
    // Nor does an entry say what it is.
    let (small, long) = (theirs.len(), theirs.windows(4).any(|four| four == [0; 4]));
    assert!(small < ENTRY_MAX && !long);
}

#[tokio::test]
async fn that_a_register_is_empty_or_deleted_is_asked_for_every_time() {
    let sea = Sea::calm();
    let device = Device::new(sea.registers(), memory());
    let (cached, slot) = (device.cached(), crate::quorum_deletes::SLOT);
    let entry = crate::quorum_deletes::contents(larder_recovery::seal::Kind::Entry);
    let look = async || cached.lookup(slot).await.expect("an honest one");
    assert!(look().await == Look::Absent && look().await == Look::Absent);
    assert_eq!(device.looked_up().len(), 2);
    // Another device fills it.
    sea.registers().insert(slot, &entry).await.expect("honest");
    assert!(look().await == Look::Found(entry.clone()));
    assert!(look().await == Look::Found(entry));
    assert_eq!(device.looked_up().len(), 1);
    cached.delete(slot).await.expect("an honest one");
    assert!(look().await == Look::Deleted && look().await == Look::Deleted);
    assert_eq!(device.looked_up().len(), 2);
}

#[tokio::test]
async fn a_storage_node_that_shows_no_history_behind_an_anchor_is_not_asked_for_ever() {
    // In the place of the first entry, of one in the middle, and where nothing is yet.
    for index in [0, 3, 6] {
        let (sea, storage, generation) = kept().await;
        let slot = Slot {
            purpose: Purpose::Log,
            lane: Lane::default(),
            generation,
            index,
        };
        let mut shown = sea.backup();
        assert_eq!(shown.contains_key(&slot), index < 6);
        let torn = crate::quorum_deletes::contents(larder_recovery::seal::Kind::Entry);
        shown.insert(slot, Some(torn));
        sea.rolls_back(shown);
        // To a device that knows nothing, as after a loss, and to one that has kept all there was, and does not ask for that.
        let knows_nothing = [(memory(), None), (memory(), Some(generation))];
        let has_kept = (index == 6).then_some((storage as Arc<dyn Storage>, Some(generation)));
        for (storage, hint) in knows_nothing.into_iter().chain(has_kept) {
            // It would not end by itself.
            sea.cut_after(200, false);
            let mut device = Device::new(sea.registers(), storage);
            let opened = device.open(hint).await.map(drop);
            assert!(
                matches!(opened, Err(RecoveryError::Misbehaved(_))),
                "{index} {hint:?}: {opened:?}"
            );
            assert!(
                device
                    .looked_up()
                    .iter()
                    .filter(|asked| **asked == slot)
                    .count()
                    <= 2,
                "{index} {hint:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_storage_node_that_was_rolled_back_is_noticed_before_anything_is_written_behind_it() {
    for is_rolled_up in [false, true] {
        let sea = Sea::calm();
        let mut device = Device::new(sea.registers(), memory());
        let map = device.lead(Some(0)).await.expect("an honest one");
        let mut generation = 0;
        commit(&map, [put("a", 1)]).await;
        if is_rolled_up {
            generation = map.roll_up().await.expect("an honest one");
        }
        let backup = sea.backup();
        commit(&map, [put("a", 2)]).await;
        drop(map);
        sea.rolls_back(backup);
        // Who reads is shown what was acknowledged.
        let map = device.open(Some(generation)).await.expect("an honest one");
        assert_eq!(map.commits(), 2);
        let refused = map.take_over().await;
        assert!(matches!(refused, Err(RecoveryError::OlderState { .. })));
        let before = sea.full().len();
        let refused = device.lead(Some(generation)).await.err();
        assert!(matches!(refused, Some(RecoveryError::OlderState { .. })));
        assert_eq!(sea.full().len(), before, "nothing was written");
        // As a wallet does that is told to forget what it knows.
        device.storage.retain(&|_| false);
        let map = device.lead(None).await.expect("it is believed now");
        assert_eq!(map.commits(), 1);
    }
}

#[tokio::test]
async fn what_is_kept_of_a_history_that_was_given_up_gives_way_to_the_one_that_is_there() {
    for is_rolled_up in [false, true] {
        let (sea, storage) = (Sea::calm(), Arc::new(Open::default()));
        let mut device = Device::new(sea.registers(), storage.clone());
        let map = device.lead(Some(0)).await.expect("an honest one");
        let mut generation = 0;
        commit(&map, [put("a", 1)]).await;
        if is_rolled_up {
            generation = map.roll_up().await.expect("an honest one");
        }
        let backup = sea.backup();
        commit(&map, [put("lost", 2)]).await;
        let old = storage.entries().clone();
        sea.rolls_back(backup);
        // It was told to, and goes on from there.
        storage.entries().clear();
        let map = device.lead(None).await.expect("it is believed now");
        commit(&map, [put("a", 3)]).await;
        commit(&map, [put("a", 4)]).await;
        drop(map);
        // What it kept comes back out of a backup.
        storage.entries().extend(old.clone());
        let map = device.lead(Some(generation)).await.expect("an honest one");
        assert_eq!(value(&map, "a").await, Some(vec![7; 4]));
        assert_eq!(value(&map, "lost").await, None);
        assert_eq!(map.commits(), 3);
        commit(&map, [put("a", 5)]).await;
        let other = Map::open(sea.registers(), &mut StdRng::seed_from_u64(9), None).await;
        assert_eq!(value(&other.expect("honest"), "a").await, Some(vec![7; 5]));
    }
}

#[tokio::test]
async fn a_device_that_slept_with_its_cache_through_roll_ups_is_fenced_and_reads_on() {
    let sea = Sea::calm();
    let mut one = Device::new(sea.registers(), memory());
    let sleeper = one.lead(Some(0)).await.expect("an honest one");
    commit(&sleeper, [put("a", 1)]).await;
    let mut two = Device::new(sea.registers(), memory());
    let map = two.lead(Some(0)).await.expect("an honest one");
    for n in 2..5 {
        commit(&map, [put("a", n)]).await;
        map.roll_up().await.expect("an honest one");
    }
    tidy(&map).await;
    let late = sleeper.commit(Commit::of([Write::put("a", Expect::Any, "late")]));
    let late = late.await;
    assert!(matches!(
        late,
        Err(CommitError::Failed(RecoveryError::Fenced(_)))
    ));
    sleeper.take_over().await.expect("an honest one");
    assert_eq!(value(&sleeper, "a").await, Some(vec![7; 4]));
    let again = one.lead(Some(0)).await.expect("an honest one");
    assert_eq!(again.commits(), 4);
}

#[tokio::test]
async fn what_is_known_is_deleted_without_a_look_at_it_from_one_or_three() {
    let (seas, quorum) = three();
    let one = Sea::calm();
    for (registers, all) in [(one.registers(), vec![one]), (quorum, seas)] {
        let mut device = Device::new(registers, memory());
        for round in 0..3 {
            let map = device.lead(Some(round)).await.expect("an honest one");
            // It has seen that done.
            map.log().assume_tidy();
            commit(&map, [put("large", 5 * BODY_MAX)]).await;
            commit(&map, [put("large", 6 * BODY_MAX)]).await;
            map.roll_up().await.expect("an honest one");
            device.noted.take();
            tidy(&map).await;
            let asked = device.noted.take();
            assert!(asked.len() > 8);
            assert!(
                asked.iter().all(|(asked, _)| *asked == Asked::Erase),
                "{asked:?}"
            );
            let named: HashSet<Slot> = map.slots().collect();
            for sea in &all {
                let mut full = sea.full();
                // The places of later rounds have lanes of their own.
                full.retain(|slot| slot.purpose == Purpose::Chunk && !named.contains(slot));
                assert_eq!(full, []);
            }
        }
    }
}

#[tokio::test]
async fn blobs_of_a_real_storage_node_are_deleted_by_a_hash_that_is_computed_anew() {
    let shelf = Shelf::new();
    let registers = Arc::new(OneProvider::new(&root(1), shelf.connect(1).await));
    let mut device = Device::new(registers, memory());
    let map = device.lead(Some(0)).await.expect("an honest one");
    commit(&map, [put("large", 3 * BODY_MAX)]).await;
    commit(&map, [put("large", 1)]).await;
    map.roll_up().await.expect("an honest one");
    let before = (shelf.count(Op::Lookup), shelf.blobs().len());
    tidy(&map).await;
    assert_eq!(shelf.count(Op::Lookup), before.0);
    // A seal, two entries, the seal of the roll-up, and three chunks.
    assert_eq!(before.1 - shelf.blobs().len(), 7);
    // What is not known is looked at first.
    let registers = Arc::new(OneProvider::new(&root(1), shelf.connect(2).await));
    let other = Map::open(registers, &mut StdRng::seed_from_u64(2), None).await;
    let other = other.expect("an honest one");
    other.take_over().await.expect("an honest one");
    other.roll_up().await.expect("an honest one");
    tidy(&other).await;
    assert!(shelf.count(Op::Lookup) > before.0);
}

#[tokio::test]
async fn restores_fill_a_cache_in_a_folder_and_commands_keep_it_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sea, _, generation) = kept().await;
    let storage = || Arc::new(FolderStorage::new(folder.path(), 1 << 20));
    let mut restored = Device::new(sea.registers(), storage());
    let map = restored.open(None).await.expect("an honest one");
    assert_eq!(value(&map, "large").await, Some(vec![7; 2 * BODY_MAX]));
    drop(map);
    let mut next = Device::new(sea.registers(), storage());
    next.sessions = 50;
    let map = next.lead(Some(generation)).await.expect("an honest one");
    assert_eq!(value(&map, "large").await, Some(vec![7; 2 * BODY_MAX]));
    assert_eq!(next.looked_up().len(), 2);
    let files = || std::fs::read_dir(folder.path()).expect("there").count();
    for _ in 0..3 {
        for n in 0..10 {
            commit(&map, [put("small", n)]).await;
        }
        map.roll_up().await.expect("an honest one");
        tidy(&map).await;
        assert!(files() < 20, "{}", files());
    }
    next.cached().retain([]);
    assert_eq!(files(), 0);
}

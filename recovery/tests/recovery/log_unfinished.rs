//! A session is killed between the chunks of a value and the entry that names them: nothing stays behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_recovery::log::cache::{Cached, MemoryStorage};
use larder_recovery::log::map::{Commit, Map, Write};
use larder_recovery::log::register::Answer;
use larder_recovery::log::unfinished::Unfinished;
use larder_recovery::log::{Log, Look, Put, Registers, Ticket};
use larder_recovery::seal::{BODY_MAX, Contents, Kind};
use larder_recovery::{RecoveryError, Removed, Slot, Unreachable};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_shown::{commit, lead, put};
use crate::sea::Sea;
use crate::shelf::root;

/// What survives a device.
type File = Vec<[u8; 40]>;

fn keep(file: &mut File, unfinished: Unfinished) {
    file.push(unfinished.to_bytes());
}

fn read(file: &File) -> impl Iterator<Item = Unfinished> {
    let read = |bytes: &[u8; 40]| Unfinished::from_bytes(bytes).expect("it was written");
    file.iter().map(read)
}

async fn next(sea: &Sea, seed: u64) -> Map {
    let led = lead(sea.registers(), seed).await;
    led.expect("an honest one")
}

async fn tidy(map: &Map) {
    while map.log().upkeep(100).await.expect("an honest one") {}
}

fn unnamed(sea: &Sea, map: &Map) -> Vec<Slot> {
    let named: Vec<Slot> = map.slots().collect();
    let mut full = sea.full();
    full.retain(|slot| !named.contains(slot));
    full
}

/// Everything that is stored in chunks: values, a record, a snapshot.
async fn life(sea: Sea, file: &mut File) -> Result<(), RecoveryError> {
    let stored = async |map: &Map, writes: Vec<Write>| {
        let stored = map.commit(Commit::of(writes)).await;
        stored.map_err(|_| RecoveryError::Following)
    };
    let map = lead(sea.registers(), 1).await?;
    let large = |count: usize| put("large", count * BODY_MAX);
    keep(file, map.unfinished(2, 4 * BODY_MAX as u64));
    stored(&map, vec![large(3)]).await?;
    stored(&map, vec![large(4)]).await?;
    keep(file, map.unfinished(1, 2 * BODY_MAX as u64));
    let many = (0..6).map(|n| put(&format!("small/{n}"), 4_000));
    stored(&map, many.collect()).await?;
    keep(file, map.unfinished(1, map.snapshot_len()));
    map.roll_up().await?;
    while map.log().upkeep(5).await? {}
    file.clear();
    Ok(())
}

#[tokio::test]
async fn at_whatever_request_a_session_is_killed_the_next_one_leaves_nothing_that_nothing_names() {
    let whole = Sea::calm();
    let done = life(whole.clone(), &mut File::new()).await;
    done.expect("nobody kills it");
    let mut found = 0;
    for cut in 0..whole.requests() {
        for last_counts in [false, true] {
            let (sea, mut file) = (Sea::calm(), File::new());
            sea.cut_after(cut, last_counts);
            assert!(life(sea.clone(), &mut file).await.is_err());
            sea.power_is_back();
            let heir = next(&sea, 2).await;
            // What is due by the log alone.
            tidy(&heir).await;
            found += unnamed(&sea, &heir).len();
            for unfinished in read(&file) {
                heir.abandon(unfinished).expect("it writes");
            }
            tidy(&heir).await;
            assert_eq!(unnamed(&sea, &heir), [], "{cut}, done: {last_counts}");
        }
    }
    assert!(found > 0, "nothing was ever left behind");
}

#[tokio::test]
async fn what_the_map_names_is_not_deleted_with_what_it_does_not() {
    let sea = Sea::calm();
    let killed = next(&sea, 1).await;
    let unfinished = killed.unfinished(2, 4 * BODY_MAX as u64);
    commit(&killed, [put("kept", 3 * BODY_MAX)]).await;
    let before = sea.full().len();
    // Its second value is stored, and no commit names it.
    let chunks = killed.log().store(&vec![8; 4 * BODY_MAX]).await;
    assert!(chunks.is_ok());
    assert_eq!(sea.full().len(), before + 4);
    drop(killed);

    let next = Map::open(sea.registers(), &mut StdRng::seed_from_u64(2), None).await;
    let next = next.expect("an honest one");
    assert_eq!(next.abandon(unfinished), Err(RecoveryError::Following));
    next.take_over().await.expect("an honest one");
    next.abandon(unfinished).expect("it writes");
    tidy(&next).await;
    // One more is the seal.
    assert_eq!(sea.full().len(), before + 1);
    let kept = next.get("kept").await.expect("an honest one").value;
    assert_eq!(kept, Some(vec![7; 3 * BODY_MAX]));
}

#[tokio::test]
async fn what_the_next_session_has_not_yet_replaced_is_not_deleted() {
    let sea = Sea::calm();
    let killed = next(&sea, 1).await;
    let unfinished = killed.unfinished(1, 3 * BODY_MAX as u64);
    commit(&killed, [put("kept", 3 * BODY_MAX)]).await;
    drop(killed);

    let heir = next(&sea, 2).await;
    sea.is_down(true);
    let replaced = heir.commit(Commit::of([put("kept", 1)])).await;
    assert!(replaced.is_err());
    sea.is_down(false);
    heir.abandon(unfinished).expect("it writes");
    tidy(&heir).await;
    drop(heir);
    let last = next(&sea, 3).await;
    let kept = last.get("kept").await.expect("an honest one").value;
    assert_eq!(kept, Some(vec![7; 3 * BODY_MAX]));
}

#[tokio::test]
async fn what_was_abandoned_is_remembered_over_a_roll_up_and_another_death() {
    let sea = Sea::calm();
    let killed = next(&sea, 1).await;
    let unfinished = [0, 4 * BODY_MAX as u64].map(|len| killed.unfinished(1, len));
    let chunks = killed.log().store(&vec![8; 4 * BODY_MAX]).await;
    assert!(chunks.is_ok());
    drop(killed);
    let heir = next(&sea, 2).await;
    for unfinished in unfinished {
        heir.abandon(unfinished).expect("it writes");
    }
    heir.roll_up().await.expect("an honest one");
    drop(heir);
    let last = next(&sea, 3).await;
    assert!(!unnamed(&sea, &last).is_empty());
    tidy(&last).await;
    assert_eq!(unnamed(&sea, &last), []);
}

#[tokio::test]
async fn a_note_tells_of_no_more_than_a_session_can_have_stored() {
    let map = next(&Sea::calm(), 1).await;
    let most = map.unfinished(u64::MAX, u64::MAX).to_bytes();
    assert!(Unfinished::from_bytes(&most).is_some());
    // The last byte of how many, and of how long.
    for at in [31, 39] {
        let mut more = most;
        more[at] += 1;
        assert!(Unfinished::from_bytes(&more).is_none(), "{at}");
    }
    assert!(Unfinished::from_bytes(&most[1..]).is_none());
}

/// Registers one of which cannot be filled with an entry.
struct Hole {
    registers: Arc<dyn Registers>,
    index: u64,
    is_open: AtomicBool,
}

impl Registers for Hole {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        let is_here = slot.index == self.index && contents.kind == Kind::Entry;
        if is_here && self.is_open.load(Ordering::Relaxed) {
            let advice = "there is a hole".to_owned();
            return Box::pin(async { Err(Unreachable { advice }.into()) });
        }
        self.registers.insert(slot, contents)
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.registers.lookup(slot)
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.registers.delete(slot)
    }
}

/// A writer with two durable entries, then one that cannot be stored, and three in flight behind that.
async fn with_entries_in_flight(sea: &Sea) -> (Arc<Hole>, Log, Ticket) {
    let hole = Arc::new(Hole {
        registers: sea.registers(),
        index: 2,
        is_open: AtomicBool::new(true),
    });
    let log = Log::open(hole.clone(), &mut StdRng::seed_from_u64(1), Some(0)).await;
    let log = log.expect("an honest one");
    log.take_over().await.expect("an honest one");
    let mut last = None;
    for _ in 0..6 {
        // A commit that puts one value, of which two do not fit one entry.
        let mut commit = vec![0, 0, 0, 1, b'k', 0, 0, 0x27, 0x10];
        commit.resize(9 + 10_000, 1);
        let record = log.record(commit, Vec::new()).await;
        last = Some(log.submit(record.expect("it fits")).expect("it leads"));
    }
    let last = last.expect("six");
    for _ in 0..12 {
        assert!(log.settle(last).await.is_err());
    }
    assert_eq!(log.records(), 2);
    // A seal and five of the six entries.
    assert_eq!(sea.full().len(), 6);
    (hole, log, last)
}

/// How many are behind the place where the segment ended.
fn behind(sea: &Sea, log: &Log) -> usize {
    let mut full = sea.full();
    let named: Vec<Slot> = log.slots().collect();
    full.retain(|slot| !named.contains(slot));
    full.len()
}

#[tokio::test]
async fn what_a_writer_had_in_flight_when_it_was_fenced_it_deletes() {
    let sea = Sea::calm();
    let (hole, writer, last) = with_entries_in_flight(&sea).await;
    let heir = next(&sea, 2).await;
    assert_eq!(behind(&sea, heir.log()), 3);
    // The other device knows nothing of them.
    tidy(&heir).await;
    assert_eq!(behind(&sea, heir.log()), 3);
    hole.is_open.store(false, Ordering::Relaxed);
    let fenced = writer.settle(last).await;
    assert!(matches!(fenced, Err(RecoveryError::Fenced(_))));
    while writer.upkeep(1).await.expect("an honest one") {}
    assert_eq!(behind(&sea, heir.log()), 0);
    assert_eq!(heir.log().records(), 2, "what counts is still there");
    assert_eq!(next(&sea, 3).await.log().records(), 2);
}

#[tokio::test]
async fn what_a_killed_writer_had_in_flight_the_next_session_deletes_and_looks_behind_no_other_seal()
 {
    let sea = Sea::calm();
    let (_, writer, _) = with_entries_in_flight(&sea).await;
    let mut note = writer.writer().0.to_vec();
    note.extend([0; 24]);
    let note = Unfinished::from_bytes(&note).expect("it tells of no value");
    drop(writer);
    // Another device is faster.
    drop(next(&sea, 2).await);
    let heir = next(&sea, 3).await;
    heir.abandon(note).expect("it writes");
    // What is known to be there, and what may be.
    assert_eq!(heir.log().due().len(), 15);
    tidy(&heir).await;
    assert_eq!(behind(&sea, heir.log()), 0);
    heir.roll_up().await.expect("an honest one");
    // Three seals, two entries, and the seal of the roll-up: nothing is looked for that is not there.
    assert_eq!(heir.log().due().len(), 6);
    tidy(&heir).await;
    assert_eq!(unnamed(&sea, &heir), []);
}

#[tokio::test]
async fn what_was_replaced_before_a_roll_up_that_was_killed_is_deleted_by_whoever_reads_over_it() {
    let (sea, storage) = (Sea::calm(), Arc::new(MemoryStorage::new()));
    let open = async |seed: u64, hint: u64| {
        let cached = Cached::new(&root(1), sea.registers(), storage.clone());
        let rng = &mut StdRng::seed_from_u64(seed);
        let map = Map::open(Arc::new(cached), rng, Some(hint)).await;
        let map = map.expect("an honest one");
        map.take_over().await.expect("an honest one");
        map
    };
    let first = open(1, 0).await;
    commit(&first, [put("value", 3 * BODY_MAX)]).await;
    drop(first);
    // It replaces the value, rolls up, and is killed before it deletes or remembers anything.
    let killed = open(2, 0).await;
    commit(&killed, [put("value", 1)]).await;
    assert_eq!(killed.roll_up().await, Ok(1));
    drop(killed);
    // The next one begins where it knows the newest generation to have been, and reads over the roll-up.
    let next = open(3, 0).await;
    assert_eq!(next.log().generation(), 1);
    tidy(&next).await;
    let left = next.log().take_due();
    assert_eq!(left.count(), 0, "as far as this device knows");
    drop(next);
    let last = open(4, 1).await;
    last.log().resume(left);
    tidy(&last).await;
    assert_eq!(unnamed(&sea, &last), []);
}

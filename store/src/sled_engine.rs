//! The default engine: a slot file for the blobs, sled for everything small.
//!
//! | step of a commit | what a crash after it leaves |
//! | --- | --- |
//! | write the blobs into free slots | bytes in slots that no record names |
//! | `fdatasync` of the slot file | the same |
//! | one sled transaction over all trees, `flush` | the batch, or nothing of it |
//! | `fdatasync` of sled's file | the batch |
//! | witness, release of emptied slots, acknowledgement | the batch |
//!
//! The index never names bytes that are not on the disk. A slot is reused only after the
//! batch that emptied it is durable. A reader takes no lock on a slot: it may lose a race
//! against a delete and the slot's next blob, but then neither the hash nor the index
//! agrees any more, and it looks the key up again. Other bytes are never returned.
//!
//! The first error in a commit stops the engine; see [`StoreError::Stopped`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_protocol::{Blob, Key};

use crate::books::Books;
use crate::folder;
use crate::free_slots::FreeSlots;
use crate::in_flight::InFlight;
use crate::index::{Change, INDEX, Index, State, TOMBSTONES};
use crate::medium::{Disk, Medium};
use crate::record::{Record, TAIL_LEN};
use crate::slot_file::{SLOT_LEN, SlotFile};
use crate::{Effect, Engine, Outcome, Place, Reading, Stat, StoreError, Usage};

/// How a store is opened; none of it is written down.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of sled's page cache. 64 MiB by default.
    pub cache_bytes: u64,
    /// Inserts are refused when fewer bytes than this are free on the disk: the index
    /// needs room for deletes, and the neighbours have to live, too. 1 GiB by default.
    pub free_space_floor: u64,
    /// Slots by which the slot file grows. 2,048 (32 MiB) by default.
    pub growth_slots: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cache_bytes: 64 << 20,
            free_space_floor: 1 << 30,
            growth_slots: 2048,
        }
    }
}

/// A store in one folder: `blobs.slots`, sled's folder `index`, and `lock`.
pub struct SledEngine {
    folder: PathBuf,
    options: Options,
    medium: Arc<dyn Medium>,
    slots: SlotFile,
    index: Index,
    in_flight: InFlight,
    writer: Mutex<Writer>,
    /// The writer's counts, so that nobody waits for a commit in order to see them.
    blobs: AtomicU64,
    tombstones: AtomicU64,
    /// Last, so that it outlives what it guards.
    _lock: folder::Lock,
}

/// What only the one commit at a time may touch.
struct Writer {
    free: FreeSlots,
    books: Books,
    stopped: bool,
}

/// What a batch does to one key.
struct Step {
    before: State,
    after: State,
    /// The blob of `after`, if it is new.
    blob: Option<Blob>,
}

impl SledEngine {
    /// Opens the store in `folder`, or creates one there.
    ///
    /// Reads the whole index once. Afterwards all that it shows is durable.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::UnknownFormat`], [`StoreError::Corrupt`] when
    /// index and slot file are not what they were when the last commit was acknowledged,
    /// [`StoreError::Io`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_on(folder, options, Arc::new(Disk))
    }

    pub(crate) fn open_on(
        folder: &Path,
        options: Options,
        medium: Arc<dyn Medium>,
    ) -> Result<Self, StoreError> {
        let lock = folder::lock(folder)?;
        let (index, slots) = guarded(|| folder::open(folder, options.cache_bytes, &medium))?;

        let (capacity, _) = slots.extent()?;
        let mut free = FreeSlots::all(capacity);
        let books = guarded(|| {
            index.audit(|record| {
                if free.occupy(record.slot) {
                    return Ok(());
                }
                let what = if record.slot < capacity {
                    "two records name it"
                } else {
                    "the file ends before it"
                };
                Err(StoreError::corrupt(Place::Slot(record.slot), what))
            })
        })?;
        if books.commits < slots.witnessed()? {
            let what = "it is older than the slot file: acknowledged commits are missing";
            return Err(StoreError::corrupt(Place::Index, what));
        }
        // What a killed process wrote and never synced is shown from here on.
        slots.sync()?;
        guarded(|| index.sync())?;

        Ok(SledEngine {
            folder: folder.to_owned(),
            options,
            medium,
            slots,
            index,
            in_flight: InFlight::default(),
            blobs: AtomicU64::new(books.count(INDEX)),
            tombstones: AtomicU64::new(books.count(TOMBSTONES)),
            writer: Mutex::new(Writer {
                free,
                books,
                stopped: false,
            }),
            _lock: lock,
        })
    }

    /// The state of a key that is durable, and stays what it is if the power goes now.
    fn state(&self, key: &Key) -> Result<State, StoreError> {
        loop {
            let state = guarded(|| self.index.state(key))?;
            if !self.in_flight.wait_for(key)? {
                return Ok(state);
            }
        }
    }

    fn commit_alone(
        &self,
        writer: &mut Writer,
        batch: Vec<Effect>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let (outcomes, steps) = self.plan(&mut writer.free, batch)?;
        let mut changes = Vec::with_capacity(steps.len());
        let mut wrote = false;
        for (
            key,
            Step {
                before,
                after,
                blob,
            },
        ) in steps
        {
            if let (State::Present(record), Some(blob)) = (after, blob) {
                self.slots.write(record.slot, &blob)?;
                wrote = true;
            }
            if before != after {
                changes.push(Change { key, before, after });
            }
        }
        if changes.is_empty() {
            return Ok(outcomes);
        }
        if wrote {
            self.slots.sync()?;
        }
        self.in_flight
            .depart(changes.iter().map(|change| change.key));
        self.index.apply(&mut writer.books, &changes)?;
        self.slots.witness(writer.books.commits)?;
        self.in_flight.land();
        for change in &changes {
            if let State::Present(record) = change.before {
                writer.free.release(record.slot);
            }
        }
        self.blobs
            .store(writer.books.count(INDEX), Ordering::Relaxed);
        self.tombstones
            .store(writer.books.count(TOMBSTONES), Ordering::Relaxed);
        Ok(outcomes)
    }

    /// Decides what becomes of each effect, without writing anything.
    fn plan(
        &self,
        free: &mut FreeSlots,
        batch: Vec<Effect>,
    ) -> Result<(Vec<Outcome>, HashMap<Key, Step>), StoreError> {
        let inserts = batch
            .iter()
            .any(|effect| matches!(effect, Effect::Insert { .. }));
        let mut room = if inserts {
            self.free_bytes()?
                .checked_sub(self.options.free_space_floor)
        } else {
            None
        };
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut steps: HashMap<Key, Step> = HashMap::with_capacity(batch.len());
        for effect in batch {
            let (Effect::Insert { key, .. } | Effect::Delete { key, .. }) = effect;
            let step = match steps.entry(key) {
                Entry::Occupied(step) => step.into_mut(),
                Entry::Vacant(vacant) => {
                    let state = self.index.state(&key)?;
                    vacant.insert(Step {
                        before: state,
                        after: state,
                        blob: None,
                    })
                }
            };
            outcomes.push(match (effect, step.after) {
                (_, State::Deleted { .. }) => Outcome::Deleted,
                (Effect::Insert { .. }, State::Present(record)) => {
                    Outcome::AlreadyExists(record.hash())
                }
                (Effect::Insert { blob, .. }, State::Absent) => {
                    match self.take_slot(free, &mut room)? {
                        Some(slot) => {
                            step.after = State::Present(record_of(slot, &blob));
                            step.blob = Some(blob);
                            Outcome::Inserted
                        }
                        None => Outcome::Full,
                    }
                }
                (Effect::Delete { .. }, State::Absent) => Outcome::Absent,
                (Effect::Delete { blob_hash, .. }, State::Present(record))
                    if blob_hash != record.hash() =>
                {
                    Outcome::HashMismatch(record.hash())
                }
                (Effect::Delete { epoch, .. }, State::Present(record)) => {
                    step.after = State::Deleted { epoch };
                    if step.blob.take().is_some() {
                        // Inserted by this very batch: nothing on the disk names the slot.
                        free.release(record.slot);
                    }
                    Outcome::Removed
                }
            });
        }
        Ok((outcomes, steps))
    }

    /// A free slot, of a longer file if need be; `None` when there is no room for it.
    ///
    /// `room` is what the disk has above its floor, in bytes; `None` below the floor.
    fn take_slot(
        &self,
        free: &mut FreeSlots,
        room: &mut Option<u64>,
    ) -> Result<Option<u64>, StoreError> {
        let Some(above_floor) = *room else {
            return Ok(None);
        };
        if !free.any() {
            let slots = self.options.growth_slots;
            *room = above_floor.checked_sub(slots * SLOT_LEN as u64);
            if room.is_none() {
                return Ok(None);
            }
            match self.slots.lengthen(free.slots(), slots) {
                Ok(()) => free.grow(free.slots() + slots),
                // Nothing was written yet, so a full disk is no reason to stop.
                Err(error) if is_full(&error) => *room = None,
                Err(error) => return Err(StoreError::io("lengthen the slot file")(error)),
            }
        }
        Ok(free.take())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.medium
            .free_bytes(&self.folder)
            .map_err(StoreError::io("ask for the disk's free space"))
    }
}

impl Engine for SledEngine {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stopped {
            return Err(StoreError::Stopped);
        }
        let result = guarded(|| self.commit_alone(&mut writer, batch));
        if result.is_err() {
            writer.stopped = true;
            self.in_flight.fail();
        }
        result
    }

    fn read(&self, key: &Key) -> Result<Reading, StoreError> {
        let mut state = self.state(key)?;
        loop {
            let record = match state {
                State::Absent => return Ok(Reading::Absent),
                State::Deleted { .. } => return Ok(Reading::Deleted),
                State::Present(record) => record,
            };
            let blob = self.slots.read(record.slot, &record.tail)?;
            if blob.hash() == record.hash() {
                return Ok(Reading::Found(blob));
            }
            // Either the slot was emptied and reused meanwhile, or its bytes are bad.
            let now = self.state(key)?;
            if now == state {
                let what = "its bytes do not match the blob's hash";
                return Err(StoreError::corrupt(Place::Slot(record.slot), what));
            }
            state = now;
        }
    }

    fn stat(&self, key: &Key) -> Result<Stat, StoreError> {
        Ok(match self.state(key)? {
            State::Absent => Stat::Absent,
            State::Deleted { .. } => Stat::Deleted,
            State::Present(record) => Stat::Present(record.hash()),
        })
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let (_, slot_bytes) = self.slots.extent()?;
        Ok(Usage {
            blobs: self.blobs.load(Ordering::Relaxed),
            tombstones: self.tombstones.load(Ordering::Relaxed),
            disk_bytes: slot_bytes + self.index.disk_bytes()?,
            free_bytes: self.free_bytes()?,
        })
    }
}

fn record_of(slot: u64, blob: &Blob) -> Record {
    let mut tail = [0; TAIL_LEN];
    tail.copy_from_slice(&blob.as_bytes()[SLOT_LEN..]);
    Record::new(slot, blob.hash(), tail)
}

fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// sled answers some damage with a panic; to an operator it is damage like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::corrupt(Place::Index, "sled gave up on it")))
}

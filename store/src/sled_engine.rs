//! The default engine: a slot file for the blobs, sled for everything small.
//!
//! A commit is in [`commit`], entering an epoch in [`enter`]; both hold the one writer. A reader
//! takes no lock on a slot: it may lose a race against a delete and the slot's next blob, but then
//! neither the hash nor the index agrees any more, and it looks the key up again. Other bytes are
//! never returned.

mod commit;
mod enter;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::Key;

use crate::books::Books;
use crate::cells::{self, Doomed};
use crate::claims::Unpaid;
use crate::folder::{self, Generation};
use crate::free_slots::FreeSlots;
use crate::in_flight::InFlight;
use crate::in_use::InUse;
use crate::index::Index;
use crate::medium::{Disk, Medium};
use crate::notes;
use crate::record::{Record, Stored};
use crate::room_to_open::or_no_room;
use crate::slot_file::SlotFile;
use crate::table::Table;
use crate::view::{State, View};
use crate::{
    Effect, Engine, Enter, Epochs, Notes, OpenedClaim, Options, Outcome, Place, Reading, Stat,
    StoreError, StoredCell, Usage,
};

/// A store in one folder: `blobs.slots`, sled's folder, and `lock`.
pub struct SledEngine {
    folder: PathBuf,
    options: Options,
    medium: Arc<dyn Medium>,
    slots: SlotFile,
    /// Replaced by whoever holds the writer, when an epoch is entered.
    index: RwLock<Index>,
    in_flight: InFlight,
    writer: Mutex<Writer>,
    /// What is durable, so that nobody waits for a commit in order to see it.
    shown: Mutex<Shown>,
    /// After both files, so that it tells of their end.
    in_use: InUse,
    /// Last, so that it outlives what it guards.
    _lock: folder::Lock,
}

/// What only the one commit at a time may touch.
struct Writer {
    free: FreeSlots,
    books: Books,
    unpaid: Unpaid,
    doomed: Doomed,
    /// The latest index folder that was begun.
    generation: Generation,
    stopped: bool,
}

/// The few things of which there is one.
struct Shown {
    blobs: u64,
    tombstones: u64,
    cells: u64,
    supply: Supply,
    epochs: Option<Epochs>,
    notes: Notes,
}

impl Shown {
    fn of(index: &Index, books: &Books) -> Result<Self, StoreError> {
        Ok(Shown {
            blobs: books.count(Table::Index..=Table::Index),
            tombstones: books.count(Table::ALL_TOMBSTONES),
            cells: books.count(Table::Cells..=Table::Cells),
            supply: index.supply()?,
            epochs: index.epochs()?,
            notes: notes::read(index)?,
        })
    }
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
        let in_use = InUse::begin(folder, &*medium)?;
        let (index, generation, slots) =
            guarded(|| folder::open(folder, options.cache_bytes, &medium))
                .map_err(|error| or_no_room(folder, error))?;

        let (capacity, _) = slots.extent()?;
        let mut free = FreeSlots::all(capacity);
        let mut unpaid = Unpaid::default();
        let mut doomed = Doomed::default();
        let books = guarded(|| {
            index.audit(|table, key, value| {
                match table {
                    Table::Index => occupy(&mut free, Record::from_bytes(value)?.slot)?,
                    Table::Claims => unpaid.add(&OpenedClaim::from_bytes(value)?),
                    Table::Cells => doomed.add_entry(key, value)?,
                    _ => {}
                }
                Ok(())
            })
        })?;
        if books.commits < slots.witnessed()? {
            return Err(StoreError::older_than_the_slots());
        }
        // What a killed process wrote and never synced is shown from here on.
        slots.sync()?;
        guarded(|| index.sync())?;
        // What a rewriting left behind, or did not come to. Not before all is known to be well.
        folder::remove_others(folder, generation, &*medium)?;

        Ok(SledEngine {
            folder: folder.to_owned(),
            options,
            medium,
            slots,
            in_flight: InFlight::default(),
            shown: Mutex::new(guarded(|| Shown::of(&index, &books))?),
            index: RwLock::new(index),
            writer: Mutex::new(Writer {
                free,
                books,
                unpaid,
                doomed,
                generation,
                stopped: false,
            }),
            in_use,
            _lock: lock,
        })
    }

    /// Reads what is durable, and stays what it is if the power goes now. `name` is the key,
    /// reference or tag whose value is read.
    fn durable<T>(
        &self,
        name: &[u8],
        read: impl Fn(&Index) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let value = guarded(|| read(&self.index()))?;
            if !self.in_flight.wait_for(name)? {
                return Ok(value);
            }
        }
    }

    fn state(&self, key: &Key) -> Result<State, StoreError> {
        self.durable(key.as_bytes(), |index| index.state(key))
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        // An index is replaced in one step, so a panic elsewhere leaves it whole.
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        // It is replaced in one step, so a panic elsewhere leaves it whole.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, shown: Shown) {
        *self.shown() = shown;
    }

    pub(crate) fn index_bytes(&self) -> Result<u64, StoreError> {
        self.index().disk_bytes()
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.medium
            .free_bytes(&self.folder)
            .map_err(StoreError::io("ask for the disk's free space"))
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        // A panic elsewhere says nothing of the disk, and is no end in order.
        if !self.writer.get_mut().is_ok_and(|writer| !writer.stopped) {
            return;
        }
        let synced = guarded(|| {
            self.slots.sync()?;
            let index = self.index();
            index.sync()?;
            index.ending()
        });
        if let Ok(ending) = synced {
            self.in_use.ends_well_if(ending);
        }
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
                State::Deleted => return Ok(Reading::Deleted),
                State::Present(record) => record,
            };
            let blob = self.slots.read(record.slot, &record.tail)?;
            if blob.hash() == record.hash {
                return Ok(Reading::Found(blob));
            }
            // Either the slot was emptied and reused meanwhile, or its bytes are bad.
            let now = self.state(key)?;
            if now == state {
                return Err(StoreError::mismatch(record.slot));
            }
            state = now;
        }
    }

    fn stat(&self, key: &Key) -> Result<Stat, StoreError> {
        Ok(match self.state(key)? {
            State::Absent => Stat::Absent,
            State::Deleted => Stat::Deleted,
            State::Present(record) => Stat::Present {
                blob_hash: record.hash,
                epoch: record.epoch,
            },
        })
    }

    fn cell(&self, key: &Key, now: u64) -> Result<Option<StoredCell>, StoreError> {
        self.durable(key.as_bytes(), |index| cells::standing(index, key, now))
    }

    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        self.durable(&reference.0, |index| index.row(reference))
    }

    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        self.durable(&tag.0, |index| index.claim(tag))
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        Ok(self.shown().supply)
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        Ok(self.shown().epochs.clone())
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        Ok(self.shown().notes)
    }

    fn enter(&self, next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        if next.terms.len() > Enter::MAX_TERMS {
            return Err(StoreError::TermsTooLong);
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.stopped {
            return Err(StoreError::Stopped);
        }
        guarded(|| self.enter_alone(&mut writer, next))
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        let (_, slot_bytes) = self.slots.extent()?;
        let index_bytes = self.index_bytes()?;
        let free_bytes = self.free_bytes()?;
        let shown = self.shown();
        Ok(Usage {
            blobs: shown.blobs,
            tombstones: shown.tombstones,
            cells: shown.cells,
            disk_bytes: slot_bytes + index_bytes,
            free_bytes,
        })
    }
}

pub(crate) fn occupy(free: &mut FreeSlots, slot: u64) -> Result<(), StoreError> {
    if free.occupy(slot) {
        return Ok(());
    }
    let what = if slot < free.slots() {
        "two records name it"
    } else {
        "the file ends before it"
    };
    Err(StoreError::corrupt(Place::Slot(slot), what))
}

/// sled answers some damage with a panic; to an operator it is damage like any other.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StoreError::corrupt(Place::Index, "sled gave up on it")))
}

//! The trait behind which engines live: small, synchronous, batch-shaped.

use larder_credentials::ledger::{Claim, Declined, Entry, Floor, Past, Reads, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_protocol::{Blob, BlobHash, Cell, Key, ServerKey};

use crate::{DoubtedClock, Enter, Epochs, Notes, StoreError, StoredCell};

/// A primary store and its ledger. See the crate's documentation for what every engine
/// promises.
///
/// Nothing here assumes that one process owns the data: conditions are part of an
/// [`Effect`] and are judged inside the commit.
///
/// `&dyn Engine` is a ledger's [`Reads`]: what it shows is durable.
pub trait Engine: Send + Sync + 'static {
    /// Applies the effects in order, durably, and says what became of each.
    ///
    /// Two effects on one key, one pair or one claim behave as if each had come alone, one
    /// after the other. The outcomes are as many as the effects and in their order.
    ///
    /// # Errors
    /// Nothing of the batch may be acknowledged. Whether it will be there after the next
    /// opening is open, but only as a whole. Every later commit fails with
    /// [`StoreError::Stopped`] until the engine is opened anew.
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError>;

    /// Returns the blob under `key`, verified against its hash.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the stored bytes are not those that were inserted.
    fn read(&self, key: &Key) -> Result<Reading, StoreError>;

    /// Says what is stored under `key`, without reading the blob.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn stat(&self, key: &Key) -> Result<Stat, StoreError>;

    /// Returns the breakglass cell under `key`, unless it is gone by `now`, in Unix seconds.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn cell(&self, key: &Key, now: u64) -> Result<Option<StoredCell>, StoreError>;

    /// Returns the replacement row that consumed this reference, if its epoch is still live.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError>;

    /// Returns the claim of this tag.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError>;

    /// Returns the conservation canary; the default one in a new store.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn supply(&self) -> Result<Supply, StoreError>;

    /// Returns the epoch that was entered last; `None` if none ever was.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn epochs(&self) -> Result<Option<Epochs>, StoreError>;

    /// Returns what the store remembers of its node; nothing in a new store.
    ///
    /// # Errors
    /// Those of the medium and of a damaged index.
    fn notes(&self) -> Result<Notes, StoreError>;

    /// Enters another epoch, durably: raises the floor, forgets the rows below it, the
    /// tombstones and claims whose time is over, and gives their room back. Commits wait
    /// meanwhile, reads go on; the disk needs room for the index a second time, which inserts
    /// leave. [`Past`] when the epoch is not later than the present one; then nothing was done.
    ///
    /// # Errors
    /// [`StoreError::TermsTooLong`] and [`StoreError::NoRoom`], which change nothing. After any other, ask [`Engine::epochs`] which epoch
    /// it is; if the next commit fails with [`StoreError::Stopped`], only the next opening
    /// knows.
    fn enter(&self, next: Enter) -> Result<Result<Epochs, Past>, StoreError>;

    /// Counts what is stored and the room that it takes.
    ///
    /// # Errors
    /// Those of the medium.
    fn usage(&self) -> Result<Usage, StoreError>;
}

/// What one request does to the store: its conditions and its writes, all or nothing.
///
/// When the change does not take place, its outcome says why, and the entry is not written.
/// When the entry is declined, the change does not take place.
#[derive(Debug, Clone)]
pub struct Effect {
    /// What happens to the store.
    pub change: Change,
    /// What pays for it.
    pub entry: Option<Box<Entry>>,
}

impl Effect {
    /// A change that nobody pays for.
    #[must_use]
    pub fn unpaid(change: Change) -> Self {
        Effect {
            change,
            entry: None,
        }
    }

    /// A change together with what pays for it.
    #[must_use]
    pub fn paid(change: Change, entry: Entry) -> Self {
        Effect {
            change,
            entry: Some(Box::new(entry)),
        }
    }
}

/// What an effect changes, and on which condition.
///
/// `epoch` counts the epochs that the store has entered ([`Epochs::ordinal`]): it is 0
/// without payment.
#[derive(Debug, Clone)]
pub enum Change {
    /// Nothing: the entry is all.
    None,
    /// Stores a blob, if the key is neither present nor tombstoned.
    Insert {
        /// Where.
        key: Key,
        /// What.
        blob: Blob,
        /// The ordinal that the blob's age is counted from.
        epoch: u32,
    },
    /// Removes the blob and leaves a tombstone, if the stored blob still has this hash.
    Delete {
        /// Where.
        key: Key,
        /// The hash that the delete's signature covers.
        blob_hash: BlobHash,
        /// The ordinal with which the tombstone is grouped.
        epoch: u32,
    },
    /// Opens claims, if the payment has not opened any and no tag is in use.
    OpenClaims {
        /// The payment and its claims.
        payment: Payment,
        /// Unix seconds: unpaid claims that expired by now give way if there are too many.
        now: u64,
    },
    /// Notes that a payment has arrived, so that its claims can be purchased against.
    MarkPaid {
        /// [`Payment::id`].
        payment: [u8; 32],
    },
    /// Stores a breakglass cell, if its sequence is higher than that of the cell that is there.
    PutCell {
        /// Where.
        key: Key,
        /// What it is put under.
        sequence: u64,
        /// What.
        cell: Box<Cell>,
        /// Unix seconds: a cell that is gone by now is not in the way.
        now: u64,
    },
    /// Dooms the breakglass cell that is there, unless it is doomed already.
    DoomCell {
        /// Where.
        key: Key,
        /// When it will be gone, in Unix seconds.
        deadline: u64,
        /// Unix seconds: a cell that is gone by now cannot be doomed.
        now: u64,
    },
    /// Removes the bytes of cells that are gone.
    DropCells {
        /// Unix seconds.
        now: u64,
    },
    /// Makes the store this server's for good, if it is nobody's.
    Own {
        /// Whose it is to be.
        server: ServerKey,
    },
    /// Has the present epoch count from another time, if there is one.
    DateEpoch {
        /// Unix seconds, see [`Epochs::since`].
        since: u64,
    },
    /// Notes what time it is, for the next opening; later or earlier than what was noted before.
    NoteTime {
        /// Unix seconds.
        now: u64,
        /// The clock, if it is not believed.
        doubt: Option<DoubtedClock>,
    },
}

/// A payment and the claims that it opens: each buys one pair.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// How the service names it, 32 bytes: a payment hash, or derived from a voucher.
    pub id: [u8; 32],
    /// The claims' tags, distinct.
    pub tags: Vec<ClaimTag>,
    /// Tokens of each claim.
    pub amount: u64,
    /// Unix seconds. An unpaid claim is forgotten a day afterwards, or earlier if others need
    /// its place; the payment cannot open claims again before.
    pub expires: u64,
    /// Whether it has arrived already.
    pub paid: bool,
}

impl std::fmt::Debug for Payment {
    /// Neither the payment nor who it is for.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payment")
            .field("paid", &self.paid)
            .finish_non_exhaustive()
    }
}

/// A claim as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenedClaim {
    /// What a ledger knows of it.
    pub claim: Claim,
    /// Unix seconds, see [`Payment::expires`].
    pub expires: u64,
}

/// What became of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The entry is stored, and nothing else was to be done; or what was to be noted is.
    Settled,
    /// The blob is stored.
    Inserted,
    /// Nothing was done: the key holds a blob with this hash.
    AlreadyExists(BlobHash),
    /// The blob is gone, and its key cannot be inserted again.
    Removed,
    /// Nothing was done: there is nothing under the key.
    Absent,
    /// Nothing was done: the key was deleted before.
    Deleted,
    /// Nothing was done: the key holds a blob with this other hash.
    HashMismatch(BlobHash),
    /// Nothing was done: the disk has no room above its floor.
    Full,
    /// The claims are open, now or since this payment opened them before.
    Opened,
    /// Nothing was done: this payment has opened other claims, or of another amount.
    PaymentUsed,
    /// Nothing was done: a tag is named twice, or another payment opened its claim.
    TagUsed,
    /// Nothing was done: too many claims wait for their payment.
    TooManyClaims,
    /// The payment has arrived, now or before.
    Paid,
    /// Nothing was done: no such payment is awaited.
    UnknownPayment,
    /// The cell is stored and to stay, now or since the same was put before.
    CellStored,
    /// Nothing was done: the cell that is there has this sequence, as high or higher.
    StaleSequence(u64),
    /// This is the cell that is there, and it is doomed, now or since before.
    CellDoomed(Box<StoredCell>),
    /// So many cells were removed. When it is none, no more are gone.
    CellsDropped(usize),
    /// Nothing was done: the store is another server's.
    OwnedByAnother,
    /// Nothing was done: the entry did not take effect, and this is why.
    Declined(Box<Declined>),
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The blob, verified.
    Found(Blob),
    /// The key was never inserted.
    Absent,
    /// The key was deleted.
    Deleted,
}

/// What the index says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    /// A blob is stored.
    Present {
        /// Its hash.
        blob_hash: BlobHash,
        /// The ordinal with which it was inserted.
        epoch: u32,
    },
    /// The key was never inserted.
    Absent,
    /// The key was deleted.
    Deleted,
}

/// Counts for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Blobs stored.
    pub blobs: u64,
    /// Tombstones kept.
    pub tombstones: u64,
    /// Breakglass cells stored, those included that are gone and not removed yet.
    pub cells: u64,
    /// Bytes that the store takes on its disk.
    pub disk_bytes: u64,
    /// Bytes that are free on that disk.
    pub free_bytes: u64,
}

impl Reads for &dyn Engine {
    type Error = StoreError;

    fn row(&mut self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        Engine::row(*self, reference)
    }

    fn floor(&mut self) -> Result<Option<Floor>, StoreError> {
        Ok(self.epochs()?.map(|epochs| epochs.floor))
    }

    fn claim(&mut self, tag: &ClaimTag) -> Result<Option<Claim>, StoreError> {
        Ok(Engine::claim(*self, tag)?.map(|opened| opened.claim))
    }

    fn supply(&mut self) -> Result<Supply, StoreError> {
        Engine::supply(*self)
    }
}

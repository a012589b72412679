//! The trait behind which engines live: small, synchronous, batch-shaped.

use larder_protocol::{Blob, BlobHash, Key};

use crate::StoreError;

/// A primary store. See the crate's documentation for what every engine promises.
///
/// Nothing here assumes that one process owns the data: conditions are part of an
/// [`Effect`] and are judged inside the commit.
pub trait Engine: Send + Sync + 'static {
    /// Applies the effects in order, durably, and says what became of each.
    ///
    /// Two effects on one key behave as if each had come alone, one after the other. The
    /// outcomes are as many as the effects and in their order.
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

    /// Counts what is stored and the room that it takes.
    ///
    /// # Errors
    /// Those of the medium.
    fn usage(&self) -> Result<Usage, StoreError>;
}

/// What one request does to the store: its conditions and its writes, all or nothing.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Stores a blob, if the key is neither present nor tombstoned.
    Insert {
        /// Where.
        key: Key,
        /// What.
        blob: Blob,
    },
    /// Removes the blob and leaves a tombstone, if the stored blob still has this hash.
    Delete {
        /// Where.
        key: Key,
        /// The hash that the delete's signature covers.
        blob_hash: BlobHash,
        /// The epoch with which the tombstone is grouped; 0 without payment.
        epoch: u32,
    },
}

/// What became of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
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
    /// A blob with this hash is stored.
    Present(BlobHash),
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
    /// Bytes that the store takes on its disk.
    pub disk_bytes: u64,
    /// Bytes that are free on that disk.
    pub free_bytes: u64,
}

//! What an operator is told. No text in here carries a key.

use std::{fmt, io};

/// Why the store cannot do what it was asked to; written for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has this folder open. Stop that one, or choose another folder.
    #[error("the store's folder is in use by another process")]
    Locked,
    /// The folder was written by another version. Use that one, or a newer one.
    #[error("the store has on-disk format {found}; this program reads format {supported}")]
    UnknownFormat {
        /// The version on the disk.
        found: u32,
        /// The version that this program reads and writes.
        supported: u32,
    },
    /// Bytes on the disk are not those that were written. The disk, or whoever else
    /// writes to the folder, is at fault; nothing of the damage is served.
    #[error("{place} is damaged: {what}")]
    Corrupt {
        /// Where the damage is.
        place: Place,
        /// What gave it away.
        what: String,
    },
    /// The operating system refused a read or a write.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The refusal.
        source: io::Error,
    },
    /// The disk has no room for the index a second time, which entering an epoch takes.
    /// Nothing was done: make room, and enter it again.
    #[error(
        "the disk has no room to rewrite the index, which an epoch's end takes: free {missing} \
         bytes more on it"
    )]
    NoRoom {
        /// How many bytes are missing.
        missing: u64,
    },
    /// The disk is so full that the store cannot be opened, not even to read: make room, and open it again.
    #[error(
        "the disk is full: free {needed} bytes on it, and the store opens. Without any room neither can it be \
         noted that the store is in use, so that what a failing disk loses is noticed, nor can the index be opened. \
         All that was acknowledged is there"
    )]
    NoRoomToOpen {
        /// How many bytes have to be free.
        needed: u64,
    },
    /// The caller's fault: see [`Enter::MAX_TERMS`](crate::Enter::MAX_TERMS).
    #[error("the epoch's terms are longer than the store keeps")]
    TermsTooLong,
    /// An earlier commit failed, so nothing can be promised. Look at the first error,
    /// mend its cause, and open the store anew: all that was acknowledged is there.
    #[error("the store stopped after a failed commit; it must be opened anew")]
    Stopped,
}

/// A part of the store's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// sled's folder: index, tombstones, ledger and tallies.
    Index,
    /// The slot file's header.
    SlotFile,
    /// One slot of the slot file, by its number.
    Slot(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Index => f.write_str("the index"),
            Place::SlotFile => f.write_str("the slot file"),
            Place::Slot(slot) => write!(f, "slot {slot} of the slot file"),
        }
    }
}

impl StoreError {
    /// For `map_err` on what the operating system answers.
    pub(crate) fn io<E: Into<io::Error>>(doing: &'static str) -> impl FnOnce(E) -> StoreError {
        move |source| StoreError::Io {
            doing,
            source: source.into(),
        }
    }

    /// A blob that is not what was inserted.
    pub(crate) fn mismatch(slot: u64) -> StoreError {
        StoreError::corrupt(Place::Slot(slot), "its bytes do not match the blob's hash")
    }

    /// An index of which the end is missing.
    pub(crate) fn older_than_the_slots() -> StoreError {
        let what = "it is older than the slot file: acknowledged commits are missing";
        StoreError::corrupt(Place::Index, what)
    }

    pub(crate) fn corrupt(place: Place, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            place,
            what: what.into(),
        }
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(source) => StoreError::Io {
                doing: "read or write the index",
                source,
            },
            // Its own text names an offset that it does not know, and a backtrace that it does not have.
            sled::Error::Corruption { at: None, .. } => StoreError::corrupt(
                Place::Index,
                "its log has bytes that were not written like that",
            ),
            // sled's `Unsupported` and `ReportableBug` come from files that it does not
            // understand; it has no error that would be ours.
            other => StoreError::corrupt(Place::Index, other.to_string()),
        }
    }
}

//! Where a purse keeps what it must not forget.
//!
//! A journal is a list of entries. The purse appends one before each step that a crash must not
//! undo, and now and then replaces all of them by fewer that say the same. What an entry means is the
//! purse's business (`event`); the journal keeps bytes.

use std::sync::{Arc, Mutex, PoisonError};

use zeroize::Zeroizing;

/// One entry. It may hold credentials, which are worth their tokens to whoever reads them.
pub type Entry = Zeroizing<Vec<u8>>;

/// A durable list of entries.
///
/// After an error of `append` or `replace` nobody knows what is durable: the purse refuses
/// everything that would have to be written, and calls neither again. A purse that is opened anew
/// reads what is there.
pub trait Journal: Send {
    /// All entries, oldest first. Called once, before anything else.
    ///
    /// # Errors
    /// [`JournalError`].
    fn entries(&mut self) -> Result<Vec<Entry>, JournalError>;

    /// Adds an entry, which is durable when this returns. After an error it may be there or not.
    ///
    /// # Errors
    /// [`JournalError`].
    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError>;

    /// Puts these in the place of all entries, durably and in one step: a crash or an error leaves
    /// the old ones or the new ones.
    ///
    /// # Errors
    /// [`JournalError`].
    fn replace(&mut self, entries: &[Entry]) -> Result<(), JournalError>;
}

/// Why a journal is of no use now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk is full, read-only or broken. Nothing is lost: put it right and start again.
    #[error("the purse cannot be read or written: {0}")]
    Io(String),
    /// Bytes that nobody wrote there. Put a copy of the whole folder back: what was spent since,
    /// the purse finds out from the storage node. Tokens that were bought since are lost.
    #[error("the purse is damaged near byte {at}: put a backup of its folder back")]
    Damaged {
        /// Where, in bytes or entries from the beginning.
        at: u64,
    },
    /// What was to be written contradicts what is there: a fault of this program. Nothing was
    /// written; start again.
    #[error("the purse would contradict itself: start again")]
    Contradiction,
    /// It belongs to another root key, or to another storage node.
    #[error("this purse belongs to another root key or another storage node")]
    Foreign,
    /// Another process has it open.
    #[error("another process uses this purse: wait for it, or end it")]
    InUse,
}

impl From<std::io::Error> for JournalError {
    fn from(error: std::io::Error) -> Self {
        JournalError::Io(error.to_string())
    }
}

/// A journal that survives the purse, and not the process. Clones are the same journal.
#[derive(Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<Entry>>>);

impl MemoryJournal {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        MemoryJournal::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Journal for MemoryJournal {
    fn entries(&mut self) -> Result<Vec<Entry>, JournalError> {
        Ok(self.with(|entries| entries.clone()))
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        self.with(|entries| entries.push(Zeroizing::new(entry.to_vec())));
        Ok(())
    }

    fn replace(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.with(|old| *old = entries.to_vec());
        Ok(())
    }
}

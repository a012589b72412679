//! Keys whose change sled shows already and the disk may not hold yet.
//!
//! A look-up's answer is signed, so it must not tell of what a power cut could still undo:
//! a reader of such a key waits for the batch.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use larder_protocol::Key;

use crate::StoreError;

/// The keys of the batch that is on its way to the disk.
#[derive(Default)]
pub(crate) struct InFlight {
    batch: Mutex<Batch>,
    landed: Condvar,
}

#[derive(Default)]
struct Batch {
    keys: HashSet<Key>,
    failed: bool,
}

impl InFlight {
    /// Announces a batch, before sled hears of it.
    pub(crate) fn depart(&self, keys: impl Iterator<Item = Key>) {
        self.lock().keys.extend(keys);
    }

    /// The batch is durable.
    pub(crate) fn land(&self) {
        self.lock().keys.clear();
        self.landed.notify_all();
    }

    /// The batch failed: what sled shows under its keys can no longer be believed.
    pub(crate) fn fail(&self) {
        self.lock().failed = true;
        self.landed.notify_all();
    }

    /// Asked *after* sled was read: `true` when that reading may have shown what was not
    /// durable, and must be repeated; by then the batch has landed.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the batch failed.
    pub(crate) fn wait_for(&self, key: &Key) -> Result<bool, StoreError> {
        let mut batch = self.lock();
        let mut waited = false;
        while batch.keys.contains(key) {
            if batch.failed {
                return Err(StoreError::Stopped);
            }
            waited = true;
            batch = self
                .landed
                .wait(batch)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(waited)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Batch> {
        // No panic can leave the set half-changed.
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

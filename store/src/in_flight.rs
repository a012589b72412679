//! Names whose change sled shows already and the disk may not hold yet.
//!
//! A look-up's answer is signed and a replayed row is money, so neither may tell of what a
//! power cut could still undo: a reader of such a name waits for the batch.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::StoreError;

/// What the batch that is on its way to the disk changes: keys, references, claim tags.
#[derive(Default)]
pub(crate) struct InFlight {
    batch: Mutex<Batch>,
    landed: Condvar,
}

#[derive(Default)]
struct Batch {
    names: HashSet<Vec<u8>>,
    failed: bool,
}

impl InFlight {
    /// Announces a batch, before sled hears of it.
    pub(crate) fn depart(&self, names: impl Iterator<Item = Vec<u8>>) {
        self.lock().names.extend(names);
    }

    /// The batch is durable.
    pub(crate) fn land(&self) {
        self.lock().names.clear();
        self.landed.notify_all();
    }

    /// The batch failed: what sled shows under its names can no longer be believed.
    pub(crate) fn fail(&self) {
        self.lock().failed = true;
        self.landed.notify_all();
    }

    /// Asked *after* sled was read: `true` when that reading may have shown what was not
    /// durable, and must be repeated; by then the batch has landed.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the batch failed.
    pub(crate) fn wait_for(&self, name: &[u8]) -> Result<bool, StoreError> {
        let mut batch = self.lock();
        let mut waited = false;
        while batch.names.contains(name) {
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

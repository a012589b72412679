//! Registers that count what becomes of them, so that the storage node's own count can be checked.

use std::sync::atomic::{AtomicU64, Ordering};

use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, OneProvider, Put, Registers};
use larder_recovery::seal::Contents;
use larder_recovery::{Removed, Slot};

pub(super) struct Counted {
    registers: OneProvider,
    filled: AtomicU64,
    deleted: AtomicU64,
}

/// So far.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) filled: u64,
    pub(super) deleted: u64,
}

impl Counts {
    /// How many were filled and deleted since.
    pub(super) fn since(self, before: Counts) -> (u64, u64) {
        (self.filled - before.filled, self.deleted - before.deleted)
    }
}

impl Counted {
    pub(super) fn new(registers: OneProvider) -> Self {
        Counted {
            registers,
            filled: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            filled: self.filled.load(Ordering::Relaxed),
            deleted: self.deleted.load(Ordering::Relaxed),
        }
    }
}

impl Registers for Counted {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            let put = self.registers.insert(slot, contents).await?;
            self.filled
                .fetch_add(u64::from(put == Put::New), Ordering::Relaxed);
            Ok(put)
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.registers.lookup(slot)
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move {
            let removed = self.registers.delete(slot).await?;
            self.deleted
                .fetch_add(u64::from(removed == Removed::Now), Ordering::Relaxed);
            Ok(removed)
        })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            let removed = self.registers.erase(slot, contents).await?;
            self.deleted
                .fetch_add(u64::from(removed == Some(Removed::Now)), Ordering::Relaxed);
            Ok(removed)
        })
    }
}

//! The registers with one provider for the length of one command: one that has stopped answering is not
//! waited for again.
//!
//! Where several providers hold the same, waiting for each request to a dead one would take minutes.

use std::sync::{Arc, Mutex, PoisonError};

use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::seal::Contents;
use larder_recovery::{RecoveryError, Removed, Slot};

/// A provider that answers, or did at first, or never did.
pub(crate) struct Guarded {
    registers: Option<Arc<dyn Registers>>,
    silent: Mutex<Option<RecoveryError>>,
}

impl Guarded {
    pub(crate) fn there(registers: Arc<dyn Registers>) -> Self {
        Guarded {
            registers: Some(registers),
            silent: Mutex::new(None),
        }
    }

    pub(crate) fn away(why: RecoveryError) -> Self {
        Guarded {
            registers: None,
            silent: Mutex::new(Some(why)),
        }
    }

    fn registers(&self) -> Result<&Arc<dyn Registers>, RecoveryError> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*silent, &self.registers) {
            (None, Some(registers)) => Ok(registers),
            (Some(error), _) => Err(error.clone()),
            (None, None) => Err(RecoveryError::Following),
        }
    }

    fn noted<T>(&self, done: Result<T, RecoveryError>) -> Result<T, RecoveryError> {
        done.inspect_err(|error| {
            if let RecoveryError::Unreachable(_) = error {
                let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
                *silent = Some(error.clone());
            }
        })
    }
}

impl Registers for Guarded {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move { self.noted(self.registers()?.insert(slot, contents).await) })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move { self.noted(self.registers()?.lookup(slot).await) })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move { self.noted(self.registers()?.delete(slot).await) })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move { self.noted(self.registers()?.erase(slot, contents).await) })
    }
}

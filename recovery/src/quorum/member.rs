//! One provider among several: what it holds, what it may have missed, what was wrong with it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::round::void;
use crate::forgery::FORGED;
use crate::log::{Look, Put, Registers};
use crate::seal::Contents;
use crate::{RecoveryError, Removed, Slot};

/// How often a register is filled that turns out empty.
const TRIES: u32 = 3;

const FORGETFUL: RecoveryError =
    RecoveryError::Misbehaved("it lost or changed what it said it holds");

/// What a provider says that one of its registers holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    This(Arc<Contents>),
    Deleted,
}

pub(super) struct Member {
    registers: Arc<dyn Registers>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Registers of the log that were written and not acknowledged by this one.
    missed: HashSet<Slot>,
    /// Registers of any round that this session deleted, and this one has not acknowledged it.
    undeleted: HashSet<Slot>,
    trouble: Option<RecoveryError>,
}

impl Member {
    pub(super) fn new(registers: Arc<dyn Registers>) -> Self {
        Member {
            registers,
            notes: Mutex::default(),
        }
    }

    /// Fills a register if it is empty, and says what it holds then.
    pub(super) async fn put(
        &self,
        slot: Slot,
        contents: &Arc<Contents>,
    ) -> Result<Held, RecoveryError> {
        for _ in 0..TRIES {
            let held = match self.registers.insert(slot, contents).await {
                Ok(Put::New | Put::Already) => Ok(Held::This(contents.clone())),
                Ok(Put::Tombstoned) => Ok(Held::Deleted),
                Ok(Put::Occupied) => self.look(slot).await,
                Err(error) => Err(error),
            };
            match self.noted(held)? {
                // It forgot meanwhile, and has to be told again.
                Held::Nothing => self.notes().trouble = Some(FORGETFUL),
                held => return Ok(held),
            }
        }
        Err(FORGETFUL)
    }

    pub(super) async fn look(&self, slot: Slot) -> Result<Held, RecoveryError> {
        let held = self
            .registers
            .lookup(slot)
            .await
            .and_then(|look| match look {
                Look::Found(contents) => Ok(Held::This(Arc::new(contents))),
                Look::Absent => Ok(Held::Nothing),
                Look::Deleted => Ok(Held::Deleted),
                // Like no answer: the others go on without it.
                Look::Foreign => Err(FORGED),
            });
        self.noted(held)
    }

    pub(super) async fn delete(&self, slot: Slot) -> Result<Removed, RecoveryError> {
        let removed = self.registers.delete(slot).await;
        self.noted(removed)
    }

    /// Deletes a register without looking at it; `None` when it holds something else.
    pub(super) async fn erase(
        &self,
        slot: Slot,
        contents: &Contents,
    ) -> Result<Option<Removed>, RecoveryError> {
        let removed = self.registers.erase(slot, contents).await;
        self.noted(removed)
    }

    /// Deletes a register that others hold or held: an empty one is filled first, so that it
    /// stays empty.
    pub(super) async fn bury(&self, slot: Slot) -> Result<(), RecoveryError> {
        self.put(slot, &Arc::new(void())).await?;
        self.delete(slot).await.map(drop)
    }

    fn noted<T>(&self, result: Result<T, RecoveryError>) -> Result<T, RecoveryError> {
        result.inspect_err(|error| self.notes().trouble = Some(error.clone()))
    }

    pub(super) fn missing(&self, slot: Slot) {
        self.notes().missed.insert(slot);
    }

    pub(super) fn has(&self, slot: Slot) {
        self.notes().missed.remove(&slot);
    }

    pub(super) fn deleting(&self, place: Slot) {
        self.notes().undeleted.insert(place);
    }

    pub(super) fn deleted(&self, place: Slot) {
        let mut notes = self.notes();
        notes.undeleted.remove(&place);
        notes.missed.remove(&place);
    }

    /// Deletes what others have deleted; returns all of it, whether it is deleted here now or not.
    pub(super) async fn catch_up_deletes(&self) -> Vec<Slot> {
        let places = self.undeleted();
        for place in &places {
            if self.bury(*place).await.is_ok() {
                self.deleted(*place);
            }
        }
        places
    }

    pub(super) fn undeleted(&self) -> Vec<Slot> {
        self.notes().undeleted.iter().copied().collect()
    }

    pub(super) fn missed(&self) -> Vec<Slot> {
        self.notes().missed.iter().copied().collect()
    }

    pub(super) fn trouble(&self) -> Option<RecoveryError> {
        self.notes().trouble.clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

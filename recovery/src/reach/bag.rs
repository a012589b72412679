//! What registers were seen to hold, carried to somebody who reads it as if they were the registers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::log::register::Answer;
use crate::log::{Look, Put, Registers};
use crate::seal::Contents;
use crate::{Removed, Slot};

/// Registers that remember what they were seen to hold.
pub(super) struct Recorder<'a> {
    registers: &'a dyn Registers,
    found: Mutex<HashMap<Slot, Contents>>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(registers: &'a dyn Registers) -> Self {
        Recorder {
            registers,
            found: Mutex::default(),
        }
    }

    fn saw(&self, slot: Slot, contents: &Contents) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(slot, contents.clone());
    }

    pub(super) fn into_found(self) -> HashMap<Slot, Contents> {
        self.found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registers for Recorder<'_> {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            let put = self.registers.insert(slot, contents).await?;
            if let Put::New | Put::Already = put {
                self.saw(slot, contents);
            }
            Ok(put)
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            let look = self.registers.lookup(slot).await?;
            if let Look::Found(contents) = &look {
                self.saw(slot, contents);
            }
            Ok(look)
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.registers.delete(slot)
    }
}

/// What was handed over, read as if it were the storage node.
pub(super) struct Bag<'a>(pub(super) &'a HashMap<Slot, Contents>);

impl Registers for Bag<'_> {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        let put = match self.0.get(&slot) == Some(contents) {
            true => Put::Already,
            false => Put::Occupied,
        };
        Box::pin(async move { Ok(put) })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        let look = self.0.get(&slot).cloned().map_or(Look::Absent, Look::Found);
        Box::pin(async move { Ok(look) })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        Box::pin(async { Ok(Removed::NeverThere) })
    }
}

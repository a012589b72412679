//! What the providers say of one register, and what follows from it.

use std::sync::Arc;

use super::member::Held;
use super::round::{is_owned, void};
use crate::RecoveryError;
use crate::seal::Contents;

/// One answer per provider, in their order.
pub(super) struct Answers {
    held: Vec<Option<Held>>,
    error: Option<RecoveryError>,
}

impl Answers {
    pub(super) fn of(members: usize) -> Self {
        Answers {
            held: vec![None; members],
            error: None,
        }
    }

    pub(super) fn take(&mut self, member: usize, answer: Result<Held, RecoveryError>) {
        match answer {
            Ok(held) => self.held[member] = Some(held),
            Err(error) => _ = self.error.get_or_insert(error),
        }
    }

    /// What so many providers hold: it is decided, for good.
    pub(super) fn decided(&self, acknowledge: usize) -> Option<Arc<Contents>> {
        let value = self.values().find(|value| {
            let same = self.values().filter(|other| other == value);
            same.count() >= acknowledge
        });
        value.cloned()
    }

    /// What may be decided, voids aside. Where a seal is beside an entry, a sole provider took it, under the list that is a
    /// step away: it is decided there, and the entry cannot be.
    pub(super) fn value(&self) -> Option<Arc<Contents>> {
        let seal = self.values().find(|value| !is_owned(value));
        seal.cloned().or_else(|| self.first())
    }

    /// What the first of them holds that holds any, voids aside.
    pub(super) fn first(&self) -> Option<Arc<Contents>> {
        self.values().next().cloned()
    }

    /// What all of those hold that answered.
    pub(super) fn unanimous(&self) -> Option<Arc<Contents>> {
        let first = self.first()?;
        let mut answered = self.held.iter().flatten();
        answered
            .all(|held| matches!(held, Held::This(value) if *value == first))
            .then_some(first)
    }

    pub(super) fn is_void(&self) -> bool {
        let void = void();
        let mut held = self.held.iter().flatten();
        held.any(|held| matches!(held, Held::This(value) if **value == void))
    }

    /// Whether there may be a next round.
    pub(super) fn is_split(&self) -> bool {
        let first = self.first();
        self.is_void() || self.values().any(|value| Some(value) != first.as_ref())
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.held.contains(&Some(Held::Deleted))
    }

    /// Providers whose register is empty.
    pub(super) fn empty(&self) -> impl Iterator<Item = usize> {
        (0..self.held.len()).filter(|&member| self.held[member] == Some(Held::Nothing))
    }

    /// Whether all have said that there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.empty().count() == self.held.len()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.held.iter().all(Option::is_some)
    }

    /// Checks that so many have answered.
    pub(super) fn enough(&self, recover: usize) -> Result<(), RecoveryError> {
        match &self.error {
            Some(error) if self.held.iter().flatten().count() < recover => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn values(&self) -> impl Iterator<Item = &Arc<Contents>> {
        let void = void();
        self.held.iter().filter_map(move |held| match held {
            Some(Held::This(value)) if **value != void => Some(value),
            _ => None,
        })
    }
}

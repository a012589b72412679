//! Replacing a generation by a snapshot, and deleting what it leaves behind.
//!
//! In this order: nothing more leaves the queue and all that left it is durable; the snapshot is stored as
//! chunks; the seal that names it; the anchor that follows from the seal; and then, in
//! [`Log::spread`] or [`Log::upkeep`], the deletes. Before the seal is there the roll-up can be called off and only its chunks are left
//! to delete; from then on whoever comes by completes it.

use futures_util::stream::{self, StreamExt};
use rand::RngCore;

use super::due::Due;
use super::entry::{Chunks, Manifest};
use super::garbage::Garbage;
use super::{Log, Role, State, pace, reader};
use crate::{RecoveryError, Slot};

/// Deletes at once in [`Log::upkeep`], and in vain in [`Log::repeat`].
const DELETES: usize = 8;

impl Log {
    /// Replaces the generation by a snapshot of the state. When all that was submitted and sent is
    /// durable, `state` is asked for the state behind that many records, in bytes; what is
    /// submitted meanwhile waits. Returns the new generation.
    ///
    /// # Errors
    /// As [`Log::settle`]. After a failure the log is as it was, or settling completes the roll-up.
    pub async fn roll_up(&self, state: impl FnOnce() -> Vec<u8>) -> Result<u64, RecoveryError> {
        let (lead, generation, begun) = loop {
            let (lead, generation, role) = self.hold()?;
            match role {
                Hands::Free => break (lead, generation, false),
                Hands::Closing => break (lead, generation, true),
                // Another call is at it.
                Hands::Held => self.drive_until(State::hands_free).await?,
            }
        };
        if !begun {
            self.close(lead, state).await?;
        }
        self.drive_until(|state| {
            let over = state.cursor.generation > generation;
            over.then_some(Ok(())).or(state.lost(lead).map(Err))
        })
        .await?;
        Ok(generation + 1)
    }

    /// Keeps the queue from leaving, unless that is so already.
    fn hold(&self) -> Result<(usize, u64, Hands), RecoveryError> {
        let mut state = self.state();
        let (lead, generation, hands) = (state.ends.len(), state.cursor.generation, state.hands()?);
        if let Role::Leading { tail, .. } = &mut state.role {
            tail.held = true;
        }
        Ok((lead, generation, hands))
    }

    /// Writes the snapshot, and hands its seal to whoever drives.
    async fn close(
        &self,
        lead: usize,
        state: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), RecoveryError> {
        let mut hold = Hold {
            log: self,
            lead,
            closed: false,
            snapshot: None,
        };
        self.drive_until(|state| state.lost(lead).map(Err).or(state.drained()))
            .await?;
        let (body, records) = self.snapshot(&state());
        let snapshot = self.store(&body).await?;
        hold.snapshot = Some(snapshot);
        let mut state = self.state();
        if let Some(error) = state.lost(lead) {
            return Err(error);
        }
        let State { cursor, role, .. } = &mut *state;
        if let Role::Leading { tail, .. } = role {
            let manifest = Manifest {
                records,
                chain: cursor.chain(),
                snapshot,
            };
            tail.close(cursor, manifest);
            hold.closed = true;
        }
        Ok(())
    }

    /// A snapshot of this state, with what is due behind it, and how many records it covers.
    pub(super) fn snapshot(&self, state: &[u8]) -> (Vec<u8>, u64) {
        let State { cursor, due, .. } = &*self.state();
        let due = [due.all(), cursor.left_behind()].concat();
        (reader::write_snapshot(&due, state), cursor.records)
    }

    /// Takes this session's word that all that is due is deleted: an earlier one of this device saw it done, in
    /// this generation, and need not look again.
    pub fn assume_tidy(&self) {
        self.state().due.clear();
    }

    /// Leaves all that is due so far to a later session, as when a provider that has missed those deletes does not answer
    /// yet. A roll-up hands it on, up to some 16 KiB of names: the oldest beyond those is forgotten.
    pub fn put_off(&self) {
        self.state().due.put_off();
    }

    /// Deletes what is due once more, as a provider has missed it that is back. When `is_missed` says that it misses that
    /// again, the rest is [put off](Log::put_off) after a few: each repetition costs the other providers' price, too.
    /// Returns whether all was deleted.
    ///
    /// # Errors
    /// As [`Log::upkeep`].
    pub async fn repeat(&self, is_missed: impl Fn() -> bool) -> Result<bool, RecoveryError> {
        loop {
            let is_left = self.upkeep(DELETES).await?;
            if is_missed() {
                self.put_off();
                return Ok(false);
            }
            if !is_left {
                return Ok(true);
            }
        }
    }

    /// Deletes one of the registers that roll-ups left behind, if its time has come, and says when to call again, in unix
    /// seconds: for a program that keeps running, so that a storage node sees no two deletes come together. The times are drawn,
    /// the closer the more is due ([`pace`]). `refunds_fall` is when less is given back than now, if
    /// that is known: what is due is gone by then.
    ///
    /// # Errors
    /// As [`Log::upkeep`].
    pub async fn spread(&self, now: u64, refunds_fall: Option<u64>) -> Result<u64, RecoveryError> {
        let next = |due: &mut Due| {
            let left = refunds_fall.map(|fall| fall.saturating_sub(now));
            let count = due.count();
            let next_at = now.saturating_add(pace::gap(count, left, due.rng()));
            due.next_at = Some((next_at, count));
            next_at
        };
        let at = {
            let due = &mut self.state().due;
            let at = match due.next_at {
                // More has come due since, and is in more haste.
                Some((at, count)) if due.count() > count => next(due).min(at),
                Some((at, _)) => at,
                None => next(due),
            };
            due.next_at = Some((at, due.count()));
            at.min(refunds_fall.unwrap_or(at))
        };
        if now < at {
            return Ok(at);
        }
        self.upkeep(1).await?;
        Ok(next(&mut self.state().due))
    }

    /// What is still to be deleted, taken out of the log: for a command, which deletes a part and keeps the rest in a
    /// file. A roll-up before it names all of it.
    pub fn take_due(&self) -> Due {
        let mut state = self.state();
        let mut seed = [0; 32];
        state.due.rng().fill_bytes(&mut seed);
        let generation = state.cursor.generation;
        let mut due = std::mem::replace(&mut state.due, Due::new(seed));
        due.generation = generation;
        due
    }

    /// Goes on with what an earlier session of this device has left to delete.
    pub fn resume(&self, left: Due) {
        let mut state = self.state();
        let generation = state.cursor.generation;
        state.due.resume(left, generation);
    }

    /// Deletes up to so many of the registers that roll-ups left behind, and returns whether any are left.
    ///
    /// # Errors
    /// [`RecoveryError`]; what failed is tried again another time.
    pub async fn upkeep(&self, at_most: usize) -> Result<bool, RecoveryError> {
        let slots = self.state().due.take(at_most);
        let mut batch = Batch {
            log: self,
            waiting: slots,
        };
        let mut failed = None;
        while !batch.waiting.is_empty() && failed.is_none() {
            let from = batch.waiting.len().saturating_sub(DELETES);
            let deletes = batch.waiting[from..]
                .iter()
                .copied()
                .map(|slot| async move { (slot, self.registers.delete(slot).await) });
            let done: Vec<_> = stream::iter(deletes)
                .buffer_unordered(DELETES)
                .collect()
                .await;
            batch.waiting.truncate(from);
            let mut state = self.state();
            for (slot, removed) in done {
                state.due.report(slot, removed.is_ok());
                failed = failed.or(removed.err());
            }
        }
        drop(batch);
        match failed {
            Some(error) => Err(error),
            None => Ok(!self.state().due.is_empty()),
        }
    }
}

impl State {
    fn drained(&self) -> Option<Result<(), RecoveryError>> {
        match &self.role {
            Role::Leading { tail, .. } => tail.is_drained().then_some(Ok(())),
            Role::Following => Some(Err(self.not_leading())),
        }
    }

    fn hands(&self) -> Result<Hands, RecoveryError> {
        match &self.role {
            Role::Leading { tail, .. } if tail.is_closing() => Ok(Hands::Closing),
            Role::Leading { tail, .. } if tail.held => Ok(Hands::Held),
            Role::Leading { .. } => Ok(Hands::Free),
            Role::Following => Err(self.not_leading()),
        }
    }

    fn hands_free(&self) -> Option<Result<(), RecoveryError>> {
        let held = self.hands().map(|hands| hands == Hands::Held);
        (held != Ok(true)).then_some(held.map(drop))
    }
}

/// Whether a roll-up may begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hands {
    Free,
    /// One is on its way and may still be called off.
    Held,
    /// One has got as far as the seal; whoever drives completes it.
    Closing,
}

/// A roll-up on its way; when it ends before its seal leaves, everything goes on as before.
struct Hold<'a> {
    log: &'a Log,
    lead: usize,
    closed: bool,
    snapshot: Option<Chunks>,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let mut state = self.log.state();
        if state.ends.len() == self.lead
            && let Role::Leading { tail, .. } = &mut state.role
        {
            tail.held = false;
        }
        if let Some(snapshot) = self.snapshot {
            state.due.push(Garbage::Chunks(snapshot));
        }
        drop(state);
        self.log.crowd.wake_all();
    }
}

/// Slots that are being deleted; those that are left when the caller gives up wait again.
struct Batch<'a> {
    log: &'a Log,
    waiting: Vec<Slot>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut state = self.log.state();
        for slot in self.waiting.drain(..) {
            state.due.report(slot, false);
        }
    }
}

//! Versioned keys and values: the face of the log for whatever used a key-value store before.
//!
//! A [`Commit`] is a set of puts and deletes, each with a condition, all of which are stored or
//! none. It is one record of the log, so it is atomic, in order, and durable when
//! [`Map::commit`] returns. Conditions are checked against everything before it, what is still
//! on its way included; a conflict is reported with what is durable, never with what might not be.
//!
//! Reading needs no storage node: the whole state is in memory, but for values larger than 4 KiB, which
//! are fetched. It shows what is durable as far as this device knows; [`Map::confirm`] tells whether
//! another one has gone on since.
//!
//! Versions count on for ever by default, also over a delete, so that no condition is met by a
//! value that came and went. [`Count::Restart`] is for those who have to do as VSS does.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use rand::CryptoRng;

use super::cursor::TORN;
use super::state::{Change, Changes, State, Value};
use super::unfinished::Unfinished;
use super::{Chunks, Log, News, Record, Registers, Ticket};
use crate::RecoveryError;
use crate::seal::BODY_MAX;

pub use super::commit::{Commit, CommitError, Count, Current, Expect, KEY_MAX, Listed, Write};

/// Longer values are in chunks, so that a roll-up need not write them again.
const HERE_MAX: usize = 4_096;
const HERE_LIMIT: u64 = HERE_MAX as u64;

/// Blobs that a commit takes which puts one value of so many bytes.
#[must_use]
pub fn blobs(bytes: u64) -> u64 {
    match bytes {
        0..=HERE_LIMIT => 1,
        _ => bytes.div_ceil(BODY_MAX as u64) + 1,
    }
}

/// A key-value store on a log. All methods take `&self`; any number of commits may be on their way
/// at once.
pub struct Map {
    log: Log,
    front: Mutex<Front>,
    /// Reading on is one at a time.
    turn: futures_util::lock::Mutex<()>,
}

#[derive(Default)]
pub(super) struct Front {
    pub(super) durable: State,
    /// What is durable and all that is on its way.
    ahead: State,
    pending: VecDeque<(Ticket, Changes)>,
    /// Whether `ahead` is the end of the log.
    current: bool,
    /// A record could not be read: what is here is old, and stays so.
    torn: bool,
}

/// A commit that is ready for the log.
struct Ready {
    changes: Changes,
    record: Record,
}

impl Map {
    /// Opens the map as a reader; the arguments are those of [`Log::open`].
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn open(
        registers: Arc<dyn Registers>,
        rng: &mut (impl CryptoRng + ?Sized),
        hint: Option<u64>,
    ) -> Result<Self, RecoveryError> {
        let log = Log::open(registers, rng, hint).await?;
        let news = log.follow().await?;
        Map::of(log, news)
    }

    /// What a log has read.
    pub(super) fn of(log: Log, news: News) -> Result<Self, RecoveryError> {
        let map = Map {
            log,
            front: Mutex::default(),
            turn: futures_util::lock::Mutex::new(()),
        };
        map.learn(news)?;
        Ok(map)
    }

    /// The log beneath.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Reads on, as a device that does not write.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn refresh(&self) -> Result<(), RecoveryError> {
        let _turn = self.turn.lock().await;
        let news = self.log.follow().await?;
        self.learn(news)
    }

    /// Reads on to the end and takes the writing over from any other device.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn take_over(&self) -> Result<(), RecoveryError> {
        let _turn = self.turn.lock().await;
        if self.log.is_leading() && self.front().current {
            return Ok(());
        }
        {
            let mut front = self.front();
            if front.torn {
                return Err(TORN);
            }
            front.current = false;
        }
        let news = self.log.take_over().await?;
        self.learn(news)?;
        let front = &mut *self.front();
        // What was on its way is in the news, or never will be.
        front.pending.clear();
        front.ahead = front.durable.clone();
        front.current = true;
        Ok(())
    }

    fn learn(&self, news: News) -> Result<(), RecoveryError> {
        let front = &mut *self.front();
        self.absorb(front);
        // All of it is read before any of it counts; what cannot be read is missing for good.
        let snapshot = news.snapshot.as_deref().map(State::read);
        let records: Option<Vec<_>> = news.records.iter().map(|r| Changes::read(r)).collect();
        let (false, Some(records), None | Some(Some(_))) = (front.torn, records, &snapshot) else {
            front.torn = true;
            return Err(TORN);
        };
        match snapshot.flatten() {
            Some(snapshot) => front.durable = snapshot,
            None if news.anew => front.durable = State::default(),
            None => {}
        }
        for (at, changes) in records.into_iter().enumerate() {
            let dead = front.durable.apply(&changes).into_iter();
            match at < news.covered {
                true => dead.for_each(|chunks| self.log.discard(chunks)),
                false => dead.for_each(|chunks| self.log.release(chunks)),
            }
        }
        Ok(())
    }

    /// Takes over what became durable.
    fn absorb(&self, front: &mut Front) {
        let durable = |(ticket, _): &(Ticket, Changes)| self.log.is_durable(*ticket);
        while front.pending.front().is_some_and(durable)
            && let Some((_, changes)) = front.pending.pop_front()
        {
            let dead = front.durable.apply(&changes);
            dead.into_iter().for_each(|chunks| self.log.release(chunks));
        }
    }

    /// Stores a commit and returns its number, from 1 and without gaps, once it is durable.
    ///
    /// # Errors
    /// [`CommitError`].
    pub async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let mut keys = BTreeSet::new();
        for write in &commit.writes {
            if write.key.len() > KEY_MAX {
                let (max, got) = (KEY_MAX as u64, write.key.len() as u64);
                return Err(RecoveryError::TooLong { max, got }.into());
            }
            if !keys.insert(&write.key) {
                return Err(CommitError::Repeated);
            }
        }
        loop {
            // A look before many blobs are sent in vain.
            let mut ticket = None;
            if self.front().is_free_of_conflicts(&commit) {
                let ready = self.prepare(&commit).await?;
                ticket = self.submit(&commit, ready)?;
            }
            match ticket {
                Some(ticket) => {
                    self.log.settle(ticket).await?;
                    self.absorb(&mut self.front());
                    return Ok(ticket.number);
                }
                None => {
                    self.flush().await?;
                    if let Some(conflict) = self.conflict(&commit).await? {
                        return Err(conflict);
                    }
                }
            }
        }
    }

    /// Waits for all that is on its way, as after [`RecoveryError::Unreachable`].
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn flush(&self) -> Result<(), RecoveryError> {
        let last = self.front().pending.back().map(|(ticket, _)| *ticket);
        if let Some(ticket) = last {
            self.log.settle(ticket).await?;
            self.absorb(&mut self.front());
        }
        Ok(())
    }

    async fn prepare(&self, commit: &Commit) -> Result<Ready, RecoveryError> {
        let stored = commit.writes.iter().map(|write| async {
            Ok::<_, RecoveryError>(Change {
                key: write.key.clone(),
                count: write.count,
                value: match &write.value {
                    Some(value) if value.len() > HERE_MAX => {
                        Some(Value::InChunks(self.log.store(value).await?))
                    }
                    Some(value) => Some(Value::Here(value.as_slice().into())),
                    None => None,
                },
            })
        });
        let changes = Changes {
            global: commit.global.map(|(_, count)| count),
            changes: try_join_all(stored).await?,
        };
        let names: Vec<Chunks> = changes.chunks().collect();
        let record = self.log.record(changes.write(), names).await?;
        Ok(Ready { changes, record })
    }

    /// Puts it into the log's queue, unless there is a conflict by now.
    fn submit(&self, commit: &Commit, ready: Ready) -> Result<Option<Ticket>, RecoveryError> {
        let front = &mut *self.front();
        if !front.current || !front.is_free_of_conflicts(commit) {
            self.log.withdraw(ready.record);
            return if front.current {
                Ok(None)
            } else {
                Err(RecoveryError::Following)
            };
        }
        let ticket = self.log.submit(ready.record)?;
        front.ahead.apply(&ready.changes);
        front.pending.push_back((ticket, ready.changes));
        Ok(Some(ticket))
    }

    /// What is in a commit's way that is durable.
    async fn conflict(&self, commit: &Commit) -> Result<Option<CommitError>, RecoveryError> {
        let items = self.look(|state| {
            let (keys, _) = state.conflicts(commit);
            let item = |key: String| (key.clone(), state.items.get(&key).cloned());
            keys.into_iter().map(item).collect()
        });
        let items = items.await?;
        let global = {
            let durable = &self.front().durable;
            durable.conflicts(commit).1.then_some(durable.global)
        };
        if items.is_empty() && global.is_none() {
            return Ok(None);
        }
        Ok(Some(CommitError::Conflict { items, global }))
    }

    /// Has the storage node confirm that what this device knows is the newest there is.
    ///
    /// # Errors
    /// [`RecoveryError::Fenced`] when another device has gone on.
    pub async fn confirm(&self) -> Result<(), RecoveryError> {
        self.log.confirm().await
    }

    /// What this session may leave behind if it is killed from now on while it stores so many values of up to `len`
    /// bytes each: to be kept first, and [abandoned](Map::abandon) by the next session. A value takes a place if
    /// it is longer than 4 KiB, a commit one more if all else in it is longer than an entry, and a roll-up one
    /// of [`Map::snapshot_len`].
    #[must_use]
    pub fn unfinished(&self, values: u64, len: u64) -> Unfinished {
        self.log.unfinished(values, len)
    }

    /// Bytes that a roll-up would store, without what is still on its way.
    #[must_use]
    pub fn snapshot_len(&self) -> u64 {
        let front = &mut *self.front();
        self.absorb(front);
        self.log.snapshot(&front.durable.write()).0.len() as u64
    }

    /// Has what a session left behind deleted that is over, such as one that was killed, as far as nothing names it.
    /// [`Log::upkeep`] does it.
    ///
    /// # Errors
    /// [`RecoveryError::Following`] when this device does not write: what that session had sent may still count.
    pub fn abandon(&self, unfinished: Unfinished) -> Result<(), RecoveryError> {
        let front = self.front();
        if !front.current {
            return Err(RecoveryError::Following);
        }
        // What this session is about to replace is named until that is durable.
        let states = [&front.durable, &front.ahead];
        let items = states.into_iter().flat_map(|state| state.items.values());
        let named: Vec<Chunks> = items
            .filter_map(|item| match &item.value {
                Some(Value::InChunks(chunks)) => Some(*chunks),
                _ => None,
            })
            .collect();
        self.log.abandon(unfinished, &named);
        Ok(())
    }

    /// Replaces the log so far by a snapshot.
    ///
    /// # Errors
    /// As [`Log::roll_up`].
    pub async fn roll_up(&self) -> Result<u64, RecoveryError> {
        self.log
            .roll_up(|| {
                let front = &mut *self.front();
                self.absorb(front);
                front.durable.write()
            })
            .await
    }

    pub(super) fn front(&self) -> MutexGuard<'_, Front> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    fn is_free_of_conflicts(&self, commit: &Commit) -> bool {
        let (keys, global) = self.ahead.conflicts(commit);
        keys.is_empty() && !global
    }
}

impl Changes {
    fn chunks(&self) -> impl Iterator<Item = Chunks> {
        self.changes
            .iter()
            .filter_map(|change| match &change.value {
                Some(Value::InChunks(chunks)) => Some(*chunks),
                _ => None,
            })
    }
}

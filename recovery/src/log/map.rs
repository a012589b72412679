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
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use rand::CryptoRng;

use super::chunk;
use super::cursor::TORN;
use super::state::{Change, Changes, Item, State, Value};
use super::{Chunks, Log, News, Record, Registers, Ticket, Writer};
use crate::seal::BODY_MAX;
use crate::{RecoveryError, Slot};

/// The longest key, in bytes.
pub const KEY_MAX: usize = 1_024;

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

/// A condition on a version. A key that never was has version 0; a deleted one keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No condition.
    Any,
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
    /// It has this version.
    Version(u64),
}

/// How the version goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// One up.
    On,
    /// It is 1 again, or forgotten with a delete, as VSS has it: a version may come twice.
    Restart,
}

/// What becomes of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// At most [`KEY_MAX`] bytes.
    pub key: String,
    /// Its condition.
    pub expect: Expect,
    /// The value, or `None` to delete it.
    pub value: Option<Vec<u8>>,
    /// How its version goes on.
    pub count: Count,
}

impl Write {
    /// Puts a value.
    #[must_use]
    pub fn put(key: impl Into<String>, expect: Expect, value: impl Into<Vec<u8>>) -> Self {
        Write {
            key: key.into(),
            expect,
            value: Some(value.into()),
            count: Count::On,
        }
    }

    /// Deletes a key; where there is none, nothing happens.
    #[must_use]
    pub fn delete(key: impl Into<String>, expect: Expect) -> Self {
        Write {
            key: key.into(),
            expect,
            value: None,
            count: Count::On,
        }
    }

    /// Has its version restart.
    #[must_use]
    pub fn restarting(self) -> Self {
        Write {
            count: Count::Restart,
            ..self
        }
    }
}

/// Writes that are stored together or not at all. No key twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// One per key.
    pub writes: Vec<Write>,
    /// Condition on the global version, and how it goes on; `None` leaves it alone.
    pub global: Option<(Expect, Count)>,
}

impl Commit {
    /// These writes, without a global version.
    #[must_use]
    pub fn of(writes: impl Into<Vec<Write>>) -> Self {
        Commit {
            writes: writes.into(),
            global: None,
        }
    }
}

/// What a key has.
#[derive(Clone, PartialEq, Eq)]
pub struct Current {
    /// The key.
    pub key: String,
    /// Its version: 0 when it never was.
    pub version: u64,
    /// Its value; `None` when it has none, or none any more.
    pub value: Option<Vec<u8>>,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub size: u64,
    /// Rises with every key that is created.
    pub created: u64,
}

/// Why a commit was not stored.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Conditions were not met; nothing was written.
    #[error("{} keys have other versions than expected", .items.len())]
    Conflict {
        /// What every key has whose condition was not met.
        items: Vec<Current>,
        /// The global version when that was one of them.
        global: Option<u64>,
    },
    /// A key is there twice.
    #[error("a commit names a key twice")]
    Repeated,
    /// Whether it was stored is known once the map was read on, except that after
    /// [`RecoveryError::TooLong`] and [`RecoveryError::Following`] it was not. After
    /// [`RecoveryError::Unreachable`] it may still be on its way: see [`Map::flush`].
    #[error(transparent)]
    Failed(#[from] RecoveryError),
}

/// Another device's values have no place in a log.
impl fmt::Debug for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
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
struct Front {
    durable: State,
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
        let map = Map {
            log: Log::open(registers, rng, hint).await?,
            front: Mutex::default(),
            turn: futures_util::lock::Mutex::new(()),
        };
        map.refresh().await?;
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
        if let Some(snapshot) = snapshot.flatten() {
            front.durable = snapshot;
        }
        for changes in records {
            let dead = front.durable.apply(&changes);
            dead.into_iter().for_each(|chunks| self.log.release(chunks));
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
        let (found, global) = {
            let front = self.front();
            let (keys, global) = front.durable.conflicts(commit);
            let item = |key: String| (front.durable.items.get(&key).cloned(), key);
            let found: Vec<_> = keys.into_iter().map(item).collect();
            (found, global.then_some(front.durable.global))
        };
        if found.is_empty() && global.is_none() {
            return Ok(None);
        }
        let items = found.into_iter().map(|(item, key)| self.current(key, item));
        let items = try_join_all(items).await?;
        Ok(Some(CommitError::Conflict { items, global }))
    }

    /// What a key has.
    ///
    /// A reader that finds a large value replaced and deleted reads on.
    ///
    /// # Errors
    /// [`RecoveryError`]; `Fenced` when this device wrote and another has replaced a large value.
    pub async fn get(&self, key: &str) -> Result<Current, RecoveryError> {
        let look = async || {
            let item = self.front().durable.items.get(key).cloned();
            self.current(key.to_owned(), item).await
        };
        let following = !self.log.is_leading();
        match look().await {
            Err(RecoveryError::Following | RecoveryError::Fenced(_)) if following => {
                self.refresh().await?;
                look().await
            }
            looked => looked,
        }
    }

    async fn current(&self, key: String, item: Option<Item>) -> Result<Current, RecoveryError> {
        let version = item.as_ref().map_or(0, |item| item.version);
        let value = match item.and_then(|item| item.value) {
            Some(Value::Here(value)) => Some(value.to_vec()),
            Some(Value::InChunks(chunks)) => match self.log.fetch(&chunks).await? {
                Some(value) => Some(value),
                None => {
                    self.log.confirm().await?;
                    return Err(RecoveryError::Misbehaved(
                        "it deleted a value that the newest state names",
                    ));
                }
            },
            None => None,
        };
        Ok(Current {
            key,
            version,
            value,
        })
    }

    /// The global version; 0 when there never was one.
    #[must_use]
    pub fn global(&self) -> u64 {
        self.front().durable.global
    }

    /// How many commits there were.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.front().durable.commits
    }

    /// Keys with this prefix behind `after`, in the order of their bytes, at most so many.
    #[must_use]
    pub fn list(&self, prefix: &str, after: Option<&str>, at_most: usize) -> Vec<Listed> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let front = self.front();
        let range = front
            .durable
            .items
            .range::<str, _>((from, Bound::Unbounded));
        range
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter_map(|(key, item)| Listed::of(key, item))
            .take(at_most)
            .collect()
    }

    /// Keys with this prefix that were created before `before`, the newest first, at most so many.
    #[must_use]
    pub fn list_newest(&self, prefix: &str, before: Option<u64>, at_most: usize) -> Vec<Listed> {
        let mut listed = self.list(prefix, None, usize::MAX);
        listed.retain(|listed| before.is_none_or(|before| listed.created < before));
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.created));
        listed.truncate(at_most);
        listed
    }

    /// All registers that a restore may read, values included: what a provider that joins has to have.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        let mut slots = self.log.slots();
        let front = self.front();
        let values = front
            .durable
            .items
            .values()
            .filter_map(|item| item.value.as_ref());
        slots.extend(values.flat_map(|value| match value {
            Value::InChunks(chunks) => chunk::slots(*chunks).collect(),
            Value::Here(_) => Vec::new(),
        }));
        slots
    }

    /// Has the storage node confirm that what this device knows is the newest there is.
    ///
    /// # Errors
    /// [`RecoveryError::Fenced`] when another device has gone on.
    pub async fn confirm(&self) -> Result<(), RecoveryError> {
        self.log.confirm().await
    }

    /// Has chunks deleted that a session left behind which was killed, and which nothing names: the first `drawn`
    /// that it drew, of up to `len` bytes each. [`Log::upkeep`] deletes them.
    ///
    /// # Errors
    /// [`RecoveryError::Following`] when this device does not write: what that session had sent may still count.
    pub fn abandon(&self, session: Writer, drawn: u64, len: u64) -> Result<(), RecoveryError> {
        let front = self.front();
        if !front.current {
            return Err(RecoveryError::Following);
        }
        let items = front.ahead.items.values();
        let named: Vec<Chunks> = items
            .filter_map(|item| match &item.value {
                Some(Value::InChunks(chunks)) => Some(*chunks),
                _ => None,
            })
            .collect();
        self.log.abandon(session, drawn, len, &named);
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

    fn front(&self) -> MutexGuard<'_, Front> {
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

impl Listed {
    fn of(key: &str, item: &Item) -> Option<Self> {
        Some(Listed {
            key: key.to_owned(),
            version: item.version,
            size: item.value.as_ref()?.size(),
            created: item.serial,
        })
    }
}

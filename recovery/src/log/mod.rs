//! The client's log: one history of records, whoever writes it.
//!
//! | file | concept |
//! | --- | --- |
//! | [`register`] | write-once registers at secret addresses |
//! | [`cache`] | what this device knows of them without asking |
//! | `entry` | what they hold, byte by byte |
//! | `cursor` | how one gets from each register to the next |
//! | `reader` | reading on; restoring from the newest anchor |
//! | `lead` | taking over, submitting, waiting until it is durable |
//! | `writer` | group commit, a window, acknowledgement in order, the fence |
//! | `crowd` | whoever waits |
//! | `rollup` | a snapshot instead of a generation, and deleting the old one |
//! | [`anchor`] | finding the newest anchor without a list |
//! | `chunk` | what is larger than an entry |
//! | [`point`] | a place in the history that can be recognised |
//! | `garbage` | what a roll-up leaves behind |
//! | `due` | what of it is still there |
//! | [`pace`] | how fast it is deleted |
//! | [`unfinished`] | what a session leaves behind that was killed |
//! | [`progress`] | how far a restore has come |
//! | [`map`] | versioned keys and values on top |
//! | [`history`] | what each commit of a map changed |
//! | `commit` | what is asked of the map, and what it answers |
//! | `view` | reading it |
//! | `state` | what commits add up to |
//! | `replay` | the same without being a device |
//!
//! # What it promises
//!
//! * **One history.** The records that any two devices read are prefixes of one sequence.
//! * **Durable is for good.** When [`Log::settle`] returns, the record is in that sequence, and every
//!   device that reads from then on finds it.
//! * **All or nothing.** A record is read whole, or not at all.
//!
//! It needs neither clocks nor leases. The log is a chain of *segments*, each with one writer. A device that
//! takes over reads to the first hole and puts a *seal* there; it goes on in a segment of its
//! own whose address is the seal's hash. A register takes one content for good, so either the
//! older writer's entry is there first, and then it is read, or the seal is, and then that writer's next entry in
//! order cannot be acknowledged, nor any behind it. So what a reader passes and what a writer has
//! acknowledged are prefixes of the same chain. Entries that an older writer had in flight behind
//! the seal are in a segment that has ended: nobody reads them
//! (`docs/decisions/0020-the-log-is-a-chain-of-segments.md`).
//!
//! A *roll-up* writes the state as chunks, seals the generation with their name, and puts the *anchor*
//! of the next generation, which follows from the seal: whoever finds the one can complete the other. Then the
//! old generation is deleted, slowly ([`Log::spread`]). A deleted register stays deleted, so that the fence
//! holds for a device that slept through all of it.
//!
//! # How it fails
//!
//! After [`RecoveryError::Unreachable`] what was submitted still waits in its place: settle again.
//! After [`RecoveryError::Fenced`] another device writes; what this one had settled is in the log,
//! what it had not is there or not, as the log says once it was read on.
//!
//! A log that was left alone for longer than the storage node remembers deletes, which is an epoch at least, has to be
//! opened anew before it is used: a generation that was rolled up and deleted meanwhile looks as if it went on.

pub mod anchor;
pub mod cache;
pub mod history;
pub mod map;
pub mod pace;
pub mod point;
pub mod progress;
pub mod register;
pub mod unfinished;

mod chunk;
mod commit;
mod crowd;
mod cursor;
mod due;
mod entry;
mod garbage;
mod lead;
mod reader;
mod replay;
mod rollup;
mod state;
mod view;
mod writer;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::CryptoRng;

use crate::seal::Contents;
use crate::value::VALUE_MAX;
use crate::{RecoveryError, Slot};
use crowd::Crowd;
use cursor::{Cursor, TORN};
use entry::{Packed, RECORD_HERE_MAX};
use garbage::Garbage;
use point::Chain;
use reader::{End, From, Restored, restore, walk};
use writer::Tail;

pub use due::Due;
pub(crate) use entry::take;
pub use entry::{Chunks, Link, Writer};
pub(crate) use point::POINT_BYTES;
pub use point::Point;
pub use reader::News;
use register::Asking;
pub use register::{Look, OneProvider, Put, ReadOnly, Registers};
pub(crate) use replay::{Replay, replay};

/// Registers that [`Log::due`] lists: those of fifteen of the longest values.
const DUE_MAX: usize = 1 << 20;

/// Reads from the newest anchor to the end.
async fn read_all(registers: &dyn Registers) -> Result<Restored, RecoveryError> {
    let mut restored = restore(registers, From::Anywhere).await?;
    loop {
        let Restored { cursor, news, due } = &mut restored;
        let generation = cursor.generation;
        if let End::Hole = walk(registers, cursor, news, due).await? {
            restored.news.anew = true;
            return Ok(restored);
        }
        restored = restore(registers, From::Above(generation)).await?;
        if restored.cursor.generation <= generation {
            return Err(TORN);
        }
    }
}

/// What tells a writer that another one has taken over.
#[derive(Clone, PartialEq, Eq)]
pub struct Fence {
    /// Records in the log before the place where the older writer was stopped.
    pub records: u64,
    /// What is in that place; `None` when it was rolled up and deleted since.
    pub seal: Option<Contents>,
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fence(behind {} records)", self.records)
    }
}

/// A record that can be submitted, once.
pub struct Record {
    packed: Packed,
    names: Vec<Chunks>,
}

impl Record {
    fn garbage(&self) -> Vec<Garbage> {
        let chunks = self.packed.chunks().into_iter();
        let chunks = chunks.chain(self.names.iter().copied());
        chunks.map(Garbage::Chunks).collect()
    }
}

/// A record that was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Which of this device's take-overs it was submitted in.
    lead: usize,
    /// The number it has in the log if it becomes durable; the first is 1.
    pub number: u64,
}

/// One device's end of the log. All methods take `&self`; futures may be dropped at any time.
pub struct Log {
    registers: Arc<dyn Registers>,
    writer: Writer,
    state: Mutex<State>,
    crowd: Arc<Crowd>,
}

struct State {
    cursor: Cursor,
    role: Role,
    /// Whether the cursor was at the end when this device last read on.
    at_end: bool,
    /// Records read and not handed out.
    news: News,
    due: Due,
    /// Chunks drawn by this session.
    drawn: u64,
    /// How many records were in the log when each of this session's leads ended.
    ends: Vec<u64>,
    fence: Option<Fence>,
}

enum Role {
    Following,
    Leading { tail: Tail, submitted: u64 },
}

impl Log {
    /// Opens the log as a reader at the newest anchor. `rng` names this session and must never
    /// repeat. `hint` is the newest anchor that was known once, as [`anchor::newest`] explains, or 0 when there was
    /// none yet: the log begins there, and says itself if there is a newer one.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn open(
        registers: Arc<dyn Registers>,
        rng: &mut (impl CryptoRng + ?Sized),
        hint: Option<u64>,
    ) -> Result<Self, RecoveryError> {
        let (mut writer, mut seed) = (Writer([0; 16]), [0; 32]);
        rng.fill_bytes(&mut writer.0);
        rng.fill_bytes(&mut seed);
        let from = hint.map_or(From::Anywhere, From::Known);
        let restored = match restore(registers.as_ref(), from).await {
            // What is kept here may be of a history that this wallet was told to forget.
            Err(RecoveryError::Misbehaved(_)) if registers.distrust() => {
                restore(registers.as_ref(), From::Anywhere).await?
            }
            restored => restored?,
        };
        let mut due = Due::new(seed);
        restored.due.into_iter().for_each(|item| due.push(item));
        Ok(Log {
            registers,
            writer,
            state: Mutex::new(State {
                cursor: restored.cursor,
                role: Role::Following,
                at_end: false,
                news: restored.news,
                due,
                drawn: 0,
                ends: Vec::new(),
                fence: None,
            }),
            crowd: Crowd::new(),
        })
    }

    /// The generation, which is the newest anchor: a hint for next time.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.state().cursor.generation
    }

    /// Records that this device has read or made durable, from the very beginning.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.state().cursor.records
    }

    /// Registers of this generation that a restore would read, about.
    #[must_use]
    pub fn length(&self) -> u64 {
        let state = self.state();
        let segments = state.cursor.trail.iter().map(|item| match item {
            Garbage::Segment { len, .. } => *len,
            _ => 0,
        });
        segments.sum::<u64>() + state.cursor.index
    }

    /// Who writes where this device has read to: the session behind the last seal or anchor. `None` when nobody
    /// ever did.
    #[must_use]
    pub fn last_writer(&self) -> Option<Writer> {
        self.state().cursor.writer
    }

    /// What this session signs with.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer
    }

    /// Checks that the log has as many records as this wallet once knew of. A hint that outlived the loss
    /// of everything else tells a prefix from the whole.
    ///
    /// # Errors
    /// [`RecoveryError::OlderState`] when records are missing.
    pub fn reaches(&self, records: u64) -> Result<(), RecoveryError> {
        match self.records() {
            shown if shown < records => Err(RecoveryError::OlderState {
                of: "commits",
                shown,
                seen: records,
            }),
            _ => Ok(()),
        }
    }

    /// How far this device has read or written, to be recognised later on: by a device that remembers it, or as a
    /// [`Checkpoint`](crate::Checkpoint) on paper.
    #[must_use]
    pub fn point(&self) -> Point {
        self.state().cursor.point()
    }

    /// Checks that this history is at least as long as one that was once seen up to this point, and where the point is
    /// behind the last roll-up that it is the same one, too.
    ///
    /// # Errors
    /// [`RecoveryError::OlderState`] or [`RecoveryError::OtherHistory`].
    pub fn passes(&self, point: &Point) -> Result<(), RecoveryError> {
        self.compare(point.records, |chain| chain == point.chain)
            .map(drop)
    }

    /// The same, by whatever recognises the chain behind so many records. Returns whether that was there to compare.
    pub(crate) fn compare(
        &self,
        records: u64,
        is_same: impl FnOnce(Chain) -> bool,
    ) -> Result<bool, RecoveryError> {
        self.reaches(records)?;
        match self.state().cursor.chain_at(records) {
            Some(chain) if is_same(chain) => Ok(true),
            Some(_) => Err(RecoveryError::OtherHistory { records }),
            None => Ok(false),
        }
    }

    /// The registers that a restore may read, those included that are still to be written by this
    /// lead; not the values that only the records name. They are made one by one: a name of some bytes may
    /// stand for many.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + Send + use<> {
        self.names().into_iter().flat_map(Garbage::slots)
    }

    /// How many they are.
    pub(super) fn blobs(&self) -> u64 {
        let counts = self.names().into_iter().map(Garbage::count);
        counts.fold(0, u64::saturating_add)
    }

    fn names(&self) -> Vec<Garbage> {
        let state = self.state();
        let cursor = &state.cursor;
        let here = Garbage::Segment {
            generation: cursor.generation,
            lane: cursor.lane,
            len: cursor.index + cursor::WINDOW as u64,
        };
        let anchors = anchor::kept(cursor.generation).map(Garbage::Anchor);
        let all = cursor.trail.iter().copied().chain([here]).chain(anchors);
        all.collect()
    }

    /// Those of [`slots`](Log::slots) that nothing is known to be in yet: another device may fill them at any time, so
    /// who copies the rest once has to come back for these.
    #[must_use]
    pub fn ahead(&self) -> Vec<Slot> {
        let cursor = &self.state().cursor;
        (0..cursor::WINDOW as u64)
            .map(|at| cursor.slot(at))
            .collect()
    }

    /// Registers that are still to be deleted, as far as this session knows; of very many, the first.
    #[must_use]
    pub fn due(&self) -> Vec<Slot> {
        self.state().due.slots().take(DUE_MAX).collect()
    }

    /// Reads on, as a device that does not write. A device that writes learns nothing new here.
    ///
    /// # Errors
    /// [`RecoveryError`]; what was read before a failure is kept for the next call.
    pub async fn follow(&self) -> Result<News, RecoveryError> {
        self.read_on().await?;
        Ok(std::mem::take(&mut self.state().news))
    }

    async fn read_on(&self) -> Result<(), RecoveryError> {
        // Once is enough: all that is kept from then on is what was shown since. A storage node that shows an anchor and no
        // history behind it would be asked for both for ever, at the price of a look-up each.
        let mut has_distrusted = false;
        loop {
            let (mut cursor, from) = {
                let state = self.state();
                if let Role::Leading { .. } = state.role {
                    return Ok(());
                }
                (state.cursor.clone(), state.cursor.slot(0))
            };
            let (mut news, mut due) = (News::default(), Vec::new());
            let registers = self.registers.as_ref();
            let end = walk(registers, &mut cursor, &mut news, &mut due).await;
            let anew = match &end {
                // Everything so far is in a newer snapshot.
                Ok(End::Deleted) => Some(self.newer(cursor.generation).await?),
                // What is kept here may be of a history that this wallet was told to forget.
                Err(RecoveryError::Misbehaved(_))
                    if !has_distrusted && !cursor.is_proven && registers.distrust() =>
                {
                    has_distrusted = true;
                    let mut restored = restore(registers, From::Anywhere).await?;
                    restored.news.anew = true;
                    Some(restored)
                }
                _ => None,
            };
            if let Some(anew) = anew {
                self.begin_at(anew, from);
                continue;
            }
            let mut state = self.state();
            // Another call may have been faster.
            if state.cursor.slot(0) == from && matches!(state.role, Role::Following) {
                state.cursor = cursor;
                if news.covered > 0 {
                    state.news.covered = state.news.records.len() + news.covered;
                }
                state.news.records.extend(news.records);
                due.into_iter().for_each(|item| state.due.push(item));
            }
            if let End::Hole = end? {
                state.at_end = true;
                return Ok(());
            }
        }
    }

    /// What a generation was replaced by whose entries are deleted.
    async fn newer(&self, generation: u64) -> Result<Restored, RecoveryError> {
        let restored = restore(self.registers.as_ref(), From::Above(generation)).await?;
        match restored.cursor.generation <= generation {
            true => Err(RecoveryError::Misbehaved(
                "it deleted entries that no newer anchor covers",
            )),
            false => Ok(restored),
        }
    }

    /// Goes on from there, unless another call has left `from` meanwhile.
    fn begin_at(&self, restored: Restored, from: Slot) {
        let mut state = self.state();
        if state.cursor.slot(0) == from && matches!(state.role, Role::Following) {
            (state.cursor, state.news) = (restored.cursor, restored.news);
            state.at_end = false;
            let due = restored.due.into_iter();
            due.for_each(|item| state.due.push(item));
        }
    }

    /// Has the storage node show the last register that this device has only from its cache; returns whether there is
    /// nothing more to read. Whoever writes behind something that the storage node has lost, or never had, writes what
    /// no restore finds.
    async fn prove(&self) -> Result<bool, RecoveryError> {
        let (slot, last, from, generation, records) = {
            let cursor = &self.state().cursor;
            match cursor.last_slot {
                Some(slot) if !cursor.is_proven => {
                    let Cursor {
                        last,
                        generation,
                        records,
                        ..
                    } = *cursor;
                    (slot, last, cursor.slot(0), generation, records)
                }
                _ => return Ok(true),
            }
        };
        match self.registers.ask(slot).await? {
            Look::Found(contents) if Link::of(&slot, &contents) == last => {
                let mut state = self.state();
                state.cursor.is_proven |= state.cursor.last == last;
                return Ok(true);
            }
            Look::Deleted => self.begin_at(self.newer(generation).await?, from),
            _ => {
                let asking = Asking(self.registers.clone());
                let shown = read_all(&asking).await?;
                if shown.cursor.records < records {
                    return Err(RecoveryError::OlderState {
                        of: "commits",
                        shown: shown.cursor.records,
                        seen: records,
                    });
                }
                // It is another history, which the storage node has all of: this wallet was told to forget the one that is
                // kept here.
                self.registers.distrust();
                self.begin_at(shown, from);
            }
        }
        Ok(false)
    }

    /// Makes bytes a record; what does not fit an entry is stored in chunks first. `names` are chunks
    /// that only this record names: they are deleted if it is known not to have got in.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn record(
        &self,
        bytes: Vec<u8>,
        names: Vec<Chunks>,
    ) -> Result<Record, RecoveryError> {
        let packed = match bytes.len() {
            0..=RECORD_HERE_MAX => Packed::Here(bytes),
            _ => Packed::InChunks(self.store(&bytes).await?),
        };
        Ok(Record { packed, names })
    }

    /// Stores bytes, at least one, outside the log, for a record to name.
    ///
    /// # Errors
    /// [`RecoveryError`]; what got through is deleted in time if this is not called off.
    pub async fn store(&self, bytes: &[u8]) -> Result<Chunks, RecoveryError> {
        if bytes.len() as u64 > VALUE_MAX {
            return Err(RecoveryError::TooLong {
                max: VALUE_MAX,
                got: bytes.len() as u64,
            });
        }
        let entropy = {
            let mut state = self.state();
            state.drawn += 1;
            chunk::entropy(self.writer, state.drawn)
        };
        let stored = chunk::store(self.registers.as_ref(), self.writer, entropy, bytes).await;
        stored.inspect_err(|_| {
            self.discard(Chunks {
                entropy,
                len: bytes.len() as u64,
                last: Link::default(),
            });
        })
    }

    /// Reads what a record names; `None` when another device has deleted it since.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn fetch(&self, chunks: &Chunks) -> Result<Option<Vec<u8>>, RecoveryError> {
        chunk::fetch(self.registers.as_ref(), chunks).await
    }

    /// Has chunks deleted that nothing ever named.
    pub fn discard(&self, chunks: Chunks) {
        self.state().due.push(Garbage::Chunks(chunks));
    }

    /// Has chunks deleted after the next roll-up, as the state does not name them any more.
    pub fn release(&self, chunks: Chunks) {
        self.state().cursor.trail.push(Garbage::Chunks(chunks));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

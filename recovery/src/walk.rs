//! Restoring a sequence from the root key alone.
//!
//! A walk looks counters up from a position on, many at once, and hands the values out in order.
//! Deleted counters are stepped over. It ends where a run of counters is absent, each signed by
//! the storage node: a window of them is in flight anyway, so looking a little further than the
//! first hole costs no time, and finds values behind a tombstone that was forgotten.
//!
//! A walk can stop at any time and go on later from [`Walk::position`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesOrdered, StreamExt, TryStreamExt};
use larder_protocol::BlobHash;

use crate::seal::{Contents, Foreign, Kind, open};
use crate::value::{Head, chunk_slot};
use crate::{Looked, Position, Provider, RecoveryError, Schedule, Sequence, Slot};

/// Values that are looked up at once, and so the run of absent counters that ends a walk.
const AHEAD: usize = 16;

/// Chunks of one value that are looked up at once; the transport paces below that as it has to.
const WINDOW: usize = 32;

/// What is at a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A value.
    Value(Vec<u8>),
    /// Nothing: never written, signed by the storage node.
    Absent,
    /// It was deleted.
    Deleted,
    /// A delete was begun and cut short. Delete it again.
    HalfDeleted,
    /// The storage node signed that a part of it is absent although the rest is there: it lost
    /// what it had acknowledged. Restore this value from another provider.
    Lost,
    /// The storage node gave bytes that this root key never wrote there.
    Foreign,
}

/// One counter of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The counter.
    pub counter: u64,
    /// What was there.
    pub found: Found,
}

/// How far a walk has come. The totals grow while heads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Blobs read.
    pub blobs: u64,
    /// Blobs known to exist so far.
    pub blobs_known: u64,
    /// Bytes of values read.
    pub bytes: u64,
}

type Listener = Box<dyn Fn(Progress) + Send + Sync>;

/// What is at a counter, and what its head says of itself if there is one.
type Read = (Found, Option<Trace>);

/// A walk along a sequence.
pub struct Walk {
    sequence: Sequence,
    reader: Reader,
    ahead: FuturesOrdered<BoxFuture<'static, Result<Read, RecoveryError>>>,
    /// The next counter to look up.
    next_ahead: u64,
    /// The next counter to hand out.
    next: u64,
    /// Counters since the last one that was not absent.
    absent: usize,
    /// Counters since the last one that was not foreign.
    foreign: usize,
    done: bool,
}

impl Walk {
    /// A walk from where the sequence stands.
    #[must_use]
    pub fn new(sequence: Sequence) -> Self {
        let next = sequence.position().next;
        let reader = sequence.reader();
        let ahead = FuturesOrdered::new();
        Walk {
            sequence,
            reader,
            ahead,
            next_ahead: next,
            next,
            absent: 0,
            foreign: 0,
            done: false,
        }
    }

    /// Has `listener` called after every blob.
    pub fn on_progress(&mut self, listener: impl Fn(Progress) + Send + Sync + 'static) {
        *self
            .reader
            .progress
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Box::new(listener));
    }

    /// The next counter that is not absent, or `None` at the end.
    ///
    /// # Errors
    /// [`RecoveryError`]; call it again to go on with the same counter.
    pub async fn next(&mut self) -> Result<Option<Step>, RecoveryError> {
        while !self.done {
            while self.ahead.len() < AHEAD {
                let (reader, counter) = (self.reader.clone(), self.next_ahead);
                self.ahead
                    .push_back(Box::pin(async move { reader.read(counter).await }));
                self.next_ahead += 1;
            }
            let Some(result) = self.ahead.next().await else {
                break;
            };
            let (found, trace) = match result {
                Ok(read) => read,
                Err(error) => {
                    // What was under way behind the failure is asked for again.
                    self.ahead = FuturesOrdered::new();
                    self.next_ahead = self.next;
                    return Err(error);
                }
            };
            let counter = self.next;
            self.next += 1;
            if found == Found::Absent {
                self.absent += 1;
                self.done = self.absent >= AHEAD;
                continue;
            }
            let before = self.sequence.position.previous;
            if let Some(trace) = &trace
                && self.absent == 0
                && ![before, trace.previous].contains(&BlobHash([0; 32]))
                && trace.previous != before
            {
                return Err(RecoveryError::Misbehaved(
                    "it shows two histories: a value does not follow the one before it",
                ));
            }
            self.absent = 0;
            self.foreign = if found == Found::Foreign {
                self.foreign + 1
            } else {
                0
            };
            if self.foreign > AHEAD {
                // It could go on like that for ever.
                return Err(RecoveryError::Misbehaved(
                    "it gives bytes that are not ours",
                ));
            }
            let previous = trace.map_or(BlobHash([0; 32]), |trace| trace.hash);
            self.sequence.position = Position {
                next: counter + 1,
                previous,
            };
            return Ok(Some(Step { counter, found }));
        }
        Ok(None)
    }

    /// From where a later walk may go on.
    #[must_use]
    pub fn position(&self) -> Position {
        self.sequence.position()
    }

    /// The sequence, standing behind the last counter that was handed out. After the end that is
    /// where the next value goes.
    #[must_use]
    pub fn finish(self) -> Sequence {
        self.sequence
    }
}

/// What a head says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    hash: BlobHash,
    previous: BlobHash,
}

#[derive(Default)]
struct Counters {
    blobs: AtomicU64,
    blobs_known: AtomicU64,
    bytes: AtomicU64,
    listener: Mutex<Option<Listener>>,
}

impl Counters {
    fn known(&self, blobs: u64) {
        self.blobs_known.fetch_add(blobs, Ordering::Relaxed);
    }

    fn read(&self, bytes: usize) {
        let progress = Progress {
            blobs: self.blobs.fetch_add(1, Ordering::Relaxed) + 1,
            blobs_known: self.blobs_known.load(Ordering::Relaxed),
            bytes: self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64,
        };
        if let Some(listener) = &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            listener(progress);
        }
    }
}

/// Reads values of one sequence.
#[derive(Clone)]
pub(crate) struct Reader {
    provider: Arc<Provider>,
    schedule: Schedule,
    first: Slot,
    progress: Arc<Counters>,
}

impl Reader {
    pub(crate) fn new(provider: Arc<Provider>, schedule: Schedule, first: Slot) -> Self {
        Reader {
            provider,
            schedule,
            first,
            progress: Arc::default(),
        }
    }

    /// Reads the value at a counter.
    pub(crate) async fn read(&self, counter: u64) -> Result<Read, RecoveryError> {
        let slot = Slot {
            index: counter,
            ..self.first
        };
        let blob = match self.provider.lookup(self.schedule.key(&slot)).await? {
            Looked::Found(blob) => blob,
            Looked::Absent => return Ok((Found::Absent, None)),
            Looked::Deleted => return Ok((Found::Deleted, None)),
        };
        let Ok(contents) = open(&self.schedule, &slot, &blob) else {
            return Ok((Found::Foreign, None));
        };
        let trace = Some(Trace {
            hash: blob.hash(),
            previous: contents.previous,
        });
        self.progress.known(1);
        let found = match contents.kind {
            Kind::Whole => {
                self.progress.read(contents.body.len());
                Found::Value(contents.body)
            }
            Kind::Head => match Head::decode(&contents.body) {
                Ok(head) => self.read_chunks(head).await?,
                Err(Foreign) => Found::Foreign,
            },
            Kind::Chunk => Found::Foreign,
        };
        Ok((found, trace))
    }

    async fn read_chunks(&self, head: Head) -> Result<Found, RecoveryError> {
        self.progress.known(head.cut.chunks());
        self.progress.read(head.tail.len());
        let mut chunks = stream::iter(0..head.cut.chunks())
            .map(|index| self.read_chunk(chunk_slot(head.entropy, index)))
            .buffered(WINDOW);
        let mut value = Vec::new();
        let mut last = BlobHash([0; 32]);
        let mut index = 0;
        while let Some(chunk) = chunks.try_next().await? {
            let (hash, contents) = match chunk {
                Chunk::Read(hash, contents) => (hash, contents),
                Chunk::Gone(found) => return Ok(found),
            };
            let linked = contents.kind == Kind::Chunk
                && contents.previous == last
                && contents.body.len() == head.cut.chunk(index).len();
            if !linked {
                return Ok(Found::Foreign);
            }
            value.extend_from_slice(&contents.body);
            (last, index) = (hash, index + 1);
        }
        if last != head.last_chunk {
            return Ok(Found::Foreign);
        }
        value.extend_from_slice(&head.tail);
        Ok(Found::Value(value))
    }

    async fn read_chunk(&self, slot: Slot) -> Result<Chunk, RecoveryError> {
        let blob = match self.provider.lookup(self.schedule.key(&slot)).await? {
            Looked::Found(blob) => blob,
            Looked::Absent => return Ok(Chunk::Gone(Found::Lost)),
            Looked::Deleted => return Ok(Chunk::Gone(Found::HalfDeleted)),
        };
        Ok(match open(&self.schedule, &slot, &blob) {
            Ok(contents) => {
                self.progress.read(contents.body.len());
                Chunk::Read(blob.hash(), contents)
            }
            Err(Foreign) => Chunk::Gone(Found::Foreign),
        })
    }
}

/// One chunk, or why the value cannot be had.
enum Chunk {
    Read(BlobHash, Contents),
    Gone(Found),
}

//! Restoring a sequence from the root key alone.
//!
//! A walk looks counters up from a position on, a window of look-ups at once, and hands the values
//! out in order. The window goes to the foremost value first, so that what is nearly there is finished before
//! what comes behind it is begun; that bounds memory, and makes a walk that is cut short worth
//! its while.
//!
//! Deleted counters are stepped over. The walk ends where a run of counters is absent, each signed
//! by the storage node: they are in the window anyway, so looking a little further than the first
//! hole costs no time, and finds values behind a tombstone that was forgotten.
//!
//! It can stop at any time and go on later from [`Walk::position`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use larder_protocol::BlobHash;

use crate::assembly::{Assembly, Part, Trace};
use crate::forgery::{FORGED, Read};
use crate::{Position, Provider, RecoveryError, Schedule, Sequence, Slot};

/// Values that are begun at once, and so the run of absent counters that ends a walk.
const AHEAD: usize = 16;

/// Look-ups at once; the transport paces below that as it has to.
const WINDOW: usize = 32;

/// Blobs that may wait behind the foremost value for their turn.
const WAITING: u64 = 4 * WINDOW as u64;

/// Counters in a row without a value after which a walk asks whether it should go on: a dishonest
/// storage node could sign that for ever.
const PATIENCE: u64 = 100_000;

/// What is at a counter.
#[derive(Clone, PartialEq, Eq)]
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

/// Says how long a value is and nothing of it.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Value(value) => write!(f, "Value({} bytes)", value.len()),
            Found::Absent => f.write_str("Absent"),
            Found::Deleted => f.write_str("Deleted"),
            Found::HalfDeleted => f.write_str("HalfDeleted"),
            Found::Lost => f.write_str("Lost"),
            Found::Foreign => f.write_str("Foreign"),
        }
    }
}

/// One counter of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The counter.
    pub counter: u64,
    /// What was there; never [`Found::Absent`].
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

/// A look-up under way: for which counter and part, and what came of it.
type LookUp = BoxFuture<'static, (u64, Part, Result<Read, RecoveryError>)>;

/// A walk along a sequence.
pub struct Walk {
    sequence: Sequence,
    first: Slot,
    /// Values begun and not handed out, by counter; the first is that of `next`.
    values: VecDeque<Assembly>,
    in_flight: FuturesUnordered<LookUp>,
    /// The next counter to hand out.
    next: u64,
    /// Counters in a row that were absent, foreign, or no value.
    absent: usize,
    foreign: usize,
    without: u64,
    patience: u64,
    progress: Progress,
    listener: Box<dyn FnMut(Progress) + Send>,
}

impl Walk {
    /// A walk from where the sequence stands.
    #[must_use]
    pub fn new(sequence: Sequence) -> Self {
        Walk {
            first: sequence.slot(0),
            next: sequence.position().next,
            sequence,
            values: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            absent: 0,
            foreign: 0,
            without: 0,
            patience: PATIENCE,
            progress: Progress::default(),
            listener: Box::new(|_| {}),
        }
    }

    /// Has `listener` called after every blob.
    pub fn on_progress(&mut self, listener: impl FnMut(Progress) + Send + 'static) {
        self.listener = Box::new(listener);
    }

    /// Asks after so many counters in a row without a value; 100,000 by default.
    #[must_use]
    pub fn with_patience(self, counters: u64) -> Self {
        Walk {
            patience: counters,
            ..self
        }
    }

    /// The next counter that is not absent, or `None` at the end.
    ///
    /// # Errors
    /// [`RecoveryError::Unreachable`] and other failures of one look-up: call it again to go on;
    /// what was read stays. [`RecoveryError::NothingFound`] after a long run of counters without a
    /// value: call it again to look on. [`RecoveryError::Misbehaved`] ends the walk.
    pub async fn next(&mut self) -> Result<Option<Step>, RecoveryError> {
        while self.absent < AHEAD {
            self.fill();
            if self.values.front().is_some_and(Assembly::is_done)
                && let Some((found, trace)) = self.values.pop_front().and_then(Assembly::finish)
            {
                if let Some(step) = self.judge(found, trace)? {
                    return Ok(Some(step));
                }
                continue;
            }
            if let Some((counter, part, read)) = self.in_flight.next().await {
                self.take(counter, part, read)?;
            }
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

    /// Keeps the window full, the foremost value first.
    fn fill(&mut self) {
        let mut waiting = 0;
        let mut at = 0;
        while self.in_flight.len() < WINDOW && waiting <= WAITING {
            if at == self.values.len() {
                // No further than to where the walk ends if all of it is absent: look-ups cost.
                if at + self.absent >= AHEAD {
                    return;
                }
                let index = self.next + at as u64;
                self.values.push_back(Assembly::new(Slot {
                    index,
                    ..self.first
                }));
            }
            let counter = self.next + at as u64;
            while self.in_flight.len() < WINDOW
                && let Some((part, slot)) = self.values[at].wanted()
            {
                let (provider, schedule) = (
                    self.sequence.provider.clone(),
                    self.sequence.schedule.clone(),
                );
                self.in_flight.push(Box::pin(async move {
                    (counter, part, provider.read(&schedule, &slot).await)
                }));
            }
            if at > 0 {
                waiting += self.values[at].blobs();
            }
            at += 1;
        }
    }

    fn take(
        &mut self,
        counter: u64,
        part: Part,
        read: Result<Read, RecoveryError>,
    ) -> Result<(), RecoveryError> {
        // A value that was handed out needs nothing more.
        let Some(value) = counter
            .checked_sub(self.next)
            .and_then(|at| self.values.get_mut(at as usize))
        else {
            return Ok(());
        };
        let read = read.inspect_err(|_| value.failed(part))?;
        let known = value.blobs();
        let is_there = matches!(read, Read::Ours(..) | Read::Foreign);
        self.progress.bytes += value.take(part, read) as u64;
        if is_there {
            self.progress.blobs += 1;
            if part == Part::Head {
                self.progress.blobs_known += value.blobs().max(1) - known;
            }
            (self.listener)(self.progress);
        }
        Ok(())
    }

    /// Decides what a value that is complete means for the walk.
    fn judge(&mut self, found: Found, trace: Option<Trace>) -> Result<Option<Step>, RecoveryError> {
        let counter = self.next;
        self.next += 1;
        if found == Found::Absent {
            self.absent += 1;
            return Ok(None);
        }
        const UNKNOWN: BlobHash = BlobHash([0; 32]);
        let before = self.sequence.position.previous;
        if let Some(trace) = &trace
            && self.absent == 0
            && ![before, trace.previous].contains(&UNKNOWN)
            && trace.previous != before
        {
            return Err(RecoveryError::Misbehaved(
                "it shows two histories: a value does not follow the one before it",
            ));
        }
        self.absent = 0;
        let previous = trace.map_or(UNKNOWN, |trace| trace.hash);
        self.sequence.position = Position {
            next: counter + 1,
            previous,
        };
        match &found {
            Found::Value(_) => (self.foreign, self.without) = (0, 0),
            Found::Foreign => (self.foreign, self.without) = (self.foreign + 1, self.without + 1),
            _ => self.without += 1,
        }
        if self.foreign > AHEAD {
            return Err(FORGED);
        }
        if self.without >= self.patience {
            let counters = std::mem::take(&mut self.without);
            return Err(RecoveryError::NothingFound { counters });
        }
        Ok(Some(Step { counter, found }))
    }
}

/// Reads one value on its own.
pub(crate) async fn read(
    provider: &Arc<Provider>,
    schedule: &Schedule,
    slot: Slot,
) -> Result<Found, RecoveryError> {
    let mut value = Assembly::new(slot);
    let mut in_flight = FuturesUnordered::new();
    while !value.is_done() {
        while in_flight.len() < WINDOW
            && let Some((part, slot)) = value.wanted()
        {
            in_flight.push(async move { (part, provider.read(schedule, &slot).await) });
        }
        if let Some((part, read)) = in_flight.next().await {
            value.take(part, read?);
        }
    }
    Ok(value.finish().map_or(Found::Absent, |(found, _)| found))
}

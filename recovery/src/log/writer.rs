//! Writing the log: registers to be filled in order, many at once.
//!
//! Records wait in a queue while a window of entries is in flight; whatever waits when there is room becomes the
//! next entry. An entry is durable when it and all before it are acknowledged, and only then does
//! the cursor pass it. A roll-up's seal and anchor go through the same window, one at a time, when
//! nothing else is in it.
//!
//! A register that cannot be filled because another's seal is there, or was, ends the writing for good: the
//! fence. Nothing before it is lost, nothing behind it counts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::cursor::{Cursor, TORN, WINDOW};
use super::entry::{Chunks, Closing, Link, Manifest, Packed, Writer};
use super::garbage::Garbage;
use super::register::{Look, Put, Registers};
use super::{Fence, Record};
use crate::forgery::FORGED;
use crate::seal::{BODY_MAX, Contents, Kind};
use crate::{RecoveryError, Slot};

/// The writing end of a log, from the moment it was taken over until the fence.
pub(crate) struct Tail {
    registers: Arc<dyn Registers>,
    writer: Writer,
    queue: VecDeque<Record>,
    open: VecDeque<Open>,
    in_flight: FuturesUnordered<BoxFuture<'static, (Slot, Result<Placed, RecoveryError>)>>,
    /// Nothing leaves the queue while this is set: a roll-up is on its way.
    pub(crate) held: bool,
}

/// A register that is to be filled.
struct Open {
    slot: Slot,
    contents: Arc<Contents>,
    kind: OpenKind,
    sent: bool,
    placed: Option<Placed>,
}

enum OpenKind {
    /// The records of an entry, and what only they name.
    Entry(Vec<Packed>, Vec<Chunks>),
    Seal(Manifest),
    Anchor,
}

/// What came of filling a register.
enum Placed {
    Ours,
    Theirs(Contents),
    Gone,
}

/// What drove the writing on.
pub(crate) enum Driven {
    /// The cursor may have passed something; this is due.
    On(Vec<Garbage>),
    /// Another device goes on; this is what of ours does not count.
    Fenced(Fence, Vec<Garbage>),
}

impl Tail {
    pub(crate) fn new(registers: Arc<dyn Registers>, writer: Writer) -> Self {
        Tail {
            registers,
            writer,
            queue: VecDeque::new(),
            open: VecDeque::new(),
            in_flight: FuturesUnordered::new(),
            held: false,
        }
    }

    pub(crate) fn push(&mut self, record: Record) {
        self.queue.push_back(record);
    }

    /// Whether all that left the queue is durable.
    pub(crate) fn is_drained(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the end of the generation has begun.
    pub(crate) fn is_closing(&self) -> bool {
        let last = self.open.back();
        last.is_some_and(|open| !matches!(open.kind, OpenKind::Entry(..)))
    }

    /// Begins the end of the generation; all that left the queue has to be durable.
    pub(crate) fn close(&mut self, cursor: &Cursor, manifest: Manifest) {
        let contents = Closing::RollUp(manifest).seal(cursor.last, self.writer);
        self.open(cursor.slot(0), contents, OpenKind::Seal(manifest));
    }

    /// Fills the window, and goes on with the first answer that comes.
    pub(crate) fn poll_drive(
        &mut self,
        cursor: &mut Cursor,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Driven, RecoveryError>> {
        self.pack(cursor);
        self.send();
        match self.in_flight.poll_next_unpin(cx) {
            Poll::Ready(Some((slot, placed))) => Poll::Ready(self.answer(cursor, slot, placed)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn pack(&mut self, cursor: &Cursor) {
        while !self.held && self.open.len() < WINDOW && !self.queue.is_empty() {
            let (mut body, mut records, mut names) = (Vec::new(), Vec::new(), Vec::new());
            while self
                .queue
                .front()
                .is_some_and(|record| body.len() + record.packed.packed_len() <= BODY_MAX)
                && let Some(record) = self.queue.pop_front()
            {
                record.packed.write(&mut body);
                records.push(record.packed);
                names.extend(record.names);
            }
            let last = self.open.back().map_or(cursor.last, Open::link);
            let contents = Contents {
                kind: Kind::Entry,
                writer: self.writer.0,
                previous: last.into(),
                body,
            };
            let slot = cursor.slot(self.open.len() as u64);
            self.open(slot, contents, OpenKind::Entry(records, names));
        }
    }

    fn open(&mut self, slot: Slot, contents: Contents, kind: OpenKind) {
        self.open.push_back(Open {
            slot,
            contents: Arc::new(contents),
            kind,
            sent: false,
            placed: None,
        });
    }

    fn send(&mut self) {
        for open in self.open.iter_mut().filter(|open| !open.sent) {
            open.sent = true;
            let registers = self.registers.clone();
            let (slot, contents) = (open.slot, open.contents.clone());
            self.in_flight.push(Box::pin(async move {
                (slot, place(registers.as_ref(), slot, &contents).await)
            }));
        }
    }

    fn answer(
        &mut self,
        cursor: &mut Cursor,
        slot: Slot,
        placed: Result<Placed, RecoveryError>,
    ) -> Result<Driven, RecoveryError> {
        let Some(open) = self.open.iter_mut().find(|open| open.slot == slot) else {
            return Ok(Driven::On(Vec::new()));
        };
        let placed = placed.and_then(|placed| match &placed {
            Placed::Theirs(theirs) if !open.yields_to(theirs) => Err(TORN),
            _ => Ok(placed),
        });
        match placed {
            Ok(placed) => open.placed = Some(placed),
            // Whoever settles next asks again.
            Err(error) => {
                open.sent = false;
                return Err(error);
            }
        }
        self.retire(cursor)
    }

    /// Passes what is acknowledged, from the first on.
    fn retire(&mut self, cursor: &mut Cursor) -> Result<Driven, RecoveryError> {
        let mut due = Vec::new();
        while self.open.front().is_some_and(|open| open.placed.is_some())
            && let Some(first) = self.open.pop_front()
        {
            let Open { contents, kind, .. } = first;
            match (first.placed, &kind) {
                (Some(Placed::Ours), OpenKind::Entry(records, _)) => {
                    cursor.pass_entry(&contents, records);
                }
                (Some(Placed::Ours), OpenKind::Seal(manifest)) => {
                    let (slot, anchor) = cursor.anchor(&contents, manifest);
                    self.open(slot, anchor, OpenKind::Anchor);
                }
                (Some(Placed::Ours), OpenKind::Anchor) => {
                    due.extend(cursor.pass_anchor(&contents)?);
                    self.held = false;
                }
                (Some(Placed::Theirs(seal)), _) => {
                    due.extend(self.behind(cursor));
                    due.extend(kind.garbage());
                    due.extend(self.open.drain(..).flat_map(|open| open.kind.garbage()));
                    due.extend(self.queue.drain(..).flat_map(|record| record.garbage()));
                    let fence = Fence {
                        records: cursor.records,
                        seal: Some(seal),
                    };
                    return Ok(Driven::Fenced(fence, due));
                }
                // Ours may have been there and rolled up: what it names is not ours to delete.
                (Some(Placed::Gone) | None, _) => {
                    due.extend(self.behind(cursor));
                    let fence = Fence {
                        records: cursor.records,
                        seal: None,
                    };
                    return Ok(Driven::Fenced(fence, due));
                }
            }
        }
        Ok(Driven::On(due))
    }
}

impl Tail {
    /// Entries that were sent behind the place where this writer was stopped: they are there, or will be, and nobody
    /// reads them.
    fn behind(&self, cursor: &Cursor) -> Option<Garbage> {
        let sent = self.open.iter().filter(|open| open.sent).count() as u64;
        (sent > 0).then_some(Garbage::Behind {
            generation: cursor.generation,
            lane: cursor.lane,
            from: cursor.index + 1,
            len: sent,
        })
    }
}

impl Open {
    /// Whether anybody may have put this here: a seal, where the log is written; an anchor follows
    /// from the seal before it, and so does what is in its place.
    fn yields_to(&self, theirs: &Contents) -> bool {
        theirs.kind == Kind::Seal && !matches!(self.kind, OpenKind::Anchor)
    }

    fn link(&self) -> Link {
        Link::of(&self.slot, &self.contents)
    }
}

impl OpenKind {
    /// What nothing names if this is never read.
    fn garbage(&self) -> Vec<Garbage> {
        let chunks: Vec<Chunks> = match self {
            OpenKind::Entry(records, names) => records
                .iter()
                .filter_map(Packed::chunks)
                .chain(names.iter().copied())
                .collect(),
            OpenKind::Seal(manifest) => vec![manifest.snapshot],
            OpenKind::Anchor => Vec::new(),
        };
        chunks.into_iter().map(Garbage::Chunks).collect()
    }
}

/// Fills a register, or finds out what keeps it from being filled.
async fn place(
    registers: &dyn Registers,
    slot: Slot,
    contents: &Contents,
) -> Result<Placed, RecoveryError> {
    match registers.insert(slot, contents).await? {
        Put::New | Put::Already => Ok(Placed::Ours),
        Put::Tombstoned => Ok(Placed::Gone),
        Put::Occupied => match registers.ask(slot).await? {
            Look::Found(theirs) if theirs == *contents => Ok(Placed::Ours),
            Look::Found(theirs) => Ok(Placed::Theirs(theirs)),
            Look::Deleted => Ok(Placed::Gone),
            Look::Foreign => Err(FORGED),
            Look::Absent => Err(RecoveryError::Misbehaved(
                "it lost or changed what it said it holds",
            )),
        },
    }
}

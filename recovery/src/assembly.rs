//! One value on its way from blobs to bytes.
//!
//! Pure: it says which blobs it needs next and takes what look-ups found, in any order. First the
//! head; then, if the head names chunks, those. Every link is checked before a value is one.

use larder_protocol::BlobHash;

use crate::forgery::Read;
use crate::seal::{Contents, Foreign, Kind};
use crate::value::{Head, chunk_slot};
use crate::{Found, Slot};

/// One of the blobs of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Head,
    Chunk(u64),
}

/// What a head says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) hash: BlobHash,
    pub(crate) previous: BlobHash,
}

pub(crate) struct Assembly {
    slot: Slot,
    trace: Option<Trace>,
    state: State,
    /// Parts whose look-up failed; they come first when asked again.
    again: Vec<Part>,
}

enum State {
    /// The head is needed; whether it was asked for.
    Head(bool),
    Chunks(Chunks),
    Done(Found),
}

struct Chunks {
    head: Head,
    /// The next chunk to ask for.
    next: u64,
    found: Vec<Option<(BlobHash, Contents)>>,
    missing: u64,
}

impl Assembly {
    /// Of the value whose head is at this slot.
    pub(crate) fn new(slot: Slot) -> Self {
        Assembly {
            slot,
            trace: None,
            state: State::Head(false),
            again: Vec::new(),
        }
    }

    /// The next blob to look up, if any is to be asked for now.
    pub(crate) fn wanted(&mut self) -> Option<(Part, Slot)> {
        let part = match (self.again.pop(), &mut self.state) {
            (_, State::Done(_)) => return None,
            (Some(part), _) => part,
            (None, State::Head(asked)) => {
                if std::mem::replace(asked, true) {
                    return None;
                }
                Part::Head
            }
            (None, State::Chunks(chunks)) => {
                if chunks.next == chunks.head.cut.chunks() {
                    return None;
                }
                chunks.next += 1;
                Part::Chunk(chunks.next - 1)
            }
        };
        let slot = match (part, &self.state) {
            (Part::Chunk(index), State::Chunks(chunks)) => chunk_slot(chunks.head.entropy, index),
            _ => self.slot,
        };
        Some((part, slot))
    }

    /// The look-up of a part failed: it is wanted again.
    pub(crate) fn failed(&mut self, part: Part) {
        self.again.push(part);
    }

    /// Takes what a look-up found. Returns how many bytes of the value it brought.
    pub(crate) fn take(&mut self, part: Part, read: Read) -> usize {
        match part {
            Part::Head => self.take_head(read),
            Part::Chunk(index) => self.take_chunk(index, read),
        }
    }

    /// Blobs that the value is known to have.
    pub(crate) fn blobs(&self) -> u64 {
        match &self.state {
            State::Head(_) => 0,
            State::Chunks(chunks) => 1 + chunks.head.cut.chunks(),
            State::Done(Found::Value(_)) => 1,
            State::Done(_) => 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// The value, or why there is none, and what its head said. `None` while parts are missing.
    pub(crate) fn finish(self) -> Option<(Found, Option<Trace>)> {
        match self.state {
            State::Done(found) => Some((found, self.trace)),
            _ => None,
        }
    }

    fn take_head(&mut self, read: Read) -> usize {
        let (contents, hash) = match read {
            Read::Ours(contents, hash) => (contents, hash),
            Read::Absent => return self.end(Found::Absent),
            Read::Deleted => return self.end(Found::Deleted),
            Read::Foreign => return self.end(Found::Foreign),
        };
        self.trace = Some(Trace {
            hash,
            previous: contents.previous,
        });
        match (contents.kind, Head::decode(&contents.body)) {
            (Kind::Whole, _) => {
                let bytes = contents.body.len();
                self.end(Found::Value(contents.body));
                bytes
            }
            (Kind::Head, Ok(head)) => {
                let (bytes, missing) = (head.tail.len(), head.cut.chunks());
                self.state = State::Chunks(Chunks {
                    head,
                    next: 0,
                    found: Vec::new(),
                    missing,
                });
                bytes
            }
            (Kind::Head, Err(Foreign))
            | (Kind::Chunk | Kind::Entry | Kind::Seal | Kind::Anchor, _) => {
                self.end(Found::Foreign)
            }
        }
    }

    fn take_chunk(&mut self, index: u64, read: Read) -> usize {
        // What arrives after the value was found to be none is of no use.
        let State::Chunks(chunks) = &mut self.state else {
            return 0;
        };
        let (contents, hash) = match read {
            Read::Ours(contents, hash) => (contents, hash),
            Read::Absent => return self.end(Found::Lost),
            Read::Deleted => return self.end(Found::HalfDeleted),
            Read::Foreign => return self.end(Found::Foreign),
        };
        let bytes = contents.body.len();
        let at = index as usize;
        // Grows with what was really read, not with what a head claims.
        if chunks.found.len() <= at {
            chunks.found.resize_with(at + 1, || None);
        }
        if chunks.found[at].replace((hash, contents)).is_none() {
            chunks.missing -= 1;
        }
        if chunks.missing == 0 {
            let found = chunks.join();
            self.end(found);
        }
        bytes
    }

    fn end(&mut self, found: Found) -> usize {
        self.state = State::Done(found);
        0
    }
}

impl Chunks {
    /// All chunks are there: checks that they are one chain, and puts them together.
    fn join(&mut self) -> Found {
        let (head, mut last) = (&self.head, BlobHash([0; 32]));
        let mut value = Vec::new();
        for (index, chunk) in self.found.drain(..).enumerate() {
            let Some((hash, contents)) = chunk else {
                return Found::Foreign;
            };
            let linked = contents.kind == Kind::Chunk
                && contents.previous == last
                && contents.body.len() == head.cut.chunk(index as u64).len();
            if !linked {
                return Found::Foreign;
            }
            value.extend_from_slice(&contents.body);
            last = hash;
        }
        if last != head.last_chunk {
            return Found::Foreign;
        }
        value.extend_from_slice(&head.tail);
        Found::Value(value)
    }
}

//! What a session leaves behind when it ends between the chunks of a value and the record that names them; and entries that it
//! had in flight behind the place where the next one took over.
//!
//! Nobody finds such chunks by reading the log, and nobody else may judge them: a session that was fenced can lead
//! again and name what it stored before. Only who knows that it is over, as it was a process of the same
//! device, may have them deleted. So whoever stores values in chunks, or rolls up, keeps an
//! [`Unfinished`] where it survives a crash *before* it does, and forgets it once the [upkeep](Log::upkeep) behind it
//! is done. The next session takes over, [abandons](super::map::Map::abandon) what was kept, and goes on with its upkeep.
//! Without that the chunks stay and cost their storage, and nothing else comes of it.
//!
//! An [`Unfinished`] in bytes (integers big-endian):
//!
//! | bytes | field |
//! | --- | --- |
//! | 16 | the session |
//! | 8 | number of its first value |
//! | 8 | how many values |
//! | 8 | bytes of each, at most |

use std::fmt;

use super::cursor::WINDOW;
use super::entry::{Chunks, Link, Writer, take};
use super::garbage::Garbage;
use super::{Log, chunk};
use crate::value::VALUE_MAX;

/// Values that one note tells of.
const VALUES_MAX: u64 = 1 << 16;

/// Values that a session was about to store in chunks: 65,536 at most.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unfinished {
    session: Writer,
    first: u64,
    values: u64,
    len: u64,
}

impl Unfinished {
    /// For a file.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(&self.session.0);
        let numbers = [self.first, self.values, self.len];
        for (field, number) in bytes[16..].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// From a file; `None` when it is none.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let session = Writer(take(bytes)?);
        let mut number = || take(bytes).map(u64::from_be_bytes);
        let (first, values, len) = (number()?, number()?, number()?);
        let read = Unfinished {
            session,
            first,
            values,
            len,
        };
        let fits = len <= VALUE_MAX && values <= VALUES_MAX && first.checked_add(values).is_some();
        (bytes.is_empty() && fits).then_some(read)
    }

    /// Whose they are.
    #[must_use]
    pub fn session(&self) -> Writer {
        self.session
    }

    fn chunks(self) -> impl Iterator<Item = Chunks> {
        // What is empty takes no chunk, and has no place in a list of them.
        let values = if self.len == 0 { 0 } else { self.values };
        (self.first..self.first + values).map(move |n| Chunks {
            entropy: chunk::entropy(self.session, n),
            len: self.len,
            last: Link::default(),
        })
    }
}

impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unfinished({} of {} bytes)", self.values, self.len)
    }
}

impl Log {
    /// The next `values` that this session stores in chunks, of up to `len` bytes each.
    pub(super) fn unfinished(&self, values: u64, len: u64) -> Unfinished {
        let drawn = self.state().drawn;
        Unfinished {
            session: self.writer,
            first: drawn + 1,
            values: values.min(VALUES_MAX).min(u64::MAX - drawn - 1),
            len: len.min(VALUE_MAX),
        }
    }

    /// Has the chunks deleted of a session that is over, but for those that the log names, or `named`, and what it may
    /// have had in flight behind a take-over of this generation. Only for who writes: then nothing of that session is
    /// still to come.
    pub(super) fn abandon(&self, unfinished: Unfinished, named: &[Chunks]) {
        let mut state = self.state();
        let trail = state.cursor.trail.iter().filter_map(|item| match item {
            Garbage::Chunks(chunks) => Some(chunks.entropy),
            _ => None,
        });
        let named = named.iter().map(|chunks| chunks.entropy);
        let named: Vec<_> = named.chain(trail).collect();
        let session = unfinished.session;
        let ended = state.cursor.ended.iter();
        let behind = ended.filter(|(writer, ..)| *writer == session);
        let behind: Vec<_> = behind
            .map(|(_, lane, seal)| Garbage::Behind {
                generation: state.cursor.generation,
                lane: *lane,
                from: seal + 1,
                len: WINDOW as u64 - 1,
            })
            .collect();
        behind.into_iter().for_each(|item| state.due.push(item));
        let dead = unfinished.chunks();
        for chunks in dead.filter(|chunks| !named.contains(&chunks.entropy)) {
            state.due.push(Garbage::Chunks(chunks));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_one_note_or_none() {
        let unfinished = Unfinished {
            session: Writer([7; 16]),
            first: 3,
            values: 2,
            len: 100_000,
        };
        let bytes = unfinished.to_bytes();
        assert_eq!(Unfinished::from_bytes(&bytes), Some(unfinished));
        assert_eq!(
            unfinished
                .chunks()
                .map(|chunks| chunks.count())
                .sum::<u64>(),
            14
        );
        assert_eq!(Unfinished::from_bytes(&bytes[1..]), None);
        assert_eq!(Unfinished::from_bytes(&[&bytes[..], &[0]].concat()), None);
        for too_much in [16..24, 32..40] {
            let mut bytes = bytes;
            bytes[too_much].fill(0xff);
            assert_eq!(Unfinished::from_bytes(&bytes), None);
        }
        let empty = Unfinished {
            len: 0,
            ..unfinished
        };
        assert_eq!(empty.chunks().count(), 0);
    }
}

//! Values of any size, as blobs.
//!
//! A value of up to [`BODY_MAX`] bytes is one blob of kind `Whole`. A longer one draws 32 bytes
//! of entropy, puts its first bytes into continuation blobs of kind `Chunk` at the slots
//! `(chunk, lane = entropy, generation 0, index 0, 1, …)`, each linked to the one before it by its
//! hash, and the rest into a blob of kind `Head`, whose body is
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | entropy: where the chunks are |
//! | 8 | length of the whole value |
//! | 32 | hash of the last chunk |
//! | rest | the last bytes of the value; all chunks but the last are full |
//!
//! Chunks are inserted in any order, in parallel, then the head: a reader never sees half a
//! value. Because the entropy names all chunks at once, a reader fetches them in parallel
//! too; the hashes link them, so that a value is one writer's or refused.

use std::ops::Range;

use larder_protocol::BlobHash;

use crate::seal::{BODY_MAX, Foreign};
use crate::{Lane, Purpose, Slot};

/// Bytes of a head's body in front of the value's last bytes.
const HEAD_FIELDS: usize = 32 + 8 + 32;

/// Value bytes that fit a head.
const HEAD_ROOM: usize = BODY_MAX - HEAD_FIELDS;

/// The longest value: 1 GiB.
pub const VALUE_MAX: u64 = 1 << 30;

/// How a value of some length is cut: chunks first, the rest in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    len: usize,
    chunked: usize,
}

impl Cut {
    pub(crate) fn of(len: usize) -> Self {
        let rest = len % BODY_MAX;
        let chunked = match len {
            0..=BODY_MAX => 0,
            _ if rest <= HEAD_ROOM => len - rest,
            _ => len,
        };
        Cut { len, chunked }
    }

    pub(crate) fn chunks(self) -> u64 {
        self.chunked.div_ceil(BODY_MAX) as u64
    }

    /// The bytes of the value that go into one chunk.
    pub(crate) fn chunk(self, index: u64) -> Range<usize> {
        let start = index as usize * BODY_MAX;
        start..self.chunked.min(start + BODY_MAX)
    }

    /// The bytes of the value that go into the head.
    pub(crate) fn tail(self) -> Range<usize> {
        self.chunked..self.len
    }
}

/// The body of a head.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) entropy: [u8; 32],
    pub(crate) cut: Cut,
    pub(crate) last_chunk: BlobHash,
    pub(crate) tail: Vec<u8>,
}

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEAD_FIELDS + self.tail.len());
        body.extend_from_slice(&self.entropy);
        body.extend_from_slice(&(self.cut.len as u64).to_be_bytes());
        body.extend_from_slice(&self.last_chunk.0);
        body.extend_from_slice(&self.tail);
        body
    }

    /// Refuses what no writer of this layout makes, before anything is allocated for it.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, Foreign> {
        let (entropy, body) = body.split_first_chunk().ok_or(Foreign)?;
        let (len, body) = body.split_first_chunk().ok_or(Foreign)?;
        let (last_chunk, tail) = body.split_first_chunk().ok_or(Foreign)?;
        let len = u64::from_be_bytes(*len);
        if len > VALUE_MAX {
            return Err(Foreign);
        }
        let cut = Cut::of(len as usize);
        if cut.chunks() == 0 || cut.tail().len() != tail.len() {
            return Err(Foreign);
        }
        let (entropy, last_chunk) = (*entropy, BlobHash(*last_chunk));
        Ok(Head {
            entropy,
            cut,
            last_chunk,
            tail: tail.to_vec(),
        })
    }
}

/// Where a chunk is.
pub(crate) fn chunk_slot(entropy: [u8; 32], index: u64) -> Slot {
    Slot {
        purpose: Purpose::Chunk,
        lane: Lane(entropy),
        generation: 0,
        index,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_value_goes_into_exactly_one_blob_and_every_blob_holds_what_fits() {
        let around = |n: usize| n.saturating_sub(2)..=n + 2;
        let lengths = around(0)
            .chain(around(HEAD_ROOM))
            .chain(around(BODY_MAX))
            .chain(around(BODY_MAX + HEAD_ROOM))
            .chain(around(3 * BODY_MAX))
            .chain(around(3 * BODY_MAX + HEAD_ROOM))
            .chain([10 << 20]);
        for len in lengths {
            let cut = Cut::of(len);
            let mut end = 0;
            for index in 0..cut.chunks() {
                let chunk = cut.chunk(index);
                assert_eq!(chunk.start, end, "{len}");
                assert!((1..=BODY_MAX).contains(&chunk.len()), "{len}");
                end = chunk.end;
            }
            assert_eq!(cut.tail(), end..len);
            let room = if cut.chunks() == 0 {
                BODY_MAX
            } else {
                HEAD_ROOM
            };
            assert!(cut.tail().len() <= room, "{len}");
        }
    }

    #[test]
    fn a_head_reads_back_and_lengths_that_do_not_fit_it_are_refused() {
        let cut = Cut::of(3 * BODY_MAX + 7);
        let tail = vec![5; 7];
        let head = Head {
            entropy: [1; 32],
            cut,
            last_chunk: BlobHash([2; 32]),
            tail,
        };
        let body = head.encode();
        assert!(Head::decode(&body).is_ok_and(|read| read == head));
        assert!(Head::decode(&body[..body.len() - 1]).is_err());
        assert!(Head::decode(&body[..40]).is_err());
        for len in [0, 7, BODY_MAX as u64, VALUE_MAX + 1, u64::MAX] {
            let mut changed = body.clone();
            changed[32..40].copy_from_slice(&len.to_be_bytes());
            assert!(Head::decode(&changed).is_err(), "{len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn bytes_are_a_head_in_one_form_only_or_none(
            mut body in proptest::collection::vec(0u8.., 0..200),
            len in 0..3 * BODY_MAX as u64,
        ) {
            if let Some(field) = body.get_mut(32..40) {
                field.copy_from_slice(&len.to_be_bytes());
            }
            if let Ok(head) = Head::decode(&body) {
                assert_eq!(head.encode(), body);
            }
        }
    }
}

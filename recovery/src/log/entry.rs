//! What the log's registers hold, byte by byte.
//!
//! Integers are big-endian. An entry's body is records, one after the other:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | 0: the record is here; 1: it is in chunks |
//! | 2 + n, or 72 | length and record, or the chunks |
//!
//! A seal's body is one byte, 0, when another device takes over; else 1 and a manifest, and the
//! generation ends here. An anchor's body is that manifest:
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | records before this generation |
//! | 16 | the [chain](super::point) behind them |
//! | 72 | chunks of the snapshot |
//!
//! Chunks are named by
//!
//! | bytes | field |
//! | --- | --- |
//! | 32 | entropy: where they are |
//! | 8 | length of what they hold |
//! | 32 | link of the last one |

use std::fmt;

use larder_protocol::BlobHash;
use sha2::{Digest, Sha256};

use super::point::Chain;
use crate::Slot;
use crate::seal::{BODY_MAX, Contents, Kind};
use crate::value::VALUE_MAX;

/// Tells the sessions of all devices apart; drawn anew whenever a log is opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Writer(pub [u8; 16]);

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer(..)")
    }
}

/// Hash of what a register holds, and where. Unlike a blob's hash it is the same with every
/// provider, so that one chain goes through all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// Of these contents in this place.
    #[must_use]
    pub fn of(slot: &Slot, contents: &Contents) -> Self {
        let hash = Sha256::new()
            .chain_update(b"larder/link/1")
            .chain_update([contents.kind as u8])
            .chain_update(slot.purpose.name())
            .chain_update([0])
            .chain_update(slot.lane.0)
            .chain_update(slot.generation.to_be_bytes())
            .chain_update(slot.index.to_be_bytes())
            .chain_update(contents.writer)
            .chain_update(contents.previous.0)
            .chain_update(&contents.body);
        Link(hash.finalize().into())
    }
}

impl From<Link> for BlobHash {
    fn from(link: Link) -> Self {
        BlobHash(link.0)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link(..)")
    }
}

/// Bytes that are in chunks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunks {
    pub(crate) entropy: [u8; 32],
    pub(crate) len: u64,
    pub(crate) last: Link,
}

impl Chunks {
    /// How many bytes they hold.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.len.div_ceil(BODY_MAX as u64)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.entropy);
        out.extend_from_slice(&self.len.to_be_bytes());
        out.extend_from_slice(&self.last.0);
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let chunks = Chunks {
            entropy: take(bytes)?,
            len: u64::from_be_bytes(take(bytes)?),
            last: Link(take(bytes)?),
        };
        (1..=VALUE_MAX).contains(&chunks.len).then_some(chunks)
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks({} bytes)", self.len)
    }
}

/// A record as an entry names it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Packed {
    Here(Vec<u8>),
    InChunks(Chunks),
}

/// The longest record that an entry holds itself.
pub(crate) const RECORD_HERE_MAX: usize = BODY_MAX - 3;

impl Packed {
    pub(crate) fn chunks(&self) -> Option<Chunks> {
        match self {
            Packed::Here(_) => None,
            Packed::InChunks(chunks) => Some(*chunks),
        }
    }

    pub(crate) fn packed_len(&self) -> usize {
        match self {
            Packed::Here(record) => 3 + record.len(),
            Packed::InChunks(_) => 1 + 72,
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Packed::Here(record) => {
                out.push(0);
                out.extend_from_slice(&(record.len() as u16).to_be_bytes());
                out.extend_from_slice(record);
            }
            Packed::InChunks(chunks) => {
                out.push(1);
                chunks.write(out);
            }
        }
    }

    /// All records of an entry, or `None` when it is none.
    pub(crate) fn read_all(mut body: &[u8]) -> Option<Vec<Self>> {
        let mut records = Vec::new();
        while !body.is_empty() {
            records.push(match take(&mut body)? {
                [0] => {
                    let len = u16::from_be_bytes(take(&mut body)?);
                    let (record, rest) = body.split_at_checked(usize::from(len))?;
                    body = rest;
                    Packed::Here(record.to_vec())
                }
                [1] => Packed::InChunks(Chunks::read(&mut body)?),
                _ => return None,
            });
        }
        Some(records)
    }
}

/// The largest number of records, commits and versions that is read. What counts on from there has room.
pub(crate) const NUMBER_MAX: u64 = 1 << 62;

/// What a generation begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) records: u64,
    pub(crate) chain: Chain,
    pub(crate) snapshot: Chunks,
}

impl Manifest {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.records.to_be_bytes());
        out.extend_from_slice(&self.chain.0);
        self.snapshot.write(out);
    }

    fn read(mut bytes: &[u8]) -> Option<Self> {
        let manifest = Manifest {
            records: u64::from_be_bytes(take(&mut bytes)?),
            chain: Chain(take(&mut bytes)?),
            snapshot: Chunks::read(&mut bytes)?,
        };
        (bytes.is_empty() && manifest.records <= NUMBER_MAX).then_some(manifest)
    }

    /// What an anchor holds. It follows from the seal before it, so that whoever finds the seal
    /// can write it.
    pub(crate) fn anchor(&self, seal: Link, writer: Writer) -> Contents {
        let mut body = Vec::new();
        self.write(&mut body);
        Contents {
            kind: Kind::Anchor,
            writer: writer.0,
            previous: seal.into(),
            body,
        }
    }

    pub(crate) fn of_anchor(contents: &Contents) -> Option<Self> {
        match contents.kind {
            Kind::Anchor => Manifest::read(&contents.body),
            _ => None,
        }
    }
}

/// What a seal says beyond who goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    TakeOver,
    RollUp(Manifest),
}

impl Closing {
    pub(crate) fn seal(&self, previous: Link, writer: Writer) -> Contents {
        let body = match self {
            Closing::TakeOver => vec![0],
            Closing::RollUp(manifest) => {
                let mut body = vec![1];
                manifest.write(&mut body);
                body
            }
        };
        Contents {
            kind: Kind::Seal,
            writer: writer.0,
            previous: previous.into(),
            body,
        }
    }

    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        match body {
            [0] => Some(Closing::TakeOver),
            [1, manifest @ ..] => Manifest::read(manifest).map(Closing::RollUp),
            _ => None,
        }
    }
}

/// The next bytes.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;

    use super::*;

    proptest::proptest! {
        #[test]
        fn bytes_are_records_in_one_form_only_or_none(
            bytes in vec(0u8..3, 0..400),
            lens in vec((0u8..3, 0u8..90), 0..6),
        ) {
            let shaped = lens.iter().flat_map(|&(tag, len)| {
                [&[tag, 0, len][..], &vec![9; len.into()]].concat()
            });
            for body in [bytes, shaped.collect()] {
                if let Some(records) = Packed::read_all(&body) {
                    let mut again = Vec::new();
                    records.iter().for_each(|record| record.write(&mut again));
                    assert_eq!(again, body);
                    let len: usize = records.iter().map(Packed::packed_len).sum();
                    assert_eq!(len, body.len());
                }
            }
        }

        #[test]
        fn bytes_are_a_seal_in_one_form_only_or_none(bytes in vec(0u8..2, 0..110)) {
            for len in [0, 1, 96, 97, 98] {
                let body = &bytes[..bytes.len().min(len)];
                if let Some(closing) = Closing::read(body) {
                    assert_eq!(closing.seal(Link::default(), Writer([0; 16])).body, body);
                }
            }
        }
    }
}

//! The values in sled: a layout version byte, then the fields as bincode lays them out.
//!
//! bincode's fixed-size integers, little-endian; arrays carry no length, lists a u64.
//! Bytes after the version, which is 1 unless it says otherwise:
//!
//! | record | tree | key | fields |
//! | --- | --- | --- | --- |
//! | [`Record`] | `index` | key 33 | slot u64, SHA-256 of the blob 32, the blob's last 49 bytes |
//! | [`Record`], version 2 | | | the same, ordinal u32, which is not 0 |
//! | [`Tombstone`] | `tombstones/EEEEEEEE` (ordinal, hex) | hash of the key 32 | ordinal u32 |
//! | [`StoredCell`](crate::StoredCell) | `cells` | key 33 | sequence u64, cell 256, deadline u64 or 0 |
//! | [`Tally`](crate::books::Tally) | `meta` | `tally/` and the tree's name | count u64, digest u128 |
//! | [`Identity`] | `meta` | `store` | format u32, store id 16 |
//! | [`Sequence`] | `meta` | `commits` | commits u64 |
//!
//! Those of the ledger are in [`ledger_record`](crate::ledger_record). A record has one
//! encoding, so that reading and writing it gives the stored bytes again: the tallies rely
//! on it.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use larder_protocol::{BLOB_LEN, BlobHash, Key};
use sha2::{Digest, Sha256};

use crate::slot_file::SLOT_LEN;
use crate::{Place, StoreError};

/// The on-disk format of the index that this program writes. It reads all before it.
pub(crate) const FORMAT: u32 = 3;

/// Version of the values' layout, where there is but one.
const VERSION: u8 = 1;

/// No value is longer than this, in bytes.
const LIMIT: usize = 8192;

/// Bytes of a blob that do not fit its slot and live in the index instead.
pub(crate) const TAIL_LEN: usize = BLOB_LEN - SLOT_LEN;

const LAYOUT: Configuration<LittleEndian, Fixint, Limit<LIMIT>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<LIMIT>();

/// A value in sled, whole.
pub(crate) trait Stored: Sized {
    /// Its bytes, version included.
    fn to_bytes(&self) -> Vec<u8>;

    /// The value of these bytes, and nothing but that value.
    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError>;
}

/// Where a blob is, and how to tell that it is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) slot: u64,
    pub(crate) hash: BlobHash,
    pub(crate) tail: [u8; TAIL_LEN],
    /// The ordinal with which it was inserted.
    pub(crate) epoch: u32,
}

type Fields = (u64, [u8; 32], [u8; TAIL_LEN]);

impl Stored for Record {
    fn to_bytes(&self) -> Vec<u8> {
        let fields: Fields = (self.slot, self.hash.0, self.tail);
        match self.epoch {
            0 => encode_fields(1, &fields),
            epoch => encode_fields(2, &(fields, epoch)),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let ((slot, hash, tail), epoch): (Fields, u32) = match bytes.first() {
            Some(2) => decode_fields(2, bytes)?,
            _ => (decode_fields(1, bytes)?, 0),
        };
        let record = Record {
            slot,
            hash: BlobHash(hash),
            tail,
            epoch,
        };
        match bytes.first() {
            Some(2) if epoch == 0 => Err(damaged("a record in the layout of another")),
            _ => Ok(record),
        }
    }
}

/// Memory that a key was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tombstone {
    pub(crate) epoch: u32,
}

impl Tombstone {
    /// What a tombstone is stored under: it need not remember the key itself.
    pub(crate) fn name(key: &Key) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"larder/tombstone")
            .chain_update(key.as_bytes())
            .finalize()
            .into()
    }
}

/// Which store this is; the slot file's header says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Identity {
    pub(crate) format: u32,
    pub(crate) store_id: [u8; 16],
}

/// How many batches were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Sequence {
    pub(crate) commits: u64,
}

/// Values of one layout.
impl<T: Encode + Decode<()>> Stored for T {
    fn to_bytes(&self) -> Vec<u8> {
        encode_fields(VERSION, self)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        decode_fields(VERSION, bytes)
    }
}

/// A version and the fields that it means.
pub(crate) fn encode_fields<T: Encode>(version: u8, fields: &T) -> Vec<u8> {
    let mut bytes = vec![version];
    #[expect(
        clippy::expect_used,
        reason = "fields of bounded length, below the limit, into a Vec"
    )]
    bincode::encode_into_std_write(fields, &mut bytes, LAYOUT)
        .expect("a record has no way to fail");
    bytes
}

/// Reads the fields that this version means.
pub(crate) fn decode_fields<T: Decode<()>>(version: u8, bytes: &[u8]) -> Result<T, StoreError> {
    let (found, fields) = bytes
        .split_first()
        .ok_or_else(|| damaged("an empty record"))?;
    if *found != version {
        return Err(damaged("a record of an unknown version"));
    }
    match bincode::decode_from_slice(fields, LAYOUT) {
        Ok((value, read)) if read == fields.len() => Ok(value),
        Ok(_) => Err(damaged("a record with bytes after its end")),
        Err(_) => Err(damaged("a record that ends early")),
    }
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::corrupt(Place::Index, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u32) -> Record {
        Record {
            slot: 0x0102,
            hash: BlobHash([7; 32]),
            tail: [9; TAIL_LEN],
            epoch,
        }
    }

    #[test]
    fn a_record_is_laid_out_as_documented() {
        let bytes = record(0).to_bytes();
        assert_eq!(bytes.len(), 1 + 8 + 32 + 49);
        assert_eq!(bytes[..10], [1, 2, 1, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(Record::from_bytes(&bytes).unwrap(), record(0));

        let later = record(0x0304).to_bytes();
        assert_eq!(later[0], 2);
        assert_eq!(later[1..90], bytes[1..]);
        assert_eq!(later[90..], [4, 3, 0, 0]);
        assert_eq!(Record::from_bytes(&later).unwrap(), record(0x0304));
    }

    #[test]
    fn a_record_has_one_encoding() {
        let mut bytes = record(1).to_bytes();
        bytes[90..].fill(0);
        assert!(Record::from_bytes(&bytes).is_err());
    }

    #[test]
    fn a_record_of_any_other_length_or_version_is_refused() {
        let bytes = Tombstone { epoch: 5 }.to_bytes();
        for wrong in 0..bytes.len() {
            assert!(Tombstone::from_bytes(&bytes[..wrong]).is_err());
        }
        let long: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(Tombstone::from_bytes(&long).is_err());
        let newer: Vec<u8> = [2].into_iter().chain(bytes[1..].iter().copied()).collect();
        assert!(Tombstone::from_bytes(&newer).is_err());
    }
}

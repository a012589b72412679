//! The values in sled: a format version byte, then the fields as bincode lays them out.
//!
//! bincode's fixed-size integers, little-endian; arrays carry no length. Bytes after the
//! version:
//!
//! | record | tree | key | fields |
//! | --- | --- | --- | --- |
//! | [`Record`] | `index` | key 33 | slot u64, SHA-256 of the blob 32, the blob's last 49 bytes |
//! | [`Tombstone`] | `tombstones/EEEEEEEE` (epoch, hex) | hash of the key 32 | epoch u32 |
//! | [`Tally`](crate::books::Tally) | `meta` | `tally/` and the tree's name | count u64, digest u128 |
//! | [`Identity`] | `meta` | `store` | format u32, store id 16 |
//! | [`Sequence`] | `meta` | `commits` | commits u64 |

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use larder_protocol::{BLOB_LEN, BlobHash, Key};
use sha2::{Digest, Sha256};

use crate::slot_file::SLOT_LEN;
use crate::{Place, StoreError};

/// Version of the values' layout.
const VERSION: u8 = 1;

/// No value is longer than this, in bytes.
const LIMIT: usize = 256;

/// Bytes of a blob that do not fit its slot and live in the index instead.
pub(crate) const TAIL_LEN: usize = BLOB_LEN - SLOT_LEN;

const LAYOUT: Configuration<LittleEndian, Fixint, Limit<LIMIT>> = bincode::config::standard()
    .with_little_endian()
    .with_fixed_int_encoding()
    .with_limit::<LIMIT>();

/// Where a blob is, and how to tell that it is intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    pub(crate) slot: u64,
    hash: [u8; 32],
    pub(crate) tail: [u8; TAIL_LEN],
}

impl Record {
    pub(crate) fn new(slot: u64, hash: BlobHash, tail: [u8; TAIL_LEN]) -> Self {
        Record {
            slot,
            hash: hash.0,
            tail,
        }
    }

    pub(crate) fn hash(&self) -> BlobHash {
        BlobHash(self.hash)
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

/// The bytes of a value.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    #[expect(
        clippy::expect_used,
        reason = "fixed-size fields below the limit, into a Vec"
    )]
    bincode::encode_into_std_write(value, &mut bytes, LAYOUT).expect("a record has no way to fail");
    bytes
}

/// Reads a value, and nothing but that value.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |what: &str| StoreError::corrupt(Place::Index, what);
    let (version, fields) = bytes
        .split_first()
        .ok_or_else(|| damaged("an empty record"))?;
    if *version != VERSION {
        return Err(damaged("a record of an unknown version"));
    }
    match bincode::decode_from_slice(fields, LAYOUT) {
        Ok((value, read)) if read == fields.len() => Ok(value),
        Ok(_) => Err(damaged("a record with bytes after its end")),
        Err(_) => Err(damaged("a record that ends early")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_laid_out_as_documented() {
        let record = Record::new(0x0102, BlobHash([7; 32]), [9; TAIL_LEN]);
        let bytes = encode(&record);
        assert_eq!(bytes.len(), 1 + 8 + 32 + 49);
        assert_eq!(bytes[..10], [1, 2, 1, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(decode::<Record>(&bytes).unwrap(), record);
    }

    #[test]
    fn a_record_of_any_other_length_or_version_is_refused() {
        let bytes = encode(&Tombstone { epoch: 5 });
        for wrong in 0..bytes.len() {
            assert!(decode::<Tombstone>(&bytes[..wrong]).is_err());
        }
        let long: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(decode::<Tombstone>(&long).is_err());
        let newer: Vec<u8> = [2].into_iter().chain(bytes[1..].iter().copied()).collect();
        assert!(decode::<Tombstone>(&newer).is_err());
    }
}

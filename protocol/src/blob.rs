//! The only value size there is.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::InvalidBytes;

/// Bytes in a blob: 33 header, 16,384 ciphertext, 16 tag. To the storage node they are one string.
pub const BLOB_LEN: usize = 33 + 16_384 + 16;

/// 16,433 bytes that say nothing to anyone without the root key.
///
/// The storage node never looks inside; how a client seals one is `recovery`'s matter.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob(Box<[u8; BLOB_LEN]>);

impl Blob {
    /// Takes exactly [`BLOB_LEN`] bytes.
    ///
    /// # Errors
    /// [`InvalidBytes::Length`] for any other number.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidBytes> {
        Blob::try_from(bytes.to_vec())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; BLOB_LEN] {
        &self.0
    }

    /// SHA-256 of the bytes: what a delete signs and a receipt names.
    #[must_use]
    pub fn hash(&self) -> BlobHash {
        BlobHash(Sha256::digest(&self.0[..]).into())
    }
}

impl TryFrom<Vec<u8>> for Blob {
    type Error = InvalidBytes;

    fn try_from(bytes: Vec<u8>) -> Result<Self, InvalidBytes> {
        bytes
            .into_boxed_slice()
            .try_into()
            .map(Blob)
            .map_err(|bytes: Box<[u8]>| InvalidBytes::Length {
                what: "a blob",
                expected: BLOB_LEN,
                got: bytes.len(),
            })
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blob(..)")
    }
}

/// SHA-256 of a blob, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlobHash(..)")
    }
}

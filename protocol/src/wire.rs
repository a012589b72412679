//! Reading and writing fields: the smallest parts of every layout.

use crate::{Blob, InvalidBytes, Key};

/// Bytes that are no message of this protocol. Whoever sent them is at fault.
///
/// Carries what a developer of the other side needs and nothing of the contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the bytes end inside {0}")]
    Truncated(&'static str),
    /// Bytes are left after the last field.
    #[error("{0} bytes are left after the last field")]
    Trailing(usize),
    /// The first byte names a version this side does not speak.
    #[error("version {0} is not spoken here")]
    UnsupportedVersion(u8),
    /// A code that stands for nothing.
    #[error("{what} has no meaning for code {code}")]
    UnknownCode {
        /// Which field.
        what: &'static str,
        /// What was in it.
        code: u8,
    },
    /// A point that is not on the curve.
    #[error(transparent)]
    Invalid(#[from] InvalidBytes),
    /// Padding that is not zero: it could carry a mark.
    #[error("the padding is not all zero")]
    Padding,
    /// A TLV stream that breaks BOLT 1: out of order, not minimal, or with an even type
    /// that this side does not know.
    #[error("the extension stream breaks BOLT 1: {0}")]
    Extension(&'static str),
    /// Fields that contradict each other.
    #[error("{0}")]
    Inconsistent(&'static str),
}

/// Takes fields off the front of a slice.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated(what))?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .ok_or(DecodeError::Truncated(what))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub(crate) fn key(&mut self) -> Result<Key, DecodeError> {
        Ok(Key::from_slice(self.take(Key::LEN, "the key")?)?)
    }

    pub(crate) fn blob(&mut self) -> Result<Blob, DecodeError> {
        Ok(Blob::from_slice(self.take(crate::BLOB_LEN, "the blob")?)?)
    }

    /// A two-byte length and that many bytes.
    pub(crate) fn prefixed(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(what)?;
        self.take(usize::from(len), what)
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

/// Appends a two-byte length and the bytes.
///
/// Every caller bounds what it passes far below 64 KiB: an onion message could not carry more.
pub(crate) fn put_prefixed(to: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    to.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    to.extend_from_slice(bytes);
}

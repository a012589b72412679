//! `BreakglassPut` and `BreakglassOpen`: the cells that a wallet which has lost everything but its
//! root key starts from.
//!
//! A put:
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |
//! | 8 | sequence |
//! | 256 | cell |
//! | 64 | BIP 340 signature |
//!
//! The signature is by the key's private half over
//! `tagged_hash("larder/breakglass-put", server_key ‖ key ‖ sequence ‖ SHA-256(cell))`. A cell is only
//! ever replaced by one of a higher sequence, so an old put does nothing to a newer cell.
//!
//! An open:
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |
//! | 64 | BIP 340 signature |
//!
//! The signature is over `tagged_hash("larder/breakglass-open", server_key ‖ key ‖ nonce)`, where the
//! nonce is the request's own: an open is good for one request, and its receipt names it. It is
//! free, because who has lost everything has no tokens either, and it dooms the cell: the storage
//! node deletes it when the record's breakglass timer has run out, unless a put comes first.
//!
//! The cell of an open:
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | sequence |
//! | 256 | cell |
//! | 4 | seconds until it is deleted |

use std::fmt;

use secp256k1::Keypair;
use sha2::{Digest, Sha256};

use crate::permit;
use crate::wire::Reader;
use crate::{BlobHash, DecodeError, InvalidBytes, Key, Nonce, ServerKey};

const PUT: &str = "larder/breakglass-put";
const OPEN: &str = "larder/breakglass-open";

/// Bytes in a cell.
pub const CELL_BYTES: usize = 256;

/// 256 bytes that say nothing to anyone without the root key.
///
/// The storage node never looks inside; how a client seals one is `recovery`'s matter.
#[derive(Clone, PartialEq, Eq)]
pub struct Cell(pub [u8; CELL_BYTES]);

impl Cell {
    /// Takes exactly [`CELL_BYTES`] bytes.
    ///
    /// # Errors
    /// [`InvalidBytes::Length`] for any other number.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidBytes> {
        bytes
            .try_into()
            .map(Cell)
            .map_err(|_| InvalidBytes::Length {
                what: "a cell",
                expected: CELL_BYTES,
                got: bytes.len(),
            })
    }

    /// SHA-256 of the bytes: what a put signs, and what a receipt names in the place of a blob's.
    #[must_use]
    pub fn hash(&self) -> BlobHash {
        BlobHash(Sha256::digest(self.0).into())
    }
}

/// A cell holds money, sealed.
impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cell(..)")
    }
}

/// Parameters of a put.
#[derive(Clone, PartialEq, Eq)]
pub struct BreakglassPut {
    /// Where the cell goes.
    pub key: Key,
    /// Higher than that of the cell it replaces.
    pub sequence: u64,
    /// What goes there.
    pub cell: Cell,
    /// The permission to.
    pub signature: [u8; 64],
}

impl BreakglassPut {
    /// Signs the writing of a cell under the keypair's point with one provider.
    #[must_use]
    pub fn sign(keypair: &Keypair, server: &ServerKey, sequence: u64, cell: Cell) -> Self {
        let what = put_under(sequence, &cell);
        let (key, signature) = permit::sign(keypair, server, PUT, &what);
        BreakglassPut {
            key,
            sequence,
            cell,
            signature,
        }
    }

    /// Whether the key's owner permits this provider to write this cell under this sequence.
    #[must_use]
    pub fn genuine(&self, server: &ServerKey) -> bool {
        let what = put_under(self.sequence, &self.cell);
        permit::verifies(&self.signature, &self.key, server, PUT, &what)
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(&self.sequence.to_be_bytes());
        to.extend_from_slice(&self.cell.0);
        to.extend_from_slice(&self.signature);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(BreakglassPut {
            key: reader.key()?,
            sequence: reader.u64("the sequence")?,
            cell: Cell(reader.array("the cell")?),
            signature: reader.array("the signature")?,
        })
    }
}

impl fmt::Debug for BreakglassPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakglassPut(..)")
    }
}

/// Parameters of an open.
#[derive(Clone, PartialEq, Eq)]
pub struct BreakglassOpen {
    /// Whose cell to open.
    pub key: Key,
    /// The permission to.
    pub signature: [u8; 64],
}

impl BreakglassOpen {
    /// Signs the opening of the cell under the keypair's point with one provider, by the request
    /// with this nonce.
    #[must_use]
    pub fn sign(keypair: &Keypair, server: &ServerKey, nonce: Nonce) -> Self {
        let (key, signature) = permit::sign(keypair, server, OPEN, &nonce.0);
        BreakglassOpen { key, signature }
    }

    /// Whether the key's owner permits this provider to open the cell for the request with this
    /// nonce.
    #[must_use]
    pub fn genuine(&self, server: &ServerKey, nonce: Nonce) -> bool {
        permit::verifies(&self.signature, &self.key, server, OPEN, &nonce.0)
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(&self.signature);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(BreakglassOpen {
            key: reader.key()?,
            signature: reader.array("the signature")?,
        })
    }
}

impl fmt::Debug for BreakglassOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakglassOpen(..)")
    }
}

/// The answer to an open.
#[derive(Clone, PartialEq, Eq)]
pub struct OpenedCell {
    /// The sequence it was written under.
    pub sequence: u64,
    /// What was written.
    pub cell: Cell,
    /// Seconds until it is deleted.
    pub seconds: u32,
}

impl OpenedCell {
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.sequence.to_be_bytes());
        to.extend_from_slice(&self.cell.0);
        to.extend_from_slice(&self.seconds.to_be_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(OpenedCell {
            sequence: reader.u64("the sequence")?,
            cell: Cell(reader.array("the cell")?),
            seconds: reader.u32("the breakglass timer")?,
        })
    }
}

/// A sequence says how often its wallet wrote.
impl fmt::Debug for OpenedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedCell")
            .field("seconds", &self.seconds)
            .finish_non_exhaustive()
    }
}

/// What a put permits: this cell under this sequence.
fn put_under(sequence: u64, cell: &Cell) -> Vec<u8> {
    [&sequence.to_be_bytes()[..], &cell.hash().0].concat()
}

//! Why an operation was not performed.
//!
//! | code | refusal | fields, bytes |
//! | --- | --- | --- |
//! | 0x10 | `Malformed` | – |
//! | 0x11 | `UnsupportedVersion` | – |
//! | 0x12 | `WrongSizeClass` | – |
//! | 0x13 | `AlreadyExists` | blob hash 32 |
//! | 0x14 | `Absent` | – |
//! | 0x15 | `Deleted` | – |
//! | 0x16 | `BadSignature` | blob hash 32 |
//! | 0x17 | `StaleSequence` | current 8 |
//! | 0x18 | `WrongPrice` | price 8 |
//! | 0x19 | `WrongEpoch` | current 4, oldest 4 |
//! | 0x1a | `BadProof` | – |
//! | 0x1b | `AlreadySpent` | rows: length 2, bytes of a [`larder_credentials::Reply::NotPerformed`] |
//! | 0x1c | `UnknownClaim` | – |
//! | 0x1d | `NotPaid` | – |
//! | 0x1e | `Busy` | – |
//! | 0x1f | `StoreFull` | – |
//! | 0x20 | `Internal` | – |
//! | 0x21 | `AlreadyClaimed` | – |
//! | 0x22 | `BadVoucher` | – |
//! | 0x23 | `VoucherUsed` | – |
//! | 0x24 | `NotOffered` | – |
//! | 0x25 | `Halted` | – |

use std::fmt;

use crate::wire::{Reader, put_prefixed};
use crate::{BlobHash, DecodeError};

/// Why an operation was not performed, whose fault that is, and what the client does next.
///
/// Carries no text of the server's: a code and its fields say all there is to say.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The client sent what is no request. A defect of the client: report it, do not retry.
    #[error(
        "the storage node could not read the request: a defect of this client, please report it"
    )]
    Malformed,
    /// The client speaks a version that the server does not. Update whichever is older.
    #[error("the storage node does not speak this version of the protocol: update the client")]
    UnsupportedVersion,
    /// The client asked in the small class for an answer of the big one. Ask in the big class.
    #[error(
        "the request came in a smaller message than its answer needs: send it in the big class"
    )]
    WrongSizeClass,
    /// There is a blob under this key. With the hash of one's own blob this is success (the
    /// reply was lost); with another, somebody else wrote here: fetch it.
    #[error("there is already a blob under this key")]
    AlreadyExists {
        /// Hash of the stored blob.
        blob_hash: BlobHash,
    },
    /// There is nothing under this key, and never was within the server's memory; of a cell, that
    /// was opened long enough ago is not remembered either. Nobody's fault.
    #[error("there is nothing under this key")]
    Absent,
    /// There was a blob, and its owner deleted it. Nobody's fault.
    #[error("the blob under this key was deleted")]
    Deleted,
    /// The signature does not permit this. The client signed with another key, for another
    /// server, or over another blob than the one with this hash: look it up and sign again. Of a
    /// put, the hash is that of the cell that was sent, and nothing was compared with what is
    /// stored; of an open it is zeros, for a stranger learns nothing about a cell.
    #[error(
        "the signature does not permit this: it is by another key, for another server or over other contents"
    )]
    BadSignature {
        /// Hash of the stored blob, or as above. With the hash that the client signed, the server
        /// is at fault.
        blob_hash: BlobHash,
    },
    /// The cell holds this sequence or a higher one: another device of the same wallet was faster,
    /// or this is an old request. Write a higher one; opening the cell would doom it.
    #[error("the cell already holds sequence {current}: write a higher one")]
    StaleSequence {
        /// The sequence in the cell.
        current: u64,
    },
    /// The client paid by other terms than the current record's. Fetch the record, pay this price.
    #[error("the price is {price} tokens: fetch the current parameter record")]
    WrongPrice {
        /// In tokens.
        price: u64,
    },
    /// The credentials' epoch is not accepted. Reissue if it is not older than `oldest`.
    #[error("credentials of epochs {oldest} to {current} are accepted")]
    WrongEpoch {
        /// The epoch in which the server issues now.
        current: u32,
        /// The oldest epoch whose credentials it takes.
        oldest: u32,
    },
    /// The proof does not hold. A defect of the client, or credentials of another server.
    #[error(
        "the payment proof does not hold: a defect of this client, or tokens of another storage node"
    )]
    BadProof,
    /// A credential of the pair was spent before. The operation was *not* performed; each row
    /// opens to what replaced the pair it consumed. Open them, then pay with another pair.
    #[error("these credentials were spent before; the replacement is attached")]
    AlreadySpent {
        /// The bytes of a [`larder_credentials::Reply::NotPerformed`]: one row or two.
        row: Vec<u8>,
    },
    /// Nobody asked for a quote with this claim. The client lost track, or it expired.
    #[error("no quote is known for this claim: ask for a new one")]
    UnknownClaim,
    /// The quote is not paid yet. Pay it, then claim again.
    #[error("the quote is not paid yet")]
    NotPaid,
    /// The server has too much to do. Retry later, over another circuit.
    #[error("the storage node is busy: retry later")]
    Busy,
    /// The server has no room. The operator is at fault; use another provider meanwhile.
    #[error("the storage node is full: its operator has to make room")]
    StoreFull,
    /// The server failed. The operator is at fault and finds the cause in the log.
    #[error("the storage node failed: its operator finds the cause in the log")]
    Internal,
    /// The claim was used, by another request than this. The client lost track of what it
    /// claimed: the credentials are gone to whoever has the claim's secret.
    #[error("this purchase was claimed before, by another request of the same wallet")]
    AlreadyClaimed,
    /// The voucher is not of this server, is damaged, expired, or not worth what was asked for.
    /// Nothing happened to it: compare it with the original, and the amount with its own.
    #[error(
        "the voucher is of another storage node, damaged, expired or over another amount: compare it with the original"
    )]
    BadVoucher,
    /// Somebody claimed the voucher before, with other claims. Ask whoever gave it for another.
    #[error("the voucher was used before: ask whoever gave it to you for another")]
    VoucherUsed,
    /// The server does not sell this operation, or tokens of this denomination. The client went
    /// by other terms than the current record's: fetch it and ask for what it lists.
    #[error("the storage node does not offer this: fetch the current parameter record")]
    NotOffered,
    /// The operator's alarm stopped everything that issues tokens; credentials keep their worth.
    /// The operator has to look into it; retry once that is done.
    #[error("the storage node has stopped issuing tokens: its operator has to look into it")]
    Halted,
}

/// The same as `Display`: a row has no place in a log.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Refusal {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Refusal::Malformed => 0x10,
            Refusal::UnsupportedVersion => 0x11,
            Refusal::WrongSizeClass => 0x12,
            Refusal::AlreadyExists { .. } => 0x13,
            Refusal::Absent => 0x14,
            Refusal::Deleted => 0x15,
            Refusal::BadSignature { .. } => 0x16,
            Refusal::StaleSequence { .. } => 0x17,
            Refusal::WrongPrice { .. } => 0x18,
            Refusal::WrongEpoch { .. } => 0x19,
            Refusal::BadProof => 0x1a,
            Refusal::AlreadySpent { .. } => 0x1b,
            Refusal::UnknownClaim => 0x1c,
            Refusal::NotPaid => 0x1d,
            Refusal::Busy => 0x1e,
            Refusal::StoreFull => 0x1f,
            Refusal::Internal => 0x20,
            Refusal::AlreadyClaimed => 0x21,
            Refusal::BadVoucher => 0x22,
            Refusal::VoucherUsed => 0x23,
            Refusal::NotOffered => 0x24,
            Refusal::Halted => 0x25,
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.push(self.code());
        match self {
            Refusal::AlreadyExists { blob_hash } | Refusal::BadSignature { blob_hash } => {
                to.extend_from_slice(&blob_hash.0);
            }
            Refusal::StaleSequence { current } => to.extend_from_slice(&current.to_be_bytes()),
            Refusal::WrongPrice { price } => to.extend_from_slice(&price.to_be_bytes()),
            Refusal::WrongEpoch { current, oldest } => {
                to.extend_from_slice(&current.to_be_bytes());
                to.extend_from_slice(&oldest.to_be_bytes());
            }
            Refusal::AlreadySpent { row } => put_prefixed(to, row),
            _ => {}
        }
    }

    /// Reads the fields of the refusal with this code.
    pub(crate) fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            0x10 => Refusal::Malformed,
            0x11 => Refusal::UnsupportedVersion,
            0x12 => Refusal::WrongSizeClass,
            0x13 => Refusal::AlreadyExists {
                blob_hash: BlobHash(reader.array("the hash")?),
            },
            0x14 => Refusal::Absent,
            0x15 => Refusal::Deleted,
            0x16 => Refusal::BadSignature {
                blob_hash: BlobHash(reader.array("the hash")?),
            },
            0x17 => Refusal::StaleSequence {
                current: reader.u64("the sequence")?,
            },
            0x18 => Refusal::WrongPrice {
                price: reader.u64("the price")?,
            },
            0x19 => Refusal::WrongEpoch {
                current: reader.u32("the epoch")?,
                oldest: reader.u32("the epoch")?,
            },
            0x1a => Refusal::BadProof,
            0x1b => Refusal::AlreadySpent {
                row: reader.prefixed("the rows")?.to_vec(),
            },
            0x1c => Refusal::UnknownClaim,
            0x1d => Refusal::NotPaid,
            0x1e => Refusal::Busy,
            0x1f => Refusal::StoreFull,
            0x20 => Refusal::Internal,
            0x21 => Refusal::AlreadyClaimed,
            0x22 => Refusal::BadVoucher,
            0x23 => Refusal::VoucherUsed,
            0x24 => Refusal::NotOffered,
            0x25 => Refusal::Halted,
            code => {
                return Err(DecodeError::UnknownCode {
                    what: "the outcome",
                    code,
                });
            }
        })
    }
}

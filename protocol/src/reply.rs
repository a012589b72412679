//! A reply: the body of an envelope on its way back to the client.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | status: 0 `Info`, 1 `Inserted`, 2 `Removed`, 3 `Found`, 4 `Quoted`, 5 `Exchanged`, 6 `CellStored`, 7 `Cell`, or a [refusal](crate::refusal) |
//! | by status | `Info`: the signed [record](crate::record), 2 bytes of length in front; `Found`: the blob, 16,433; `Quoted`: the [quote](crate::quote); `Cell`: the [cell](crate::breakglass), 268; refusals: their fields |
//! | 1 | what follows: bit 0 a receipt, bit 1 a replacement |
//! | 100 | [receipt](crate::receipt), if bit 0 |
//! | 2 + r | length and bytes of the replacement, a [`larder_credentials::Reply::Performed`], if bit 1 |
//! | rest | [`extension`](crate::extension) |
//!
//! Every reply that says something about a key carries a receipt: all of
//! `Inserted`, `Removed`, `Found`, `CellStored`, `Cell`, `AlreadyExists`, `Absent`, `Deleted`,
//! `BadSignature` and `StaleSequence`.
//! A client that gets one of these without a valid receipt has got nothing. What is only about
//! tokens needs none: the replacement proves itself.

use std::fmt;

use crate::extension::Extension;
use crate::receipt::Finding;
use crate::wire::{Reader, put_prefixed};
use crate::{
    Blob, BlobHash, DecodeError, OpenedCell, Quoted, Receipt, Refusal, SignedRecord, Subject,
};

const RECEIPT: u8 = 1;
const REPLACEMENT: u8 = 2;

/// An operation that was performed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The terms of the storage node.
    Info(Box<SignedRecord>),
    /// The blob is stored, durably.
    Inserted,
    /// The blob is gone and its key tombstoned, durably.
    Removed,
    /// The blob.
    Found(Blob),
    /// How to pay for tokens, or that they are paid.
    Quoted(Quoted),
    /// A `Transfer`, `Reissue` or `Purchase`: the pair was replaced, and nothing else happened.
    Exchanged,
    /// The breakglass cell is stored, durably.
    CellStored,
    /// The breakglass cell, which is doomed from now on, durably.
    Cell(Box<OpenedCell>),
}

/// One reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// What was done, or why nothing was.
    pub outcome: Result<Done, Refusal>,
    /// Proof of it, for operations that got as far as the store.
    pub receipt: Option<Receipt>,
    /// What replaces the credentials that paid: the bytes of a
    /// [`larder_credentials::Reply::Performed`]. A refusal can carry one too.
    pub replacement: Option<Vec<u8>>,
    /// What comes after the fixed fields.
    pub extension: Extension,
}

/// Says what the outcome was; credentials have no place in a log.
impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl Reply {
    /// A reply without receipt, replacement and extension.
    #[must_use]
    pub fn bare(outcome: Result<Done, Refusal>) -> Self {
        Reply {
            outcome,
            receipt: None,
            replacement: None,
            extension: Extension::default(),
        }
    }

    /// The status byte, which is also what a receipt signs as the outcome.
    #[must_use]
    pub fn code(outcome: &Result<Done, Refusal>) -> u8 {
        match outcome {
            Ok(Done::Info(_)) => 0,
            Ok(Done::Inserted) => 1,
            Ok(Done::Removed) => 2,
            Ok(Done::Found(_)) => 3,
            Ok(Done::Quoted(_)) => 4,
            Ok(Done::Exchanged) => 5,
            Ok(Done::CellStored) => 6,
            Ok(Done::Cell(_)) => 7,
            Err(refusal) => refusal.code(),
        }
    }

    /// What the receipt of this outcome has to be about, or `None` when it needs none.
    ///
    /// `stored` is the hash of the blob that an `Inserted` or `Removed` was about, or of the cell
    /// of a `CellStored`: the client knows what it sent or signed, the server what it stored.
    #[must_use]
    pub fn finding(
        subject: &Subject,
        outcome: &Result<Done, Refusal>,
        stored: Option<BlobHash>,
    ) -> Option<Finding> {
        let blob = match outcome {
            Ok(Done::Info(_) | Done::Quoted(_) | Done::Exchanged) => return None,
            Ok(Done::Inserted | Done::Removed | Done::CellStored) => Some(stored?),
            Ok(Done::Found(blob)) => Some(blob.hash()),
            Ok(Done::Cell(opened)) => Some(opened.cell.hash()),
            Err(Refusal::AlreadyExists { blob_hash } | Refusal::BadSignature { blob_hash }) => {
                Some(*blob_hash)
            }
            Err(Refusal::StaleSequence { current }) => Some(sequence_in_place(*current)),
            Err(Refusal::Absent | Refusal::Deleted) => None,
            Err(_) => return None,
        };
        Some(Finding {
            op: subject.op,
            key: subject.key?,
            outcome: Reply::code(outcome),
            blob,
            nonce: subject.nonce,
        })
    }

    /// The body of an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(256);
        match &self.outcome {
            Ok(done) => {
                to.push(Reply::code(&self.outcome));
                match done {
                    Done::Info(record) => put_prefixed(&mut to, &record.encode()),
                    Done::Found(blob) => to.extend_from_slice(blob.as_bytes()),
                    Done::Quoted(quoted) => quoted.encode(&mut to),
                    Done::Cell(opened) => opened.encode(&mut to),
                    Done::Inserted | Done::Removed | Done::Exchanged | Done::CellStored => {}
                }
            }
            Err(refusal) => refusal.encode(&mut to),
        }
        to.push(
            self.receipt.as_ref().map_or(0, |_| RECEIPT)
                | self.replacement.as_ref().map_or(0, |_| REPLACEMENT),
        );
        if let Some(receipt) = &self.receipt {
            receipt.encode(&mut to);
        }
        if let Some(replacement) = &self.replacement {
            put_prefixed(&mut to, replacement);
        }
        self.extension.encode(&mut to);
        to
    }

    /// Reads the body of an envelope.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no reply; the storage node that sent them is at fault.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let outcome = match reader.u8("the status")? {
            0 => Ok(Done::Info(Box::new(SignedRecord::decode(
                reader.prefixed("the record")?,
            )?))),
            1 => Ok(Done::Inserted),
            2 => Ok(Done::Removed),
            3 => Ok(Done::Found(reader.blob()?)),
            4 => Ok(Done::Quoted(Quoted::decode(&mut reader)?)),
            5 => Ok(Done::Exchanged),
            6 => Ok(Done::CellStored),
            7 => Ok(Done::Cell(Box::new(OpenedCell::decode(&mut reader)?))),
            code => Err(Refusal::decode(code, &mut reader)?),
        };
        let follows = reader.u8("the flags")?;
        if follows & !(RECEIPT | REPLACEMENT) != 0 {
            return Err(DecodeError::UnknownCode {
                what: "the flags",
                code: follows,
            });
        }
        let receipt = match follows & RECEIPT {
            0 => None,
            _ => Some(Receipt::decode(&mut reader)?),
        };
        let replacement = match follows & REPLACEMENT {
            0 => None,
            _ => Some(reader.prefixed("the replacement")?.to_vec()),
        };
        let extension = Extension::decode(&mut reader)?;
        reader.finish()?;
        Ok(Reply {
            outcome,
            receipt,
            replacement,
            extension,
        })
    }
}

/// What a receipt says of a sequence: 24 zeros and its 8 bytes, where otherwise a hash is. The
/// outcome, which it covers too, tells the two apart.
fn sequence_in_place(sequence: u64) -> BlobHash {
    let mut place = [0; 32];
    place[24..].copy_from_slice(&sequence.to_be_bytes());
    BlobHash(place)
}

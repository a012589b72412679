//! A request: the body of an envelope on its way to the storage node.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | op: 0 `Info`, 1 `Insert`, 2 `Delete`, 3 `Lookup`; 4 `BreakglassPut`, 5 `BreakglassOpen`, 6 `Transfer`, 7 `Reissue`, 8 `Quote`, 9 `Purchase` are reserved |
//! | 32 | nonce |
//! | 1 | payment: 0 none, 1 credentials |
//! | 2 | length of the payment, `c`; 0 when there is none |
//! | c | payment, as `credentials` lays it out |
//! | by op | parameters: [`insert`](crate::insert), [`delete`](crate::delete), [`lookup`](crate::lookup); `Info` has none |
//! | rest | [`extension`](crate::extension) |

use std::fmt;

use crate::delete::Delete;
use crate::extension::Extension;
use crate::insert::Insert;
use crate::lookup::Lookup;
use crate::wire::{Reader, put_prefixed};
use crate::{DecodeError, Key};

/// 32 random bytes of the client. The receipt signs them, which proves that the server was
/// reached for *this* request. A retry carries the nonce of the first try.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// The operations that exist so far, with their codes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// Ask for the parameter record; free.
    Info = 0,
    /// Add a blob.
    Insert = 1,
    /// Remove a blob.
    Delete = 2,
    /// Read a blob.
    Lookup = 3,
}

/// What a request asks for, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Return the parameter record.
    Info,
    /// Add a blob.
    Insert(Insert),
    /// Remove a blob.
    Delete(Delete),
    /// Read a blob.
    Lookup(Lookup),
}

impl Call {
    /// The operation.
    #[must_use]
    pub fn op(&self) -> Op {
        match self {
            Call::Info => Op::Info,
            Call::Insert(_) => Op::Insert,
            Call::Delete(_) => Op::Delete,
            Call::Lookup(_) => Op::Lookup,
        }
    }

    /// The key it is about; only `Info` has none.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Call::Info => None,
            Call::Insert(Insert { key, .. })
            | Call::Delete(Delete { key, .. })
            | Call::Lookup(Lookup { key }) => Some(key),
        }
    }
}

/// How a request pays.
#[derive(Clone, PartialEq, Eq)]
pub enum Payment {
    /// Not at all: `Info`, or a storage node that runs with `payment = "none"`.
    None,
    /// A pair of credentials and the proof around it, as `credentials` lays it out.
    Credentials(Vec<u8>),
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Payment::None => "None",
            Payment::Credentials(_) => "Credentials(..)",
        })
    }
}

/// One request. The same value always encodes to the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Comes back in the receipt.
    pub nonce: Nonce,
    /// How it pays.
    pub payment: Payment,
    /// What it asks for.
    pub call: Call,
    /// What comes after the fixed fields.
    pub extension: Extension,
}

/// What an answer is about: all that a receipt repeats of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// The operation.
    pub op: Op,
    /// The key; only `Info` has none.
    pub key: Option<Key>,
    /// The request's nonce.
    pub nonce: Nonce,
}

impl Request {
    /// What its answer is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject {
            op: self.call.op(),
            key: self.call.key().copied(),
            nonce: self.nonce,
        }
    }

    /// An unpaid request without extension.
    #[must_use]
    pub fn unpaid(nonce: Nonce, call: Call) -> Self {
        Request {
            nonce,
            payment: Payment::None,
            call,
            extension: Extension::default(),
        }
    }

    /// The body of an envelope.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(256);
        to.push(self.call.op() as u8);
        to.extend_from_slice(&self.nonce.0);
        match &self.payment {
            Payment::None => to.extend_from_slice(&[0, 0, 0]),
            Payment::Credentials(core) => {
                to.push(1);
                put_prefixed(&mut to, core);
            }
        }
        match &self.call {
            Call::Info => {}
            Call::Insert(insert) => insert.encode(&mut to),
            Call::Delete(delete) => delete.encode(&mut to),
            Call::Lookup(lookup) => lookup.encode(&mut to),
        }
        self.extension.encode(&mut to);
        to
    }

    /// Reads the body of an envelope.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no request; the client that sent them is at fault.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let op = reader.u8("the op")?;
        let nonce = Nonce(reader.array("the nonce")?);
        let kind = reader.u8("the payment")?;
        let core = reader.prefixed("the payment")?;
        let payment = match (kind, core) {
            (0, []) => Payment::None,
            (0, _) => return Err(DecodeError::Inconsistent("no payment has a length of 0")),
            (1, core) => Payment::Credentials(core.to_vec()),
            (code, _) => {
                return Err(DecodeError::UnknownCode {
                    what: "the payment",
                    code,
                });
            }
        };
        let call = match op {
            0 => Call::Info,
            1 => Call::Insert(Insert::decode(&mut reader)?),
            2 => Call::Delete(Delete::decode(&mut reader)?),
            3 => Call::Lookup(Lookup::decode(&mut reader)?),
            code => {
                return Err(DecodeError::UnknownCode {
                    what: "the op",
                    code,
                });
            }
        };
        let extension = Extension::decode(&mut reader)?;
        reader.finish()?;
        Ok(Request {
            nonce,
            payment,
            call,
            extension,
        })
    }
}

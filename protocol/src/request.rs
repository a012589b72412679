//! A request: the body of an envelope on its way to the storage node.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | [op](crate::Op) |
//! | 32 | nonce |
//! | 1 | payment: 0 none, 1 credentials |
//! | 2 | length of the payment, `c`; 0 when there is none |
//! | c | payment: a [`larder_credentials::Request`], the core |
//! | by op | parameters: [`insert`](crate::insert), [`delete`](crate::delete), [`lookup`](crate::lookup), [`breakglass`](crate::breakglass), [`quote`](crate::quote); the others have none |
//! | rest | [`extension`](crate::extension) |

use std::fmt;

use crate::extension::Extension;
use crate::wire::{Reader, put_prefixed};
use crate::{Call, DecodeError, Key, Op};

/// 32 random bytes of the client. The receipt signs them, which proves that the server was
/// reached for *this* request. A retry carries the nonce of the first try.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// How a request pays.
#[derive(Clone, PartialEq, Eq)]
pub enum Payment {
    /// Not at all: `Info`, `BreakglassOpen`, `Quote`, or a storage node that runs with `payment = "none"`.
    None,
    /// The bytes of a [`larder_credentials::Request`]: a pair of credentials, or a claim in a
    /// `Purchase`, and the proof around it.
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
    /// The key; `Info` and what is only about tokens have none.
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
        self.call.encode(&mut to);
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
        let call = Call::decode(op, &mut reader)?;
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

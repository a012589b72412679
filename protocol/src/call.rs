//! The operations, and what binds a payment to one of them.
//!
//! | code | op | parameters | paid as |
//! | --- | --- | --- | --- |
//! | 0 | `Info` | – | free |
//! | 1 | `Insert` | [`insert`](crate::insert) | 17 |
//! | 2 | `Delete` | [`delete`](crate::delete) | 18 |
//! | 3 | `Lookup` | [`lookup`](crate::lookup) | 19 |
//! | 4 | `BreakglassPut` | [`breakglass`](crate::breakglass) | 20 |
//! | 5 | `BreakglassOpen` | [`breakglass`](crate::breakglass) | free |
//! | 6 | `Transfer` | – | 2 |
//! | 7 | `Reissue` | – | 3 |
//! | 8 | `Quote` | [`quote`](crate::quote) | free |
//! | 9 | `Purchase` | – | 1 |
//!
//! "Paid as" is the operation code in the core ([`OpCode`]), the service's own being 16 and the
//! op. A core for an insert, delete, lookup or put names as its parameters exactly the 32 bytes
//! of [`Call::digest`], so it pays for that call and for no other; a core for one of the other
//! three is all there is to the call.

use larder_credentials::OpCode;

use crate::delete::Delete;
use crate::insert::Insert;
use crate::lookup::Lookup;
use crate::tagged::tagged_hash;
use crate::wire::Reader;
use crate::{BreakglassOpen, BreakglassPut, DecodeError, Key, Quote};

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
    /// Write a breakglass cell.
    BreakglassPut = 4,
    /// Read a breakglass cell, and start the timer that deletes it; free.
    BreakglassOpen = 5,
    /// Merge, split or take over a pair of credentials.
    Transfer = 6,
    /// Move a pair of credentials from an earlier live epoch to the current one; free.
    Reissue = 7,
    /// Ask how to pay for tokens; free.
    Quote = 8,
    /// Take the credentials of a claim that is paid.
    Purchase = 9,
}

impl Op {
    /// Whether this is the operation that the body of an envelope asks for, as far as its first
    /// byte says: so that what is too much of one kind can be dropped unread.
    #[must_use]
    pub fn begins(self, body: &[u8]) -> bool {
        body.first() == Some(&(self as u8))
    }

    /// The operation that the core of a paid request names, or `None` when there is no core to
    /// it: `Info`, `BreakglassOpen` and `Quote`.
    #[must_use]
    pub fn paid_as(self) -> Option<OpCode> {
        match self {
            Op::Info | Op::BreakglassOpen | Op::Quote => None,
            Op::Insert | Op::Delete | Op::Lookup | Op::BreakglassPut => {
                OpCode::of_service(OpCode::FIRST_OF_SERVICE + self as u8)
            }
            Op::Transfer => Some(OpCode::TRANSFER),
            Op::Reissue => Some(OpCode::REISSUE),
            Op::Purchase => Some(OpCode::PURCHASE),
        }
    }
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
    /// Write a breakglass cell.
    BreakglassPut(Box<BreakglassPut>),
    /// Read a breakglass cell, and doom it.
    BreakglassOpen(BreakglassOpen),
    /// Merge, split or take over a pair of credentials: the core says all.
    Transfer,
    /// Move a pair of credentials to the current epoch: the core says all.
    Reissue,
    /// Say how to pay for tokens.
    Quote(Quote),
    /// Issue the credentials of a claim that is paid: the core says all.
    Purchase,
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
            Call::BreakglassPut(_) => Op::BreakglassPut,
            Call::BreakglassOpen(_) => Op::BreakglassOpen,
            Call::Transfer => Op::Transfer,
            Call::Reissue => Op::Reissue,
            Call::Quote(_) => Op::Quote,
            Call::Purchase => Op::Purchase,
        }
    }

    /// The key it is about; `Info` and what is only about tokens have none.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Call::Insert(Insert { key, .. })
            | Call::Delete(Delete { key, .. })
            | Call::Lookup(Lookup { key })
            | Call::BreakglassOpen(BreakglassOpen { key, .. }) => Some(key),
            Call::BreakglassPut(put) => Some(&put.key),
            Call::Info | Call::Transfer | Call::Reissue | Call::Quote(_) | Call::Purchase => None,
        }
    }

    /// `tagged_hash("larder/call", op ‖ parameters)`: what the core that pays for this call has
    /// as its parameters. The nonce is not in it, so a retry is the same call.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = vec![self.op() as u8];
        self.encode(&mut bytes);
        tagged_hash("larder/call", &[&bytes])
    }

    /// Appends the parameters.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Call::Insert(insert) => insert.encode(to),
            Call::Delete(delete) => delete.encode(to),
            Call::Lookup(lookup) => lookup.encode(to),
            Call::BreakglassPut(put) => put.encode(to),
            Call::BreakglassOpen(open) => open.encode(to),
            Call::Quote(quote) => quote.encode(to),
            Call::Info | Call::Transfer | Call::Reissue | Call::Purchase => {}
        }
    }

    /// Reads the parameters of the op with this code.
    pub(crate) fn decode(op: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            0 => Call::Info,
            1 => Call::Insert(Insert::decode(reader)?),
            2 => Call::Delete(Delete::decode(reader)?),
            3 => Call::Lookup(Lookup::decode(reader)?),
            4 => Call::BreakglassPut(Box::new(BreakglassPut::decode(reader)?)),
            5 => Call::BreakglassOpen(BreakglassOpen::decode(reader)?),
            6 => Call::Transfer,
            7 => Call::Reissue,
            8 => Call::Quote(Quote::decode(reader)?),
            9 => Call::Purchase,
            code => {
                return Err(DecodeError::UnknownCode {
                    what: "the op",
                    code,
                });
            }
        })
    }
}

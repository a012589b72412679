//! What a request asks for, and what it consumes (§6).

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::bytes::Reader;
use crate::error::Malformed;
use crate::group::hash32;

/// The code of an operation: three belong to this crate, 16 and above to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpCode(u8);

impl OpCode {
    /// Issues credentials for a paid claim; presents none. Parameters: the claim secret.
    pub const PURCHASE: OpCode = OpCode(1);
    /// Merges, splits, re-randomises or takes over a pair. No parameters.
    pub const TRANSFER: OpCode = OpCode(2);
    /// Moves a pair from an older epoch to the current one, free. No parameters.
    pub const REISSUE: OpCode = OpCode(3);
    /// The first code that a service may define.
    pub const FIRST_OF_SERVICE: u8 = 16;

    /// An operation of the service, from [`Self::FIRST_OF_SERVICE`] up.
    #[must_use]
    pub const fn of_service(code: u8) -> Option<OpCode> {
        if code >= Self::FIRST_OF_SERVICE {
            Some(OpCode(code))
        } else {
            None
        }
    }

    /// The byte that travels.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    pub(crate) fn decode(code: u8) -> Result<Self, Malformed> {
        match code {
            1..=3 | Self::FIRST_OF_SERVICE.. => Ok(OpCode(code)),
            _ => Err(Malformed::Value("the operation code")),
        }
    }
}

/// How a performed operation ended (§6): 0 means done, the rest is the service's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// The operation was carried out.
    pub const DONE: Status = Status(0);
}

/// What authorises a purchase: 32 bytes only the client knows. Neither the payment hash
/// nor the preimage would do, because routing nodes know both (§10.4).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ClaimSecret([u8; 32]);

impl ClaimSecret {
    /// A secret from its 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        ClaimSecret(bytes)
    }

    /// The 32 bytes, which go into a purchase and nowhere else.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What the server stores when it hands out an invoice:
    /// `H32(D/claim, claim_secret)` (§7).
    #[must_use]
    pub fn tag(&self) -> ClaimTag {
        ClaimTag(hash32("claim", [self.0.as_slice()]))
    }
}

impl fmt::Debug for ClaimSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimSecret")
    }
}

/// The public name of a claim, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClaimTag(pub [u8; 32]);

impl fmt::Debug for ClaimTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimTag")
    }
}

/// Something that can be consumed once: the serial of a credential, or a claim tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub [u8; 32]);

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference")
    }
}

/// What one request consumes, in order.
///
/// In 64 bytes: two serials, or a claim tag and 32 zero bytes. Zero bytes encode the
/// identity, which is no serial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum References {
    /// The claim tag of a purchase.
    Claim(ClaimTag),
    /// The serials of a presented pair.
    Serials([Reference; 2]),
}

impl References {
    /// Each of them, to look up or to store a row under.
    pub fn iter(&self) -> impl Iterator<Item = Reference> {
        let (first, second) = match self {
            References::Claim(tag) => (Reference(tag.0), None),
            References::Serials([first, second]) => (*first, Some(*second)),
        };
        std::iter::once(first).chain(second)
    }

    pub(crate) fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (field, reference) in bytes.chunks_exact_mut(32).zip(self.iter()) {
            field.copy_from_slice(&reference.0);
        }
        bytes
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (first, second) = (reader.array()?, reader.array()?);
        if second == [0; 32] {
            Ok(References::Claim(ClaimTag(first)))
        } else if first == second {
            Err(Malformed::SameSerial)
        } else {
            Ok(References::Serials([Reference(first), Reference(second)]))
        }
    }
}

//! What identifies one paid service to the proofs: its id and the range width.

/// How wide a range output amounts are proved to be in. A protocol constant, never read
/// from a message: a width an issuer could vary would tag its clients (§9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeWidth {
    /// 0 to 2^32 − 1 tokens. What Larder uses.
    Bits32,
    /// 0 to 2^64 − 1 tokens; requests are 64 bytes longer.
    Bits64,
}

impl RangeWidth {
    /// The number `n` of bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            RangeWidth::Bits32 => 32,
            RangeWidth::Bits64 => 64,
        }
    }

    /// The largest amount of one output, in tokens.
    #[must_use]
    pub fn largest(self) -> u64 {
        match self {
            RangeWidth::Bits32 => u32::MAX.into(),
            RangeWidth::Bits64 => u64::MAX,
        }
    }

    /// The size of the range proof over two outputs, in bytes.
    #[must_use]
    pub fn proof_bytes(self) -> usize {
        match self {
            RangeWidth::Bits32 => 577,
            RangeWidth::Bits64 => 641,
        }
    }
}

/// A service, as both sides of it know it before they talk.
///
/// The id enters every proof through the operation digest (§4.4), so a request made for
/// one service verifies at no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Service {
    id: [u8; 32],
    range: RangeWidth,
}

impl Service {
    /// The service with this 32-byte id, with 32-bit amounts.
    #[must_use]
    pub const fn new(id: [u8; 32]) -> Self {
        Service {
            id,
            range: RangeWidth::Bits32,
        }
    }

    /// A service whose amounts are 64 bits wide.
    #[must_use]
    pub const fn wide(id: [u8; 32]) -> Self {
        Service {
            id,
            range: RangeWidth::Bits64,
        }
    }

    /// The id, 32 bytes.
    #[must_use]
    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The width of the range proofs.
    #[must_use]
    pub fn range(&self) -> RangeWidth {
        self.range
    }
}

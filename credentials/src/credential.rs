//! A credential: an amount, and a MAC on a commitment to it (§3).
//!
//! | field | bytes |
//! | --- | --- |
//! | epoch | 4 |
//! | amount, tokens | 8 |
//! | blinding `r` | 32 |
//! | MAC nonce `t` | 32 |
//! | MAC `V` | 32 |

use std::fmt;

use curve25519_dalek::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::bytes::Reader;
use crate::epoch::Epoch;
use crate::error::Malformed;
use crate::generators::{GENERATORS, commit};
use crate::group::{Encoding, Point, decode_scalar, hash_to_group};
use crate::operation::Reference;

/// The stored size of a credential, in bytes.
pub const CREDENTIAL_BYTES: usize = 108;
/// The stored size of a pair, in bytes.
pub const PAIR_BYTES: usize = 2 * CREDENTIAL_BYTES;

/// One anonymous credential. Whoever has these bytes can spend it. Erased when dropped;
/// `Debug` prints nothing of it.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Credential {
    #[zeroize(skip)]
    epoch: Epoch,
    amount: u64,
    blinding: Scalar,
    t: Scalar,
    V: Encoding,
}

impl Credential {
    /// `t` is not zero and `V` is a point: the caller has checked an issuance proof.
    pub(crate) fn new(epoch: Epoch, amount: u64, blinding: Scalar, t: Scalar, V: Encoding) -> Self {
        Credential {
            epoch,
            amount,
            blinding,
            t,
            V,
        }
    }

    /// The epoch whose key issued it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What it is worth, in tokens.
    #[must_use]
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The serial `S = r·Gs`, which the issuer learns when the credential is presented.
    #[must_use]
    pub fn serial(&self) -> Reference {
        Reference((&GENERATORS.Gs * &self.blinding).compress().to_bytes())
    }

    pub(crate) fn blinding(&self) -> &Scalar {
        &self.blinding
    }

    pub(crate) fn t(&self) -> &Scalar {
        &self.t
    }

    /// The attribute `M = a·Gg + r·Gh`.
    pub(crate) fn M(&self) -> RistrettoPoint {
        commit(self.amount, &self.blinding)
    }

    pub(crate) fn V(&self) -> Result<Point, Malformed> {
        Point::decode(&self.V)
    }

    /// The stored form, 108 bytes.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<[u8; CREDENTIAL_BYTES]> {
        let mut bytes = Zeroizing::new([0; CREDENTIAL_BYTES]);
        bytes[..4].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.amount.to_le_bytes());
        bytes[12..44].copy_from_slice(self.blinding.as_bytes());
        bytes[44..76].copy_from_slice(self.t.as_bytes());
        bytes[76..].copy_from_slice(&self.V);
        bytes
    }

    /// The credential stored in exactly 108 bytes.
    ///
    /// # Errors
    ///
    /// Any other length, a non-canonical scalar or point, `t = 0`. Whether the MAC is
    /// good shows only when the credential is presented.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let credential = Credential {
            epoch: Epoch(reader.u32()?),
            amount: reader.u64()?,
            blinding: decode_scalar(reader.array()?)?,
            t: decode_nonce(reader.array()?)?,
            V: Point::decode(&reader.array()?)?.encoding,
        };
        reader.end()?;
        Ok(credential)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential")
    }
}

/// `t`, which is never zero: that MAC would not depend on `x1` (§3).
pub(crate) fn decode_nonce(bytes: [u8; 32]) -> Result<Scalar, Malformed> {
    let t = decode_scalar(bytes)?;
    if t == Scalar::ZERO {
        return Err(Malformed::Value("a MAC nonce"));
    }
    Ok(t)
}

/// `U = HashToGroup(D/U, t)`.
pub(crate) fn U(t: &Scalar) -> RistrettoPoint {
    hash_to_group("U", t.as_bytes())
}

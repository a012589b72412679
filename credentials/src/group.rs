//! ristretto255: canonical encodings, hashing, hash-to-group (§1).

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use zeroize::Zeroize;

use crate::PROTOCOL;
use crate::error::Malformed;

/// A point as it travels: 32 bytes, not necessarily valid until decoded.
pub(crate) type Encoding = [u8; 32];

/// A point and its canonical encoding, so that nothing is compressed twice.
#[derive(Clone, Copy, PartialEq, Eq, Zeroize)]
pub(crate) struct Point {
    pub(crate) point: RistrettoPoint,
    pub(crate) encoding: Encoding,
}

impl Point {
    /// Refuses non-canonical encodings and the identity, wherever a point is received.
    pub(crate) fn decode(encoding: &Encoding) -> Result<Self, Malformed> {
        let point = CompressedRistretto(*encoding)
            .decompress()
            .ok_or(Malformed::Point)?;
        if point.is_identity() {
            return Err(Malformed::Point);
        }
        Ok(Point {
            point,
            encoding: *encoding,
        })
    }

    /// The points whose halves these are. Compressing doubles is what a batch can share
    /// one inversion for, so arithmetic that ends in an encoding works on halves.
    pub(crate) fn from_halves(halves: &[RistrettoPoint]) -> Vec<Self> {
        RistrettoPoint::double_and_compress_batch(halves)
            .iter()
            .zip(halves)
            .map(|(encoding, half)| Point {
                point: half + half,
                encoding: encoding.to_bytes(),
            })
            .collect()
    }
}

impl From<RistrettoPoint> for Point {
    fn from(point: RistrettoPoint) -> Self {
        Point {
            point,
            encoding: point.compress().to_bytes(),
        }
    }
}

/// Refuses values that are not below the group order.
pub(crate) fn decode_scalar(bytes: [u8; 32]) -> Result<Scalar, Malformed> {
    Option::from(Scalar::from_canonical_bytes(bytes)).ok_or(Malformed::Scalar)
}

/// `H(dst, m) = SHA-512(LE64(len dst) ‖ dst ‖ m)`, `dst` being `D/purpose`.
pub(crate) fn hash<'a>(purpose: &str, message: impl IntoIterator<Item = &'a [u8]>) -> [u8; 64] {
    let length = PROTOCOL.len() + 1 + purpose.len();
    let mut hasher = Sha512::new()
        .chain_update((length as u64).to_le_bytes())
        .chain_update(PROTOCOL)
        .chain_update("/")
        .chain_update(purpose);
    for part in message {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The first half of [`hash`].
pub(crate) fn hash32<'a>(purpose: &str, message: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let [half, _] = split(hash(purpose, message));
    half
}

/// The one-way map of [`hash`] to the group.
pub(crate) fn hash_to_group(purpose: &str, message: &[u8]) -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&hash(purpose, [message]))
}

/// Both halves of 64 bytes.
pub(crate) fn split(bytes: [u8; 64]) -> [[u8; 32]; 2] {
    let mut halves = [[0; 32]; 2];
    for (half, chunk) in halves.iter_mut().zip(bytes.as_chunks::<32>().0) {
        *half = *chunk;
    }
    halves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generators::GENERATORS;

    #[test]
    fn the_identity_and_what_is_not_canonical_are_no_points() {
        assert_eq!(Point::decode(&[0; 32]).err(), Some(Malformed::Point));
        let good = GENERATORS.Gg.at.encoding;
        assert!(Point::decode(&good).is_ok());
        // Every encoding is even and below the field's prime.
        let mut odd = good;
        odd[0] ^= 1;
        assert_eq!(Point::decode(&odd).err(), Some(Malformed::Point));
        let mut high = good;
        high[31] ^= 0x80;
        assert_eq!(Point::decode(&high).err(), Some(Malformed::Point));
    }

    #[test]
    fn a_scalar_has_one_encoding() {
        let largest = (-Scalar::ONE).to_bytes();
        assert_eq!(decode_scalar(largest), Ok(-Scalar::ONE));
        let mut order = largest;
        order[0] += 1;
        assert_eq!(decode_scalar(order), Err(Malformed::Scalar));
    }
}

//! The key of a blob: a point whose private half signs the delete.

use std::fmt;

use secp256k1::{PublicKey, XOnlyPublicKey};

use crate::InvalidBytes;

/// A compressed secp256k1 point, 33 bytes, under which one blob is stored.
///
/// Only its owner can derive it, and only the private key behind it can sign the
/// delete. A value of this type is always a point on the curve in its canonical
/// encoding.
///
/// `Debug` prints nothing of the point: a key in a log would link a client's requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; Key::LEN]);

impl Key {
    /// Bytes in the compressed encoding.
    pub const LEN: usize = 33;

    /// Reads a compressed point.
    ///
    /// # Errors
    /// [`InvalidBytes`] when the slice is not 33 bytes or not a point on the curve.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidBytes> {
        let bytes: [u8; Key::LEN] = bytes.try_into().map_err(|_| InvalidBytes::Length {
            what: "a key",
            expected: Key::LEN,
            got: bytes.len(),
        })?;
        PublicKey::from_slice(&bytes).map_err(|_| InvalidBytes::NotAPoint { what: "a key" })?;
        Ok(Key(bytes))
    }

    /// The compressed encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Key::LEN] {
        &self.0
    }

    /// The point's x coordinate, under which BIP 340 verifies its signatures.
    #[must_use]
    pub fn x_only(&self) -> XOnlyPublicKey {
        #[expect(
            clippy::expect_used,
            reason = "from_slice and From<PublicKey> let only points in"
        )]
        XOnlyPublicKey::from_slice(&self.0[1..]).expect("a key is a point on the curve")
    }
}

impl From<PublicKey> for Key {
    fn from(point: PublicKey) -> Self {
        Key(point.serialize())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

//! Points, each with a name: mixing them up must not compile.

use std::fmt;
use std::str::FromStr;

use secp256k1::{PublicKey, XOnlyPublicKey};

use crate::InvalidBytes;

/// Defines a newtype over the 33 bytes of a compressed secp256k1 point. A value is always
/// a point on the curve in its canonical encoding.
macro_rules! point {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $name::LEN]);

        impl $name {
            /// Bytes in the compressed encoding.
            pub const LEN: usize = 33;

            /// Reads a compressed point.
            ///
            /// # Errors
            /// [`InvalidBytes`] when the slice is not 33 bytes or not a point on the curve.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidBytes> {
                let bytes: [u8; Self::LEN] = bytes.try_into().map_err(|_| {
                    InvalidBytes::Length { what: $what, expected: Self::LEN, got: bytes.len() }
                })?;
                PublicKey::from_slice(&bytes)
                    .map_err(|_| InvalidBytes::NotAPoint { what: $what })?;
                Ok($name(bytes))
            }

            /// The compressed encoding.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; Self::LEN] {
                &self.0
            }

            /// The point itself.
            #[must_use]
            pub fn point(&self) -> PublicKey {
                PublicKey::from_slice(&self.0).expect("a point on the curve")
            }

            /// The point's x coordinate, under which BIP 340 verifies its signatures.
            #[must_use]
            pub fn x_only(&self) -> XOnlyPublicKey {
                XOnlyPublicKey::from_slice(&self.0[1..]).expect("a point on the curve")
            }
        }

        /// Prints nothing of the point, so that none ends up in a log by way of some other
        /// struct's `Debug`.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl From<PublicKey> for $name {
            fn from(point: PublicKey) -> Self {
                $name(point.serialize())
            }
        }
    };
}

point!(
    /// The key of a blob. Only its owner can derive it, and only the private key behind it
    /// can sign the delete.
    Key,
    "a key"
);

point!(
    /// A storage node's identity. It signs the parameter record, and goes into every key
    /// derivation and every delete signature, so that nothing meant for one provider works
    /// at another.
    ServerKey,
    "a server key"
);

point!(
    /// The key a storage node signs receipts with; named in its parameter record.
    ReceiptKey,
    "a receipt key"
);

point!(
    /// A Lightning node's id (BOLT 8), of a storage node or of a relay.
    NodeId,
    "a node id"
);

/// The public identities are written as hex and read back, by name: `Display` and `FromStr`.
macro_rules! as_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = InvalidBytes;

            fn from_str(text: &str) -> Result<Self, InvalidBytes> {
                let mut point = [0; Self::LEN];
                hex::decode_to_slice(text, &mut point).map_err(|_| InvalidBytes::NotHex {
                    hex_digits: 2 * Self::LEN,
                })?;
                Self::from_slice(&point)
            }
        }
    };
}

as_hex!(ServerKey);
as_hex!(ReceiptKey);
as_hex!(NodeId);

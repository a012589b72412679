//! The one secret a wallet has to keep.
//!
//! A hardened child of the wallet's seed, never the node id's key: whoever holds it can read,
//! delete and add everything the wallet stores with any provider.

use std::fmt;
use std::str::FromStr;

use rand::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// 32 secret bytes. Zeroized when dropped; `Debug` prints nothing.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

/// Text that is no root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a root key is 64 hexadecimal digits: copy it again from where `larder init` showed it")]
pub struct InvalidRootKey;

impl RootKey {
    /// Takes 32 bytes, which the wallet derived as a hardened child of its seed.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        RootKey(bytes)
    }

    /// Draws a new one.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        RootKey(bytes)
    }

    /// The bytes, for the key schedule.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits, to be written down or stored where only the owner reads.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.0))
    }
}

impl FromStr for RootKey {
    type Err = InvalidRootKey;

    fn from_str(text: &str) -> Result<Self, InvalidRootKey> {
        let mut root = RootKey([0; 32]);
        hex::decode_to_slice(text.trim(), &mut root.0).map_err(|_| InvalidRootKey)?;
        Ok(root)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

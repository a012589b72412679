//! `larderv1…`: tokens as one string, which an operator hands out.
//!
//! Bech32m (BIP 350) with the prefix `larderv`, damaged text being treated like an
//! [address](crate::address)'s, over 49 bytes:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 16 | id |
//! | 8 | tokens in all |
//! | 8 | when it expires, unix seconds |
//! | 16 | first half of HMAC-SHA256 over the 33 bytes before it |
//!
//! The key of the MAC is the storage node's secret and has no other use. So whoever has the key
//! can make vouchers without the node's store, and nobody else can; that each is good once only
//! the store can see to. A voucher belongs to whoever reads it: treat it like cash.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::text::{self, InvalidText};
use crate::wire::Reader;
use crate::{DecodeError, VERSION};

/// The human-readable prefix.
pub const PREFIX: &str = "larderv";

/// Bytes under the MAC.
const SIGNED_LEN: usize = 1 + 16 + 8 + 8;

/// Tokens that a storage node gives for nothing but this.
#[derive(Clone, PartialEq, Eq)]
pub struct Voucher {
    /// 16 random bytes, by which the storage node knows that it was used.
    pub id: [u8; 16],
    /// What it is worth, in all the claims it pays for together.
    pub tokens: u64,
    /// From when it is refused, unix seconds.
    pub expires: u64,
    /// Proof that the storage node made it.
    pub mac: [u8; 16],
}

impl Voucher {
    /// Bytes in the byte form.
    pub const LEN: usize = SIGNED_LEN + 16;

    /// Makes a voucher that the storage node with this key takes.
    #[must_use]
    pub fn new(key: &[u8; 32], id: [u8; 16], tokens: u64, expires: u64) -> Self {
        let mut voucher = Voucher {
            id,
            tokens,
            expires,
            mac: [0; 16],
        };
        let code = voucher.code(key).finalize().into_bytes();
        voucher.mac.copy_from_slice(&code[..16]);
        voucher
    }

    /// Whether it was made with this key. In constant time: a forger learns nothing from trying.
    #[must_use]
    pub fn genuine(&self, key: &[u8; 32]) -> bool {
        self.code(key).verify_truncated_left(&self.mac).is_ok()
    }

    /// The byte form, which travels in a [`Quote`](crate::Quote).
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = self.signed();
        to.extend_from_slice(&self.mac);
        to
    }

    /// Reads the byte form; does not check whether it is genuine.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no voucher; whoever made it is at fault.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("the voucher")?;
        if version != VERSION {
            return Err(DecodeError::UnsupportedVersion(version));
        }
        let voucher = Voucher {
            id: reader.array("the voucher")?,
            tokens: reader.u64("the voucher")?,
            expires: reader.u64("the voucher")?,
            mac: reader.array("the voucher")?,
        };
        reader.finish()?;
        Ok(voucher)
    }

    fn signed(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(Voucher::LEN);
        to.push(VERSION);
        to.extend_from_slice(&self.id);
        to.extend_from_slice(&self.tokens.to_be_bytes());
        to.extend_from_slice(&self.expires.to_be_bytes());
        to
    }

    fn code(&self, key: &[u8; 32]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        let code = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
        code.chain_update(self.signed())
    }
}

/// Whoever reads it has its tokens.
impl fmt::Debug for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Voucher(..)")
    }
}

/// The text, to be handed to one person and kept out of every log.
impl fmt::Display for Voucher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, PREFIX, &self.encode())
    }
}

impl FromStr for Voucher {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Ok(Voucher::decode(&text::read(text, "a voucher", PREFIX)?)?)
    }
}

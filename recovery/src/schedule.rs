//! Every secret a client uses with one provider, by HMACing counters with the root key.
//!
//! ```text
//! secret = HMAC-SHA256(root, "larder/1/" ‖ purpose ‖ 0x00 ‖ provider_key 33 ‖ lane 32
//!                            ‖ generation u64 ‖ index u64 [‖ retry u8])   as a scalar
//! key    = secret·G
//! ```
//!
//! Integers are big-endian. `retry` is absent at first, and counts from 1 when the HMAC is zero or
//! not below the group order (about once in 2^128). The provider's key is inside, so two
//! providers that compare their stores find no key in common.
//!
//! Golden vectors, one per purpose: `vectors/schedule.json`.

use std::fmt;

use hmac::{Hmac, Mac};
use larder_protocol::{Key, ServerKey};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::RootKey;

/// What a secret is for; no secret serves two purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Heads of the plain layout's main sequence.
    Main,
    /// Heads of the plain layout's sequences, one per channel.
    Channel,
    /// Continuation blobs of a value; the lane is the value's own entropy.
    Chunk,
    /// Entries of the client's log.
    Log,
    /// Anchors of the client's log.
    Anchor,
    /// The breakglass cell.
    Breakglass,
    /// The root of a provider's credentials.
    Credential,
    /// Claim secrets of purchases.
    Claim,
}

impl Purpose {
    /// All of them, in the order of the published vectors.
    pub const ALL: [Purpose; 8] = [
        Purpose::Main,
        Purpose::Channel,
        Purpose::Chunk,
        Purpose::Log,
        Purpose::Anchor,
        Purpose::Breakglass,
        Purpose::Credential,
        Purpose::Claim,
    ];

    /// The name that goes into the derivation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Main => "main",
            Purpose::Channel => "channel",
            Purpose::Chunk => "chunk",
            Purpose::Log => "log",
            Purpose::Anchor => "anchor",
            Purpose::Breakglass => "breakglass",
            Purpose::Credential => "credential",
            Purpose::Claim => "claim",
        }
    }
}

/// 32 bytes that keep independent sequences of one purpose apart: a channel id, a value's
/// entropy, or zeros where there is only one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lane(pub [u8; 32]);

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lane(..)")
    }
}

/// Where one secret belongs: the variable part of a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    /// What it is for.
    pub purpose: Purpose,
    /// Which of the independent sequences.
    pub lane: Lane,
    /// Which generation of it; 0 in the plain layout.
    pub generation: u64,
    /// The counter.
    pub index: u64,
}

/// The derivation for one root key and one provider.
#[derive(Clone)]
pub struct Schedule {
    root: RootKey,
    provider: ServerKey,
}

impl Schedule {
    /// For the keys that this root has with this provider.
    #[must_use]
    pub fn new(root: RootKey, provider: ServerKey) -> Self {
        Schedule { root, provider }
    }

    /// The provider inside every derivation.
    #[must_use]
    pub fn provider(&self) -> &ServerKey {
        &self.provider
    }

    /// The keypair of a slot: its point is the key, its secret signs the delete and opens the blob.
    #[must_use]
    pub fn keypair(&self, slot: &Slot) -> Keypair {
        let mut retry = None;
        loop {
            let mut bytes = self.hmac(slot, retry);
            let secret = SecretKey::from_slice(&bytes);
            bytes.zeroize();
            if let Ok(mut secret) = secret {
                let keypair = Keypair::from_secret_key(SECP256K1, &secret);
                secret.non_secure_erase();
                return keypair;
            }
            retry = Some(retry.map_or(1, |retry: u8| retry.wrapping_add(1)));
        }
    }

    /// The key of a slot.
    #[must_use]
    pub fn key(&self, slot: &Slot) -> Key {
        let mut keypair = self.keypair(slot);
        let key = keypair.public_key().into();
        keypair.non_secure_erase();
        key
    }

    fn hmac(&self, slot: &Slot, retry: Option<u8>) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.root.as_bytes()).expect("any length will do");
        mac.update(b"larder/1/");
        mac.update(slot.purpose.name().as_bytes());
        mac.update(&[0]);
        mac.update(self.provider.as_bytes());
        mac.update(&slot.lane.0);
        mac.update(&slot.generation.to_be_bytes());
        mac.update(&slot.index.to_be_bytes());
        if let Some(retry) = retry {
            mac.update(&[retry]);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule(..)")
    }
}

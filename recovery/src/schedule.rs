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
use zeroize::Zeroizing;

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

    /// The keypair of a slot: its point is the key, its secret signs the delete and opens the
    /// blob. Erasing it is the caller's.
    #[must_use]
    pub fn keypair(&self, slot: &Slot) -> Keypair {
        self.secret(slot).0
    }

    /// The key of a slot.
    #[must_use]
    pub fn key(&self, slot: &Slot) -> Key {
        self.secret(slot).key()
    }

    /// The keypair of a slot, erased when dropped.
    pub(crate) fn secret(&self, slot: &Slot) -> SlotSecret {
        let mut retry = None;
        loop {
            let bytes = Zeroizing::new(self.hmac(slot, retry));
            if let Ok(mut secret) = SecretKey::from_slice(bytes.as_slice()) {
                let keypair = Keypair::from_secret_key(SECP256K1, &secret);
                secret.non_secure_erase();
                return SlotSecret(keypair);
            }
            retry = Some(retry.map_or(1, |retry: u8| retry.wrapping_add(1)));
        }
    }

    /// 32 bytes that follow from a place and what is to be stored there, for the lanes of chunks.
    pub(crate) fn entropy(&self, slot: &Slot, digest: &[u8; 32]) -> [u8; 32] {
        let secret = self.secret(slot);
        hmac_sha256(&secret.bytes(), &[b"larder/entropy/1", digest])
    }

    fn hmac(&self, slot: &Slot, retry: Option<u8>) -> [u8; 32] {
        let retry = retry.map(|retry| [retry]);
        hmac_sha256(
            self.root.as_bytes(),
            &[
                b"larder/1/",
                slot.purpose.name().as_bytes(),
                &[0],
                self.provider.as_bytes(),
                &slot.lane.0,
                &slot.generation.to_be_bytes(),
                &slot.index.to_be_bytes(),
                retry.as_ref().map_or(&[], <[u8; 1]>::as_slice),
            ],
        )
    }
}

/// HMAC-SHA256 over the parts, one after the other.
pub(crate) fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = hmac_keyed(key);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 with this key, of what it is then given.
pub(crate) fn hmac_keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("any length will do")
}

/// The keypair of one slot, erased when dropped.
pub(crate) struct SlotSecret(Keypair);

impl SlotSecret {
    pub(crate) fn key(&self) -> Key {
        self.0.public_key().into()
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.0
    }

    pub(crate) fn bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.secret_bytes())
    }
}

impl Drop for SlotSecret {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule(..)")
    }
}

//! What proofs are compared to: one verification of an ECDSA signature by libsecp256k1, which
//! every Lightning node does all the time.

use std::hint::black_box;

use secp256k1::ecdsa::Signature;
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

/// The yardstick's name.
pub(crate) const ECDSA: &str = "ECDSA verification";

/// A signature to verify, again and again.
pub(crate) struct Ecdsa {
    message: Message,
    public: PublicKey,
    signature: Signature,
}

impl Ecdsa {
    pub(crate) fn new() -> Option<Self> {
        let secret = SecretKey::from_slice(&[3; 32]).ok()?;
        let message = Message::from_digest([5; 32]);
        Some(Ecdsa {
            message,
            public: secret.public_key(SECP256K1),
            signature: SECP256K1.sign_ecdsa(&message, &secret),
        })
    }

    pub(crate) fn verifies(&self) -> bool {
        let message = black_box(&self.message);
        let valid = SECP256K1.verify_ecdsa(message, &self.signature, &self.public);
        valid.is_ok()
    }
}

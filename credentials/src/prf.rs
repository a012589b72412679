//! The keyed function behind every derived value: HMAC-SHA-512 over length-prefixed
//! parts (§1).

use curve25519_dalek::scalar::Scalar;
use hmac::{Hmac, Mac};
use sha2::Sha512;
use sigma_proofs::PrivateRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::group::split;

/// A 32-byte key of the PRF. Erased when dropped; it has no `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct PrfKey([u8; 32]);

impl PrfKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        PrfKey(key)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn evaluate(&self, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 64]> {
        // HMAC takes keys of any length; the error cannot occur.
        let Ok(mut mac) = Hmac::<Sha512>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes keys of any length")
        };
        let mut absorb = |part: &[u8]| {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        };
        absorb(label.as_bytes());
        parts.iter().for_each(|part| absorb(part));
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// The first 32 of the 64 bytes.
    pub(crate) fn bytes32(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let [half, _] = split(*self.evaluate(label, parts));
        half
    }

    /// All 64 bytes, reduced modulo the group order.
    pub(crate) fn scalar(&self, label: &str, parts: &[&[u8]]) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.evaluate(label, parts))
    }

    /// A key for another purpose.
    pub(crate) fn derive(&self, label: &str, parts: &[&[u8]]) -> PrfKey {
        PrfKey(self.bytes32(label, parts))
    }

    /// A generator of proof randomness. `parts` **must** hold the complete statement and
    /// the witness: equal nonces in two different statements reveal the witness (§4.7).
    pub(crate) fn generator(&self, label: &str, parts: &[&[u8]]) -> PrivateRng {
        PrivateRng::from_seed(self.bytes32(label, parts))
    }
}

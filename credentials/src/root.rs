//! A holder's only long-term secret, and what is derived from it (§4.1, §4.5, §4.7).

use std::fmt;

use curve25519_dalek::scalar::Scalar;

use crate::operation::{ClaimSecret, References};
use crate::prf::PrfKey;

/// 32 secret bytes from which every pair can be opened again. Erased when dropped.
#[derive(Clone)]
pub struct Root(PrfKey);

impl Root {
    /// The root with these bytes. They **must** be uniformly random, and belong to one
    /// service only.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Root(PrfKey::new(bytes))
    }

    /// The secret of the `index`-th claim (§11).
    #[must_use]
    pub fn claim_secret(&self, index: u64) -> ClaimSecret {
        ClaimSecret::from_bytes(self.0.bytes32("claim", &[&index.to_le_bytes()]))
    }

    /// `r'_j`, the blinding of output `j` (1 or 2). It depends on what is consumed and
    /// never on the operation.
    pub(crate) fn blinding(&self, references: &References, output: u8) -> Scalar {
        self.with_references("r", references, |label, parts| {
            let mut parts = parts.to_vec();
            let output = [output];
            parts.push(&output);
            self.0.scalar(label, &parts)
        })
    }

    pub(crate) fn memo_key(&self, references: &References) -> PrfKey {
        self.with_references("memo", references, |label, parts| {
            self.0.derive(label, parts)
        })
    }

    pub(crate) fn memo_nonce(&self, outputs: [&[u8; 32]; 2]) -> [u8; 12] {
        let bytes = self.0.bytes32("memo-nonce", &outputs.map(|o| o.as_slice()));
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&bytes[..12]);
        nonce
    }

    pub(crate) fn prf(&self) -> &PrfKey {
        &self.0
    }

    fn with_references<T>(
        &self,
        label: &str,
        references: &References,
        evaluate: impl FnOnce(&str, &[&[u8]]) -> T,
    ) -> T {
        let references: Vec<_> = references.iter().collect();
        let parts: Vec<&[u8]> = references.iter().map(|r| r.0.as_slice()).collect();
        evaluate(label, &parts)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Root")
    }
}

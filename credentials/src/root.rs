//! A holder's only long-term secret, and what is derived from it (§4.1, §4.5, §4.7).
//!
//! Everything is `PRF(root, label, parts…)`, with the parts in this order:
//!
//! | value | label | parts | output |
//! | --- | --- | --- | --- |
//! | claim secret | `claim` | index, LE64 | 32 bytes |
//! | blinding `r'_j` | `r` | references; `j`, 1 byte; `v_1`, LE64; `v_2`, LE64 | scalar |
//! | memo key | `memo` | references | 32 bytes |
//! | memo nonce | `memo-nonce` | `M'_1`, `M'_2` | first 12 of 32 bytes |
//! | `z` of both presentations | `presentation` | see [`holder`](crate::holder) | seed |
//! | nonces of the range proof | `range-proof` | see [`holder`](crate::holder) | seed |
//! | nonces of the Σ-proof | `proof` | see [`holder`](crate::holder) | seed |
//!
//! References are two parts of 32 bytes for a spend and one for a purchase.

use std::fmt;

use curve25519_dalek::scalar::Scalar;
use zeroize::Zeroizing;

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

    /// `r'_1` and `r'_2`, the blindings of the outputs. They depend on what is consumed and
    /// on how the tokens are split, never on the operation. Without the split, two requests
    /// on one pair would show `M'_j − M~'_j = (v_j − v~_j)·Gg`, which is soon searched.
    pub(crate) fn blindings(
        &self,
        references: &References,
        values: &[u64; 2],
    ) -> Zeroizing<[Scalar; 2]> {
        let values = Zeroizing::new(values.map(u64::to_le_bytes));
        let blinding = |output: u8| {
            self.with_references("r", references, |label, parts| {
                let output = [output];
                let own: [&[u8]; 3] = [&output, &values[0], &values[1]];
                self.0.scalar(label, &[parts, &own].concat())
            })
        };
        Zeroizing::new([blinding(1), blinding(2)])
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

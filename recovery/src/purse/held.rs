//! A credential as the purse holds it: its stored form, and what the purse has to know of it.

use std::fmt;

use larder_credentials::{
    CREDENTIAL_BYTES, Credential, Epoch, HolderError, Malformed, Reference, Unspent,
};
use zeroize::Zeroizing;

/// One credential that may be spent.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) epoch: Epoch,
    /// In tokens.
    pub(crate) amount: u64,
    pub(crate) serial: Reference,
    /// The digest of the call that it was shown for last, when that was refused.
    pub(crate) shown: Option<[u8; 32]>,
    bytes: Zeroizing<[u8; CREDENTIAL_BYTES]>,
}

impl Held {
    pub(crate) fn new(credential: &Credential) -> Self {
        Held {
            epoch: credential.epoch(),
            amount: credential.amount(),
            serial: credential.serial(),
            shown: None,
            bytes: credential.encode(),
        }
    }

    /// Both credentials of a pair.
    pub(crate) fn of(pair: &Unspent) -> [Held; 2] {
        let [first, second] = pair.credentials();
        [Held::new(first), Held::new(second)]
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Credential::decode(bytes).map(|credential| Held::new(&credential))
    }

    /// Whether showing them together ties no two keys to each other.
    pub(crate) fn goes_with(&self, other: &Held) -> bool {
        let calls = self.shown.zip(other.shown);
        calls.is_none_or(|(one, another)| one == another)
    }

    /// One that is good for arithmetic only.
    #[cfg(test)]
    pub(crate) fn worth(epoch: Epoch, amount: u64) -> Self {
        Held {
            epoch,
            amount,
            serial: Reference([0; 32]),
            shown: None,
            bytes: Zeroizing::new([0; CREDENTIAL_BYTES]),
        }
    }

    pub(crate) fn encode(&self) -> &[u8; CREDENTIAL_BYTES] {
        &self.bytes
    }
}

/// Two credentials as a pair that can be presented.
pub(crate) fn pair(two: &[Held; 2]) -> Result<Unspent, HolderError> {
    let stored = |held: &Held| Credential::decode(&*held.bytes).map_err(HolderError::Stored);
    Unspent::new([stored(&two[0])?, stored(&two[1])?])
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(..)")
    }
}

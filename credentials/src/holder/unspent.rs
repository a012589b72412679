//! A pair that can be spent.

use std::fmt;

use zeroize::Zeroizing;

use super::build;
use super::{InFlight, Spending};
use crate::credential::{CREDENTIAL_BYTES, Credential, PAIR_BYTES};
use crate::epoch::Epoch;
use crate::error::HolderError;
use crate::parameters::Record;
use crate::root::Root;
use crate::row::Row;

/// Two credentials of one epoch that are presented together. It cannot be cloned; what
/// can be copied is its stored form, and whoever holds that can spend it.
pub struct Unspent {
    credentials: [Credential; 2],
}

/// A pair that no request could be built for. It stays unspent.
#[derive(Debug)]
pub struct Unspendable {
    /// The pair.
    pub pair: Unspent,
    /// Why.
    pub error: HolderError,
}

impl Unspent {
    /// Two credentials as a pair. They need not come from one row.
    ///
    /// # Errors
    ///
    /// [`HolderError::MixedEpochs`], [`HolderError::SameCredential`].
    pub fn new(credentials: [Credential; 2]) -> Result<Self, HolderError> {
        let [first, second] = &credentials;
        if first.epoch() != second.epoch() {
            return Err(HolderError::MixedEpochs);
        }
        if first.blinding() == second.blinding() {
            return Err(HolderError::SameCredential);
        }
        Ok(Unspent { credentials })
    }

    /// The credentials, for pairing them differently.
    #[must_use]
    pub fn into_credentials(self) -> [Credential; 2] {
        self.credentials
    }

    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> &[Credential; 2] {
        &self.credentials
    }

    /// The credentials that none of these rows consumed: they stay unspent.
    #[must_use]
    pub fn unconsumed(self, rows: &[Row]) -> Vec<Credential> {
        let consumed: Vec<_> = rows.iter().flat_map(|r| r.references().iter()).collect();
        let mut credentials = Vec::from(self.credentials);
        credentials.retain(|credential| !consumed.contains(&credential.serial()));
        credentials
    }

    /// What both are worth together, in tokens.
    #[must_use]
    pub fn total(&self) -> u128 {
        self.credentials
            .iter()
            .map(|c| u128::from(c.amount()))
            .sum()
    }

    /// The epoch that issued both.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.credentials[0].epoch()
    }

    /// The stored form, 216 bytes: both credentials in order.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<[u8; PAIR_BYTES]> {
        let mut bytes = Zeroizing::new([0; PAIR_BYTES]);
        let fields = bytes.chunks_exact_mut(CREDENTIAL_BYTES);
        for (field, credential) in fields.zip(&self.credentials) {
            field.copy_from_slice(&*credential.encode());
        }
        bytes
    }

    /// The pair stored in exactly 216 bytes. Taking over a pair from somebody else, follow
    /// with a [`Spending::transfer`] at once: until then both can spend it (§6).
    ///
    /// # Errors
    ///
    /// [`HolderError::Stored`], and those of [`Self::new`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HolderError> {
        let half = bytes.len().min(CREDENTIAL_BYTES);
        let (first, second) = bytes.split_at(half);
        let decode = |bytes| Credential::decode(bytes).map_err(HolderError::Stored);
        Unspent::new([decode(first)?, decode(second)?])
    }

    /// Spends the pair on an operation (§4). Send [`InFlight::core`]; persist the intention
    /// before sending.
    ///
    /// The same pair, record and spending give the same bytes. That is what makes a retry
    /// cost nothing, and it is a trap for whoever comes back from a backup: if this very
    /// intention was carried out long ago, the issuer answers it as a retry, *performed*
    /// means performed then, and the pair in the answer may be spent itself. Unless you
    /// know that the pair was never sent, use [`Spending::with_entropy`], or
    /// [`walk`](super::walk()) to the newest pair first.
    ///
    /// # Errors
    ///
    /// The pair comes back with the reason: [`HolderError::NotEnoughTokens`],
    /// [`HolderError::BadSplit`] also when an operation of the service would leave less
    /// than the [`HEADROOM`](super::HEADROOM), [`HolderError::BadOperation`],
    /// [`HolderError::UnknownEpoch`], [`HolderError::Stored`] for a damaged credential.
    pub fn spend(
        self,
        root: &Root,
        record: &Record,
        spending: &Spending<'_>,
    ) -> Result<InFlight, Box<Unspendable>> {
        match build::spend(&self, root, record, spending) {
            Ok(built) => Ok(InFlight::new(built, Some(self))),
            Err(error) => Err(Box::new(Unspendable { pair: self, error })),
        }
    }
}

impl fmt::Debug for Unspent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unspent")
    }
}

//! `Delete`: remove a blob and leave a tombstone.
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |
//! | 64 | BIP 340 signature |
//!
//! The signature is by the key's private half over
//! `tagged_hash("larder/delete", server_key ‖ key ‖ SHA-256(blob))`. The server key makes it
//! useless at another provider, the blob's hash useless for another blob.

use std::fmt;

use secp256k1::Keypair;

use crate::permit;
use crate::wire::Reader;
use crate::{BlobHash, DecodeError, Key, ServerKey};

const TAG: &str = "larder/delete";

/// Parameters of a delete.
#[derive(Clone, PartialEq, Eq)]
pub struct Delete {
    /// What to delete.
    pub key: Key,
    /// The permission to.
    pub signature: [u8; 64],
}

impl Delete {
    /// Signs the delete of the blob with this hash, stored under the keypair's point with one
    /// provider.
    #[must_use]
    pub fn sign(keypair: &Keypair, server: &ServerKey, blob: BlobHash) -> Self {
        let (key, signature) = permit::sign(keypair, server, TAG, &blob.0);
        Delete { key, signature }
    }

    /// Whether this permits to delete the blob with this hash.
    #[must_use]
    pub fn permits(&self, server: &ServerKey, blob: BlobHash) -> bool {
        permit::verifies(&self.signature, &self.key, server, TAG, &blob.0)
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(&self.signature);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Delete {
            key: reader.key()?,
            signature: reader.array("the signature")?,
        })
    }
}

impl fmt::Debug for Delete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Delete(..)")
    }
}

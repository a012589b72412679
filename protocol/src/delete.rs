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

use crate::tagged::{sign, tagged_hash, verifies};
use crate::wire::Reader;
use crate::{BlobHash, DecodeError, Key, ServerKey};

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
        let key = Key::from(keypair.public_key());
        Delete {
            key,
            signature: sign(digest(server, &key, blob), keypair),
        }
    }

    /// Whether this permits to delete the blob with this hash.
    #[must_use]
    pub fn permits(&self, server: &ServerKey, blob: BlobHash) -> bool {
        verifies(
            digest(server, &self.key, blob),
            &self.signature,
            &self.key.x_only(),
        )
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

fn digest(server: &ServerKey, key: &Key, blob: BlobHash) -> [u8; 32] {
    tagged_hash(
        "larder/delete",
        &[server.as_bytes(), key.as_bytes(), &blob.0],
    )
}

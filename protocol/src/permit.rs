//! What the owner of a key permits one provider to do under it.
//!
//! A BIP 340 signature by the key's private half over
//! `tagged_hash(tag, server_key ‖ key ‖ what)`. The tag makes it useless for another operation, the
//! server key at another provider.

use secp256k1::Keypair;

use crate::tagged::{self, tagged_hash};
use crate::{Key, ServerKey};

/// The keypair's point, and a permit of its owner.
pub(crate) fn sign(
    keypair: &Keypair,
    server: &ServerKey,
    tag: &str,
    what: &[u8],
) -> (Key, [u8; 64]) {
    let key = Key::from(keypair.public_key());
    (key, tagged::sign(digest(tag, server, &key, what), keypair))
}

/// Whether this is a permit of the key's owner.
pub(crate) fn verifies(
    signature: &[u8; 64],
    key: &Key,
    server: &ServerKey,
    tag: &str,
    what: &[u8],
) -> bool {
    tagged::verifies(digest(tag, server, key, what), signature, &key.x_only())
}

fn digest(tag: &str, server: &ServerKey, key: &Key, what: &[u8]) -> [u8; 32] {
    tagged_hash(tag, &[server.as_bytes(), key.as_bytes(), what])
}

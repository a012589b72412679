//! Tagged hashes (BIP 340): what a signature covers can mean only one thing.

use secp256k1::schnorr::Signature;
use secp256k1::{Keypair, Message, SECP256K1, XOnlyPublicKey};
use sha2::{Digest, Sha256};

/// `SHA-256(SHA-256(tag) ‖ SHA-256(tag) ‖ parts)`.
///
/// Callers pass parts of fixed length only, or one that delimits itself, so that no two lists
/// of parts look alike.
pub(crate) fn tagged_hash(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = Sha256::digest(tag);
    let mut hash = Sha256::new().chain_update(tag).chain_update(tag);
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

/// A BIP 340 signature without auxiliary randomness: the same request is always the same
/// bytes, and a retry can be told from a second one.
pub(crate) fn sign(digest: [u8; 32], keypair: &Keypair) -> [u8; 64] {
    *SECP256K1
        .sign_schnorr_no_aux_rand(&Message::from_digest(digest), keypair)
        .as_ref()
}

/// Checks a BIP 340 signature.
pub(crate) fn verifies(digest: [u8; 32], signature: &[u8; 64], key: &XOnlyPublicKey) -> bool {
    Signature::from_slice(signature).is_ok_and(|signature| {
        SECP256K1
            .verify_schnorr(&signature, &Message::from_digest(digest), key)
            .is_ok()
    })
}

//! What both ends make of a [`Pass`]: a blinded path of one hop to the storage node, made by LDK.
//!
//! The client sends along it. Its path key stands in front of the onion, where the storage node knows it
//! with a comparison. One pass in 2^128 makes no path, because its secret is no scalar. To both ends it
//! is as if there were none.
//!
//! **What a path key is worth to whoever sees it,** as the relays in front of the storage node do: not an
//! answer, for an onion that opens takes the secret behind the path key, and what authenticates the
//! path's only hop. But garbage behind it waits, and is opened, among the messages with a pass. A relay
//! that sends it takes room and turns from those who come through the same relay, whose messages it could
//! drop just as well; one that tells others lets each of them take the turns of one more peer, and then
//! passes protect no better than fairness between peers does. Garbage is not held against the peer it came
//! from: that would be a way to have honest clients of a relay punished by anybody else behind it.
//!
//! **How the hop is sealed.** Path key, shared secret, blinded node id and the key `rho` are as in
//! [BOLT 4](https://github.com/lightning/bolts/blob/master/04-onion-routing.md#route-blinding). The data for
//! the storage node, which BOLT 4 leaves to whoever makes a path, are what LDK makes of them, and always
//! the same 100 bytes:
//!
//! | bytes | field |
//! | --- | --- |
//! | 2 | `01 58`: padding of 88 bytes |
//! | 88 | zeros |
//! | 6 | `fe 00 01 00 01 04`: the context (type 65537) of 4 bytes |
//! | 4 | `01 02 00 00`: `MessageContext::Custom` of 2 bytes, which say that it is empty |
//!
//! They are sealed with ChaCha20-Poly1305 under `rho` and a nonce of zeros, with what authenticates the hop
//! (`auth_key`, 32 bytes) as the additional data; but the tag covers these *behind* the ciphertext and not in
//! front of it:
//!
//! ```text
//! sealed = ciphertext (100) || tag (16)
//! tag    = Poly1305(ciphertext || 12 zeros || auth_key || 100 as LE64 || 32 as LE64)
//! ```
//!
//! A message along any other path with this path key is rejected: one with dummy hops, with
//! another context, or with data that `auth_key` does not authenticate. `pass_path` in
//! `protocol/vectors/v1.json` is such a path.

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey, Signing, Verification};
use larder_protocol::Pass;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext};
use lightning::ln::msgs::OnionMessage;
use lightning::sign::{EntropySource, ReceiveAuthKey};

/// The path of a pass to the storage node `to`. LDK hands an empty context to whoever opens what
/// comes along it.
pub(crate) fn path<C: Signing + Verification>(
    pass: &Pass,
    to: PublicKey,
    secp: &Secp256k1<C>,
) -> Option<BlindedMessagePath> {
    let secret = PathSecret::new(pass.path_secret())?;
    let auth_key = ReceiveAuthKey(pass.auth_key());
    let context = MessageContext::Custom(Vec::new());
    Some(BlindedMessagePath::one_hop(
        to, auth_key, context, &secret, secp,
    ))
}

/// A pass as the storage node meets it.
#[derive(Clone, Copy)]
pub(crate) struct Honoured {
    path_key: PublicKey,
    pub(crate) auth_key: ReceiveAuthKey,
}

impl Honoured {
    /// Computes what shows of it.
    pub(crate) fn new<C: Signing>(pass: &Pass, secp: &Secp256k1<C>) -> Option<Self> {
        let secret = PathSecret::new(pass.path_secret())?;
        Some(Honoured {
            path_key: PublicKey::from_secret_key(secp, &secret.0),
            auth_key: ReceiveAuthKey(pass.auth_key()),
        })
    }

    /// Whether a message shows it, before anybody has opened that.
    pub(crate) fn is_shown_by(&self, message: &OnionMessage) -> bool {
        message.blinding_point == self.path_key
    }
}

/// What is behind a path key. LDK asks for randomness and panics when it is no scalar.
struct PathSecret(SecretKey);

impl PathSecret {
    fn new(bytes: [u8; 32]) -> Option<Self> {
        SecretKey::from_slice(&bytes).ok().map(PathSecret)
    }
}

impl EntropySource for PathSecret {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }
}

#[cfg(test)]
mod tests {
    use lightning::util::ser::Writeable;
    use serde_json::{Value, json};

    use super::*;

    const VECTORS: &str = include_str!("../../protocol/vectors/v1.json");

    #[test]
    fn both_ends_make_the_same_path_of_a_pass_and_another_one_of_another() {
        let secp = Secp256k1::new();
        let node = PathSecret::new([1; 32]).unwrap().0.public_key(&secp);
        let path_of = |byte| path(&Pass::from_bytes([byte; 32]), node, &secp).unwrap();
        assert!(path_of(2) == path_of(2));
        assert!(path_of(2) != path_of(3));
        let known = Honoured::new(&Pass::from_bytes([2; 32]), &secp).unwrap();
        assert_eq!(known.path_key, path_of(2).blinding_point());
        assert_ne!(known.path_key, path_of(3).blinding_point());
    }

    #[test]
    fn the_path_of_a_pass_is_what_the_golden_vectors_say() {
        let golden: Value = serde_json::from_str(VECTORS).unwrap();
        let mut pass = [0; 32];
        let text = golden["passes"][0]["pass"].as_str().unwrap();
        hex::decode_to_slice(text, &mut pass).unwrap();
        let secp = Secp256k1::new();
        let node = PathSecret::new([3; 32]).unwrap().0.public_key(&secp);
        let path = path(&Pass::from_bytes(pass), node, &secp).unwrap();
        let [hop] = path.blinded_hops() else {
            panic!("a path of one hop");
        };
        let made = json!({
            "path": hex::encode(path.encode()),
            "path_key": hex::encode(path.blinding_point().serialize()),
            "blinded_node_id": hex::encode(hop.blinded_node_id.serialize()),
            "sealed_data": hex::encode(&hop.encrypted_payload),
        });
        assert_eq!(golden["pass_path"], made);
    }

    #[test]
    fn a_secret_that_is_no_scalar_makes_no_path() {
        assert!(PathSecret::new([0xff; 32]).is_none());
        assert!(PathSecret::new([0; 32]).is_none());
    }
}

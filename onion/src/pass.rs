//! What both ends make of a [`Pass`]: a blinded path of one hop to the storage node, made by LDK.
//!
//! The client sends along it. Its path key stands in front of the onion, where the storage node knows it
//! with a comparison. To see it is not enough to use it: an onion that opens takes the secret
//! behind the path key, and what authenticates the path's only hop.
//!
//! One pass in 2^128 makes no path, because its secret is no scalar. To both ends it is as if there were
//! none.

use std::cell::Cell;

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, Signature};
use bitcoin::secp256k1::schnorr;
use bitcoin::secp256k1::{PublicKey, Scalar, Secp256k1, SecretKey, Signing, Verification};
use larder_protocol::Pass;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext};
use lightning::bolt11_invoice::RawBolt11Invoice;
use lightning::ln::inbound_payment::ExpandedKey;
use lightning::ln::msgs::{OnionMessage, UnsignedGossipMessage};
use lightning::offers::invoice::UnsignedBolt12Invoice;
use lightning::sign::{
    EntropySource, KeysManager, NodeSigner, PeerStorageKey, ReceiveAuthKey, Recipient,
};

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
    auth_key: ReceiveAuthKey,
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

/// The keys with which one message is opened: the storage node's, but for what authenticates the path along
/// which it came, and good for one layer only.
///
/// LDK opens by itself whatever authentic dummy hops are wrapped around a message. Whoever has a
/// pass can authenticate them, and a packet has room for hundreds.
pub(crate) struct Opener<'k> {
    keys: &'k KeysManager,
    auth_key: ReceiveAuthKey,
    uses: Cell<usize>,
}

/// How often LDK uses the node's secret for one layer: for the path's data, and for the onion.
const USES: usize = 2;

impl<'k> Opener<'k> {
    /// For a message that shows this pass, or none.
    pub(crate) fn new(keys: &'k KeysManager, pass: Option<&Honoured>) -> Self {
        let own = || keys.get_receive_auth_key();
        Opener {
            keys,
            auth_key: pass.map_or_else(own, |pass| pass.auth_key),
            uses: Cell::new(0),
        }
    }
}

impl NodeSigner for Opener<'_> {
    fn get_receive_auth_key(&self) -> ReceiveAuthKey {
        self.auth_key
    }

    fn get_node_id(&self, recipient: Recipient) -> Result<PublicKey, ()> {
        self.keys.get_node_id(recipient)
    }

    fn ecdh(
        &self,
        recipient: Recipient,
        other_key: &PublicKey,
        tweak: Option<&Scalar>,
    ) -> Result<SharedSecret, ()> {
        if self.uses.replace(self.uses.get() + 1) >= USES {
            return Err(());
        }
        self.keys.ecdh(recipient, other_key, tweak)
    }

    fn get_expanded_key(&self) -> ExpandedKey {
        self.keys.get_expanded_key()
    }

    fn get_peer_storage_key(&self) -> PeerStorageKey {
        self.keys.get_peer_storage_key()
    }

    // To open a message nothing is signed.

    fn sign_invoice(&self, _: &RawBolt11Invoice, _: Recipient) -> Result<RecoverableSignature, ()> {
        Err(())
    }

    fn sign_bolt12_invoice(&self, _: &UnsignedBolt12Invoice) -> Result<schnorr::Signature, ()> {
        Err(())
    }

    fn sign_gossip_message(&self, _: UnsignedGossipMessage<'_>) -> Result<Signature, ()> {
        Err(())
    }

    fn sign_message(&self, _: &[u8]) -> Result<String, ()> {
        Err(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_secret_that_is_no_scalar_makes_no_path() {
        assert!(PathSecret::new([0xff; 32]).is_none());
        assert!(PathSecret::new([0; 32]).is_none());
    }
}

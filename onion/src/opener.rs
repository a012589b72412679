//! The keys with which one message is opened, as LDK asks for them.
//!
//! They are the node's own but for two things. What authenticates the path is the pass that the message
//! shows, if it shows one. And they are good for one layer: LDK opens by itself whatever authentic
//! dummy hops are wrapped around a message, one after the other; whoever has a pass can authenticate
//! them, and a packet has room for hundreds.

use std::cell::Cell;

use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::ecdsa::{RecoverableSignature, Signature};
use bitcoin::secp256k1::schnorr;
use bitcoin::secp256k1::{PublicKey, Scalar};
use lightning::bolt11_invoice::RawBolt11Invoice;
use lightning::ln::inbound_payment::ExpandedKey;
use lightning::ln::msgs::UnsignedGossipMessage;
use lightning::offers::invoice::UnsignedBolt12Invoice;
use lightning::sign::{KeysManager, NodeSigner, PeerStorageKey, ReceiveAuthKey, Recipient};

use crate::pass::Honoured;

/// How often LDK uses the node's secret for one layer: for the path's data, and for the onion.
const USES: usize = 2;

/// Opens one message. Not to be used for a second one.
pub(crate) struct Opener<'k> {
    keys: &'k KeysManager,
    auth_key: ReceiveAuthKey,
    uses: Cell<usize>,
}

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

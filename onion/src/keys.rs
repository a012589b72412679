//! The secrets of one node id, and everything that is done with them: onions are built and
//! peeled here.
//!
//! Peeling an onion meant for us costs about 0.3 ms, one that is garbage about 0.1 ms;
//! building a big one costs 0.3 ms and more with every hop. None of it is ever done on a
//! thread that reads from a socket.

use std::sync::Arc;

use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use larder_protocol::Pass;
use lightning::blinded_path::EmptyNodeIdLookUp;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::ln::msgs::OnionMessage;
use lightning::onion_message::messenger::{
    Destination, OnionMessagePath, PeeledOnion, SendError, create_onion_message, peel_onion_message,
};
use lightning::sign::{KeysManager, NodeSigner};

use crate::ldk::Silent;
use crate::opener::Opener;
use crate::parcel::{Parcel, ParcelReader};
use crate::pass::{self, Honoured};

/// The keys of a node.
pub(crate) struct Keys {
    manager: Arc<KeysManager>,
    secp: Secp256k1<All>,
    node_id: PublicKey,
}

/// Why an onion could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbuilt {
    /// The contents are larger than what the big packet leaves for them.
    DoesNotFit,
    /// A blinded path, made by somebody else, leads nowhere.
    BadPath,
}

/// A parcel that reached us, what we said about the path it came along, and the path along
/// which its sender expects an answer.
pub(crate) struct Peeled {
    pub(crate) parcel: Parcel,
    pub(crate) context: Option<Vec<u8>>,
    pub(crate) reply_path: Option<BlindedMessagePath>,
}

impl Keys {
    /// The node id is a function of `seed`; the randomness is fresh every time.
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        // LDK seeds its generator with the seed and a start time, which must never repeat.
        // A clock can be set back; 96 random bits cannot.
        let manager = KeysManager::new(seed, rand::random(), rand::random(), true);
        let mut secp = Secp256k1::new();
        secp.seeded_randomize(&rand::random());
        let node_id = PublicKey::from_secret_key(&secp, &manager.get_node_secret_key());
        Keys {
            manager: Arc::new(manager),
            secp,
            node_id,
        }
    }

    /// A node nobody has met before.
    pub(crate) fn random() -> Self {
        Keys::new(&rand::random())
    }

    pub(crate) fn node_id(&self) -> PublicKey {
        self.node_id
    }

    pub(crate) fn manager(&self) -> Arc<KeysManager> {
        Arc::clone(&self.manager)
    }

    /// A path from the first of `hops` to us, which proves to us that a message came along
    /// it. `context` comes back with that message.
    pub(crate) fn path_to_us(&self, hops: &[PublicKey], context: &[u8]) -> BlindedMessagePath {
        let hops: Vec<MessageForwardNode> = hops
            .iter()
            .map(|&node_id| MessageForwardNode {
                node_id,
                short_channel_id: None,
            })
            .collect();
        BlindedMessagePath::new(
            &hops,
            self.node_id,
            self.manager.get_receive_auth_key(),
            MessageContext::Custom(context.to_vec()),
            &*self.manager,
            &self.secp,
        )
    }

    /// The path to a storage node that this pass makes, if it makes one.
    pub(crate) fn path_with(&self, pass: &Pass, to: PublicKey) -> Option<BlindedMessagePath> {
        pass::path(pass, to, &self.secp)
    }

    /// What messages to us show that come with this pass, if it makes a path.
    pub(crate) fn honour(&self, pass: &Pass) -> Option<Honoured> {
        Honoured::new(pass, &self.secp)
    }

    /// Builds a message to `destination` by way of `relays`; returns the peer to hand it to.
    pub(crate) fn build(
        &self,
        relays: Vec<PublicKey>,
        destination: Destination,
        parcel: Parcel,
        reply_path: Option<BlindedMessagePath>,
    ) -> Result<(PublicKey, OnionMessage), Unbuilt> {
        let path = OnionMessagePath {
            intermediate_nodes: relays,
            destination,
            first_node_addresses: Vec::new(),
        };
        create_onion_message(
            &self.manager,
            &self.manager,
            &EmptyNodeIdLookUp {},
            &self.secp,
            path,
            parcel,
            reply_path,
        )
        .map(|(first, message, _)| (first, message))
        .map_err(|error| match error {
            SendError::TooBigPacket => Unbuilt::DoesNotFit,
            _ => Unbuilt::BadPath,
        })
    }

    /// Opens a message that shows this pass, or none. `None` for anything but a parcel for us:
    /// garbage, a message to be forwarded (an endpoint forwards for nobody), BOLT 12.
    pub(crate) fn peel(&self, message: &OnionMessage, pass: Option<&Honoured>) -> Option<Peeled> {
        let opener = Opener::new(&self.manager, pass);
        match peel_onion_message(message, &self.secp, &opener, &Silent, &ParcelReader) {
            Ok(PeeledOnion::Custom(parcel, context, reply_path)) => Some(Peeled {
                parcel,
                context,
                reply_path,
            }),
            _ => None,
        }
    }
}

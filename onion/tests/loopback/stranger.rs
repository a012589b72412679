//! A Lightning node that does as it likes: LDK's own pieces, none of ours.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use bitcoin::secp256k1::{All, PublicKey, Secp256k1};
use larder_onion::{NodeId, PeerAddress};
use lightning::blinded_path::EmptyNodeIdLookUp;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::io;
use lightning::ln::msgs::{
    BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler,
};
use lightning::ln::peer_handler::{
    ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use lightning::onion_message::messenger::{Destination, OnionMessagePath, create_onion_message};
use lightning::onion_message::packet::{OnionMessageContents, Packet};
use lightning::sign::{KeysManager, ReceiveAuthKey};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::{Writeable, Writer};
use lightning_net_tokio::SocketDescriptor;
use tokio::sync::watch;

type Peers = PeerManager<
    SocketDescriptor,
    Arc<ErroringMessageHandler>,
    IgnoringMessageHandler,
    Arc<Spout>,
    Arc<Mute>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    IgnoringMessageHandler,
>;

/// The node.
pub(crate) struct Stranger {
    keys: Arc<KeysManager>,
    secp: Secp256k1<All>,
    spout: Arc<Spout>,
    peers: Arc<Peers>,
}

/// What comes next whenever the socket has room.
type Source = Box<dyn FnMut() -> Option<OnionMessage> + Send>;

struct Spout {
    source: Mutex<Source>,
    connected: watch::Sender<bool>,
}

impl Stranger {
    /// A node with this id that is connected to `to`.
    pub(crate) async fn connect(seed: u8, to: PeerAddress) -> Self {
        let keys = Arc::new(KeysManager::new(&[seed; 32], 0, 0, true));
        let spout = Arc::new(Spout {
            source: Mutex::new(Box::new(|| None)),
            connected: watch::Sender::new(false),
        });
        let handlers = MessageHandler {
            chan_handler: Arc::new(ErroringMessageHandler::new()),
            route_handler: IgnoringMessageHandler {},
            onion_message_handler: Arc::clone(&spout),
            custom_message_handler: IgnoringMessageHandler {},
            send_only_message_handler: IgnoringMessageHandler {},
        };
        let peers = PeerManager::new(handlers, 0, &[seed; 32], Arc::new(Mute), Arc::clone(&keys));
        let peers = Arc::new(peers);
        let stream = TcpStream::connect(to.address).unwrap();
        tokio::spawn(lightning_net_tokio::setup_outbound(
            Arc::clone(&peers),
            public_key(to.node_id),
            stream,
        ));
        let mut connected = spout.connected.subscribe();
        connected.wait_for(|connected| *connected).await.unwrap();
        Stranger {
            keys,
            secp: Secp256k1::new(),
            spout,
            peers,
        }
    }

    /// Sends these messages, in this order.
    pub(crate) fn send(&self, messages: Vec<OnionMessage>) {
        let mut messages = messages.into_iter();
        self.pour(move || messages.next());
    }

    /// Sends whatever `source` gives, as fast as the socket takes it.
    pub(crate) fn pour(&self, source: impl FnMut() -> Option<OnionMessage> + Send + 'static) {
        *self.spout.source.lock().unwrap() = Box::new(source);
        self.peers.process_events();
    }

    /// A message that nobody can open.
    pub(crate) fn garbage(&self) -> OnionMessage {
        let point = self.keys.get_node_secret_key().public_key(&self.secp);
        OnionMessage {
            blinding_point: point,
            onion_routing_packet: Packet {
                version: 0,
                public_key: point,
                hop_data: vec![0x5a; 32_768],
                hmac: [0; 32],
            },
        }
    }

    /// A message to `to` by way of `relays`, with a reply path of `reply_hops` nodes that
    /// begins at `to`, or none.
    pub(crate) fn message(
        &self,
        relays: &[NodeId],
        to: NodeId,
        tlv_type: u64,
        reply_hops: usize,
    ) -> OnionMessage {
        let us = self.keys.get_node_secret_key().public_key(&self.secp);
        let reply_path = (reply_hops > 0).then(|| {
            let hops = vec![to; reply_hops - 1];
            self.path(&hops, us)
        });
        self.build(
            relays,
            Destination::Node(public_key(to)),
            tlv_type,
            reply_path,
        )
    }

    /// A message along a blinded path that claims to be one of `to`'s own.
    pub(crate) fn forged(&self, relays: &[NodeId], to: NodeId, tlv_type: u64) -> OnionMessage {
        let path = self.path(&[], public_key(to));
        self.build(relays, Destination::BlindedPath(path), tlv_type, None)
    }

    fn path(&self, hops: &[NodeId], to: PublicKey) -> BlindedMessagePath {
        let hops: Vec<MessageForwardNode> = hops
            .iter()
            .map(|node| MessageForwardNode {
                node_id: public_key(*node),
                short_channel_id: None,
            })
            .collect();
        BlindedMessagePath::new(
            &hops,
            to,
            ReceiveAuthKey([7; 32]),
            MessageContext::Custom(vec![7; 32]),
            &*self.keys,
            &self.secp,
        )
    }

    fn build(
        &self,
        relays: &[NodeId],
        destination: Destination,
        tlv_type: u64,
        reply_path: Option<BlindedMessagePath>,
    ) -> OnionMessage {
        let path = OnionMessagePath {
            intermediate_nodes: relays.iter().copied().map(public_key).collect(),
            destination,
            first_node_addresses: Vec::new(),
        };
        let contents = Contents(tlv_type);
        let (keys, lookup) = (&self.keys, &EmptyNodeIdLookUp {});
        create_onion_message(keys, keys, lookup, &self.secp, path, contents, reply_path)
            .unwrap()
            .1
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.peers.disconnect_all_peers();
    }
}

fn public_key(node: NodeId) -> PublicKey {
    node.point()
}

/// Big contents of any type.
#[derive(Debug)]
struct Contents(u64);

impl Writeable for Contents {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&[0x5a; 10_000])
    }
}

impl OnionMessageContents for Contents {
    fn tlv_type(&self) -> u64 {
        self.0
    }

    fn msg_type(&self) -> &'static str {
        "Contents"
    }
}

struct Mute;

impl Logger for Mute {
    fn log(&self, _: Record<'_>) {}
}

impl OnionMessageHandler for Spout {
    fn handle_onion_message(&self, _: PublicKey, _: &OnionMessage) {}

    fn next_onion_message_for_peer(&self, _: PublicKey) -> Option<OnionMessage> {
        (self.source.lock().unwrap())()
    }

    fn timer_tick_occurred(&self) {}
}

impl BaseMessageHandler for Spout {
    fn peer_connected(&self, _: PublicKey, _: &Init, _: bool) -> Result<(), ()> {
        self.connected.send_replace(true);
        Ok(())
    }

    fn peer_disconnected(&self, _: PublicKey) {
        self.connected.send_replace(false);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        let mut features = InitFeatures::empty();
        features.set_onion_messages_optional();
        features
    }

    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        Vec::new()
    }
}

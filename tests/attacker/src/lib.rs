//! Who attacks Larder: a Lightning node that floods, below, and a storage node that [lies](larderd).
//!
//! The first sends without waiting for anything: LDK's own pieces, none of ours. It keeps to no window and looks at no answer. The next message leaves as soon as the socket
//! takes it, with LDK's ping after every 32 as the only pause. For tests: it panics when it cannot
//! connect.
#![expect(clippy::expect_used, reason = "a test panics when it is not so")]

pub mod larderd;

mod forge;
mod lie;

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use larder_onion::{NodeId, PeerAddress, REQUEST_TLV};
use lightning::blinded_path::EmptyNodeIdLookUp;
use lightning::blinded_path::message::{BlindedMessagePath, MessageContext, MessageForwardNode};
use lightning::io;
pub use lightning::ln::msgs::OnionMessage;
use lightning::ln::msgs::{BaseMessageHandler, Init, MessageSendEvent, OnionMessageHandler};
use lightning::ln::peer_handler::{
    ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager,
};
use lightning::onion_message::messenger::{Destination, OnionMessagePath, create_onion_message};
use lightning::onion_message::packet::{OnionMessageContents, Packet};
use lightning::sign::{EntropySource, KeysManager, ReceiveAuthKey};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::{Logger, Record};
use lightning::util::ser::{Writeable, Writer};
use lightning_net_tokio::SocketDescriptor;
use secp256k1::{All, PublicKey, Secp256k1};
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

/// What a blinded path is made of that passes one node only.
#[derive(Clone)]
pub struct BlindedPath {
    /// The secret behind its path key.
    pub secret: [u8; 32],
    /// What authenticates the data of its hops.
    pub auth_key: [u8; 32],
    /// What whoever opens a message gets with it.
    pub context: Vec<u8>,
    /// Hops before the last one that lead nowhere: the node has to open the message again.
    pub dummy_hops: usize,
}

/// LDK asks for randomness where a path takes its secret.
impl EntropySource for BlindedPath {
    fn get_secure_random_bytes(&self) -> [u8; 32] {
        self.secret
    }
}

/// What comes next whenever the socket has room.
type Source = Box<dyn FnMut() -> Option<OnionMessage> + Send>;

/// A node with one connection, to its victim or to a relay in front of it.
pub struct Attacker {
    keys: Arc<KeysManager>,
    secp: Secp256k1<All>,
    /// The relays between it and its victim: one or none.
    relays: Vec<NodeId>,
    victim: NodeId,
    spout: Arc<Spout>,
    peers: Arc<Peers>,
}

struct Spout {
    source: Mutex<Source>,
    connected: watch::Sender<bool>,
}

impl Attacker {
    /// The node with this number, connected to `victim`.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn connect(number: u8, victim: PeerAddress) -> Self {
        Self::start(number, victim, Vec::new(), victim.node_id).await
    }

    /// The node with this number, connected to a relay of `victim`.
    ///
    /// # Panics
    /// When nobody listens there.
    pub async fn connect_behind(number: u8, relay: PeerAddress, victim: NodeId) -> Self {
        Self::start(number, relay, vec![relay.node_id], victim).await
    }

    async fn start(
        number: u8,
        neighbour: PeerAddress,
        relays: Vec<NodeId>,
        victim: NodeId,
    ) -> Self {
        let seed = [number; 32];
        let keys = Arc::new(KeysManager::new(&seed, 0, 0, true));
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
        let peers = PeerManager::new(handlers, 0, &seed, Arc::new(Mute), Arc::clone(&keys));
        let peers = Arc::new(peers);
        let stream = TcpStream::connect(neighbour.address).expect("it listens");
        tokio::spawn(lightning_net_tokio::setup_outbound(
            Arc::clone(&peers),
            neighbour.node_id.point(),
            stream,
        ));
        let mut connected = spout.connected.subscribe();
        let up = connected.wait_for(|connected| *connected).await;
        up.expect("the spout lives");
        Attacker {
            keys,
            secp: Secp256k1::new(),
            relays,
            victim,
            spout,
            peers,
        }
    }

    /// The peer from which its messages reach the victim.
    #[must_use]
    pub fn last_hop(&self) -> NodeId {
        let last = self.relays.last().copied();
        last.unwrap_or_else(|| NodeId::from(self.node_id()))
    }

    /// Sends these messages, in this order.
    pub fn send(&self, messages: Vec<OnionMessage>) {
        let mut messages = messages.into_iter();
        self.pour(move || messages.next());
    }

    /// Sends what `source` gives, as fast as the socket takes it, until it gives nothing.
    ///
    /// # Panics
    /// When the source before has panicked.
    pub fn pour(&self, source: impl FnMut() -> Option<OnionMessage> + Send + 'static) {
        *self.spout.source.lock().expect("no panic") = Box::new(source);
        self.go_on();
    }

    /// Asks the source again that gave nothing.
    pub fn go_on(&self) {
        self.peers.process_events();
    }

    /// A message of the big class that nobody can open.
    #[must_use]
    pub fn garbage(&self) -> OnionMessage {
        let point = self.node_id();
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

    /// The same behind the path key of this path.
    #[must_use]
    pub fn garbage_behind(&self, path: &BlindedPath) -> OnionMessage {
        OnionMessage {
            blinding_point: self.blinded(path, self.victim).blinding_point(),
            ..self.garbage()
        }
    }

    /// A well-formed request to the victim with these contents, and a path for its answer.
    #[must_use]
    pub fn request(&self, contents: Vec<u8>) -> OnionMessage {
        self.request_by(&self.relays, contents)
    }

    /// The same as it is when its last relay hands it to the victim.
    #[must_use]
    pub fn arriving(&self, contents: Vec<u8>) -> OnionMessage {
        self.request_by(&[], contents)
    }

    fn request_by(&self, relays: &[NodeId], contents: Vec<u8>) -> OnionMessage {
        let contents = Contents {
            tlv_type: REQUEST_TLV,
            bytes: contents,
        };
        let back: Vec<NodeId> = [self.victim].iter().chain(&self.relays).copied().collect();
        let reply_path = self.path(&back, self.node_id());
        let destination = Destination::Node(self.victim.point());
        self.build(relays, destination, contents, Some(reply_path))
    }

    /// A message of the big class and of any type to `to` by way of `relays`, with a reply path of
    /// `reply_hops` nodes that begins at `to`, or none.
    #[must_use]
    pub fn message(
        &self,
        relays: &[NodeId],
        to: NodeId,
        tlv_type: u64,
        reply_hops: usize,
    ) -> OnionMessage {
        let reply_path = (reply_hops > 0).then(|| {
            let hops = vec![to; reply_hops - 1];
            self.path(&hops, self.node_id())
        });
        let destination = Destination::Node(to.point());
        self.build(relays, destination, Contents::any(tlv_type), reply_path)
    }

    /// A message along a blinded path that claims to be one of `to`'s own.
    #[must_use]
    pub fn forged(&self, relays: &[NodeId], to: NodeId, tlv_type: u64) -> OnionMessage {
        let path = self.path(&[], to.point());
        let destination = Destination::BlindedPath(path);
        self.build(relays, destination, Contents::any(tlv_type), None)
    }

    /// A message of the big class and of any type to `to` along such a path, with a reply path of two nodes.
    #[must_use]
    pub fn along(&self, path: &BlindedPath, to: NodeId, tlv_type: u64) -> OnionMessage {
        let destination = Destination::BlindedPath(self.blinded(path, to));
        let reply_path = self.path(&[to], self.node_id());
        self.build(&[], destination, Contents::any(tlv_type), Some(reply_path))
    }

    fn blinded(&self, path: &BlindedPath, to: NodeId) -> BlindedMessagePath {
        BlindedMessagePath::new_with_dummy_hops(
            &[],
            to.point(),
            path.dummy_hops,
            ReceiveAuthKey(path.auth_key),
            MessageContext::Custom(path.context.clone()),
            path,
            &self.secp,
        )
    }

    fn node_id(&self) -> PublicKey {
        self.keys.get_node_secret_key().public_key(&self.secp)
    }

    fn path(&self, hops: &[NodeId], to: PublicKey) -> BlindedMessagePath {
        let hop = |node: &NodeId| MessageForwardNode {
            node_id: node.point(),
            short_channel_id: None,
        };
        let hops: Vec<MessageForwardNode> = hops.iter().map(hop).collect();
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
        contents: Contents,
        reply_path: Option<BlindedMessagePath>,
    ) -> OnionMessage {
        let path = OnionMessagePath {
            intermediate_nodes: relays.iter().map(NodeId::point).collect(),
            destination,
            first_node_addresses: Vec::new(),
        };
        let (keys, lookup) = (&self.keys, &EmptyNodeIdLookUp {});
        create_onion_message(keys, keys, lookup, &self.secp, path, contents, reply_path)
            .expect("it fits")
            .1
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.peers.disconnect_all_peers();
    }
}

#[derive(Debug)]
struct Contents {
    tlv_type: u64,
    bytes: Vec<u8>,
}

impl Contents {
    fn any(tlv_type: u64) -> Self {
        let bytes = vec![0x5a; 10_000];
        Contents { tlv_type, bytes }
    }
}

impl Writeable for Contents {
    fn write<W: Writer>(&self, writer: &mut W) -> Result<(), io::Error> {
        writer.write_all(&self.bytes)
    }
}

impl OnionMessageContents for Contents {
    fn tlv_type(&self) -> u64 {
        self.tlv_type
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
        (self.source.lock().expect("no panic"))()
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

//! A stock LDK relay, as it runs beside an LSP: for demos, tests and benchmarks.
//!
//! It is what LDK gives everybody: `OnionMessenger` and `PeerManager` with nothing tuned, so
//! all of LDK's silent limits apply (256 KiB per next hop, 32 messages without a pong).
//! [`Faults`] sit in front of it and are none by default.

use std::net::SocketAddr;
use std::sync::Arc;

use lightning::blinded_path::EmptyNodeIdLookUp;
use lightning::ln::peer_handler::IgnoringMessageHandler;
use lightning::onion_message::messenger::{NullMessageRouter, OnionMessenger};
use lightning::sign::KeysManager;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::error::OnionError;
use crate::faults::{Errand, FaultCounts, Faults, FaultyRelay};
use crate::keys::Keys;
use crate::ldk::{self, Peers, Silent};
use crate::net::{self, Tasks};
use crate::peer_address::PeerAddress;
use crate::peer_host::PeerHost;
use larder_protocol::NodeId;

/// LDK's own messenger, with nobody behind it.
pub(crate) type StockMessenger = OnionMessenger<
    Arc<KeysManager>,
    Arc<KeysManager>,
    Arc<Silent>,
    EmptyNodeIdLookUp,
    Arc<NullMessageRouter>,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
    IgnoringMessageHandler,
>;

/// Where a relay listens and what is wrong with it.
#[derive(Clone, Copy)]
pub struct RelayConfig {
    /// Secret from which the node id is derived.
    pub seed: [u8; 32],
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// What goes wrong with messages.
    pub faults: Faults,
}

impl RelayConfig {
    /// A relay on a loopback port that the system chooses, without faults.
    #[must_use]
    pub fn loopback(seed: [u8; 32]) -> Self {
        RelayConfig {
            seed,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            faults: Faults::default(),
        }
    }
}

/// A running relay. Dropping it ends all connections.
pub struct Relay {
    address: PeerAddress,
    peers: Arc<Peers<FaultyRelay>>,
    handler: Arc<FaultyRelay>,
    tasks: Tasks,
}

impl Relay {
    /// Starts on the current Tokio runtime.
    ///
    /// # Errors
    /// [`OnionError::Listen`] when the socket cannot be opened.
    pub async fn start(config: RelayConfig) -> Result<Relay, OnionError> {
        let address = config.listen;
        let failed = |source| OnionError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;

        let keys = Keys::new(&config.seed);
        let stock = OnionMessenger::new(
            keys.manager(),
            keys.manager(),
            Arc::new(Silent),
            EmptyNodeIdLookUp {},
            Arc::new(NullMessageRouter {}),
            IgnoringMessageHandler {},
            IgnoringMessageHandler {},
            IgnoringMessageHandler {},
            IgnoringMessageHandler {},
        );
        let (errand, errands) = mpsc::unbounded_channel();
        let handler = Arc::new(FaultyRelay::new(stock, config.faults, errand));
        let peers = ldk::peers(keys.manager(), Arc::clone(&handler));

        let mut tasks = Tasks::default();
        tasks.spawn(net::accept(Arc::clone(&peers), listener));
        tasks.spawn(net::keep_time(Arc::clone(&peers)));
        tasks.spawn(run(errands, Arc::clone(&handler), Arc::clone(&peers)));
        Ok(Relay {
            address: PeerAddress {
                node_id: NodeId::from(keys.node_id()),
                address: local,
            },
            peers,
            handler,
            tasks,
        })
    }

    /// What others connect to.
    #[must_use]
    pub fn address(&self) -> PeerAddress {
        self.address
    }

    /// Stays connected to another relay.
    pub fn connect(&mut self, to: impl Into<PeerHost>) {
        let peers = Arc::clone(&self.peers);
        self.tasks.spawn(net::stay_connected(peers, to.into()));
    }

    /// Peers connected now, in no order.
    #[must_use]
    pub fn peers(&self) -> Vec<NodeId> {
        let peers = self.peers.list_peers();
        let ids = peers.into_iter().map(|peer| peer.counterparty_node_id);
        ids.map(NodeId::from).collect()
    }

    /// Waits until a peer is connected.
    pub async fn wait_for(&self, peer: NodeId) {
        let mut connected = self.handler.connected();
        // The sender lives in the handler we hold.
        let _ = connected
            .wait_for(|peers| peers.contains(&peer.point()))
            .await;
    }

    /// Onion messages that came from each peer since the start, in no order.
    #[must_use]
    pub fn received(&self) -> Vec<(NodeId, u64)> {
        self.handler.received()
    }

    /// What the faults have done since the start.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        self.handler.counts()
    }

    /// Ends all connections and frees the port.
    pub async fn shutdown(mut self) {
        // First whatever could still open a connection.
        std::mem::take(&mut self.tasks).end().await;
        self.peers.disconnect_all_peers();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks = Tasks::default();
        self.peers.disconnect_all_peers();
    }
}

/// Runs what must not happen on the thread that read the message.
async fn run(
    mut errands: mpsc::UnboundedReceiver<Errand>,
    handler: Arc<FaultyRelay>,
    peers: Arc<Peers<FaultyRelay>>,
) {
    while let Some(errand) = errands.recv().await {
        match errand {
            Errand::Disconnect(peer) => peers.disconnect_by_node_id(peer),
            Errand::ForwardLater {
                peer,
                message,
                delay,
            } => {
                let (handler, peers) = (Arc::clone(&handler), Arc::clone(&peers));
                tokio::spawn(async move {
                    sleep(delay).await;
                    handler.forward(peer, &message);
                    peers.process_events();
                });
            }
        }
    }
}

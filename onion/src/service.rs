//! The storage node's end: requests come in, each with the means to answer it.
//!
//! Promises: LDK's threads do no work for us; what waits is bounded per peer and in all, and
//! a peer that floods is served in its turn and no more; an answer is either queued for the
//! right peer or the caller is told why not.
//!
//! Delivery is *at least once*: a client that hears nothing asks again, with identical bytes
//! along another circuit. The handler sees the duplicate and has to answer it alike.

mod intake;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::intake::Tally;
pub use self::intake::{Incoming, Intake, MAX_REPLY_HOPS, Responder};
use crate::bucket::Rate;
use crate::endpoint::Endpoint;
use crate::error::OnionError;
use crate::keys::Keys;
use crate::mailroom::{MailroomLimits, Wanted};
use crate::net::{self, Tasks};
use crate::peer_address::PeerAddress;
use crate::peer_host::PeerHost;
use larder_protocol::NodeId;

/// The node id of a service with this seed, as [`Service::node_id`] will say.
#[must_use]
pub fn node_id(seed: &[u8; 32]) -> NodeId {
    NodeId::from(Keys::new(seed).node_id())
}

/// How a storage node is reached, and how much may wait.
pub struct ServiceConfig {
    /// Secret from which the node id is derived; the same seed gives the same id. Wiped when
    /// the configuration is dropped; LDK keeps a copy of its own while the service runs.
    pub seed: Zeroizing<[u8; 32]>,
    /// Where to listen, if anybody is to connect to us.
    pub listen: Option<SocketAddr>,
    /// Peers we stay connected to, usually the LSP beside us.
    pub connect_to: Vec<PeerHost>,
    /// Peers that may be connected to us at once. When they are as many, one that has said nothing makes room for
    /// another.
    pub max_inbound_peers: usize,
    /// Requests that may wait per peer, size class, and with a pass or without, in messages of up to
    /// 33 KB.
    pub inbox_per_peer: usize,
    /// Requests that may wait in all, one half with a pass and the other half without, each at least
    /// one.
    pub inbox_total: usize,
    /// Answers that may wait per peer, to requests with a pass and to those without.
    pub outbox_per_peer: usize,
    /// Answers that may wait in all, one half to requests with a pass and the other half to those
    /// without, each at least one.
    pub outbox_total: usize,
    /// How fast a peer takes answers. `None` for LDK, which takes what its link carries; other
    /// implementations drop silently what comes faster than their [`Rate`].
    pub pace: Option<Rate>,
}

impl ServiceConfig {
    /// The defaults: 256 peers, 64 messages each way per peer (of each kind) and 512
    /// (17 MB) in all, no pace, no listener, nobody to connect to.
    #[must_use]
    pub fn new(seed: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        ServiceConfig {
            seed: seed.into(),
            listen: None,
            connect_to: Vec::new(),
            max_inbound_peers: 256,
            inbox_per_peer: 64,
            inbox_total: 512,
            outbox_per_peer: 64,
            outbox_total: 512,
            pace: None,
        }
    }

    fn mailroom(&self) -> MailroomLimits {
        // Neither kind is ever left without room.
        let halves = |total: usize| [total / 2, total.div_ceil(2)].map(|half| half.max(1));
        let [inbox_with_pass, inbox_without_pass] = halves(self.inbox_total);
        let [outbox_with_pass, outbox_without_pass] = halves(self.outbox_total);
        MailroomLimits {
            inbound_peers: self.max_inbound_peers,
            inbox_per_peer: self.inbox_per_peer,
            inbox_with_pass,
            inbox_without_pass,
            outbox_per_peer: self.outbox_per_peer,
            outbox_with_pass,
            outbox_without_pass,
            pace: self.pace,
        }
    }
}

/// A storage node's presence on the network. Dropping it ends all connections.
pub struct Service {
    endpoint: Arc<Endpoint>,
    local_addr: Option<SocketAddr>,
    connect_to: usize,
    connected: watch::Receiver<usize>,
    tally: Arc<Tally>,
    tasks: Tasks,
}

/// Plain numbers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounters {
    /// Onion messages that arrived.
    pub arrived: u64,
    /// Arrived and dropped for want of room, before any work was done on them.
    pub dropped: u64,
    /// Of those that arrived, the ones that showed a pass.
    pub with_pass: u64,
    /// Of those that were dropped, the ones that showed a pass. More of them come than can be
    /// served, or somebody floods who has paid.
    pub with_pass_dropped: u64,
    /// Peeled and found to be no request: garbage, not for us, no reply path or one too long.
    pub rejected: u64,
    /// Requests handed to the intake.
    pub received: u64,
    /// Answers queued for a peer.
    pub answered: u64,
    /// Answers that could not be queued, or were lost in the queue with their peer.
    pub undelivered: u64,
    /// Messages waiting to be peeled now.
    pub waiting: u64,
}

impl Service {
    /// Starts on the current Tokio runtime, of whichever flavour.
    ///
    /// # Errors
    /// [`OnionError::Listen`] when the socket cannot be opened.
    pub async fn start(config: ServiceConfig) -> Result<(Service, Intake), OnionError> {
        let endpoint = Endpoint::new(Keys::new(&config.seed), config.mailroom());
        let mut tasks = Tasks::default();
        let mut local_addr = None;
        if let Some(address) = config.listen {
            let failed = |source| OnionError::Listen { address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            local_addr = Some(listener.local_addr().map_err(failed)?);
            let peers = Arc::clone(&endpoint.peers);
            tasks.spawn(net::accept(peers, listener));
        }
        for host in config.connect_to.iter().cloned() {
            tasks.spawn(net::stay_connected(Arc::clone(&endpoint.peers), host));
        }
        let (count, connected) = watch::channel(0);
        tasks.spawn(keep_count(
            endpoint.mailroom.connected(),
            config
                .connect_to
                .iter()
                .map(|to| to.node_id.point())
                .collect(),
            count,
        ));
        tasks.spawn(net::keep_time(Arc::clone(&endpoint.peers)));
        tasks.spawn(Arc::clone(&endpoint).keep_sending());
        tasks.spawn(Arc::clone(&endpoint).keep_room());
        if let Some(rate) = config.pace {
            tasks.spawn(keep_pace(Arc::clone(&endpoint), rate));
        }
        let tally = Arc::new(Tally::default());
        let intake = Intake {
            endpoint: Arc::clone(&endpoint),
            tally: Arc::clone(&tally),
            wanted: Wanted::All,
        };
        let service = Service {
            endpoint,
            local_addr,
            connect_to: config.connect_to.len(),
            connected,
            tally,
            tasks,
        };
        Ok((service, intake))
    }

    /// The node id that clients address.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from(self.endpoint.keys.node_id())
    }

    /// The socket we listen on, with the port the system chose.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    /// The address others connect to, if we listen.
    #[must_use]
    pub fn address(&self) -> Option<PeerAddress> {
        self.local_addr.map(|address| PeerAddress {
            node_id: self.node_id(),
            address,
        })
    }

    /// Peers connected now, in either direction.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.endpoint.mailroom.connected().borrow().len()
    }

    /// How many of `connect_to` are connected, for an operator to see. A change that is
    /// undone before anybody looks does not show; the end of the service closes the channel.
    #[must_use]
    pub fn watch_connected(&self) -> watch::Receiver<usize> {
        self.connected.clone()
    }

    /// Waits until every peer of `connect_to` is connected.
    pub async fn wait_connected(&self) {
        let mut connected = self.watch_connected();
        // The sender lives in a task we hold.
        let _ = connected.wait_for(|count| *count == self.connect_to).await;
    }

    /// Plain numbers since the start.
    #[must_use]
    pub fn counters(&self) -> ServiceCounters {
        let mail = self.endpoint.mailroom.count();
        ServiceCounters {
            arrived: mail.arrived,
            dropped: mail.dropped,
            with_pass: mail.with_pass,
            with_pass_dropped: mail.with_pass_dropped,
            rejected: self.tally.rejected.get(),
            received: self.tally.received.get(),
            answered: self.tally.answered.get(),
            undelivered: self.tally.undelivered.get() + mail.unsent,
            waiting: mail.waiting as u64,
        }
    }

    /// Takes a message as if it had just come in from `peer`, which is connected. For benchmarks:
    /// what carrying costs is not to hide what taking it in does.
    #[cfg(feature = "bench")]
    pub fn hand_over(&self, peer: NodeId, message: &crate::OnionMessage) {
        use lightning::ln::msgs::OnionMessageHandler;
        (self.endpoint.mailroom).handle_onion_message(peer.point(), message);
    }

    /// Hands out no request from now on: every [`Intake::recv`] ends. Answers still go out.
    pub fn stop_intake(&self) {
        self.endpoint.mailroom.close();
    }

    /// Stops the intake and waits, for at most this long, until every answer queued so far is
    /// on the wire. Returns whether it is.
    ///
    /// A graceful end is: stop the intake, answer what was received, drain, shut down.
    pub async fn drain(&self, at_most: Duration) -> bool {
        self.stop_intake();
        let mut unsent = self.endpoint.mailroom.unsent();
        let all_left = unsent.wait_for(|unsent| !unsent);
        timeout(at_most, all_left).await.is_ok()
    }

    /// Ends the intake and all connections at once. Answers not yet on the wire are lost,
    /// which costs their clients a retry: [`Service::drain`] first.
    pub async fn shutdown(mut self) {
        // First whatever could still open a connection.
        std::mem::take(&mut self.tasks).end().await;
        self.endpoint.close();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.tasks = Tasks::default();
        self.endpoint.close();
    }
}

/// Counts those of `wanted` that are connected.
async fn keep_count(
    mut connected: watch::Receiver<Vec<PublicKey>>,
    wanted: Vec<PublicKey>,
    count: watch::Sender<usize>,
) {
    loop {
        let peers = connected.borrow_and_update().clone();
        let up = wanted.iter().filter(|peer| peers.contains(peer)).count();
        count.send_if_modified(|before| std::mem::replace(before, up) != up);
        if connected.changed().await.is_err() {
            return;
        }
    }
}

/// Lets LDK look again whenever a paced peer may have room.
async fn keep_pace(endpoint: Arc<Endpoint>, rate: Rate) {
    let unsent = endpoint.mailroom.unsent();
    let period = Duration::from_secs_f64((1.0 / rate.per_second).clamp(0.001, 1.0));
    loop {
        tokio::time::sleep(period).await;
        if *unsent.borrow() {
            endpoint.peers.process_events();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_half_of_the_room_and_never_none() {
        let mut config = ServiceConfig::new([1; 32]);
        for (total, [with_pass, without_pass]) in [
            (0, [1, 1]),
            (1, [1, 1]),
            (2, [1, 1]),
            (3, [1, 2]),
            (512, [256, 256]),
        ] {
            (config.inbox_total, config.outbox_total) = (total, total);
            let limits = config.mailroom();
            assert_eq!(limits.inbox_with_pass, with_pass);
            assert_eq!(limits.inbox_without_pass, without_pass);
            assert_eq!(limits.outbox_with_pass, with_pass);
            assert_eq!(limits.outbox_without_pass, without_pass);
        }
    }
}

//! What can be wrong with a relay: it drops, duplicates, delays, disconnects, or takes no
//! more than so many messages a second.
//!
//! All decisions come from one seeded generator, in the order in which messages arrive, so
//! a run depends on its seed and on nothing else but the order of arrival.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    BaseMessageHandler, Init, MessageSendEvent, OnionMessage, OnionMessageHandler,
};
use lightning::types::features::{InitFeatures, NodeFeatures};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};

use crate::bucket::{Bucket, Rate};
use crate::lock;
use crate::relay::StockMessenger;
use larder_protocol::NodeId;

/// Peers a relay takes.
const MAX_PEERS: usize = 1_024;

/// What goes wrong with the messages a relay is to forward. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Share of messages that are dropped, from 0 to 1.
    pub drop: f64,
    /// Share of messages that are forwarded twice.
    pub duplicate: f64,
    /// Every message waits for a random time up to this.
    pub delay: Duration,
    /// After so many messages from a peer, its connection is closed.
    pub disconnect_every: Option<u64>,
    /// Messages of one peer that come faster than this are dropped.
    pub limit: Option<Rate>,
    /// Where the generator starts.
    pub seed: u64,
}

/// What a relay's faults have done since the start. A test of a fault shows nothing while
/// its count is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Messages that were dropped at random.
    pub dropped: u64,
    /// Messages that were dropped because their peer was over its limit.
    pub limited: u64,
    /// Messages that were forwarded twice.
    pub duplicated: u64,
    /// Messages, or their second copies, that were held back.
    pub delayed: u64,
    /// Connections that were closed.
    pub disconnected: u64,
}

/// Something to do away from the thread that reads the socket, which holds LDK's locks.
pub(crate) enum Errand {
    Disconnect(PublicKey),
    ForwardLater {
        peer: PublicKey,
        message: Box<OnionMessage>,
        delay: Duration,
    },
}

/// A stock messenger behind [`Faults`].
pub(crate) struct FaultyRelay {
    stock: StockMessenger,
    faults: Faults,
    errands: mpsc::UnboundedSender<Errand>,
    connected: watch::Sender<Vec<PublicKey>>,
    state: Mutex<State>,
}

struct State {
    rng: StdRng,
    received: HashMap<PublicKey, u64>,
    buckets: HashMap<PublicKey, Bucket>,
    counts: FaultCounts,
    started: Instant,
}

impl FaultyRelay {
    pub(crate) fn new(
        stock: StockMessenger,
        faults: Faults,
        errands: mpsc::UnboundedSender<Errand>,
    ) -> Self {
        FaultyRelay {
            stock,
            faults,
            errands,
            connected: watch::Sender::new(Vec::new()),
            state: Mutex::new(State {
                rng: StdRng::seed_from_u64(faults.seed),
                received: HashMap::new(),
                buckets: HashMap::new(),
                counts: FaultCounts::default(),
                started: Instant::now(),
            }),
        }
    }

    /// What a relay without faults does.
    pub(crate) fn forward(&self, peer: PublicKey, message: &OnionMessage) {
        self.stock.handle_onion_message(peer, message);
    }

    pub(crate) fn connected(&self) -> watch::Receiver<Vec<PublicKey>> {
        self.connected.subscribe()
    }

    pub(crate) fn received(&self) -> Vec<(NodeId, u64)> {
        let state = lock(&self.state);
        let received = state.received.iter();
        received
            .map(|(peer, count)| (NodeId::from(*peer), *count))
            .collect()
    }

    pub(crate) fn counts(&self) -> FaultCounts {
        lock(&self.state).counts
    }

    /// How often a message is to be forwarded, and after which delay each time.
    fn copies(&self, peer: PublicKey) -> Vec<Duration> {
        let mut state = lock(&self.state);
        let state = &mut *state;
        let received = state.received.entry(peer).or_default();
        *received += 1;
        if let Some(every) = self.faults.disconnect_every
            && received.is_multiple_of(every)
        {
            state.counts.disconnected += 1;
            // Nobody listens any more only when the relay is being shut down.
            let _ = self.errands.send(Errand::Disconnect(peer));
        }
        if let Some(rate) = self.faults.limit {
            let now = state.started.elapsed();
            let bucket = state.buckets.entry(peer);
            // Survives a reconnect, as LND's does.
            if !bucket.or_insert_with(|| Bucket::full(rate, now)).take(now) {
                state.counts.limited += 1;
                return Vec::new();
            }
        }
        // Every message draws the same number of times, whatever comes of it.
        let dropped = state.rng.random_bool(self.faults.drop);
        let twice = state.rng.random_bool(self.faults.duplicate);
        let delays = [(); 2].map(|()| self.faults.delay.mul_f64(state.rng.random()));
        let copies = match (dropped, twice) {
            (true, _) => &[],
            (false, true) => &delays[..],
            (false, false) => &delays[..1],
        };
        let delayed = copies.iter().filter(|delay| !delay.is_zero()).count();
        state.counts.dropped += u64::from(dropped);
        state.counts.duplicated += u64::from(copies.len() > 1);
        state.counts.delayed += delayed as u64;
        copies.to_vec()
    }
}

impl OnionMessageHandler for FaultyRelay {
    fn handle_onion_message(&self, peer: PublicKey, message: &OnionMessage) {
        for delay in self.copies(peer) {
            if delay.is_zero() {
                self.forward(peer, message);
            } else {
                let message = Box::new(message.clone());
                let _ = self.errands.send(Errand::ForwardLater {
                    peer,
                    message,
                    delay,
                });
            }
        }
    }

    fn next_onion_message_for_peer(&self, peer: PublicKey) -> Option<OnionMessage> {
        self.stock.next_onion_message_for_peer(peer)
    }

    fn timer_tick_occurred(&self) {
        self.stock.timer_tick_occurred();
    }
}

impl BaseMessageHandler for FaultyRelay {
    fn peer_connected(&self, peer: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        if self.connected.borrow().len() >= MAX_PEERS {
            return Err(());
        }
        self.stock.peer_connected(peer, init, inbound)?;
        self.connected.send_modify(|peers| peers.push(peer));
        Ok(())
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.stock.peer_disconnected(peer);
        self.connected
            .send_modify(|peers| peers.retain(|other| *other != peer));
    }

    fn provided_node_features(&self) -> NodeFeatures {
        self.stock.provided_node_features()
    }

    fn provided_init_features(&self, peer: PublicKey) -> InitFeatures {
        self.stock.provided_init_features(peer)
    }

    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        self.stock.get_and_clear_pending_msg_events()
    }
}

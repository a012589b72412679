//! Where LDK's threads and ours meet: inboxes and outboxes per connected peer.
//!
//! LDK calls [`OnionMessageHandler::handle_onion_message`] on the thread that reads the
//! socket, and drops silently whatever does not fit its own queues. So nothing is done in
//! there but a look at the path key, which tells a message with a pass from others, and a copy into
//! an inbox, and not even that copy when the inbox is full; peeling is done by whoever calls
//! [`Mailroom::next`]. The other way, [`Mailroom::post`] says at once whether a message was
//! queued, and LDK fetches it from there when the socket has room.
//!
//! Memory is bounded by [`MailroomLimits`] whatever peers do. Decision and figures:
//! `docs/decisions/0001-own-onion-handler.md`.

mod arrivals;
mod inbound;
mod inboxes;
mod outboxes;

use std::sync::Mutex;
use std::time::Instant;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::OnionMessageHandler;
use lightning::ln::msgs::{BaseMessageHandler, Init, MessageSendEvent, OnionMessage};
use lightning::types::features::{InitFeatures, NodeFeatures};
use tokio::sync::{Notify, watch};

use self::arrivals::Arrivals;
use self::inbound::Inbound;
use self::inboxes::Inboxes;
pub(crate) use self::inboxes::{Mail, Wanted};
pub(crate) use self::outboxes::Answers;
use self::outboxes::Outboxes;
use crate::bucket::{Bucket, Rate};
use crate::fair::Refused;
use crate::lock;
use crate::pass::Honoured;

/// How much may wait, in messages. A big message takes 33 KB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MailroomLimits {
    /// Peers that may connect to us; those we connect to come on top.
    pub(crate) inbound_peers: usize,
    /// Waiting to be peeled, from one peer, of one size class, and with a pass or without.
    pub(crate) inbox_per_peer: usize,
    /// Waiting to be peeled, from all peers, with a pass,
    pub(crate) inbox_with_pass: usize,
    /// and without.
    pub(crate) inbox_without_pass: usize,
    /// Waiting to be sent, to one peer, and as answers to requests with a pass or not.
    pub(crate) outbox_per_peer: usize,
    /// Waiting to be sent, to all peers, as answers to requests with a pass,
    pub(crate) outbox_with_pass: usize,
    /// and all else.
    pub(crate) outbox_without_pass: usize,
    /// How fast each peer takes messages, when it is known to drop faster ones.
    pub(crate) pace: Option<Rate>,
}

/// The inboxes and outboxes of an endpoint.
pub(crate) struct Mailroom {
    limits: MailroomLimits,
    state: Mutex<State>,
    arrivals: Arrivals,
    connected: watch::Sender<Vec<PublicKey>>,
    /// Something was posted and is not on the wire yet.
    unsent: watch::Sender<bool>,
    /// Somebody has to make room.
    made_room: Notify,
}

struct State {
    inboxes: Inboxes,
    outboxes: Outboxes,
    /// Peers for whom LDK fetched a message, which it may not have written to the socket yet.
    leaving: Vec<PublicKey>,
    paces: Vec<(PublicKey, Bucket)>,
    inbound: Inbound,
    /// Those whose connections are to be ended.
    unwanted: Vec<PublicKey>,
    closed: bool,
    count: MailCount,
    started: Instant,
}

/// What went through a mailroom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MailCount {
    /// Messages that arrived.
    pub(crate) arrived: u64,
    /// Arrived, and dropped for want of room.
    pub(crate) dropped: u64,
    /// Of those that arrived, the ones that showed a pass.
    pub(crate) with_pass: u64,
    /// Of those that were dropped, the ones that showed a pass.
    pub(crate) with_pass_dropped: u64,
    /// Queued for sending, and dropped because the peer went or others needed the room.
    pub(crate) unsent: u64,
    /// Waiting to be peeled now.
    pub(crate) waiting: usize,
}

impl Mailroom {
    pub(crate) fn new(limits: MailroomLimits) -> Self {
        Mailroom {
            limits,
            state: Mutex::new(State {
                inboxes: Inboxes::new(
                    limits.inbox_per_peer,
                    limits.inbox_with_pass,
                    limits.inbox_without_pass,
                ),
                outboxes: Outboxes::new(
                    limits.outbox_per_peer,
                    limits.outbox_with_pass,
                    limits.outbox_without_pass,
                ),
                leaving: Vec::new(),
                paces: Vec::new(),
                inbound: Inbound::default(),
                unwanted: Vec::new(),
                closed: false,
                count: MailCount::default(),
                started: Instant::now(),
            }),
            arrivals: Arrivals::default(),
            connected: watch::Sender::new(Vec::new()),
            unsent: watch::Sender::new(false),
            made_room: Notify::new(),
        }
    }

    /// Waits for a message from whichever peer's turn it is. `None` once closed.
    pub(crate) fn next(&self, wanted: Wanted) -> Option<Mail> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(mail) = state.inboxes.pop(wanted) {
                return Some(mail);
            }
            state = self.arrivals.wait(wanted, state);
        }
    }

    /// Tells messages that show one of these passes from others, from now on, and no longer those
    /// of other passes.
    pub(crate) fn honour(&self, passes: Vec<Honoured>) {
        lock(&self.state).inboxes.honour(passes);
    }

    /// Queues a message for a peer. Somebody has to make LDK look (`process_events`).
    pub(crate) fn post(
        &self,
        peer: &PublicKey,
        message: OnionMessage,
        answers: Answers,
    ) -> Result<(), Refused> {
        let mut state = lock(&self.state);
        let displaced = state.outboxes.push(peer, message, answers)?;
        state.count.unsent += displaced as u64;
        self.tell_unsent(&state);
        Ok(())
    }

    /// Ends every [`Mailroom::next`], now and later.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrivals.tell_all();
    }

    /// Waits for a peer that has to make room for another: its connection is to be ended, which LDK must not be
    /// asked for while it tells of the other.
    pub(crate) async fn unwanted(&self) -> PublicKey {
        loop {
            let made_room = self.made_room.notified();
            let unwanted = lock(&self.state).unwanted.pop();
            match unwanted {
                Some(peer) => return peer,
                None => made_room.await,
            }
        }
    }

    /// The peers that are connected, as they come and go.
    pub(crate) fn connected(&self) -> watch::Receiver<Vec<PublicKey>> {
        self.connected.subscribe()
    }

    /// Whether something was posted that is not on the wire yet, as it changes.
    pub(crate) fn unsent(&self) -> watch::Receiver<bool> {
        self.unsent.subscribe()
    }

    pub(crate) fn count(&self) -> MailCount {
        let state = lock(&self.state);
        MailCount {
            waiting: state.inboxes.waiting(),
            ..state.count
        }
    }

    fn tell_connected(&self, state: &State) {
        self.connected
            .send_replace(state.outboxes.peers().copied().collect());
    }

    fn tell_unsent(&self, state: &State) {
        let now = state.outboxes.waiting() > 0 || !state.leaving.is_empty();
        let changes = |before: &mut bool| std::mem::replace(before, now) != now;
        self.unsent.send_if_modified(changes);
    }
}

impl State {
    /// The next message for a peer, if its pace allows one.
    fn fetch(&mut self, peer: &PublicKey) -> Option<OnionMessage> {
        let now = self.started.elapsed();
        let bucket = self.paces.iter_mut().find(|(of, _)| of == peer);
        let Some((_, bucket)) = bucket else {
            return self.outboxes.pop(peer);
        };
        if !bucket.has(now) {
            return None;
        }
        let message = self.outboxes.pop(peer)?;
        bucket.take(now);
        Some(message)
    }
}

impl OnionMessageHandler for Mailroom {
    fn handle_onion_message(&self, peer: PublicKey, message: &OnionMessage) {
        let mut state = lock(&self.state);
        let now = state.started.elapsed();
        state.inbound.spoke(peer, now);
        let pass = state.inboxes.pass_of(message);
        let pushed = state.inboxes.push(peer, message, pass);
        let dropped = pushed.map_or(1, |displaced| displaced as u64);
        state.count.arrived += 1;
        state.count.dropped += dropped;
        if pass.is_some() {
            state.count.with_pass += 1;
            state.count.with_pass_dropped += dropped;
        }
        drop(state);
        if pushed.is_ok() {
            self.arrivals.tell(pass.is_some());
        }
    }

    fn next_onion_message_for_peer(&self, peer: PublicKey) -> Option<OnionMessage> {
        let mut state = lock(&self.state);
        // LDK asks when it has written all that it had for this peer.
        state.leaving.retain(|other| *other != peer);
        let message = state.fetch(&peer);
        if message.is_some() {
            state.leaving.push(peer);
        }
        self.tell_unsent(&state);
        message
    }

    fn timer_tick_occurred(&self) {}
}

impl BaseMessageHandler for Mailroom {
    fn peer_connected(&self, peer: PublicKey, init: &Init, inbound: bool) -> Result<(), ()> {
        if !init.features.supports_onion_messages() {
            return Err(());
        }
        let mut state = lock(&self.state);
        if inbound {
            let now = state.started.elapsed();
            let places = self.limits.inbound_peers;
            if let Some(unwanted) = state.inbound.admit(peer, places, now)? {
                state.unwanted.push(unwanted);
                self.made_room.notify_one();
            }
        }
        state.inboxes.open(peer);
        state.outboxes.open(peer);
        if let Some(rate) = self.limits.pace {
            let now = state.started.elapsed();
            state.paces.push((peer, Bucket::full(rate, now)));
        }
        self.tell_connected(&state);
        Ok(())
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        let mut state = lock(&self.state);
        state.inbound.remove(peer);
        state.unwanted.retain(|other| *other != peer);
        state.paces.retain(|(other, _)| *other != peer);
        state.leaving.retain(|other| *other != peer);
        let [with_pass, without_pass] = state.inboxes.close(peer);
        let unsent = state.outboxes.close(&peer);
        state.count.dropped += (with_pass + without_pass) as u64;
        state.count.with_pass_dropped += with_pass as u64;
        state.count.unsent += unsent as u64;
        self.tell_connected(&state);
        self.tell_unsent(&state);
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _: PublicKey) -> InitFeatures {
        crate::ldk::features()
    }

    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests;

//! One node id on the network: its keys, its mailroom, its connections.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::OnionMessage;

use crate::fair::Refused;
use crate::keys::Keys;
use crate::ldk::{self, Peers};
use crate::mailroom::{Answers, Mailroom, MailroomLimits};

/// An end of circuits. It sends and receives; it forwards for nobody.
pub(crate) struct Endpoint {
    pub(crate) keys: Keys,
    pub(crate) mailroom: Arc<Mailroom>,
    pub(crate) peers: Arc<Peers<Mailroom>>,
}

impl Endpoint {
    pub(crate) fn new(keys: Keys, limits: MailroomLimits) -> Arc<Self> {
        let mailroom = Arc::new(Mailroom::new(limits));
        let peers = ldk::peers(keys.manager(), Arc::clone(&mailroom));
        Arc::new(Endpoint {
            keys,
            mailroom,
            peers,
        })
    }

    /// Queues a message for a connected peer and has it sent as soon as the socket takes it.
    pub(crate) fn send(
        &self,
        peer: &PublicKey,
        message: OnionMessage,
        answers: Answers,
    ) -> Result<(), Refused> {
        self.mailroom.post(peer, message, answers)?;
        // Nothing else wakes LDK: without this a message may wait for the next tick.
        self.peers.process_events();
        Ok(())
    }

    /// Ends all connections and every wait for a message.
    pub(crate) fn close(&self) {
        self.mailroom.close();
        self.peers.disconnect_all_peers();
    }
}

//! What waits to be sent: answers to requests with a pass, and apart from them everything else.
//!
//! Promises: neither kind takes room from the other, so no flood of requests without a pass keeps an
//! answer out to one with a pass, or displaces it. These leave first, but of what leaves for a peer while
//! both wait, an eighth is of the other kind.

use std::collections::HashMap;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::OnionMessage;

use crate::fair::{FairQueues, Refused};

/// What a message answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// A request that showed a known pass.
    WithPass,
    /// A request that showed none, or nothing: it is a request itself.
    WithoutPass,
}

/// So many messages of the first kind leave before it is the turn of the other.
const IN_A_ROW: u8 = 7;

pub(super) struct Outboxes {
    with_pass: FairQueues<PublicKey, OnionMessage>,
    without_pass: FairQueues<PublicKey, OnionMessage>,
    /// By peer, how many of the first kind have left since the last turn of the other.
    in_a_row: HashMap<PublicKey, u8>,
}

impl Outboxes {
    /// At most `per_peer` messages of one kind and peer, and so many of each kind.
    pub(super) fn new(per_peer: usize, with_pass: usize, without_pass: usize) -> Self {
        Outboxes {
            with_pass: FairQueues::new(per_peer, with_pass),
            without_pass: FairQueues::new(per_peer, without_pass),
            in_a_row: HashMap::new(),
        }
    }

    /// Peers to whom something can be sent.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PublicKey> {
        self.in_a_row.keys()
    }

    /// Begins to accept messages for a peer.
    pub(super) fn open(&mut self, peer: PublicKey) {
        self.with_pass.open(peer);
        self.without_pass.open(peer);
        self.in_a_row.insert(peer, 0);
    }

    /// Forgets a peer; returns how many messages were lost with it.
    pub(super) fn close(&mut self, peer: &PublicKey) -> usize {
        self.in_a_row.remove(peer);
        self.with_pass.close(peer) + self.without_pass.close(peer)
    }

    /// Queues a message; returns how many for another peer it displaced.
    pub(super) fn push(
        &mut self,
        peer: &PublicKey,
        message: OnionMessage,
        answers: Answers,
    ) -> Result<usize, Refused> {
        match answers {
            Answers::WithPass => self.with_pass.push(peer, message),
            Answers::WithoutPass => self.without_pass.push(peer, message),
        }
    }

    /// Takes the next message for a peer.
    pub(super) fn pop(&mut self, peer: &PublicKey) -> Option<OnionMessage> {
        let in_a_row = self.in_a_row.get_mut(peer)?;
        if *in_a_row < IN_A_ROW
            && let Some(message) = self.with_pass.pop(peer)
        {
            *in_a_row += 1;
            return Some(message);
        }
        *in_a_row = 0;
        let other = self.without_pass.pop(peer);
        other.or_else(|| self.with_pass.pop(peer))
    }

    /// Messages waiting, of both kinds.
    pub(super) fn waiting(&self) -> usize {
        self.with_pass.waiting() + self.without_pass.waiting()
    }
}

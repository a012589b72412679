//! One node id on the network: its keys, its mailroom, its connections.

use std::sync::Arc;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::OnionMessage;
use tokio::sync::Notify;

use crate::fair::Refused;
use crate::keys::Keys;
use crate::ldk::{self, Peers};
use crate::mailroom::{Answers, Mailroom, MailroomLimits};

/// An end of circuits. It sends and receives; it forwards for nobody. Whoever makes one lets
/// [`Endpoint::keep_sending`] run for as long.
pub(crate) struct Endpoint {
    pub(crate) keys: Keys,
    pub(crate) mailroom: Arc<Mailroom>,
    pub(crate) peers: Arc<Peers<Mailroom>>,
    /// Something was queued that LDK has not been told of.
    queued: Notify,
}

impl Endpoint {
    pub(crate) fn new(keys: Keys, limits: MailroomLimits) -> Arc<Self> {
        let mailroom = Arc::new(Mailroom::new(limits));
        let peers = ldk::peers(keys.manager(), Arc::clone(&mailroom));
        Arc::new(Endpoint {
            keys,
            mailroom,
            peers,
            queued: Notify::new(),
        })
    }

    /// Queues a message for a connected peer, to be sent as soon as the socket takes it. Nothing of LDK
    /// is called on this thread.
    pub(crate) fn send(
        &self,
        peer: &PublicKey,
        message: OnionMessage,
        answers: Answers,
    ) -> Result<(), Refused> {
        self.mailroom.post(peer, message, answers)?;
        self.queued.notify_one();
        Ok(())
    }

    /// Makes LDK look at once at what was queued, which it does by itself at its next tick only. Never
    /// ends.
    ///
    /// LDK lets one thread at a time look, and that one seals messages under the lock of their peer. Those
    /// who send may run at a low priority; put aside in there, they would hold up whatever others
    /// send, and the socket.
    pub(crate) async fn keep_sending(self: Arc<Self>) {
        loop {
            self.queued.notified().await;
            self.peers.process_events();
        }
    }

    /// Ends the connections of those who make room for others. Never ends.
    pub(crate) async fn keep_room(self: Arc<Self>) {
        loop {
            let peer = self.mailroom.unwanted().await;
            self.peers.disconnect_by_node_id(peer);
        }
    }

    /// Ends all connections and every wait for a message.
    pub(crate) fn close(&self) {
        self.mailroom.close();
        self.peers.disconnect_all_peers();
    }
}

#[cfg(test)]
mod tests {
    use larder_protocol::{NodeId, REQUEST_TLV};
    use lightning::ln::msgs::OnionMessageHandler;
    use lightning::onion_message::messenger::Destination;
    use tokio::net::TcpListener;

    use super::*;
    use crate::mailroom::Wanted;
    use crate::net::{self, Tasks};
    use crate::parcel::Parcel;
    use crate::peer_address::PeerAddress;

    const LIMITS: MailroomLimits = MailroomLimits {
        inbound_peers: 1,
        inbox_per_peer: 1,
        inbox_with_pass: 1,
        inbox_without_pass: 1,
        outbox_per_peer: 1,
        outbox_with_pass: 1,
        outbox_without_pass: 1,
        pace: None,
    };

    #[tokio::test]
    async fn what_is_sent_is_handed_to_ldk_by_the_task_and_not_by_whoever_sends_it() {
        let [ours, theirs] = [1, 2].map(|seed| Endpoint::new(Keys::new(&[seed; 32]), LIMITS));
        let peer = theirs.keys.node_id();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = PeerAddress {
            node_id: NodeId::from(peer),
            address: listener.local_addr().unwrap(),
        };
        let mut tasks = Tasks::default();
        tasks.spawn(net::accept(Arc::clone(&theirs.peers), listener));
        let peers = Arc::clone(&ours.peers);
        tasks.spawn(async move {
            // How it ends is of no interest here.
            let _ = net::connect(peers, &address.into()).await;
        });
        for end in [&ours, &theirs] {
            let mut connected = end.mailroom.connected();
            connected.wait_for(|peers| peers.len() == 1).await.unwrap();
        }
        let send = || {
            let parcel = Parcel {
                tlv_type: REQUEST_TLV,
                bytes: Vec::new(),
            };
            let built = ours
                .keys
                .build(Vec::new(), Destination::Node(peer), parcel, None);
            ours.send(&peer, built.unwrap().1, Answers::WithoutPass)
        };

        send().unwrap();
        assert_eq!(send(), Err(Refused::Full), "LDK has not taken it");
        assert!(ours.mailroom.next_onion_message_for_peer(peer).is_some());

        // What was sent before the task looks is not forgotten.
        send().unwrap();
        tasks.spawn(Arc::clone(&ours).keep_sending());
        let mailroom = Arc::clone(&theirs.mailroom);
        let arrived = tokio::task::spawn_blocking(move || mailroom.next(Wanted::All).is_some());
        assert!(arrived.await.unwrap());
        tasks.end().await;
    }
}

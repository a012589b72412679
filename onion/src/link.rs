//! One connection to a first hop, again and again, under a new name every time.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use tokio::time::sleep;

use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::keys::Keys;
use crate::mailroom::{MailroomLimits, Wanted};
use crate::net::{self, Tasks};
use crate::peer_host::PeerHost;
use crate::trouble::Trouble;
use larder_protocol::REPLY_TLV;

/// A first hop that is there has long answered by then.
pub(crate) const SLOW: Duration = Duration::from_secs(2);

/// Keeps link number `index` of the desk connected to `first_hop`.
///
/// Every connection has a node id of its own: the relay cannot tell that two are ours, and
/// need not have noticed the end of the last one before it accepts the next.
pub(crate) async fn keep(desk: Arc<Desk>, index: usize, first_hop: PeerHost, inbox: usize) {
    let limits = MailroomLimits {
        inbound_peers: 0,
        inbox_per_peer: inbox,
        // Replies come along paths of ours, and what goes out are requests.
        inbox_with_pass: 0,
        inbox_without_pass: inbox,
        outbox_per_peer: inbox,
        outbox_with_pass: 0,
        outbox_without_pass: inbox,
        pace: None,
    };
    net::persist(|| async {
        let endpoint = Open(Endpoint::new(Keys::random(), limits));
        connect(&desk, index, &first_hop, &endpoint.0).await;
    })
    .await;
}

/// Connects and stays until the connection ends, if it comes about.
async fn connect(desk: &Arc<Desk>, index: usize, first_hop: &PeerHost, endpoint: &Arc<Endpoint>) {
    // LDK's time also ends a handshake that the other side does not finish.
    let mut tasks = Tasks::default();
    tasks.spawn(net::keep_time(Arc::clone(&endpoint.peers)));
    tasks.spawn(Arc::clone(endpoint).keep_sending());
    let connection = net::connect(Arc::clone(&endpoint.peers), first_hop);
    tokio::pin!(connection);
    let mut connected = endpoint.mailroom.connected();
    let there = |peers: &Vec<PublicKey>| peers.contains(&first_hop.node_id.point());
    let slow = async {
        sleep(SLOW).await;
        desk.link_fails(index, Trouble::Silent);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = &mut connection => {
            desk.link_fails(index, ended.err().unwrap_or(Trouble::TurnedAway));
            return;
        }
        _ = connected.wait_for(there) => {}
        () = slow => {}
    }
    if peel_on_a_thread(Arc::clone(desk), Arc::clone(endpoint)).is_err() {
        return;
    }
    let _up = Up::new(desk, index, endpoint);
    // It came about.
    let _ = connection.await;
}

/// Peels what arrives until the mailroom is closed, away from threads that read sockets or
/// run tasks.
fn peel_on_a_thread(desk: Arc<Desk>, endpoint: Arc<Endpoint>) -> std::io::Result<()> {
    let work = move || {
        while let Some(mail) = endpoint.mailroom.next(Wanted::All) {
            match endpoint.keys.peel(&mail.message, None) {
                Some(peeled) if peeled.parcel.tlv_type == REPLY_TLV => {
                    desk.deliver(peeled.context, peeled.parcel.bytes);
                }
                _ => desk.unmatched.add(),
            }
        }
    };
    std::thread::Builder::new()
        .name("larder-circuit".to_owned())
        .spawn(work)
        .map(drop)
}

/// A link that is up for as long as this lives, also when the task is aborted.
struct Up<'a> {
    desk: &'a Desk,
    index: usize,
}

impl<'a> Up<'a> {
    fn new(desk: &'a Desk, index: usize, endpoint: &Arc<Endpoint>) -> Self {
        desk.link_up(index, Arc::clone(endpoint));
        Up { desk, index }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.desk.link_down(self.index);
    }
}

/// An endpoint that is closed with its connection, also when the task is aborted.
struct Open(Arc<Endpoint>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

//! Connections that came in and are no peer's yet: whoever says nothing keeps nobody out.
//!
//! LDK gives a handshake up at its second tick, up to twenty seconds later. So those that wait have places of their
//! own, apart from those of peers, and a newcomer always gets one: if need be that of the connection
//! which has waited longest, of the network that has most of them. A real peer needs its place for as long as a
//! handshake takes, two or three times there and back.
//!
//! A network is an IPv4 address, or the 56 bits of an IPv6 address that one customer is given as a rule: who has those
//! has as many addresses as there are places, and each of them only once.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use lightning::ln::msgs::SocketAddress;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Connections that may wait at once.
pub(crate) const PLACES: usize = 128;

/// For how long one may wait. Along a slow way (Tor) a handshake takes some seconds.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Bits of an IPv6 address that name a network.
const PREFIX: u32 = 56;

/// Connections that are no peer's yet, in the order in which they came.
#[derive(Default)]
pub(crate) struct Handshakes(Vec<Handshake>);

/// One of them.
struct Handshake {
    remote: SocketAddr,
    /// The same connection once more, in order to end it.
    stream: Arc<TcpStream>,
    /// Done when it has ended.
    connection: JoinHandle<()>,
    since: Instant,
}

impl Handshakes {
    /// Takes one more, after making room for it, and runs it. `stream` is the same connection once more.
    pub(crate) fn add(
        &mut self,
        remote: SocketAddr,
        stream: TcpStream,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        if self.0.len() >= PLACES
            && let Some(given_up) = self.to_give_up()
        {
            self.0.remove(given_up).end();
        }
        let stream = Arc::new(stream);
        let again = Arc::downgrade(&stream);
        let connection = tokio::spawn(async move {
            connection.await;
            // LDK has let go of it; while we have it, too, that does not end it.
            if let Some(stream) = again.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
        self.0.push(Handshake {
            remote,
            stream,
            connection,
            since: Instant::now(),
        });
    }

    /// Lets go of those that are peers by now, or gone, and ends those that have waited for too long.
    pub(crate) fn settle(&mut self, peers: impl IntoIterator<Item = SocketAddress>) {
        if self.0.is_empty() {
            return;
        }
        let peers: Vec<SocketAddress> = peers.into_iter().collect();
        self.0.retain(|waiting| {
            let is_peer = peers.contains(&SocketAddress::from(waiting.remote));
            !is_peer && !waiting.connection.is_finished()
        });
        let overdue = (self.0.iter()).take_while(|waiting| waiting.since.elapsed() >= DEADLINE);
        let overdue = overdue.count();
        self.0.drain(..overdue).for_each(Handshake::end);
    }

    /// When the first has waited for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.first().map(|first| first.since + DEADLINE)
    }

    /// Which one makes room.
    fn to_give_up(&self) -> Option<usize> {
        let networks = self.0.iter().map(|waiting| network(waiting.remote.ip()));
        longest_of_the_most_crowded(&networks.collect::<Vec<_>>())
    }
}

/// Which of those that wait, in the order in which they came, has waited longest of the network that has most of them.
fn longest_of_the_most_crowded(networks: &[IpAddr]) -> Option<usize> {
    let mut waiting: HashMap<IpAddr, usize> = HashMap::new();
    for network in networks {
        *waiting.entry(*network).or_default() += 1;
    }
    let most = waiting.values().max().copied()?;
    networks
        .iter()
        .position(|network| waiting.get(network) == Some(&most))
}

/// What all addresses that one customer may have at once have in common.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() >> (128 - PREFIX) << (128 - PREFIX);
            Ipv6Addr::from_bits(prefix).into()
        }
        address => address,
    }
}

impl Handshake {
    fn end(self) {
        // LDK reads the end of it. One that has ended already need not be.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::ErrorKind;

    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// A connection from another address of this machine.
    struct Far {
        far: tokio::net::TcpStream,
        /// Our end, which is LDK's.
        _near: TcpStream,
    }

    /// Connects from this address, and waits behind the door.
    async fn knock(address: [u8; 4], listener: &TcpListener, waiting: &mut Handshakes) -> Far {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        let far = socket.connect(listener.local_addr().unwrap());
        let (far, near) = tokio::join!(far, listener.accept());
        let (near, remote) = near.unwrap();
        let near = near.into_std().unwrap();
        waiting.add(remote, near.try_clone().unwrap(), pending());
        Far {
            far: far.unwrap(),
            _near: near,
        }
    }

    fn is_open(far: &Far) -> bool {
        let read = far.far.try_read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Waits until our end has ended it.
    async fn ended(far: &Far) {
        loop {
            far.far.readable().await.unwrap();
            match far.far.try_read(&mut [0]) {
                Ok(read) => return assert_eq!(read, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    const CROWD: [u8; 4] = [127, 0, 0, 1];
    const ALONE: [u8; 4] = [127, 0, 0, 2];

    #[tokio::test]
    async fn a_newcomer_takes_the_place_of_whoever_waits_longest_at_the_most_crowded_address() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut waiting = Handshakes::default();
        let alone = knock(ALONE, &listener, &mut waiting).await;
        let mut crowd = Vec::new();
        for _ in 1..PLACES {
            crowd.push(knock(CROWD, &listener, &mut waiting).await);
        }
        assert!(crowd.iter().all(is_open));
        for newcomer in [CROWD, CROWD, ALONE] {
            crowd.push(knock(newcomer, &listener, &mut waiting).await);
            assert_eq!(waiting.0.len(), PLACES);
        }
        for far in &crowd[..3] {
            ended(far).await;
        }
        assert!(is_open(&alone) && crowd[3..].iter().all(is_open));
    }

    #[test]
    fn whoever_has_a_whole_network_is_one_crowd_and_puts_no_other_out() {
        let peer = "2001:db8:2::7";
        // Each address only once, of 128 networks of 64 bits.
        let crowd = (1..PLACES).map(|number| format!("2001:db8:1:aa{number:02x}::{number:x}"));
        let addresses = [peer.to_owned()].into_iter().chain(crowd);
        let networks: Vec<IpAddr> = addresses
            .map(|address| network(address.parse().unwrap()))
            .collect();
        assert_eq!(networks.len(), PLACES);
        assert_eq!(longest_of_the_most_crowded(&networks), Some(1));

        let same = |one: &str, other: &str| {
            network(one.parse().unwrap()) == network(other.parse().unwrap())
        };
        assert!(!same("2001:db8:1:aa00::1", "2001:db8:1:ab00::1"));
        // As a socket that takes both kinds shows them.
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("::ffff:192.0.2.1", "::ffff:192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_a_peer_or_gone_waits_no_more_and_who_waits_too_long_is_ended() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut waiting = Handshakes::default();
        assert_eq!(waiting.deadline(), None);
        let peer = knock(CROWD, &listener, &mut waiting).await;
        let gone = knock(CROWD, &listener, &mut waiting).await;
        waiting.0[1].connection.abort();
        while !waiting.0[1].connection.is_finished() {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        let silent = knock(CROWD, &listener, &mut waiting).await;
        tokio::time::advance(DEADLINE / 2).await;
        let later = knock(CROWD, &listener, &mut waiting).await;
        let known = SocketAddress::from(peer.far.local_addr().unwrap());
        waiting.settle([known.clone()]);
        assert_eq!(
            (waiting.0.len(), waiting.deadline()),
            (2, Some(began + DEADLINE))
        );

        tokio::time::advance(DEADLINE / 2).await;
        waiting.settle([known]);
        ended(&silent).await;
        assert_eq!(waiting.0.len(), 1);
        assert!(is_open(&later));
        for other in [&peer, &gone] {
            assert!(is_open(other), "it is nothing to be ended here");
        }
    }
}

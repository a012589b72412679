//! Where to find a Lightning node whose host has a name.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;

use larder_protocol::NodeId;
use tokio::net::lookup_host;

use crate::peer_address::{InvalidPeerAddress, PeerAddress};

/// The longest name of a host, bytes.
const LONGEST_NAME: usize = 253;

/// A node and the host on which it listens, written `node_id@host:port`. A name is looked up anew for every
/// connection, and whoever answers for names learns that it was: an address that is written as numbers asks nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerHost {
    /// Who must be found there.
    pub node_id: NodeId,
    host: Host,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Socket(SocketAddr),
    Name { name: String, port: u16 },
}

impl PeerHost {
    /// The sockets of this host now, at least one.
    pub(crate) async fn sockets(&self) -> io::Result<Vec<SocketAddr>> {
        match &self.host {
            Host::Socket(socket) => Ok(vec![*socket]),
            Host::Name { name, port } => {
                let sockets: Vec<SocketAddr> = lookup_host((name.as_str(), *port)).await?.collect();
                match sockets.is_empty() {
                    false => Ok(sockets),
                    true => Err(io::ErrorKind::NotFound.into()),
                }
            }
        }
    }
}

impl From<PeerAddress> for PeerHost {
    fn from(PeerAddress { node_id, address }: PeerAddress) -> Self {
        PeerHost {
            node_id,
            host: Host::Socket(address),
        }
    }
}

impl FromStr for PeerHost {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidPeerAddress> {
        let (node_id, host) = text.split_once('@').ok_or(InvalidPeerAddress::NoAt)?;
        Ok(PeerHost {
            node_id: node_id.parse()?,
            host: host.parse()?,
        })
    }
}

impl FromStr for Host {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidPeerAddress> {
        if let Ok(socket) = text.parse() {
            return Ok(Host::Socket(socket));
        }
        let (name, port) = text.rsplit_once(':').ok_or(InvalidPeerAddress::Host)?;
        let port = port.parse().map_err(|_| InvalidPeerAddress::Host)?;
        let labels = name.strip_suffix('.').unwrap_or(name).split('.');
        let is_label = |label: &str| {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len()) && label.bytes().all(is_part)
        };
        // What ends in a number is an address that is mistyped: a resolver would take `127.1` for one.
        let last = labels.clone().next_back().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() > LONGEST_NAME || is_number || !labels.clone().all(is_label) {
            return Err(InvalidPeerAddress::Host);
        }
        match last.eq_ignore_ascii_case("onion") {
            true => Err(InvalidPeerAddress::Tor),
            false => Ok(Host::Name {
                name: name.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for PeerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Socket(socket) => write!(f, "{}@{socket}", self.node_id),
            Host::Name { name, port } => write!(f, "{}@{name}:{port}", self.node_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of secp256k1.
    const G: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    fn parse(host: &str) -> Result<PeerHost, InvalidPeerAddress> {
        format!("{G}@{host}").parse()
    }

    #[test]
    fn a_host_survives_being_written_down() {
        for host in [
            "127.0.0.1:9735",
            "[2001:db8::7]:1",
            "lsp.example:9735",
            "my-lsp_1.internal.:80",
            "localhost:1",
            "1.example:1",
        ] {
            assert_eq!(parse(host).unwrap().to_string(), format!("{G}@{host}"));
        }
        let address: PeerAddress = format!("{G}@127.0.0.1:9735").parse().unwrap();
        assert_eq!(PeerHost::from(address), parse("127.0.0.1:9735").unwrap());
    }

    #[test]
    fn what_is_no_host_is_refused_before_anybody_is_asked_for_it() {
        let long = "n".repeat(64);
        for host in [
            "",
            "lsp.example",
            "lsp.example:",
            "lsp.example:99999",
            ":9735",
            ".:1",
            "a..b:1",
            "a b:1",
            "a/b:1",
            "ä.example:1",
            "300.0.0.1:1",
            "127.1:1",
            "2001:db8::7:1",
            &format!("{long}:1"),
        ] {
            assert_eq!(parse(host), Err(InvalidPeerAddress::Host), "{host}");
        }
        assert_eq!(parse("abcdef.onion:9735"), Err(InvalidPeerAddress::Tor));
        assert_eq!(G.parse::<PeerHost>(), Err(InvalidPeerAddress::NoAt));
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_numbers_are_not() {
        let there = parse("localhost:7").unwrap().sockets().await.unwrap();
        assert!(
            there
                .iter()
                .all(|socket| socket.ip().is_loopback() && socket.port() == 7)
        );
        let socket = "203.0.113.7:9735";
        assert_eq!(
            parse(socket).unwrap().sockets().await.unwrap(),
            [socket.parse().unwrap()]
        );
    }
}

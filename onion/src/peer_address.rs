//! Where to reach a Lightning node.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use larder_protocol::{InvalidBytes, NodeId};

/// A node and the socket on which it listens, written `node_id@ip:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Who must be found there.
    pub node_id: NodeId,
    /// Where it listens. A host with a name is a [`PeerHost`](crate::PeerHost).
    pub address: SocketAddr,
}

impl FromStr for PeerAddress {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidPeerAddress> {
        let (node_id, address) = text.split_once('@').ok_or(InvalidPeerAddress::NoAt)?;
        Ok(PeerAddress {
            node_id: node_id.parse()?,
            address: address.parse().map_err(|_| InvalidPeerAddress::Socket)?,
        })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.node_id, self.address)
    }
}

/// Text that is not a [`PeerAddress`] or a [`PeerHost`](crate::PeerHost).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeerAddress {
    /// No `@` between the node id and the socket.
    #[error("a peer address is written node_id@host:port; there is no '@' in it")]
    NoAt,
    /// The part before the `@`.
    #[error(transparent)]
    NodeId(#[from] InvalidBytes),
    /// The part after the `@`.
    #[error("after the '@' belongs ip:port, such as 203.0.113.7:9735 or [2001:db8::7]:9735")]
    Socket,
    /// The part after the `@`, where a name may be.
    #[error(
        "after the '@' belongs host:port, such as lsp.example:9735, 203.0.113.7:9735 or [2001:db8::7]:9735"
    )]
    Host,
    /// A name that only Tor finds.
    #[error("Tor is not spoken here: take the address of the same node that has no .onion in it")]
    Tor,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of secp256k1.
    const G: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

    #[test]
    fn an_address_survives_being_written_down() {
        for socket in ["127.0.0.1:9735", "[2001:db8::7]:1"] {
            let text = format!("{G}@{socket}");
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bad_address_says_which_part_is_bad() {
        let not_hex = InvalidBytes::NotHex { hex_digits: 66 };
        let cases = [
            (G.to_owned(), InvalidPeerAddress::NoAt),
            (format!("{G}@example.org"), InvalidPeerAddress::Socket),
            (format!("zz@{G}"), not_hex.into()),
            ("0279@127.0.0.1:1".to_owned(), not_hex.into()),
            (
                format!("05{}@127.0.0.1:1", &G[2..]),
                InvalidBytes::NotAPoint { what: "a node id" }.into(),
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<PeerAddress>(), Err(error), "{text}");
        }
    }
}

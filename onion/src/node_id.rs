//! The public identity of a Lightning node, and where to reach one.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use bitcoin::secp256k1::PublicKey;

/// The id of a Lightning node: a compressed secp256k1 point, 33 bytes.
///
/// `Display` prints it in hex, because relays and storage nodes have public ids that
/// people copy. `Debug` prints nothing of it, so that no peer's id ends up in a log by
/// way of some other struct's `Debug`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) PublicKey);

impl NodeId {
    /// Bytes in the compressed encoding.
    pub const LEN: usize = 33;

    /// Reads a compressed point.
    ///
    /// # Errors
    /// [`InvalidNodeId`] when the slice is not 33 bytes or not a point on the curve.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidNodeId> {
        // `PublicKey` would also take the 65-byte uncompressed form.
        if bytes.len() != NodeId::LEN {
            return Err(InvalidNodeId::Length { got: bytes.len() });
        }
        PublicKey::from_slice(bytes)
            .map(NodeId)
            .map_err(|_| InvalidNodeId::NotAPoint)
    }

    /// The compressed encoding.
    #[must_use]
    pub fn to_bytes(self) -> [u8; NodeId::LEN] {
        self.0.serialize()
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        let bytes = hex::decode(text).map_err(|_| InvalidNodeId::NotHex)?;
        NodeId::from_slice(&bytes)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.to_bytes()))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeId(..)")
    }
}

/// Bytes or text that are not a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNodeId {
    /// Characters other than hex digits, or an odd number of them.
    #[error("a node id is written as 66 hex digits")]
    NotHex,
    /// The wrong number of bytes.
    #[error("a node id is 33 bytes (66 hex digits), not {got} bytes")]
    Length {
        /// The length that was offered, in bytes.
        got: usize,
    },
    /// Not the compressed encoding of a point on secp256k1.
    #[error("this is not a node id: no point of secp256k1 has this encoding")]
    NotAPoint,
}

/// A node and the socket on which it listens, written `node_id@ip:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Who must be found there.
    pub node_id: NodeId,
    /// Where it listens. A name is the caller's to resolve.
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

/// Text that is not a [`PeerAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeerAddress {
    /// No `@` between the node id and the socket.
    #[error("a peer address is written node_id@ip:port; there is no '@' in it")]
    NoAt,
    /// The part before the `@`.
    #[error(transparent)]
    NodeId(#[from] InvalidNodeId),
    /// The part after the `@`.
    #[error("after the '@' belongs ip:port, such as 203.0.113.7:9735 or [2001:db8::7]:9735")]
    Socket,
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
        let cases = [
            (G.to_owned(), InvalidPeerAddress::NoAt),
            (format!("{G}@example.org"), InvalidPeerAddress::Socket),
            (format!("zz@{G}"), InvalidNodeId::NotHex.into()),
            (
                "0279@127.0.0.1:1".to_owned(),
                InvalidNodeId::Length { got: 2 }.into(),
            ),
            (
                format!("05{}@127.0.0.1:1", &G[2..]),
                InvalidNodeId::NotAPoint.into(),
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<PeerAddress>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_uncompressed_point_is_no_node_id() {
        let g: NodeId = G.parse().unwrap();
        let uncompressed = g.0.serialize_uncompressed();
        assert_eq!(
            NodeId::from_slice(&uncompressed),
            Err(InvalidNodeId::Length { got: 65 })
        );
    }

    #[test]
    fn debug_prints_nothing_of_a_node_id() {
        let id: NodeId = G.parse().unwrap();
        assert_eq!(format!("{id:?}"), "NodeId(..)");
    }
}

//! One circuit: from the client to the storage node, and back another way.

use bitcoin::secp256k1::PublicKey;
use larder_protocol::NodeId;

use crate::parcel;
use crate::routes::{Destination, Route};

/// The nodes of one circuit, as LDK wants them.
pub(super) struct Circuit {
    /// Relays of the request, in the order of travel.
    pub(super) there: Vec<PublicKey>,
    /// Nodes of the reply path, beginning with the storage node: the client chooses the
    /// whole way back, and the storage node learns only the first relay on it.
    pub(super) back: Vec<PublicKey>,
    destination: NodeId,
}

impl Circuit {
    pub(super) fn new(first_hop: NodeId, route: Route, to: &Destination) -> Self {
        // A first hop that is the storage node itself is no relay.
        let relay = (first_hop != to.node_id).then_some(first_hop.point());
        let ids = |nodes: Vec<NodeId>| nodes.into_iter().map(|node| node.point());
        Circuit {
            there: relay.into_iter().chain(ids(route.there)).collect(),
            back: [to.node_id.point()]
                .into_iter()
                .chain(ids(route.back))
                .chain(relay)
                .collect(),
            destination: to.node_id,
        }
    }

    /// All nodes but the client; the storage node last.
    pub(super) fn hops(&self) -> Vec<NodeId> {
        let mut hops: Vec<NodeId> = self.there.iter().copied().map(NodeId::from).collect();
        for &node in &self.back {
            if !hops.contains(&NodeId::from(node)) && NodeId::from(node) != self.destination {
                hops.push(NodeId::from(node));
            }
        }
        hops.push(self.destination);
        hops
    }

    pub(super) fn request_room(&self) -> usize {
        parcel::request_room(self.there.len() + 1, self.back.len() + 1)
    }

    pub(super) fn request_room_with_pass(&self) -> usize {
        parcel::request_room_with_pass(self.there.len() + 1, self.back.len() + 1)
    }
}

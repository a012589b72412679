//! What goes wrong, and whose fault it is.

use std::net::SocketAddr;

use larder_protocol::NodeId;

use crate::peer_host::PeerHost;
use crate::trouble::Trouble;

/// Why an endpoint could not be started: the configuration or the machine is at fault.
#[derive(Debug, thiserror::Error)]
pub enum OnionError {
    /// The socket could not be opened.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where it should have been.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A client that names no first hop reaches nobody.
    #[error("no first hop is configured; name at least one as node_id@host:port")]
    NoFirstHop,
}

/// Why an answer was not sent. Nothing is kept: a client that still wants it asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// Our fault: the answer is longer than a packet, or of a larger class than the request.
    #[error("the answer does not fit: {got} bytes, room for {room}")]
    DoesNotFit {
        /// Bytes of the answer.
        got: usize,
        /// Bytes that would have fitted.
        room: usize,
    },
    /// The client's or its relay's: the reply path begins at nobody we are connected to.
    #[error("the first hop of the reply path is not connected")]
    PeerGone,
    /// The relay's: it does not take answers as fast as they come.
    #[error("too many answers are waiting for the same relay")]
    Congested,
}

/// Why a request got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The caller's fault: the contents do not fit into one onion along these routes.
    #[error("a request has room for {room} bytes along this route, not {got}")]
    DoesNotFit {
        /// Bytes of contents.
        got: usize,
        /// Bytes that would have fitted.
        room: usize,
    },
    /// The caller's fault: no reply path ends at a client that is shut down.
    #[error("the circuits are shut down")]
    ShutDown,
    /// The network's or the storage node's.
    #[error("{}: {blame}", sent(*.attempts))]
    Unreachable {
        /// How often the request was sent; 0 when it never had a connection to go out on.
        attempts: u32,
        /// Where it got stuck, as far as can be told from here.
        blame: Blame,
    },
}

fn sent(attempts: u32) -> String {
    match attempts {
        0 => "the request could not be sent".to_owned(),
        1 => "no answer after one attempt".to_owned(),
        more => format!("no answer after {more} attempts"),
    }
}

/// Where a request got stuck. A relay drops without a word, so this is inference from what
/// other requests experienced on the same hops.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blame {
    /// No first hop is connected: these, each with the reason as far as it is known.
    #[error("no LSP is connected{}; check the network and the LSP's address", listed(.0))]
    NotConnected(Vec<(PeerHost, Trouble)>),
    /// The request waited most of its time for places to be sent again: the first hop passes fewer
    /// messages than are wanted. Add first hops, or ask its operator to raise its limit on
    /// onion messages.
    #[error(
        "{0} passes fewer onion messages than are wanted; add first hops or ask for a higher limit"
    )]
    Limits(NodeId),
    /// Other requests passed this hop and this one did not, nor did others like it.
    #[error("requests get lost at {0}; take other relays, or ask whether it is online")]
    Loses(NodeId),
}

/// Behind what is said of all of them.
fn listed(troubles: &[(PeerHost, Trouble)]) -> String {
    let of = |(hop, trouble): &(PeerHost, Trouble)| format!("{hop}: {trouble}");
    match troubles.iter().map(of).collect::<Vec<_>>() {
        none if none.is_empty() => String::new(),
        some => format!(" ({})", some.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_was_never_sent_is_not_said_to_be_unanswered() {
        let text = |attempts| {
            let blame = Blame::NotConnected(Vec::new());
            RequestError::Unreachable { attempts, blame }.to_string()
        };
        let starts = |attempts, with: &str| assert!(text(attempts).starts_with(with));
        starts(
            0,
            "the request could not be sent: no LSP is connected; check",
        );
        starts(1, "no answer after one attempt: ");
        starts(7, "no answer after 7 attempts: ");
    }
}

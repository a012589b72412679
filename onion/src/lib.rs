//! Requests and answers over Lightning onion messages.
//!
//! Two ends, and a relay to try them with:
//!
//! * [`Circuits`], the client's: send these bytes to a storage node along a circuit, await
//!   the answer.
//! * [`Service`] and its [`Intake`], the storage node's: here is a request, and a
//!   [`Responder`] to answer it with.
//! * [`Relay`], a stock LDK relay, for demos, tests and benchmarks.
//!
//! The bytes are opaque here; envelope and padding are `protocol`'s. Nothing of LDK shows in
//! the public face.
//!
//! **What it promises.** A relay that drops, delays, duplicates or disconnects costs time and
//! nothing else. A reply is accepted only with the context of an attempt that is still
//! awaited. Memory is bounded, whatever is sent to us. Nothing is logged.
//!
//! **Passes.** A request may be sent with a [`Pass`]. It is known before it is opened and
//! taken in first, and no flood without one takes its room, nor that of its answer. [`Circuits`] show it
//! with every first attempt. The relay in front of the storage node sees it, so all who have one must
//! behave alike.
//!
//! **What it does not.** Exactly-once delivery: a lost reply means that the storage node sees
//! the request again, byte for byte.
//!
//! **Runtime.** Everything runs on the Tokio runtime in which it is started (with I/O and time
//! enabled), also a current-thread one. Only [`Intake::recv`] blocks, and belongs on threads
//! of its own.

mod bucket;
mod circuits;
mod counter;
mod desk;
mod endpoint;
mod error;
mod fair;
mod faults;
mod handshakes;
mod keys;
mod ldk;
mod link;
mod mailroom;
mod net;
mod opener;
mod pacer;
mod parcel;
mod pass;
mod peer_address;
mod peer_host;
mod relay;
mod routes;
mod service;
#[cfg(feature = "bench")]
mod shortcut;
mod trouble;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use bucket::Rate;
pub use circuits::{Circuits, CircuitsConfig, LinkReport, Reply};
pub use error::{Blame, OnionError, RequestError, Undelivered};
pub use faults::{FaultCounts, Faults};
pub use larder_protocol::{NodeId, Pass, REPLY_TLV, REQUEST_TLV};
#[cfg(feature = "bench")]
pub use lightning::ln::msgs::OnionMessage;
pub use pacer::Pace;
pub use parcel::{BIG_HOP_DATA, SMALL_HOP_DATA, reply_room, request_room};
pub use peer_address::{InvalidPeerAddress, PeerAddress};
pub use peer_host::PeerHost;
pub use relay::{Relay, RelayConfig};
pub use routes::Destination;
pub use service::{
    Incoming, Intake, MAX_REPLY_HOPS, Responder, Service, ServiceConfig, ServiceCounters, node_id,
};
#[cfg(feature = "bench")]
pub use shortcut::{Network, Way, go_through};
pub use trouble::Trouble;

/// Locks, also after a panic elsewhere: every state behind a mutex here is consistent
/// between any two statements that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

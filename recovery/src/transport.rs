//! How a request reaches a provider and its reply comes back.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_onion::{Circuits, Destination, Reply, RequestError};
use larder_protocol::{Address, Pass};
use rand::random_range;

/// Milliseconds that a question waits that goes apart.
const LINGER: RangeInclusive<u64> = 200..=2_000;

/// A future that may move between threads; `Transport` is used as a trait object.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreachable>> + Send + 'a>>;

/// A way to one provider. It may deliver a request more than once, and never says who asks.
pub trait Transport: Send + Sync {
    /// Sends the contents of one envelope, as often as it takes and always the same bytes, and
    /// returns the contents that came back.
    ///
    /// `pass`: one of the provider's, to be shown with it. A way that knows no passes ignores it.
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_>;

    /// The same for a question that is not to be known as one of the client that has asked or paid before: from
    /// a node id of its own, along circuits that nothing else of this client's was sent along, and a drawn time later. A
    /// way that tells nobody apart needs no other one.
    fn exchange_apart(&self, contents: Vec<u8>) -> Exchange<'_> {
        self.exchange(contents, None)
    }
}

/// No answer came. Whether the request took effect is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// What to look at, for a person.
    pub advice: String,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It need not be its fault.
        write!(f, "the storage node cannot be reached: {}", self.advice)
    }
}

impl std::error::Error for Unreachable {}

/// The default way: onion messages along circuits, through the wallet's LSP.
///
/// Several providers may share the circuits.
pub struct OnionTransport {
    circuits: Arc<Circuits>,
    destination: Destination,
    /// Draws how long a question that goes apart waits.
    linger: Box<dyn Fn() -> Duration + Send + Sync>,
    requests: AtomicU64,
    attempts: AtomicU64,
}

/// What a transport has spent since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Round trips: requests that were answered.
    pub round_trips: u64,
    /// Messages that were sent for them beyond one each.
    pub retries: u64,
}

impl OnionTransport {
    /// To the storage node with this address, along these circuits.
    #[must_use]
    pub fn new(circuits: Arc<Circuits>, address: &Address) -> Self {
        OnionTransport {
            circuits,
            destination: destination(address),
            linger: Box::new(|| Duration::from_millis(random_range(LINGER))),
            requests: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        }
    }

    /// With other waits in front of what goes apart: by default 0.2 to 2 seconds, drawn anew each time. Longer ones hide
    /// better whose question it is. Once in an epoch a payment waits behind one or two of them.
    #[must_use]
    pub fn lingering(self, draw: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        OnionTransport {
            linger: Box::new(draw),
            ..self
        }
    }

    /// What it has spent so far.
    #[must_use]
    pub fn spent(&self) -> Spent {
        let round_trips = self.requests.load(Ordering::Relaxed);
        let attempts = self.attempts.load(Ordering::Relaxed);
        Spent {
            round_trips,
            retries: attempts.saturating_sub(round_trips),
        }
    }

    fn count(&self, reply: Result<Reply, RequestError>) -> Result<Vec<u8>, Unreachable> {
        let reply = reply.map_err(|error| Unreachable {
            advice: error.to_string(),
        })?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.attempts
            .fetch_add(reply.attempts.into(), Ordering::Relaxed);
        Ok(reply.contents)
    }
}

/// Where circuits to the storage node with this address end.
#[must_use]
pub fn destination(address: &Address) -> Destination {
    Destination {
        introductions: address.introductions().to_vec(),
        ..Destination::new(address.node_id())
    }
}

impl Transport for OnionTransport {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        let destination = Destination {
            pass,
            ..self.destination.clone()
        };
        Box::pin(async move {
            let reply = self.circuits.request(&destination, &contents).await;
            self.count(reply)
        })
    }

    /// Over connections that are made for it, and end with it.
    fn exchange_apart(&self, contents: Vec<u8>) -> Exchange<'_> {
        let after = (self.linger)();
        Box::pin(async move {
            let apart = self
                .circuits
                .request_apart(&self.destination, &contents, after);
            self.count(apart.await)
        })
    }
}

//! Circuits without sockets, for benchmarks: requests are handed to a network of the benchmark's own.
//!
//! Everything above [`Circuits`](crate::Circuits) stays what it is, and may run where the clock stands still while
//! anything computes: hours of a wallet's life take seconds. Which network it is goes by the thread, so nothing in
//! between has to know.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::{CircuitsConfig, Destination, PeerHost, Reply, RequestError};

/// A request on its way.
pub type Way = Pin<Box<dyn Future<Output = Result<Reply, RequestError>> + Send>>;

/// What carries requests in place of relays.
pub trait Network: Send + Sync {
    /// Carries a request of the client behind this LSP, as often as it takes, and the answer back.
    fn carry(&self, from: PeerHost, to: Destination, contents: Vec<u8>) -> Way;
}

thread_local! {
    static HERE: RefCell<Option<Arc<dyn Network>>> = const { RefCell::new(None) };
}

/// Circuits that are started on this thread from now on go through this network; with `None` through sockets.
pub fn go_through(network: Option<Arc<dyn Network>>) {
    HERE.set(network);
}

pub(crate) struct Shortcut {
    network: Arc<dyn Network>,
    from: PeerHost,
    /// As many requests at once as fit the windows of the connections.
    places: Arc<Semaphore>,
}

impl Shortcut {
    /// Where the thread has a network.
    pub(crate) fn of(config: &CircuitsConfig) -> Option<Self> {
        let network = HERE.with_borrow(Clone::clone)?;
        let connections = config.connections_per_hop * config.first_hops.len();
        Some(Shortcut {
            network,
            from: config.first_hops.first()?.clone(),
            places: Arc::new(Semaphore::new(connections * usize::from(config.window_max))),
        })
    }

    /// On a task of its own, as over sockets.
    pub(crate) async fn request(
        &self,
        to: &Destination,
        contents: &[u8],
    ) -> Result<Reply, RequestError> {
        let (network, places) = (self.network.clone(), self.places.clone());
        let (from, to, contents) = (self.from.clone(), to.clone(), contents.to_vec());
        let mut task = JoinSet::new();
        task.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            network.carry(from, to, contents).await
        });
        match task.join_next().await {
            Some(Ok(result)) => result,
            // The runtime is shutting down.
            Some(Err(_)) | None => Err(RequestError::ShutDown),
        }
    }
}

//! The one failure that ends a node: nothing can be written any more.

use std::fmt::Display;
use std::sync::Arc;

use tokio::sync::watch;

/// That nothing can be written any more: told once, and for good.
#[derive(Clone)]
pub(crate) struct Failure(Arc<watch::Sender<bool>>);

impl Failure {
    pub(crate) fn new() -> Self {
        Failure(Arc::new(watch::Sender::new(false)))
    }

    /// Logs the first failure. What comes after it is its consequence.
    pub(crate) fn tell(&self, why: &dyn Display) {
        if !self.0.send_replace(true) {
            tracing::error!("the store: {why}");
        }
    }

    /// Waits for the failure.
    pub(crate) async fn told(&self) {
        // The sender is ours, so the wait ends with a failure or never.
        let _ = self.0.subscribe().wait_for(|told| *told).await;
    }
}

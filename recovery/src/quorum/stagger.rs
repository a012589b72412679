//! When requests leave that several providers are asked at once.
//!
//! Two providers that put their records together would find the same operation at the same instant with both. So each but
//! one may be made to wait a little. Who measures the time is the caller's affair, so that a test needs none.

use std::sync::Arc;

use futures_util::future::{BoxFuture, ready};

/// What is waited for before a request leaves.
pub type Pause = BoxFuture<'static, ()>;

type Draw = dyn Fn(usize) -> Vec<Pause> + Send + Sync;

/// Draws pauses, anew for every operation.
#[derive(Clone, Default)]
pub(super) struct Stagger(Option<Arc<Draw>>);

impl Stagger {
    pub(super) fn new(draw: impl Fn(usize) -> Vec<Pause> + Send + Sync + 'static) -> Self {
        Stagger(Some(Arc::new(draw)))
    }

    /// One pause per provider, in their order.
    pub(super) fn pauses(&self, providers: usize) -> impl Iterator<Item = Pause> {
        let drawn = self
            .0
            .as_ref()
            .map_or_else(Vec::new, |draw| draw(providers));
        let at_once = std::iter::repeat_with(|| -> Pause { Box::pin(ready(())) });
        drawn.into_iter().chain(at_once).take(providers)
    }
}

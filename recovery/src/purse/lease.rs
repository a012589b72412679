//! Who waits for the answer to a request.
//!
//! While somebody waits for the answer the request is *driven*, which the [`Lease`] stands for.
//! When that one gives up, it stays in flight: whoever makes the same call again, or is short of
//! tokens, drives it on. Whoever is short of tokens while all requests are driven polls their
//! exchanges too, and settles the first that is answered: its driver may be a future that nobody
//! polls, such as a look-up of a walk between two steps.

use futures_util::future::{BoxFuture, Shared};
use larder_credentials::Epoch;
use larder_protocol::{Reply, Request};

use super::{Inner, Purse};
use crate::RecoveryError;

/// A request that its holder is to send until it is answered. Dropped, it stays in flight.
pub(crate) struct Lease<'p> {
    purse: &'p Purse,
    pub(super) id: u64,
    pub(super) request: Request,
}

/// A request under way, for all who wait for its answer.
pub(crate) type Exchange = Shared<BoxFuture<'static, Result<Reply, RecoveryError>>>;

impl Lease<'_> {
    /// What to send; the same bytes each time.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The exchange of this request, begun if it is not. Somebody else may have built it again since;
    /// then it is the exchange of that one, and so is this lease.
    pub(crate) fn exchange(&mut self, begin: impl FnOnce(Request) -> Exchange) -> Exchange {
        let mut inner = self.purse.lock();
        if let Some(asked) = inner.book.asked(self.id) {
            self.request = asked.request.clone();
        }
        let exchange = inner.driven.entry(self.id).or_default();
        exchange
            .get_or_insert_with(|| begin(self.request.clone()))
            .clone()
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.purse.abandon(self.id);
    }
}

impl Purse {
    /// Whether a request is still in flight.
    pub(crate) fn is_in_flight(&self, lease: &Lease<'_>) -> bool {
        self.lock().book.sent.contains_key(&lease.id)
    }

    pub(super) fn lease(&self, inner: &mut Inner, id: u64, request: Request) -> Lease<'_> {
        inner.driven.insert(id, None);
        Lease {
            purse: self,
            id,
            request,
        }
    }

    /// The request in flight that this exchange is of, when its answer has come to somebody who
    /// is short of tokens.
    pub(crate) fn take_over(&self, id: u64, exchange: &Exchange) -> Option<Lease<'_>> {
        let inner = self.lock();
        let known = inner.driven.get(&id)?.as_ref()?;
        let request = inner.book.sent.get(&id)?.asked.request.clone();
        if !known.ptr_eq(exchange) {
            return None;
        }
        // Made only when it is handed out: dropping one takes the lock that is held here.
        Some(Lease {
            purse: self,
            id,
            request,
        })
    }

    /// The epoch that a request was built for, as long as it is in flight as the lease has it.
    pub(crate) fn epoch_of(&self, lease: &Lease<'_>) -> Option<Epoch> {
        let inner = self.lock();
        let sent = inner.book.sent.get(&lease.id)?;
        (!inner.is_renewed(lease)).then_some(sent.asked.epoch)
    }

    /// Nobody waits for the answer to this request any more.
    fn abandon(&self, id: u64) {
        self.lock().driven.remove(&id);
    }
}

impl Inner {
    /// Whether the exchange of a request has begun. One that has not may be begun by anybody; its
    /// holder then shares it.
    pub(super) fn is_driven(&self, id: u64) -> bool {
        matches!(self.driven.get(&id), Some(Some(_)))
    }

    /// Whether a request was built again since this lease had it: answers to what it had say
    /// nothing of what is shown now.
    pub(super) fn is_renewed(&self, lease: &Lease<'_>) -> bool {
        let asked = self.book.asked(lease.id);
        asked.is_some_and(|asked| asked.request.payment != lease.request.payment)
    }
}

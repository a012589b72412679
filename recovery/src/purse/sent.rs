//! A request that was sent, as the [book](super::book) keeps it.

use larder_credentials::Epoch;
use larder_protocol::{Key, Payment, Request};

use super::event::Inputs;
use super::held::Held;

/// A request in flight: the storage node may have seen it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) inputs: Inputs,
    pub(crate) outputs: [u64; 2],
    pub(crate) asked: Asked,
}

impl Sent {
    /// Its credentials, which the storage node may know from now on by the key they were to pay for.
    pub(super) fn shown(self, mut each: impl FnMut(Held)) {
        let Inputs::Pair(pair) = self.inputs else {
            return;
        };
        let digest = self.asked.request.call.key().map(|_| self.asked.digest);
        for mut held in *pair {
            held.shown = digest.or(held.shown);
            each(held);
        }
    }
}

/// A request, and what it is found by.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) digest: [u8; 32],
    pub(crate) epoch: Epoch,
}

impl Asked {
    pub(super) fn new(request: Request, service: &larder_credentials::Service) -> Option<Self> {
        let Payment::Credentials(core) = &request.payment else {
            return None;
        };
        let core = larder_credentials::Request::decode(service, core).ok()?;
        Some(Asked {
            digest: request.call.digest(),
            epoch: core.out_epoch(),
            request,
        })
    }

    pub(crate) fn is_about(&self, key: &Key) -> bool {
        self.request.call.key() == Some(key)
    }
}

//! A provider that is connected to when it is first needed: a restore must not wait for one that is
//! down, and its terms are not known before it answers.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::lock::Mutex;

use crate::log::register::Answer;
use crate::log::{Look, OneProvider, Put, Registers};
use crate::seal::Contents;
use crate::{Provider, RecoveryError, Removed, RootKey, Slot};

/// The registers that a root key has with one provider, which may be down.
pub struct LateProvider {
    root: RootKey,
    connect: Box<Connect>,
    connected: Mutex<Option<Arc<OneProvider>>>,
}

type Connect = dyn Fn() -> BoxFuture<'static, Result<Arc<Provider>, RecoveryError>> + Send + Sync;

impl LateProvider {
    /// With the provider that `connect` makes, purse and all. It is called until it succeeds, once per
    /// operation at most and never twice at a time.
    pub fn new(
        root: &RootKey,
        connect: impl Fn() -> BoxFuture<'static, Result<Arc<Provider>, RecoveryError>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        LateProvider {
            root: root.clone(),
            connect: Box::new(connect),
            connected: Mutex::new(None),
        }
    }

    async fn there(&self) -> Result<Arc<OneProvider>, RecoveryError> {
        let mut connected = self.connected.lock().await;
        if let Some(provider) = &*connected {
            return Ok(provider.clone());
        }
        let provider = OneProvider::new(&self.root, (self.connect)().await?);
        Ok(connected.insert(Arc::new(provider)).clone())
    }
}

impl Registers for LateProvider {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move { self.there().await?.insert(slot, contents).await })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move { self.there().await?.lookup(slot).await })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move { self.there().await?.delete(slot).await })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move { self.there().await?.erase(slot, contents).await })
    }
}

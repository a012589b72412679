//! A connection to a storage node: circuits through the LSPs, and the provider behind them.

use std::sync::Arc;

use larder_onion::{Circuits, CircuitsConfig};
use larder_protocol::Address;
use larder_recovery::{OnionTransport, Provider};

use crate::error::CliError;

/// A storage node that has answered. No two connections share a node id.
pub(crate) struct Connection {
    circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
}

impl Connection {
    /// Connects; when this returns, the storage node has answered with terms that are its own.
    pub(crate) async fn open(config: CircuitsConfig, address: Address) -> Result<Self, CliError> {
        let circuits = Arc::new(Circuits::start(config)?);
        let transport = Arc::new(OnionTransport::new(circuits.clone(), &address));
        let provider = Arc::new(Provider::connect(address, transport.clone()).await?);
        Ok(Connection {
            circuits,
            transport,
            provider,
        })
    }

    /// Leaves the network.
    pub(crate) async fn close(self) {
        let Connection {
            circuits,
            transport,
            provider,
        } = self;
        drop((transport, provider));
        // A sequence that is still there holds the circuits, too; then they end with it.
        if let Ok(circuits) = Arc::try_unwrap(circuits).map_err(drop) {
            circuits.shutdown().await;
        }
    }
}

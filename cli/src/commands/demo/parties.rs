//! The three parties of the demo, each on sockets of its own.

use std::sync::Arc;

use larder_node::{Config, Node};
use larder_onion::{Circuits, CircuitsConfig, Relay, RelayConfig};
use larder_recovery::{OnionTransport, Provider};
use rand::RngCore;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::error::CliError;

/// Relay and storage node, and how a wallet joins them.
pub(crate) struct Parties {
    pub(crate) relay: Relay,
    pub(crate) node: Node,
    folder: TempDir,
}

/// The wallet's side: connections with node ids that nobody saw before.
pub(crate) struct WalletParty {
    circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
}

impl Parties {
    pub(crate) async fn start() -> Result<Self, CliError> {
        let folder = tempfile::Builder::new()
            .prefix("larder-demo-")
            .tempdir()
            .map_err(CliError::file("create a folder in", &std::env::temp_dir()))?;
        let mut seed = [0; 32];
        StdRng::from_os_rng().fill_bytes(&mut seed);
        let relay = Relay::start(RelayConfig::loopback(seed)).await?;
        // The defaults, whatever the environment of whoever tries the demo says.
        let mut config = Config::load(None, Some(folder.path()), [])?;
        config.lsps = vec![relay.address()];
        // The demo cleans up after itself and needs no reserve.
        config.free_space_floor = 0;
        let node = Node::start(&config).await?;
        node.wait_connected().await;
        Ok(Parties {
            relay,
            node,
            folder,
        })
    }

    /// A wallet without a past.
    pub(crate) async fn wallet(&self) -> Result<WalletParty, CliError> {
        let circuits = CircuitsConfig::new(vec![self.relay.address()]);
        let circuits = Arc::new(Circuits::start(circuits)?);
        let address = self.node.address().clone();
        let transport = Arc::new(OnionTransport::new(circuits.clone(), &address));
        let provider = Arc::new(Provider::connect(address, transport.clone()).await?);
        Ok(WalletParty {
            circuits,
            transport,
            provider,
        })
    }

    pub(crate) async fn shutdown(self) {
        self.node.shutdown().await;
        self.relay.shutdown().await;
        drop(self.folder);
    }
}

impl WalletParty {
    pub(crate) async fn close(self) {
        let WalletParty {
            circuits,
            transport,
            provider,
        } = self;
        drop((transport, provider));
        // Sequences of this wallet hold the circuits, too; then they end with the last of them.
        if let Ok(circuits) = Arc::try_unwrap(circuits).map_err(drop) {
            circuits.shutdown().await;
        }
    }
}

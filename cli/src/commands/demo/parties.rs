//! The three parties of the demo, each on sockets of its own.

use larder_node::config::Payment;
use larder_node::{Config, Node};
use larder_onion::{CircuitsConfig, Relay, RelayConfig};
use rand::RngCore;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::connection::Connection;
use crate::error::CliError;

/// Relay and storage node, and how a wallet joins them.
pub(crate) struct Parties {
    pub(crate) relay: Relay,
    pub(crate) node: Node,
    folder: TempDir,
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
        config.payment = Payment::None;
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

    /// The connection of a wallet without a past.
    pub(crate) async fn wallet(&self) -> Result<Connection, CliError> {
        let circuits = CircuitsConfig::new(vec![self.relay.address()]);
        Connection::open(circuits, self.node.address().clone()).await
    }

    pub(crate) async fn shutdown(self) {
        self.node.shutdown().await;
        self.relay.shutdown().await;
        drop(self.folder);
    }
}

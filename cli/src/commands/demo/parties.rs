//! The three parties of the demo, each on sockets of its own.

use std::path::PathBuf;

use larder_node::{Config, Node};
use larder_onion::{CircuitsConfig, Relay, RelayConfig};
use larder_recovery::RootKey;
use rand::RngCore;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tempfile::TempDir;

use crate::connection::Connection;
use crate::error::CliError;
use crate::output::Once;
use crate::payer::Payer;

/// Relay and storage node, and how a wallet joins them.
pub(crate) struct Parties {
    pub(crate) relay: Relay,
    pub(crate) node: Node,
    pub(crate) config: Config,
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
        let mut config = Config::load(None, Some(&folder.path().join("node")), [])?;
        config.lsps = vec![relay.address().into()];
        // The demo cleans up after itself and needs no reserve.
        config.free_space_floor = 0;
        let node = Node::start(&config).await?;
        node.wait_connected().await;
        Ok(Parties {
            relay,
            node,
            config,
            folder,
        })
    }

    /// The connection of a wallet that has this root key, and whatever is in its folder.
    pub(crate) async fn wallet(&self, root: RootKey) -> Result<Connection, CliError> {
        let circuits = CircuitsConfig::new(vec![self.relay.address()]);
        let payer = Payer {
            root,
            folder: self.wallet_folder(),
        };
        let (address, once) = (self.node.address().clone(), Once::default());
        Connection::open(circuits, address, Some(&payer), None, &once).await
    }

    /// Total loss: everything that a wallet keeps on its disk.
    pub(crate) fn lose_wallet(&self) -> Result<(), CliError> {
        let folder = self.wallet_folder();
        std::fs::remove_dir_all(&folder).map_err(CliError::file("remove", &folder))
    }

    /// Where a restore keeps what it has paid for.
    pub(crate) fn restoring_folder(&self) -> PathBuf {
        self.folder.path().join("restoring")
    }

    fn wallet_folder(&self) -> PathBuf {
        self.folder.path().join("wallet")
    }

    pub(crate) async fn shutdown(self) {
        self.node.shutdown().await;
        self.relay.shutdown().await;
        drop(self.folder);
    }
}

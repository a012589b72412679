//! `wallet.toml`: where the storage node is and how to reach it. No secrets.

use std::path::Path;
use std::time::Duration;

use larder_onion::{CircuitsConfig, NodeId, PeerAddress};
use larder_protocol::Address;
use serde::Deserialize;

use crate::connection::Connection;
use crate::error::CliError;
use crate::payer::Payer;

/// How a wallet reaches its storage node.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) provider: Address,
    pub(crate) lsps: Vec<PeerAddress>,
    pub(crate) relays: Vec<NodeId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    provider: String,
    lsps: Vec<String>,
    #[serde(default)]
    relays: Vec<String>,
}

impl Settings {
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(CliError::file("read", path))?;
        let wrong = |problem: String| CliError::Usage(format!("{}: {problem}", path.display()));
        let written: Written = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let parse = |text: &String| wrong(format!("`{text}` is no address"));
        Ok(Settings {
            provider: written
                .provider
                .parse()
                .map_err(|error| wrong(format!("{error}")))?,
            lsps: written
                .lsps
                .iter()
                .map(|text| text.parse().map_err(|_| parse(text)))
                .collect::<Result<_, _>>()?,
            relays: written
                .relays
                .iter()
                .map(|text| text.parse().map_err(|_| parse(text)))
                .collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn to_toml(&self) -> String {
        let list = |items: Vec<String>| {
            let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
            quoted.join(", ")
        };
        format!(
            "# The storage node.\nprovider = \"{}\"\n\n\
             # The wallet's LSPs, as node_id@ip:port.\nlsps = [{}]\n\n\
             # Relays behind the LSPs that requests and answers pass, if any.\nrelays = [{}]\n",
            self.provider,
            list(self.lsps.iter().map(ToString::to_string).collect()),
            list(self.relays.iter().map(ToString::to_string).collect()),
        )
    }

    /// Goes online; no request is waited for longer than `patience`.
    pub(crate) async fn connect(
        &self,
        patience: Duration,
        payer: Option<&Payer>,
    ) -> Result<Connection, CliError> {
        let config = CircuitsConfig {
            relays: self.relays.clone(),
            deadline: patience,
            ..CircuitsConfig::new(self.lsps.clone())
        };
        Connection::open(config, self.provider.clone(), payer).await
    }
}

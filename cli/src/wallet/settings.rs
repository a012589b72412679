//! `wallet.toml`: where the storage nodes are and how to reach them. No secrets.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use larder_onion::{CircuitsConfig, NodeId, PeerHost};
use larder_protocol::Address;
use serde::Deserialize;

use crate::durable;
use crate::error::CliError;

/// How a wallet reaches its storage nodes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// In the order that all devices have them in.
    pub(crate) providers: Vec<Address>,
    pub(crate) lsps: Vec<PeerHost>,
    pub(crate) relays: Vec<NodeId>,
    /// Room for what this device knows of the registers, in MiB.
    pub(crate) cache_mib: u32,
}

/// Room for a log and a few large values.
pub(crate) const CACHE_MIB: u32 = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    providers: Vec<String>,
    lsps: Vec<String>,
    #[serde(default)]
    relays: Vec<String>,
    #[serde(default = "cache_mib")]
    cache_mib: u32,
}

fn cache_mib() -> u32 {
    CACHE_MIB
}

impl Settings {
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(CliError::file("read", path))?;
        let wrong = |problem: String| CliError::Usage(format!("{}: {problem}", path.display()));
        let written: Written = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let providers = written.providers.iter();
        let providers: Vec<Address> = providers
            .map(|text| text.parse().map_err(|error| wrong(format!("{error}"))))
            .collect::<Result<_, _>>()?;
        check_providers(&providers)?;
        Ok(Settings {
            providers,
            lsps: parsed(&written.lsps).map_err(wrong)?,
            relays: parsed(&written.relays).map_err(wrong)?,
            cache_mib: written.cache_mib,
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        durable::replace(path, self.to_toml().as_bytes()).map_err(CliError::file("write", path))
    }

    fn to_toml(&self) -> String {
        let list = |items: Vec<String>| {
            let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
            quoted.join(", ")
        };
        format!(
            "# The storage nodes. `larder providers` changes them; every device learns the list from them.\n\
             providers = [{}]\n\n\
             # The wallet's LSPs, as node_id@host:port.\nlsps = [{}]\n\n\
             # Relays behind the LSPs that requests and answers pass, if any.\nrelays = [{}]\n\n\
             # Room for what is known of what is stored, in MiB; what is not kept is looked up again, for the storage nodes to see.\n\
             cache_mib = {}\n",
            list(self.providers.iter().map(ToString::to_string).collect()),
            list(self.lsps.iter().map(ToString::to_string).collect()),
            list(self.relays.iter().map(ToString::to_string).collect()),
            self.cache_mib,
        )
    }

    /// The way to a storage node; no request is waited for longer than `patience`.
    pub(crate) fn circuits(&self, patience: Duration) -> CircuitsConfig {
        CircuitsConfig {
            relays: self.relays.clone(),
            deadline: patience,
            ..CircuitsConfig::new(self.lsps.clone())
        }
    }
}

fn parsed<T: FromStr<Err: Display>>(texts: &[String]) -> Result<Vec<T>, String> {
    let parse = |text: &String| text.parse().map_err(|error| format!("`{text}`: {error}"));
    texts.iter().map(parse).collect()
}

/// There has to be one, and each counts once.
pub(crate) fn check_providers(providers: &[Address]) -> Result<(), CliError> {
    if providers.is_empty() {
        return Err(CliError::Usage("a wallet needs a storage node".to_owned()));
    }
    for (at, provider) in providers.iter().enumerate() {
        let same = |other: &Address| other.server_key() == provider.server_key();
        if providers[..at].iter().any(same) {
            return Err(CliError::Usage(format!(
                "number {} is a storage node that is in the list already",
                at + 1
            )));
        }
    }
    Ok(())
}

//! How a wallet begins: the way to its storage nodes, and where its root key comes from.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use larder_onion::{NodeId, PeerAddress};
use larder_protocol::Address;
use larder_recovery::RootKey;
use zeroize::Zeroizing;

use super::settings::CACHE_MIB;
use super::{Settings, check_providers};
use crate::error::CliError;

/// The longest file that could hold words or a root key, bytes.
const LONGEST: u64 = 1_000;

/// What a folder needs to become a wallet.
#[derive(clap::Args)]
pub(crate) struct Start {
    /// A storage node's address, larder1…; may be repeated: what more than half of them hold is
    /// stored, so three may lose one
    #[arg(long = "provider", value_name = "ADDRESS")]
    providers: Vec<Address>,
    /// The wallet's LSP, as node_id@ip:port; may be repeated
    #[arg(long = "lsp", value_name = "PEER")]
    lsps: Vec<PeerAddress>,
    /// A relay behind the LSP for requests and answers to pass; may be repeated
    #[arg(long = "relay", value_name = "NODE_ID")]
    relays: Vec<NodeId>,
    /// Take the root key from its 12 or 24 words, in this file or as they are typed
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "-",
        conflicts_with = "root_file"
    )]
    words: Option<PathBuf>,
    /// Take the root key itself, 64 digits, from this file (- for standard input)
    #[arg(long, value_name = "FILE")]
    root_file: Option<PathBuf>,
}

impl Start {
    /// The root key that was kept, if one was named.
    pub(crate) fn root(&self) -> Result<Option<RootKey>, CliError> {
        match (&self.words, &self.root_file) {
            (Some(path), _) => {
                let text = read(path, "type the words, and Enter behind the last:")?;
                let root = RootKey::from_words(&text);
                // No path: which word it is says more than where it was read.
                root.map(Some)
                    .map_err(|error| CliError::Usage(error.to_string()))
            }
            (None, Some(path)) => {
                let text = read(path, "type the 64 digits of the root key, and Enter:")?;
                let wrong = |error| CliError::Usage(format!("{}: {error}", path.display()));
                text.parse().map(Some).map_err(wrong)
            }
            (None, None) => Ok(None),
        }
    }

    /// The way to the storage nodes; refused when a part of it is missing.
    pub(crate) fn settings(self) -> Result<Settings, CliError> {
        if self.providers.is_empty() || self.lsps.is_empty() {
            return Err(CliError::Usage(
                "a new wallet needs a storage node and an LSP: --provider larder1… --lsp node_id@ip:port"
                    .to_owned(),
            ));
        }
        check_providers(&self.providers)?;
        Ok(Settings {
            providers: self.providers,
            lsps: self.lsps,
            relays: self.relays,
            cache_mib: CACHE_MIB,
        })
    }
}

/// Text from a file, from standard input to its end, or one line from a terminal, which is asked for.
fn read(path: &Path, ask: &str) -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = match path.to_str() {
        Some("-") if io::stdin().is_terminal() => {
            // Without standard error it is typed unasked.
            let _ = writeln!(io::stderr(), "{ask}");
            io::stdin().read_line(&mut text)
        }
        Some("-") => io::stdin().take(LONGEST).read_to_string(&mut text),
        _ => {
            std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        }
    };
    read.map_err(CliError::file("read", path))?;
    Ok(text)
}

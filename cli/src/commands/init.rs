//! `larder init`: make a wallet.

use std::path::{Path, PathBuf};

use larder_onion::{NodeId, PeerAddress};
use larder_protocol::Address;
use larder_recovery::RootKey;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::{Folder, Index, Settings};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The storage node's address, larder1…
    #[arg(long, value_name = "ADDRESS")]
    provider: Address,
    /// The wallet's LSP, as node_id@ip:port; may be repeated
    #[arg(long = "lsp", value_name = "PEER", required = true)]
    lsps: Vec<PeerAddress>,
    /// A relay behind the LSP for requests and answers to pass; may be repeated
    #[arg(long = "relay", value_name = "NODE_ID")]
    relays: Vec<NodeId>,
    /// Take the root key from this file (- for standard input) instead of drawing a new one;
    /// then run `larder restore`
    #[arg(long, value_name = "FILE")]
    root_file: Option<PathBuf>,
}

pub(crate) fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    let settings = Settings {
        provider: args.provider,
        lsps: args.lsps,
        relays: args.relays,
    };
    let (root, index) = match &args.root_file {
        None => (
            RootKey::generate(&mut StdRng::from_os_rng()),
            Index::empty(),
        ),
        Some(path) => {
            let text = Zeroizing::new(read_text(path).map_err(CliError::file("read", path))?);
            let wrong = |error| CliError::Usage(format!("{}: {error}", path.display()));
            (text.parse().map_err(wrong)?, Index::unknown())
        }
    };
    folder.create(&root, &settings, &index)?;
    let kept = args.root_file.is_some();
    let (file, folder) = (folder.root_key(), &folder.path);
    let json = json!({
        "wallet": folder.display().to_string(),
        "root_file": file.display().to_string(),
        "restore_next": kept,
    });
    output.result(&json, || match kept {
        true => format!("made {}; now run `larder restore`", folder.display()),
        false => format!(
            "made {}\n\nCopy {} to a safe place: it is the root key, and all you need to get \
             everything back.",
            folder.display(),
            file.display()
        ),
    })
}

fn read_text(path: &Path) -> std::io::Result<String> {
    match path.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(path),
    }
}

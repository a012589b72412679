//! `larder init`: make a wallet.

use std::path::{Path, PathBuf};

use larder_onion::{NodeId, PeerAddress};
use larder_protocol::Address;
use larder_recovery::RootKey;
use larder_recovery::quorum::Policy;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::output::Output;
use crate::wallet::{Folder, Known, Settings, check_providers};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A storage node's address, larder1…; may be repeated: what more than half of them hold is
    /// stored, so three may lose one
    #[arg(long = "provider", value_name = "ADDRESS", required = true)]
    providers: Vec<Address>,
    /// The wallet's LSP, as node_id@ip:port; may be repeated
    #[arg(long = "lsp", value_name = "PEER", required = true)]
    lsps: Vec<PeerAddress>,
    /// A relay behind the LSP for requests and answers to pass; may be repeated
    #[arg(long = "relay", value_name = "NODE_ID")]
    relays: Vec<NodeId>,
    /// Take the root key from this file (- for standard input) instead of drawing a new one;
    /// then run `larder restore`, for which one of the storage nodes is enough
    #[arg(long, value_name = "FILE")]
    root_file: Option<PathBuf>,
}

pub(crate) fn run(args: Args, folder: &Folder, output: &Output) -> Result<(), CliError> {
    check_providers(&args.providers)?;
    let settings = Settings {
        providers: args.providers,
        lsps: args.lsps,
        relays: args.relays,
    };
    let (root, known) = match &args.root_file {
        None => (
            RootKey::generate(&mut StdRng::from_os_rng()),
            Some(Known::default()),
        ),
        Some(path) => {
            let text = Zeroizing::new(read_text(path).map_err(CliError::file("read", path))?);
            let wrong = |error| CliError::Usage(format!("{}: {error}", path.display()));
            (text.parse().map_err(wrong)?, None)
        }
    };
    folder.create(&root, &settings, known.as_ref())?;
    let kept = args.root_file.is_some();
    let (file, folder) = (folder.root_key(), &folder.path);
    let policy = Policy::majority(settings.providers.len());
    let json = json!({
        "wallet": folder.display().to_string(),
        "root_file": file.display().to_string(),
        "restore_next": kept,
        "providers": settings.providers.len(),
        "acknowledge": policy.acknowledge,
        "recover": policy.recover,
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

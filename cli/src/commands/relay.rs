//! `larder relay`: a stock LDK relay on loopback that plays the LSP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use larder_onion::{PeerHost, Relay, RelayConfig};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::json;
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::output::Output;
use crate::secret_file;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "SOCKET", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Another relay to stay connected to, as node_id@host:port; may be repeated
    #[arg(long = "connect", value_name = "PEER")]
    connect: Vec<PeerHost>,
    /// Keep the relay's identity in this file, which is made if there is none; otherwise it has
    /// a new one every time
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), CliError> {
    let seed = match &args.seed_file {
        Some(path) => kept_seed(path)?,
        None => Zeroizing::new(StdRng::from_os_rng().random()),
    };
    let config = RelayConfig {
        listen: args.listen,
        ..RelayConfig::loopback(*seed)
    };
    let mut relay = Relay::start(config).await?;
    for peer in args.connect {
        relay.connect(peer);
    }
    let address = relay.address();
    let json = json!({ "lsp": address.to_string(), "ready": true });
    output.result(&json, || format!("lsp  {address}\nready"))?;
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| CliError::Failed(format!("cannot wait for Ctrl-C: {error}")))?;
    relay.shutdown().await;
    Ok(())
}

/// The seed in a file, which is made on the first use.
fn kept_seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, CliError> {
    let mut seed = Zeroizing::new([0; 32]);
    match secret_file::read(path)? {
        Some(text) => hex::decode_to_slice(text.trim(), seed.as_mut())
            .map_err(|_| CliError::Usage(format!("{} holds no seed: 64 digits", path.display())))?,
        None => {
            StdRng::from_os_rng().fill_bytes(seed.as_mut());
            let digits = Zeroizing::new(hex::encode(*seed));
            secret_file::create(path, &digits).map_err(CliError::file("create", path))?;
        }
    }
    Ok(seed)
}

//! `larder relay`: a stock LDK relay on loopback that plays the LSP.

use std::net::SocketAddr;

use larder_onion::{PeerAddress, Relay, RelayConfig};
use rand::RngCore;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use crate::error::CliError;
use crate::output::Output;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 lets the system choose
    #[arg(long, value_name = "SOCKET", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Another relay to stay connected to, as node_id@ip:port; may be repeated
    #[arg(long = "connect", value_name = "PEER")]
    connect: Vec<PeerAddress>,
}

pub(crate) async fn run(args: Args, output: &Output) -> Result<(), CliError> {
    let mut seed = [0; 32];
    StdRng::from_os_rng().fill_bytes(&mut seed);
    let config = RelayConfig {
        listen: args.listen,
        ..RelayConfig::loopback(seed)
    };
    let mut relay = Relay::start(config).await?;
    for peer in args.connect {
        relay.connect(peer);
    }
    let address = relay.address();
    output.result(&json!({ "lsp": address.to_string() }), || {
        format!("lsp  {address}\nready")
    });
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| CliError::Failed(format!("cannot wait for Ctrl-C: {error}")))?;
    relay.shutdown().await;
    Ok(())
}

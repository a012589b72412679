//! A stock relay with whatever is to go wrong in front of it, driven by a seed.
//!
//! Asked to end (SIGTERM) it prints how often each fault happened.

use std::time::Duration;

use clap::Parser;
use larder_onion::{Faults, Relay, RelayConfig};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Args {
    /// Of each message, how likely it is dropped
    #[arg(long, default_value_t = 0.0)]
    drop: f64,
    /// Of each message, how likely it is sent twice
    #[arg(long, default_value_t = 0.0)]
    duplicate: f64,
    /// Milliseconds by which every message is late at most
    #[arg(long, default_value_t = 0)]
    delay: u64,
    /// All connections are cut after every so many messages
    #[arg(long)]
    disconnect_every: Option<u64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let faults = Faults {
        drop: args.drop,
        duplicate: args.duplicate,
        delay: Duration::from_millis(args.delay),
        disconnect_every: args.disconnect_every,
        seed: args.seed,
        ..Faults::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let relay = Relay::start(RelayConfig {
            faults,
            ..RelayConfig::loopback([5; 32])
        })
        .await?;
        println!("lsp  {}\nready", relay.address());
        terminate.recv().await;
        let counts = relay.fault_counts();
        println!("dropped {}", counts.dropped);
        println!("duplicated {}", counts.duplicated);
        println!("delayed {}", counts.delayed);
        println!("disconnected {}", counts.disconnected);
        Ok(())
    })
}

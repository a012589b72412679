//! A storage node that lies as it is told, a line at a time (`tests/attacker/src/lie.rs` lists what it understands).

use std::path::PathBuf;

use clap::Parser;
use larder_onion::PeerHost;

#[derive(Parser)]
struct Args {
    #[arg(long)]
    data_dir: PathBuf,
    #[arg(long = "lsp")]
    lsps: Vec<PeerHost>,
}

fn main() {
    let args = Args::parse();
    larder_attacker::larderd::run(&args.data_dir, &args.lsps);
}

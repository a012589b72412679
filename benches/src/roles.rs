//! What the processes of a benchmark over onion messages do.

use std::error::Error;

use larder_node::config::{Payment, TillKind};
use larder_node::{Config, Node};
use larder_onion::{PeerAddress, Relay, RelayConfig, Service, ServiceConfig};
use tokio::runtime::Runtime;

use crate::{actor, paid, transport};

/// To this line a storage node answers with its address.
pub(crate) const ADDRESS: &str = "address";

/// Plays the role this process was started for, if it was started for one. A new role is a new
/// line here.
pub(crate) fn play_if_cast() -> Result<bool, Box<dyn Error>> {
    let Some((role, script)) = actor::part() else {
        return Ok(false);
    };
    match (role.as_str(), script.as_slice()) {
        ("relay", []) => relay()?,
        ("echo", [lsp]) => service(lsp.parse()?, |contents| contents.to_vec())?,
        ("node", [lsp]) => node(lsp.parse()?, Payment::None)?,
        ("paid-node", [lsp]) => node(lsp.parse()?, Payment::Credentials(TillKind::Instant))?,
        ("client", [lsp, node]) => transport::client::play(lsp.parse()?, node.parse()?)?,
        ("paying-client", [lsp, address]) => paid::client::play(lsp.parse()?, &address.parse()?)?,
        _ => return Err(format!("there is no role {role} with such a script").into()),
    }
    Ok(true)
}

/// A stock LDK relay. Says its address.
fn relay() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let relay = runtime.block_on(Relay::start(RelayConfig::loopback([1; 32])))?;
    actor::perform(&relay.address().to_string(), |_| Err("unknown line".into()))
}

/// A service connected to `lsp` that answers with `handler`, on one thread per core. Says
/// its node id.
fn service(
    lsp: PeerAddress,
    handler: impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let mut config = ServiceConfig::new([2; 32]);
    config.connect_to = vec![lsp];
    let (service, intake) = runtime.block_on(async {
        let (service, intake) = Service::start(config).await?;
        service.wait_connected().await;
        Ok::<_, Box<dyn Error>>((service, intake))
    })?;
    for _ in 0..std::thread::available_parallelism()?.get() {
        let (intake, handler) = (intake.clone(), handler.clone());
        std::thread::spawn(move || {
            while let Some(incoming) = intake.recv() {
                // A client that misses its answer asks again, and that is counted there.
                let _ = incoming.responder.answer(&handler(&incoming.contents));
            }
        });
    }
    actor::perform(&service.node_id().to_string(), |_| {
        Err("unknown line".into())
    })
}

/// A storage node with a store in a folder of its own, connected to `lsp`. Says its node id.
fn node(lsp: PeerAddress, payment: Payment) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let mut config = Config::load(None, Some(folder.path()), [])?;
    config.lsps = vec![lsp];
    config.payment = payment;
    config.free_space_floor = 0;
    let node = runtime.block_on(async {
        let node = Node::start(&config).await?;
        node.wait_connected().await;
        Ok::<_, Box<dyn Error>>(node)
    })?;
    let id = node.node_id().to_string();
    actor::perform(&id, |line| match line {
        ADDRESS => Ok(node.address().to_string()),
        _ => Err("unknown line".into()),
    })?;
    runtime.block_on(node.shutdown());
    Ok(())
}

//! What the processes of a benchmark over onion messages do.

use std::error::Error;
use std::sync::Arc;

use larder_node::config::{Payment, TillKind};
use larder_node::{Config, Node};
use larder_onion::{PeerAddress, Relay, RelayConfig, Service, ServiceConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::paid::flooder::Flooder;
use crate::{actor, paid, transport};

/// To this line a storage node answers with its address.
pub(crate) const ADDRESS: &str = "address";

const PAID: Payment = Payment::Credentials(TillKind::Instant);

/// Plays the role this process was started for, if it was started for one. A new role is a new
/// line here.
pub(crate) fn play_if_cast() -> Result<bool, Box<dyn Error>> {
    let Some((role, script)) = actor::part() else {
        return Ok(false);
    };
    match (role.as_str(), script.as_slice()) {
        ("relay", []) => relay()?,
        ("echo", [lsp]) => service(lsp.parse()?, |contents| contents.to_vec())?,
        ("node", [lsp]) => Stage::set(lsp.parse()?, Payment::None, None)?.play()?,
        ("paid-node", [lsp]) => Stage::set(lsp.parse()?, PAID, None)?.play()?,
        ("flooded-node", [lsp]) => Stage::set(lsp.parse()?, PAID, None)?.play_flooded()?,
        // Without an allowance for opens.
        ("open-node", [lsp]) => Stage::set(lsp.parse()?, PAID, Some(u32::MAX))?.play_flooded()?,
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
    config.connect_to = vec![lsp.into()];
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

/// A storage node with a store in a folder of its own, connected to `lsp`.
struct Stage {
    lsp: PeerAddress,
    node: Arc<Node>,
    runtime: Runtime,
    _folder: TempDir,
}

impl Stage {
    fn set(lsp: PeerAddress, payment: Payment, opens: Option<u32>) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let runtime = Runtime::new()?;
        let mut config = Config::load(None, Some(folder.path()), [])?;
        config.lsps = vec![lsp.into()];
        config.payment = payment;
        config.free_space_floor = 0;
        config.listen = ([127, 0, 0, 1], 0).into();
        if let Some(opens) = opens {
            config.breakglass.opens_per_second = opens;
        }
        let node = runtime.block_on(async {
            let node = Node::start(&config).await?;
            node.wait_connected().await;
            Ok::<_, Box<dyn Error>>(node)
        })?;
        Ok(Stage {
            lsp,
            node: Arc::new(node),
            runtime,
            _folder: folder,
        })
    }

    /// Says its node id and, when it is asked, its address.
    fn play(self) -> Result<(), Box<dyn Error>> {
        self.perform(|_| Err("unknown line".into()))?;
        self.end();
        Ok(())
    }

    /// The same, with a flooder inside that takes orders.
    fn play_flooded(self) -> Result<(), Box<dyn Error>> {
        let connected = self
            .runtime
            .block_on(Flooder::connect(self.node.clone(), self.lsp));
        let mut flooder = connected.ok_or("the node does not listen")?;
        self.perform(|order| flooder.obey(serde_json::from_str(order)?))?;
        drop(flooder);
        self.end();
        Ok(())
    }

    fn perform(
        &self,
        mut other: impl FnMut(&str) -> Result<String, Box<dyn Error>>,
    ) -> Result<(), Box<dyn Error>> {
        actor::perform(&self.node.node_id().to_string(), |line| match line {
            ADDRESS => Ok(self.node.address().to_string()),
            line => other(line),
        })
    }

    fn end(self) {
        if let Some(node) = Arc::into_inner(self.node) {
            self.runtime.block_on(node.shutdown());
        }
    }
}

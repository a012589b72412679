//! What the processes of a transport benchmark do.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use larder_node::config::Payment;
use larder_node::{Config, Node};
use larder_onion::{
    Circuits, CircuitsConfig, Destination, NodeId, PeerAddress, Relay, RelayConfig, Service,
    ServiceConfig,
};
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{BLOB_LEN, Call, Done, Nonce, Refusal, Reply, Request, SizeClass, envelope};
use larder_store::suite::sample;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::actor;

/// What a client asks for, over and over.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Its own bytes back, from the echo.
    Echo,
    /// To store a new blob, from the storage node.
    Inserts,
    /// One of the blobs that inserts stored.
    Lookups,
}

impl Work {
    /// The contents of one request.
    fn request(self, number: u64) -> Option<Vec<u8>> {
        let nonce = Nonce([0x5a; 32]);
        let key = sample::key(number);
        let call = match self {
            Work::Echo => return Some(vec![0x5a; BLOB_LEN]),
            Work::Inserts => Call::Insert(Insert {
                key,
                blob: sample::blob(number),
            }),
            Work::Lookups => Call::Lookup(Lookup { key }),
        };
        envelope::wrap(&Request::unpaid(nonce, call).encode(), SizeClass::Big)
    }

    /// Whether this is what was asked for.
    fn is_answered_by(self, number: u64, contents: &[u8]) -> bool {
        let reply = || {
            Some(
                Reply::decode(envelope::unwrap(contents).ok()?)
                    .ok()?
                    .outcome,
            )
        };
        match self {
            Work::Echo => contents.len() == BLOB_LEN,
            // A retry whose first answer was lost finds its own blob.
            Work::Inserts => matches!(
                reply(),
                Some(Ok(Done::Inserted) | Err(Refusal::AlreadyExists { .. }))
            ),
            Work::Lookups => reply() == Some(Ok(Done::Found(sample::blob(number)))),
        }
    }
}

/// An order to a client.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What it asks for.
    pub(crate) work: Work,
    /// Requests under way at once.
    pub(crate) in_flight: usize,
    /// Messages let out per connection at most.
    pub(crate) window: u16,
    /// Requests in all.
    pub(crate) round_trips: usize,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Wall time from the first request to the last answer.
    pub(crate) seconds: f64,
    /// Requests that were answered.
    pub(crate) answered: usize,
    /// Requests sent, retries included.
    pub(crate) sent: u64,
}

/// Plays the role this process was started for, if it was started for one. A new role, such
/// as a storage node in place of the echo, is a new line here.
pub(crate) fn play_if_cast() -> Result<bool, Box<dyn Error>> {
    let Some((role, script)) = actor::part() else {
        return Ok(false);
    };
    match (role.as_str(), script.as_slice()) {
        ("relay", []) => relay()?,
        ("echo", [lsp]) => service(lsp.parse()?, |contents| contents.to_vec())?,
        ("node", [lsp]) => node(lsp.parse()?)?,
        ("client", [lsp, node]) => client(lsp.parse()?, node.parse()?)?,
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
pub(crate) fn service(
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
fn node(lsp: PeerAddress) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let runtime = Runtime::new()?;
    let mut config = Config::load(None, Some(folder.path()), [])?;
    config.lsps = vec![lsp];
    config.payment = Payment::None;
    config.free_space_floor = 0;
    let node = runtime.block_on(async {
        let node = Node::start(&config).await?;
        node.wait_connected().await;
        Ok::<_, Box<dyn Error>>(node)
    })?;
    let id = node.node_id().to_string();
    actor::perform(&id, |_| Err("unknown line".into()))?;
    runtime.block_on(node.shutdown());
    Ok(())
}

/// A client of `node` through `lsp` that takes [`Run`]s.
fn client(lsp: PeerAddress, node: NodeId) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    actor::perform("ready", |order| {
        let run: Run = serde_json::from_str(order)?;
        let outcome = runtime.block_on(round_trips(lsp, node, run))?;
        Ok(serde_json::to_string(&outcome)?)
    })
}

async fn round_trips(lsp: PeerAddress, node: NodeId, run: Run) -> Result<Outcome, Box<dyn Error>> {
    let mut config = CircuitsConfig::new(vec![lsp]);
    config.window_max = run.window;
    let circuits = Arc::new(Circuits::start(config)?);
    circuits.wait_connected().await;

    let started = Instant::now();
    let begun = Arc::new(AtomicUsize::new(0));
    let mut lanes = JoinSet::new();
    for _ in 0..run.in_flight {
        let (circuits, begun) = (Arc::clone(&circuits), Arc::clone(&begun));
        lanes.spawn(async move {
            let to = Destination::new(node);
            let (mut answered, mut sent) = (0, 0);
            loop {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number >= run.round_trips {
                    break;
                }
                let number = number as u64;
                let contents = run.work.request(number).unwrap_or_default();
                match circuits.request(&to, &contents).await {
                    Ok(reply) if run.work.is_answered_by(number, &reply.contents) => {
                        answered += 1;
                        sent += u64::from(reply.attempts);
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            (answered, sent)
        });
    }
    let (mut answered, mut sent) = (0, 0);
    while let Some(lane) = lanes.join_next().await {
        let lane = lane?;
        answered += lane.0;
        sent += lane.1;
    }
    Ok(Outcome {
        seconds: started.elapsed().as_secs_f64(),
        answered,
        sent,
    })
}

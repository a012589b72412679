//! A running storage node: start, threads, graceful shutdown.
//!
//! | threads | what they do |
//! | --- | --- |
//! | the async runtime's | sockets and timers, nothing else |
//! | `larder-serve-n`, one per core | peel a request, serve reads, hand writes on |
//! | `larder-commit`, one | group commit |
//! | `larder-answer-n`, one per core | sign and send the answers of writes |

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use larder_onion::{PeerAddress, Service, ServiceConfig};
use larder_protocol::{Address, NodeId};
use larder_store::{Committer, Limits, Options, SledEngine, Usage};
use tokio::sync::watch;

use crate::answer::Signer;
use crate::identity::Identity;
use crate::pipeline::{Failure, Gate, Pipeline, Tally};
use crate::{Config, NodeError};

/// How long a shutdown waits for writes under way.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// How long a shutdown waits for answers on their way to a peer.
const DRAIN: Duration = Duration::from_secs(5);

/// A running storage node.
pub struct Node {
    pipeline: Arc<Pipeline>,
    service: Service,
    serving: Vec<JoinHandle<()>>,
    answering: Vec<JoinHandle<()>>,
    address: Address,
}

/// What the node saw since its start: plain numbers, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Onion messages that arrived.
    pub arrived: u64,
    /// Of those, dropped for want of room.
    pub dropped: u64,
    /// Of those, dropped because they were no requests to this node.
    pub rejected: u64,
    /// Requests for the parameter record.
    pub info: u64,
    /// Inserts.
    pub inserts: u64,
    /// Deletes.
    pub deletes: u64,
    /// Look-ups.
    pub lookups: u64,
    /// Requests that could not be read.
    pub malformed: u64,
    /// Answers queued for a peer.
    pub answered: u64,
    /// Answers that found no room.
    pub undelivered: u64,
}

/// What a node that has stopped leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// What it saw, to its very end.
    pub seen: Seen,
    /// What it stores, unless the disk does not tell.
    pub usage: Option<Usage>,
}

impl Node {
    /// Opens the data folder, making it on the first start, and serves from the current tokio
    /// runtime on.
    ///
    /// # Errors
    /// [`NodeError`], each with what to do.
    pub async fn start(config: &Config) -> Result<Self, NodeError> {
        create_folder(&config.data_dir)?;
        // The data folder may have been there before, and be open to others.
        let store = config.data_dir.join("store");
        create_folder(&store)?;
        close_to_others(&store)?;
        let options = Options {
            cache_bytes: config.cache_bytes,
            free_space_floor: config.free_space_floor,
            ..Options::default()
        };
        let engine = Arc::new(SledEngine::open(&store, options)?);
        // After the store, whose lock keeps another process from making another seed.
        let identity = Identity::load_or_create(&config.data_dir.join("seed"))?;
        let limits = Limits {
            queue: config.writes_in_flight,
            ..Limits::default()
        };
        let committer = Committer::start(engine.clone(), limits)?;

        let (service, intake) = Service::start(ServiceConfig {
            listen: Some(config.listen),
            connect_to: config.lsps.clone(),
            max_inbound_peers: config.inbound_peers,
            ..ServiceConfig::new(identity.onion_seed())
        })
        .await?;
        let node_id = service.node_id();
        let signer = Signer::unpaid(&identity, node_id);
        let introductions = config.lsps.iter().map(|lsp| lsp.node_id).collect();
        let address = Address::new(signer.server_key, node_id, introductions);

        let (written, outcomes) = channel();
        let pipeline = Arc::new(Pipeline {
            engine,
            signer,
            committer,
            written,
            writes: Gate::new(config.writes_in_flight),
            failure: Failure::new(),
            tally: Tally::default(),
        });
        let outcomes = Arc::new(Mutex::new(outcomes));
        let (mut serving, mut answering) = (Vec::new(), Vec::new());
        for number in 0..config.workers {
            let (served_by, intake) = (pipeline.clone(), intake.clone());
            serving.push(spawn(format!("larder-serve-{number}"), move || {
                while let Some(incoming) = intake.recv() {
                    served_by.serve(incoming);
                }
            })?);
            // The channel ends with the pipeline, so these threads must not keep it alive.
            let (pipeline, outcomes) = (Arc::downgrade(&pipeline), outcomes.clone());
            answering.push(spawn(format!("larder-answer-{number}"), move || {
                loop {
                    let next = outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let (Ok(written), Some(pipeline)) = (next, pipeline.upgrade()) else {
                        return;
                    };
                    written.answer(&pipeline.signer);
                }
            })?);
        }
        // Ends with the service.
        tokio::spawn(log_connections(
            service.watch_connected(),
            config.lsps.len(),
        ));
        Ok(Node {
            pipeline,
            service,
            serving,
            answering,
            address,
        })
    }

    /// What clients need to find this node.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The Lightning node id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.address.node_id()
    }

    /// Where Lightning peers may connect.
    #[must_use]
    pub fn listens(&self) -> Option<PeerAddress> {
        self.service.address()
    }

    /// Waits until all configured LSPs are connected.
    pub async fn wait_connected(&self) {
        self.service.wait_connected().await;
    }

    /// Plain numbers since the start.
    #[must_use]
    pub fn seen(&self) -> Seen {
        seen(&self.service, &self.pipeline.tally)
    }

    /// What is stored, and the room it takes.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub fn usage(&self) -> Result<Usage, NodeError> {
        Ok(self.pipeline.engine.usage()?)
    }

    /// Waits until nothing can be written any more: a commit has failed, which was logged. Then
    /// only a new start helps; until then, look-ups are served.
    pub async fn failed(&self) {
        self.pipeline.failure.told().await;
    }

    /// Takes no more writes, finishes and answers those under way (for at most 30 seconds), and
    /// closes the store. What was acknowledged is durable in any case.
    pub async fn shutdown(self) -> Stopped {
        // What comes in from now on is left to the client's retry.
        self.service.stop_intake();
        join(self.serving).await;
        let writes = self.pipeline.writes.clone();
        let finished = tokio::task::spawn_blocking(move || writes.close(SHUTDOWN)).await;
        if !matches!(finished, Ok(true)) {
            tracing::warn!(
                "writes were still under way when the node stopped; none was acknowledged"
            );
        }
        // Whoever takes no answers for so long loses them, and asks again.
        self.service.drain(DRAIN).await;
        let stopped = Stopped {
            seen: seen(&self.service, &self.pipeline.tally),
            usage: self.pipeline.engine.usage().ok(),
        };
        self.service.shutdown().await;
        drop(self.pipeline);
        join(self.answering).await;
        stopped
    }
}

fn seen(service: &Service, tally: &Tally) -> Seen {
    let network = service.counters();
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Seen {
        arrived: network.arrived,
        dropped: network.dropped + read(&tally.shed),
        rejected: network.rejected,
        info: read(&tally.info),
        inserts: read(&tally.inserts),
        deletes: read(&tally.deletes),
        lookups: read(&tally.lookups),
        malformed: read(&tally.malformed),
        answered: network.answered,
        undelivered: network.undelivered,
    }
}

/// Waits for threads that have been told to end.
async fn join(threads: Vec<JoinHandle<()>>) {
    let all_well = move || {
        let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        ended.iter().all(Result::is_ok)
    };
    if !matches!(tokio::task::spawn_blocking(all_well).await, Ok(true)) {
        tracing::error!("a thread of the node has panicked: please report it");
    }
}

/// Tells the operator how many LSPs are connected, whenever that changes; never which.
async fn log_connections(mut connected: watch::Receiver<usize>, of: usize) {
    // Whoever wants none is not missing any.
    if of == 0 {
        return;
    }
    loop {
        match *connected.borrow_and_update() {
            0 => tracing::warn!(of, "no LSP is connected: clients do not reach this node"),
            now if now < of => tracing::warn!(now, of, "some LSPs are not connected"),
            now => tracing::info!(now, of, "all LSPs are connected"),
        }
        if connected.changed().await.is_err() {
            return;
        }
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NodeError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(run)
        .map_err(NodeError::Thread)
}

fn create_folder(folder: &Path) -> Result<(), NodeError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| NodeError::File {
            doing: "create the data folder",
            path: folder.to_owned(),
            source,
        })
}

fn close_to_others(folder: &Path) -> Result<(), NodeError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|source| {
        NodeError::File {
            doing: "close to other users",
            path: folder.to_owned(),
            source,
        }
    })
}

//! A running storage node: start, threads, graceful shutdown.
//!
//! | threads | what they do |
//! | --- | --- |
//! | the async runtime's | sockets and timers, nothing else |
//! | `larder-serve-n`, one per core | peel a request, refuse what is cheap to refuse, hand on the rest |
//! | `larder-verify-n`, one per core, where clients pay | check proofs, judge, issue |
//! | `larder-commit`, one | group commit |
//! | `larder-answer-n`, one per core | sign and send the answers of what was committed |

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use larder_onion::{PeerAddress, Service, ServiceConfig};
use larder_protocol::{Address, NodeId};
use larder_store::{Committer, Limits, Usage};
use tokio::sync::watch;

use crate::clock::SystemClock;
use crate::config::{Payment, TillKind};
use crate::desk::{Desk, Sale};
use crate::epochs::keep_epochs;
use crate::folder::open_folder;
use crate::identity::Identity;
use crate::pipeline::Pipeline;
use crate::seen::Seen;
use crate::sweep::keep_sweeping;
use crate::till::{Giveaway, Till, Vouchers};
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
    verifying: Vec<JoinHandle<()>>,
    answering: Vec<JoinHandle<()>>,
    address: Address,
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
        let (engine, identity) = open_folder(config, Identity::load_or_create)?;
        let onion_seed = identity.onion_seed();
        let sale = sale(config, &identity);
        let paid = sale.is_some();
        let clock = Arc::new(SystemClock);
        let desk = Desk::open(engine.clone(), identity, sale, config.breakglass, clock)?;
        let limits = Limits {
            queue: config.writes_in_flight,
            ..Limits::default()
        };
        let committer = Committer::start(engine, limits)?;

        let (service, intake) = Service::start(ServiceConfig {
            listen: Some(config.listen),
            connect_to: config.lsps.clone(),
            max_inbound_peers: config.inbound_peers,
            ..ServiceConfig::new(onion_seed)
        })
        .await?;
        let introductions = config.lsps.iter().map(|lsp| lsp.node_id).collect();
        let address = Address::new(desk.server_key(), service.node_id(), introductions);

        let (committed, outcomes) = channel();
        let (verifiers, room) = (config.workers, config.writes_in_flight);
        let pipeline = Arc::new(Pipeline::new(desk, committer, committed, verifiers, room));
        let outcomes = Arc::new(Mutex::new(outcomes));
        let (mut serving, mut verifying, mut answering) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..config.workers {
            let (served_by, intake) = (pipeline.clone(), intake.clone());
            serving.push(spawn(format!("larder-serve-{number}"), move || {
                while let Some(incoming) = intake.recv() {
                    served_by.serve(incoming);
                }
            })?);
            if paid {
                let (verified_by, unverified) = (pipeline.clone(), pipeline.unverified.clone());
                verifying.push(spawn(format!("larder-verify-{number}"), move || {
                    while let Some(batch) = unverified.take() {
                        verified_by.verify(batch);
                    }
                })?);
            }
            // The channel ends with the pipeline, so these threads must not keep it alive.
            let (pipeline, outcomes) = (Arc::downgrade(&pipeline), outcomes.clone());
            answering.push(spawn(format!("larder-answer-{number}"), move || {
                loop {
                    let next = outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let (Ok(committed), Some(pipeline)) = (next, pipeline.upgrade()) else {
                        return;
                    };
                    pipeline.conclude(committed);
                }
            })?);
        }
        // These end with the desk.
        tokio::spawn(keep_sweeping(Arc::downgrade(&pipeline.desk)));
        if paid {
            tokio::spawn(keep_epochs(Arc::downgrade(&pipeline.desk)));
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
            verifying,
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
        Seen::of(&self.service, &self.pipeline.desk.tally)
    }

    /// What is stored, and the room it takes.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub fn usage(&self) -> Result<Usage, NodeError> {
        Ok(self.pipeline.desk.engine.usage()?)
    }

    /// Tokens that clients can have, whether they still do or not: what was sold, less what was
    /// spent, plus what was refunded. None on a node that serves for free.
    ///
    /// # Errors
    /// [`NodeError::Store`].
    pub fn outstanding(&self) -> Result<u128, NodeError> {
        Ok(self.pipeline.desk.engine.supply()?.outstanding)
    }

    /// Enters the next epoch at once; nothing on a node that serves for free.
    ///
    /// # Errors
    /// [`NodeError`]; the epoch is the one that the store has come to.
    pub async fn enter_next_epoch(&self) -> Result<(), NodeError> {
        let desk = self.pipeline.desk.clone();
        let entered = tokio::task::spawn_blocking(move || desk.enter_next_epoch()).await;
        entered.unwrap_or(Err(NodeError::Stopped))
    }

    /// Waits until nothing can be written any more: a commit has failed, which was logged. Then
    /// only a new start helps; until then, look-ups are served.
    pub async fn failed(&self) {
        self.pipeline.desk.failure.told().await;
    }

    /// Takes a message as if it had just come in from `peer`, which is connected. For benchmarks.
    #[cfg(feature = "bench")]
    pub fn hand_over(&self, peer: NodeId, message: &larder_onion::OnionMessage) {
        self.service.hand_over(peer, message);
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.pipeline.desk
    }

    /// Takes no more writes, finishes and answers those under way (for at most 30 seconds), and
    /// closes the store. What was acknowledged is durable in any case.
    pub async fn shutdown(self) -> Stopped {
        // What comes in from now on is left to the client's retry.
        self.service.stop_intake();
        join(self.serving).await;
        let gate = self.pipeline.gate.clone();
        let finished = tokio::task::spawn_blocking(move || gate.close(SHUTDOWN)).await;
        if !matches!(finished, Ok(true)) {
            tracing::warn!(
                "writes were still under way when the node stopped; none was acknowledged"
            );
        }
        self.pipeline.unverified.close();
        join(self.verifying).await;
        // Whoever takes no answers for so long loses them, and asks again.
        self.service.drain(DRAIN).await;
        let stopped = Stopped {
            seen: Seen::of(&self.service, &self.pipeline.desk.tally),
            usage: self.pipeline.desk.engine.usage().ok(),
        };
        self.service.shutdown().await;
        drop(self.pipeline);
        join(self.answering).await;
        stopped
    }
}

/// What the configuration says clients pay for, and where.
pub(crate) fn sale(config: &Config, identity: &Identity) -> Option<Sale> {
    let till: Arc<dyn Till> = match config.payment {
        Payment::None => return None,
        Payment::Credentials(TillKind::Voucher) => Arc::new(Vouchers::new(identity)),
        Payment::Credentials(TillKind::Instant) => Arc::new(Giveaway),
    };
    let offer = config.offer.clone();
    Some(Sale { offer, till })
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

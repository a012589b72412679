//! A running storage node: start, threads, graceful shutdown.
//!
//! The async runtime's threads look after sockets and timers and do nothing else; requests are the
//! work of a crew (`crew.rs`) of others.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use larder_onion::{Intake, PeerAddress, Service, ServiceConfig};
use larder_protocol::{Address, NodeId};
use larder_store::{Committer, Engine, Limits, Usage};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{Payment, TillKind};
use crate::crew::{Crew, join};
use crate::desk::{Desk, Sale};
use crate::epochs::keep_epochs;
use crate::folder::{Missing, open_folder};
use crate::identity::Identity;
use crate::pipeline::Pipeline;
use crate::seen::Seen;
use crate::sweep::keep_sweeping;
use crate::terms::Terms;
use crate::till::{Giveaway, Till, Vouchers};
use crate::{Config, NodeError, published};

/// How long a shutdown waits for writes under way.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// How long a shutdown waits for answers on their way to a peer.
const DRAIN: Duration = Duration::from_secs(5);

/// A running storage node.
pub struct Node {
    pipeline: Arc<Pipeline>,
    service: Service,
    crew: Crew,
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
        tell_of_choices(config);
        let missing = match config.new_store {
            true => Missing::Store,
            false => Missing::Both,
        };
        let (engine, identity) = open_folder(config, missing)?;
        let onion_seed = identity.onion_seed();
        let desk = open_desk(config, engine.clone(), identity, config.clock())?;
        let paid = desk.till.is_some();
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
        let crew = Crew::hire(config.workers, paid, &pipeline, &intake, outcomes)?;
        // These end with the desk.
        tokio::spawn(keep_sweeping(Arc::downgrade(&pipeline.desk)));
        tokio::spawn(published::keep_published(
            pipeline.desk.watch_terms(),
            published::path(&config.data_dir),
        ));
        if paid {
            tokio::spawn(keep_epochs(Arc::downgrade(&pipeline.desk)));
            tokio::spawn(keep_passes(pipeline.desk.watch_terms(), intake));
        }
        // Ends with the service.
        tokio::spawn(log_connections(
            service.watch_connected(),
            config.lsps.len(),
        ));
        Ok(Node {
            pipeline,
            service,
            crew,
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

    /// Answers the contents of one message on the calling thread. For benchmarks: what a flood is made of is bought
    /// here.
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn answer(&self, contents: &[u8]) -> Vec<u8> {
        self.pipeline.desk.answer(contents)
    }

    /// The parameter record, as everybody gets it. For benchmarks.
    #[cfg(feature = "bench")]
    #[must_use]
    pub fn record(&self) -> larder_protocol::SignedRecord {
        self.pipeline.desk.record()
    }

    pub(crate) fn desk(&self) -> &Desk {
        &self.pipeline.desk
    }

    /// Takes no more writes, finishes and answers those under way (for at most 30 seconds), and
    /// closes the store. What was acknowledged is durable in any case.
    pub async fn shutdown(self) -> Stopped {
        // What comes in from now on is left to the client's retry.
        self.service.stop_intake();
        let Crew {
            serving,
            verifying,
            answering,
        } = self.crew;
        join(serving).await;
        let gate = self.pipeline.gate.clone();
        let finished = tokio::task::spawn_blocking(move || gate.close(SHUTDOWN)).await;
        if !matches!(finished, Ok(true)) {
            tracing::warn!(
                "writes were still under way when the node stopped; none was acknowledged"
            );
        }
        self.pipeline.unverified.close();
        self.pipeline.strange.close();
        join(verifying).await;
        let desk = self.pipeline.desk.clone();
        // A store that has stopped has told why.
        let _ = tokio::task::spawn_blocking(move || desk.note_time()).await;
        // Whoever takes no answers for so long loses them, and asks again.
        self.service.drain(DRAIN).await;
        let stopped = Stopped {
            seen: Seen::of(&self.service, &self.pipeline.desk.tally),
            usage: self.pipeline.desk.engine.usage().ok(),
        };
        self.service.shutdown().await;
        drop(self.pipeline);
        join(answering).await;
        stopped
    }
}

/// Tells of what an operator may have forgotten to have chosen.
fn tell_of_choices(config: &Config) {
    if let Some(kept) = &config.passed_over {
        tracing::warn!(
            "the data folder is {}, as systemd says with STATE_DIRECTORY; there is another node in {}, which is left \
             alone. If that is the one you mean, name it with --data-dir or LARDERD_DATA_DIR",
            config.data_dir.display(),
            kept.display()
        );
    }
    if config.trust_clock {
        tracing::warn!(
            "this machine's clock is believed without question, as --trust-clock says: that is for one start. Start \
             without it the next time, or a clock that is wrong by then begins an epoch and voids tokens"
        );
    }
}

/// Opens the desk, and publishes its terms. What was published before is the witness of epochs that the store has
/// forgotten.
pub(crate) fn open_desk(
    config: &Config,
    engine: Arc<dyn Engine>,
    identity: Identity,
    clock: Arc<dyn Clock>,
) -> Result<Arc<Desk>, NodeError> {
    let published_at = published::path(&config.data_dir);
    // A store that knows its epochs needs no witness; what is damaged is written anew then.
    let needs_witness = config.payment != Payment::None && engine.epochs()?.is_none();
    let passed = match needs_witness {
        true => published::entered(&published_at)?,
        false => None,
    };
    let sale = sale(config, &identity);
    let desk = Desk::open_after(passed, engine, identity, sale, config.breakglass, clock)?;
    published::write_or_warn(&published_at, &desk.terms());
    Ok(desk)
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

/// Honours the passes of each epoch; ends with the desk.
async fn keep_passes(mut terms: watch::Receiver<Arc<Terms>>, intake: Intake) {
    loop {
        intake.honour(terms.borrow_and_update().honoured());
        if terms.changed().await.is_err() {
            return;
        }
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

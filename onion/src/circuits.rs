//! The client's end: send these bytes along a circuit and await the answer.
//!
//! Promises: a request that is lost is sent again, with identical bytes, over another
//! connection and other relays when there are; an answer to an earlier attempt still counts;
//! duplicates and replies that nobody asked for are dropped. At most a window of messages is
//! in flight per connection, and the window adapts ([`LinkReport`] says what it has learnt). A
//! first attempt shows the pass of its request, always: what was lost before, or who made it
//! so, must not tell one client from the others.
//!
//! Fails with [`RequestError`] when the time is used up, however often it was sent until then:
//! a storage node that restarts is waited for. It may have performed the request all the same:
//! delivery is *at least once*.

mod circuit;
mod progress;

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lightning::onion_message::messenger;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::circuit::Circuit;
use self::progress::Progress;
use crate::desk::{Attempts, Context, Desk, Outcome, Place};
use crate::error::{Blame, OnionError, RequestError};
use crate::keys::Unbuilt;
use crate::link;
use crate::lock;
use crate::mailroom::Answers;
use crate::net::Tasks;
use crate::pacer::{Pace, PacerLimits};
use crate::parcel::Parcel;
use crate::peer_host::PeerHost;
use crate::routes::{Destination, Route, Routes};
use crate::trouble::Trouble;
use larder_protocol::{NodeId, REQUEST_TLV};

/// Where circuits begin, what they pass, and how patient they are.
#[derive(Clone, Debug)]
pub struct CircuitsConfig {
    /// The client's LSPs. A storage node that listens can be one, at the cost of showing it
    /// the client's address.
    pub first_hops: Vec<PeerHost>,
    /// Connections to each first hop, every one with a node id of its own. A relay with
    /// channels takes at most 250 peers without one, for all clients together: keep it at 2
    /// to 4.
    pub connections_per_hop: usize,
    /// Relays behind the first hops. Any two that may follow one another are connected.
    pub relays: Vec<NodeId>,
    /// How many of `relays` a message passes, each way.
    pub relays_per_way: usize,
    /// Messages in flight per connection at the start.
    pub window_start: u16,
    /// Messages in flight per connection at most. LDK relays hold 8 big ones per next hop and
    /// drop the 9th.
    pub window_max: u16,
    /// No attempt is given up earlier; from then on, four round trips are waited for.
    pub min_timeout: Duration,
    /// When to give an attempt up while no round trip was measured yet.
    pub first_timeout: Duration,
    /// How long a request may take from the moment it first gets a place in a window. The wait
    /// for that moment behind other requests is not held against the storage node. It ends all
    /// the same when no first hop was connected for this long.
    pub deadline: Duration,
}

impl CircuitsConfig {
    /// The defaults: two connections per hop, no relays behind it, a window of 4 up to 8, and
    /// a minute for each request.
    #[must_use]
    pub fn new(first_hops: impl IntoIterator<Item = impl Into<PeerHost>>) -> Self {
        CircuitsConfig {
            first_hops: first_hops.into_iter().map(Into::into).collect(),
            connections_per_hop: 2,
            relays: Vec::new(),
            relays_per_way: 1,
            window_start: 4,
            window_max: 8,
            min_timeout: Duration::from_millis(500),
            first_timeout: Duration::from_secs(2),
            deadline: Duration::from_secs(60),
        }
    }
}

/// An answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// What the storage node sent, opaque here.
    pub contents: Vec<u8>,
    /// How often the request was sent.
    pub attempts: u32,
    /// From sending the attempt that was answered to its answer.
    pub round_trip: Duration,
}

/// What a connection to a first hop has learnt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkReport {
    /// The relay at its other end.
    pub first_hop: NodeId,
    /// Whether it is up.
    pub connected: bool,
    /// Window, round trip, and the rate at which this hop seems to drop.
    pub pace: Pace,
}

/// After a lost connection the request goes out on another. Where those are lost as well, this
/// is how fast it is tried again.
const LINK_LOST_PAUSE: Duration = Duration::from_millis(100);

/// A client's presence on the network. Dropping it ends all connections.
pub struct Circuits {
    config: CircuitsConfig,
    shared: Arc<Shared>,
    runtime: Handle,
    links: usize,
    tasks: Tasks,
    #[cfg(feature = "bench")]
    shortcut: Option<crate::shortcut::Shortcut>,
}

/// What every request needs.
struct Shared {
    desk: Arc<Desk>,
    /// By number of the link.
    first_hops: Vec<PeerHost>,
    routes: Routes,
    last_route: Mutex<Option<Route>>,
    deadline: Duration,
}

impl Circuits {
    /// Starts to connect, on the current Tokio runtime, of whichever flavour. Every
    /// connection has one thread that peels replies; every request is a task of this runtime,
    /// and takes it 1 ms of CPU time to build.
    ///
    /// # Errors
    /// [`OnionError::NoFirstHop`] when the configuration names none.
    pub fn start(config: CircuitsConfig) -> Result<Circuits, OnionError> {
        let kept = config.clone();
        let per_hop = config.connections_per_hop.max(1);
        let hops = config.first_hops.iter().cloned();
        let hops: Vec<PeerHost> = hops
            .cycle()
            .take(config.first_hops.len() * per_hop)
            .collect();
        if hops.is_empty() {
            return Err(OnionError::NoFirstHop);
        }
        let window_max = config.window_max.max(1);
        let limits = PacerLimits {
            start: f64::from(config.window_start.clamp(1, window_max)),
            max: f64::from(window_max),
            min_timeout: config.min_timeout,
            first_timeout: config.first_timeout,
        };
        let desk = Arc::new(Desk::new(hops.iter().map(|hop| hop.node_id), limits));
        let mut tasks = Tasks::default();
        #[cfg(feature = "bench")]
        let shortcut = crate::shortcut::Shortcut::of(&config);
        #[cfg(feature = "bench")]
        let through_sockets = shortcut.is_none();
        #[cfg(not(feature = "bench"))]
        let through_sockets = true;
        // Every message in flight may be answered, and answered twice.
        let inbox = 2 * usize::from(window_max) + 16;
        if through_sockets {
            tasks.spawn(Arc::clone(&desk).keep_clock());
            for (index, hop) in hops.iter().cloned().enumerate() {
                tasks.spawn(link::keep(Arc::clone(&desk), index, hop, inbox));
            }
        }
        Ok(Circuits {
            links: hops.len(),
            config: kept,
            shared: Arc::new(Shared {
                desk,
                first_hops: hops,
                routes: Routes::new(config.relays, config.relays_per_way),
                last_route: Mutex::new(None),
                deadline: config.deadline,
            }),
            runtime: Handle::current(),
            tasks,
            #[cfg(feature = "bench")]
            shortcut,
        })
    }

    /// Waits until every connection is up. A request does not need it: it waits itself.
    pub async fn wait_connected(&self) {
        let mut connected = self.shared.desk.connected();
        // The sender lives in the desk we hold.
        let _ = connected.wait_for(|up| *up == self.links).await;
    }

    /// Waits until no first hop is connected and it is known why, which takes two seconds at most where they are tried
    /// for the first time. Returns each with its reason, once; a request goes on trying all the same.
    pub async fn cut_off(&self) -> Vec<(PeerHost, Trouble)> {
        let mut troubled = self.shared.desk.troubled();
        // The sender lives in the desk we hold.
        let _ = troubled.wait_for(|down| *down == self.links).await;
        self.shared.troubles()
    }

    /// Connections that are up.
    #[must_use]
    pub fn connected(&self) -> usize {
        *self.shared.desk.connected().borrow()
    }

    /// What each connection has learnt.
    #[must_use]
    pub fn report(&self) -> Vec<LinkReport> {
        self.shared.report()
    }

    /// Messages that arrived and were no answer to anything awaited: garbage, replies with no
    /// context or a foreign one, duplicates.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.shared.desk.unmatched.get()
    }

    /// Sends `contents` to a storage node and waits for the answer. Dropping the future
    /// gives the request up.
    ///
    /// The request makes its way on a task of its own: a caller who looks after something else
    /// for a while must not keep its place in a window from others, least of all from itself.
    ///
    /// # Errors
    /// [`RequestError`], which says how often it was sent and where it got stuck.
    pub async fn request(&self, to: &Destination, contents: &[u8]) -> Result<Reply, RequestError> {
        #[cfg(feature = "bench")]
        if let Some(shortcut) = &self.shortcut {
            return shortcut.request(to, contents).await;
        }
        let (shared, to, contents) = (Arc::clone(&self.shared), to.clone(), contents.to_vec());
        // A set, because it gives its task up when it is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(
            async move { shared.request(&to, &contents).await },
            &self.runtime,
        );
        joined(task).await
    }

    /// The same, so much later, by a presence that is made for it: it begins where this one does and passes the same, with
    /// one connection to each first hop and node ids that nobody has seen. Neither a relay nor a storage node that
    /// listens can tell it to be of one client with anything else.
    ///
    /// # Errors
    /// As [`Circuits::request`].
    pub async fn request_apart(
        &self,
        to: &Destination,
        contents: &[u8],
        after: Duration,
    ) -> Result<Reply, RequestError> {
        let (to, contents) = (to.clone(), contents.to_vec());
        let config = CircuitsConfig {
            connections_per_hop: 1,
            ..self.config.clone()
        };
        let mut task = JoinSet::new();
        task.spawn_on(
            async move {
                sleep(after).await;
                // There is a first hop, or this one would not have begun.
                let apart = Circuits::start(config).map_err(|_| RequestError::ShutDown)?;
                let reply = apart.request(&to, &contents).await;
                apart.shutdown().await;
                reply
            },
            &self.runtime,
        );
        joined(task).await
    }

    /// Ends all connections; requests still waiting fail.
    pub async fn shutdown(mut self) {
        self.shared.desk.close();
        std::mem::take(&mut self.tasks).end().await;
    }
}

/// What the only task of a set came to.
async fn joined(mut task: JoinSet<Result<Reply, RequestError>>) -> Result<Reply, RequestError> {
    match task.join_next().await {
        Some(Ok(result)) => result,
        Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Some(Err(_)) | None => Err(RequestError::ShutDown),
    }
}

impl Drop for Circuits {
    fn drop(&mut self) {
        self.shared.desk.close();
    }
}

impl Shared {
    async fn request(&self, to: &Destination, contents: &[u8]) -> Result<Reply, RequestError> {
        let mut turn = self.desk.queue(None);
        let place = tokio::select! {
            biased;
            place = turn.come() => place.ok_or(RequestError::ShutDown)?,
            () = self.cut_off() => return Err(RequestError::Unreachable {
                attempts: 0,
                blame: Blame::NotConnected(self.troubles()),
            }),
        };
        let mut progress = Progress::default();
        let in_time = timeout(
            self.deadline,
            self.pursue(place, to, contents, &mut progress),
        );
        match in_time.await {
            Ok(result) => result,
            Err(_) => Err(self.unreachable(&progress)),
        }
    }

    /// Ends when no connection was up for a whole deadline.
    async fn cut_off(&self) {
        let mut connected = self.desk.connected();
        loop {
            // The sender lives in the desk we hold.
            let _ = connected.wait_for(|up| *up == 0).await;
            let up_again = connected.wait_for(|up| *up > 0);
            if timeout(self.deadline, up_again).await.is_err() {
                return;
            }
        }
    }

    async fn pursue(
        &self,
        mut place: Place,
        to: &Destination,
        contents: &[u8],
        progress: &mut Progress,
    ) -> Result<Reply, RequestError> {
        let mut attempts = Attempts::new(&self.desk);
        loop {
            let (context, patience) = self.send(&place, to, contents, &mut attempts, progress)?;
            let pause = match timeout(patience, attempts.outcome(&context)).await {
                Ok(Outcome::Answer(answer)) => return Ok(progress.reply(answer)),
                Ok(Outcome::LinkLost(_)) => LINK_LOST_PAUSE,
                Err(_) => {
                    attempts.give_up(&context);
                    progress.give_up();
                    patience * progress.backoff()
                }
            };
            // The place is free for others in the meantime.
            if let Ok(answer) = timeout(pause, attempts.answer()).await {
                return Ok(progress.reply(answer));
            }
            let mut turn = self.desk.queue(Some(place.link));
            progress.queue();
            place = tokio::select! {
                biased;
                answer = attempts.answer() => return Ok(progress.reply(answer)),
                place = turn.come() => place.ok_or(RequestError::ShutDown)?,
            };
            progress.leave_queue();
        }
    }

    /// Sends one attempt along a fresh circuit. Returns its context, and how long to wait.
    fn send(
        &self,
        place: &Place,
        to: &Destination,
        contents: &[u8],
        attempts: &mut Attempts,
        progress: &mut Progress,
    ) -> Result<(Context, Duration), RequestError> {
        let route = self.draw_route(place.first_hop, to, progress.sent);
        let circuit = Circuit::new(place.first_hop, route, to);
        let context: Context = rand::random();
        let keys = &place.endpoint.keys;
        let reply_path = keys.path_to_us(&circuit.back, &context);
        let request = Parcel {
            tlv_type: REQUEST_TLV,
            bytes: contents.to_vec(),
        };
        // What has room only without a pass goes without.
        let fits = contents.len() <= circuit.request_room_with_pass();
        let pass = to.pass.filter(|_| progress.shows_pass() && fits);
        let node = to.node_id.point();
        let destination = match pass.and_then(|pass| keys.path_with(&pass, node)) {
            Some(path) => messenger::Destination::BlindedPath(path),
            None => messenger::Destination::Node(node),
        };
        let built = keys.build(
            circuit.there.clone(),
            destination,
            request,
            Some(reply_path),
        );

        progress.sent += 1;
        if progress.hops.is_empty() {
            progress.hops = circuit.hops();
        }
        let patience = attempts.begin(place, context, circuit.hops());
        match built {
            // A refusal means that the peer has just gone. That the link is lost is about
            // to be the outcome of this attempt.
            Ok((peer, message)) => {
                let _ = place.endpoint.send(&peer, message, Answers::WithoutPass);
            }
            Err(Unbuilt::DoesNotFit | Unbuilt::BadPath) => {
                return Err(RequestError::DoesNotFit {
                    got: contents.len(),
                    room: circuit.request_room(),
                });
            }
        }
        Ok((context, patience))
    }

    fn unreachable(&self, progress: &Progress) -> RequestError {
        let links = self.report();
        let up = links.iter().filter(|link| link.connected);
        let rate = |link: &&LinkReport| link.pace.per_second.unwrap_or(f64::INFINITY);
        let slowest = up.min_by(|a, b| rate(a).total_cmp(&rate(b)));
        let blame = match (slowest, self.desk.most_lossy(&progress.hops)) {
            (None, _) => Blame::NotConnected(self.troubles()),
            (Some(_), Some(hop)) if progress.queued() * 2 < self.deadline => Blame::Loses(hop),
            (Some(link), _) => Blame::Limits(link.first_hop),
        };
        RequestError::Unreachable {
            attempts: progress.sent,
            blame,
        }
    }

    /// First hops that are not connected, each once, with the reason.
    fn troubles(&self) -> Vec<(PeerHost, Trouble)> {
        let mut troubles: Vec<(PeerHost, Trouble)> = Vec::new();
        for (hop, trouble) in self.first_hops.iter().zip(self.desk.troubles()) {
            let known = troubles.iter().any(|(known, _)| known == hop);
            if let Some(trouble) = trouble.filter(|_| !known) {
                troubles.push((hop.clone(), trouble));
            }
        }
        troubles
    }

    fn report(&self) -> Vec<LinkReport> {
        let link = |(first_hop, connected, pace)| LinkReport {
            first_hop,
            connected,
            pace,
        };
        self.desk.paces().into_iter().map(link).collect()
    }

    fn draw_route(&self, first_hop: NodeId, to: &Destination, attempt: u32) -> Route {
        let mut last = lock(&self.last_route);
        let route = self
            .routes
            .draw(first_hop, to, attempt, last.as_ref(), &mut rand::rng());
        last.insert(route).clone()
    }
}

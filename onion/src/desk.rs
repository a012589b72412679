//! Where requests get their place in a first hop's window, and answers their request.
//!
//! Promises: places go in the order of asking, retries first; a place or an attempt that is
//! dropped (its future was cancelled) is given back; an answer counts only when it carries
//! the context of an attempt that is still awaited.
//!
//! No sockets: [`Desk`] is handed endpoints and told what happened.

mod attempts;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::counter::Counter;
use crate::endpoint::Endpoint;
use crate::lock;
use crate::pacer::{Pace, Pacer, PacerLimits, Ready};
use crate::trouble::Trouble;
pub(crate) use attempts::{Attempts, Turn};
use larder_protocol::NodeId;

/// What comes back with a reply and says to which attempt it belongs. Random.
pub(crate) type Context = [u8; 32];

/// What an attempt can come to.
pub(crate) enum Outcome {
    /// It, or an earlier attempt of the same request, was answered.
    Answer(Answer),
    /// The connection the attempt went out on is gone, and its answer with it.
    LinkLost(Context),
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) contents: Vec<u8>,
    /// From sending the attempt that was answered.
    pub(crate) round_trip: Duration,
}

/// The state that requests and links share.
pub(crate) struct Desk {
    state: Mutex<State>,
    /// The clock task has to look at `wake_at` again.
    rewind: Notify,
    connected: watch::Sender<usize>,
    /// How many links are down, and it is known why.
    troubled: watch::Sender<usize>,
    started: Instant,
    /// Replies without a context, with a foreign one, or to nobody who still waits.
    pub(crate) unmatched: Counter,
}

struct State {
    links: Vec<Link>,
    waiting: VecDeque<Waiter>,
    attempts: HashMap<Context, Attempt>,
    tallies: HashMap<NodeId, Tally>,
    /// When a place becomes free by the passing of time alone.
    wake_at: Option<Duration>,
    closed: bool,
}

struct Link {
    first_hop: NodeId,
    pacer: Pacer,
    limits: PacerLimits,
    endpoint: Option<Arc<Endpoint>>,
    /// Why it could not be connected; none while it is, or while it is tried for the first time.
    trouble: Option<Trouble>,
}

struct Waiter {
    avoid: Option<usize>,
    place: oneshot::Sender<Place>,
}

struct Attempt {
    link: usize,
    sent_at: Duration,
    /// Not given up yet: its place is taken.
    in_flight: bool,
    hops: Vec<NodeId>,
    outcome: mpsc::UnboundedSender<Outcome>,
}

/// How requests fared that passed a node.
#[derive(Clone, Copy, Default)]
struct Tally {
    sent: u64,
    answered: u64,
}

/// Leave to send one message over a link.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) link: usize,
    pub(crate) first_hop: NodeId,
    pub(crate) endpoint: Arc<Endpoint>,
}

impl Desk {
    /// One link per entry of `first_hops`, none of them connected yet.
    pub(crate) fn new(first_hops: impl Iterator<Item = NodeId>, limits: PacerLimits) -> Self {
        let links = first_hops
            .map(|first_hop| Link {
                first_hop,
                pacer: Pacer::new(limits),
                limits,
                endpoint: None,
                trouble: None,
            })
            .collect();
        Desk {
            state: Mutex::new(State {
                links,
                waiting: VecDeque::new(),
                attempts: HashMap::new(),
                tallies: HashMap::new(),
                wake_at: None,
                closed: false,
            }),
            rewind: Notify::new(),
            connected: watch::Sender::new(0),
            troubled: watch::Sender::new(0),
            started: Instant::now(),
            unmatched: Counter::default(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Changes the state and hands out the places that have become free.
    fn change<T>(&self, change: impl FnOnce(&mut State, Duration) -> T) -> T {
        let now = self.now();
        let mut state = lock(&self.state);
        let result = change(&mut state, now);
        let before = state.wake_at;
        state.hand_out(now);
        if state.wake_at != before {
            self.rewind.notify_one();
        }
        result
    }

    /// A link is up.
    pub(crate) fn link_up(&self, link: usize, endpoint: Arc<Endpoint>) {
        self.change(|state, _| {
            let link = &mut state.links[link];
            link.endpoint = Some(endpoint);
            link.trouble = None;
        });
        self.connected.send_modify(|count| *count += 1);
        self.count_troubles();
    }

    /// A link could not be connected, or is not for a while.
    pub(crate) fn link_fails(&self, link: usize, trouble: Trouble) {
        lock(&self.state).links[link].trouble = Some(trouble);
        self.count_troubles();
    }

    fn count_troubles(&self) {
        let troubles = self.troubles();
        self.troubled
            .send_replace(troubles.iter().flatten().count());
    }

    /// Why each link is down; none where it is up, or tried for the first time.
    pub(crate) fn troubles(&self) -> Vec<Option<Trouble>> {
        let state = lock(&self.state);
        state.links.iter().map(|link| link.trouble).collect()
    }

    /// How many links are down for a known reason, as they come and go.
    pub(crate) fn troubled(&self) -> watch::Receiver<usize> {
        self.troubled.subscribe()
    }

    /// A link is down. What was in flight on it will not come back, and what was learnt of
    /// it may not hold for the next one.
    pub(crate) fn link_down(&self, link: usize) {
        self.change(|state, _| {
            let down = &mut state.links[link];
            down.endpoint = None;
            down.pacer = Pacer::new(down.limits);
            for (context, attempt) in &mut state.attempts {
                if attempt.link == link && std::mem::take(&mut attempt.in_flight) {
                    // The request may have ended in this very moment.
                    let _ = attempt.outcome.send(Outcome::LinkLost(*context));
                }
            }
        });
        self.connected.send_modify(|count| *count -= 1);
    }

    /// Links that are up, as they come and go.
    pub(crate) fn connected(&self) -> watch::Receiver<usize> {
        self.connected.subscribe()
    }

    /// Refuses places from now on.
    pub(crate) fn close(&self) {
        self.change(|state, _| {
            state.closed = true;
            state.waiting.clear();
        });
    }

    /// Queues for a place, on another link than `avoid` if another is up. A retry goes
    /// before first attempts.
    pub(crate) fn queue(self: &Arc<Self>, avoid: Option<usize>) -> Turn {
        let (place, turn) = oneshot::channel();
        self.change(|state, _| {
            let waiter = Waiter { avoid, place };
            if state.closed {
                // Dropping the waiter tells the turn.
            } else if avoid.is_some() {
                let retries = state.waiting.iter().take_while(|one| one.avoid.is_some());
                state.waiting.insert(retries.count(), waiter);
            } else {
                state.waiting.push_back(waiter);
            }
        });
        Turn {
            desk: Arc::clone(self),
            turn,
        }
    }

    /// Hands out places that become free with time. Never ends.
    pub(crate) async fn keep_clock(self: Arc<Self>) {
        loop {
            let wake_at = lock(&self.state).wake_at;
            let sleep = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(self.started + at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => self.change(|_, _| ()),
                () = self.rewind.notified() => {}
            }
        }
    }

    /// A reply that some peer handed to one of our endpoints.
    pub(crate) fn deliver(&self, context: Option<Vec<u8>>, contents: Vec<u8>) {
        let context = context.and_then(|bytes| Context::try_from(bytes).ok());
        let matched = self.change(|state, now| {
            let attempt = state.attempts.remove(&context?)?;
            let pacer = &mut state.links[attempt.link].pacer;
            if attempt.in_flight {
                pacer.answered(now, attempt.sent_at);
            } else {
                pacer.answered_late(now, attempt.sent_at);
            }
            for hop in &attempt.hops {
                state.tallies.entry(*hop).or_default().answered += 1;
            }
            let answer = Answer {
                contents,
                round_trip: now.saturating_sub(attempt.sent_at),
            };
            attempt.outcome.send(Outcome::Answer(answer)).ok()
        });
        if matched.is_none() {
            self.unmatched.add();
        }
    }

    /// What each link has learnt.
    pub(crate) fn paces(&self) -> Vec<(NodeId, bool, Pace)> {
        let state = lock(&self.state);
        let links = state.links.iter();
        links
            .map(|link| (link.first_hop, link.endpoint.is_some(), link.pacer.pace()))
            .collect()
    }

    /// Of `hops`, the one where the largest share of requests got lost; of equals the last.
    pub(crate) fn most_lossy(&self, hops: &[NodeId]) -> Option<NodeId> {
        let state = lock(&self.state);
        let answered = |hop: &NodeId| {
            let tally = state.tallies.get(hop).copied().unwrap_or_default();
            tally.answered as f64 / tally.sent.max(1) as f64
        };
        let by_share = |a: &&NodeId, b: &&NodeId| answered(b).total_cmp(&answered(a));
        hops.iter().max_by(by_share).copied()
    }
}

impl State {
    /// Gives places to whoever is first in line and may use them.
    fn hand_out(&mut self, now: Duration) {
        let mut next = 0;
        while next < self.waiting.len() {
            let Some(link) = self.pick(self.waiting[next].avoid, now) else {
                next += 1;
                continue;
            };
            let Some(waiter) = self.waiting.remove(next) else {
                break;
            };
            let Some(endpoint) = self.links[link].endpoint.clone() else {
                break;
            };
            let place = Place {
                link,
                first_hop: self.links[link].first_hop,
                endpoint,
            };
            self.links[link].pacer.sent(now);
            if waiter.place.send(place).is_err() {
                self.links[link].pacer.abandoned();
            }
        }
        let up = self.links.iter().filter(|link| link.endpoint.is_some());
        let times = up.filter_map(|link| match link.pacer.ready(now) {
            Ready::At(time) => Some(time),
            Ready::Now | Ready::Full => None,
        });
        self.wake_at = times.min().filter(|_| !self.waiting.is_empty());
    }

    /// The least busy link that may send now.
    fn pick(&self, avoid: Option<usize>, now: Duration) -> Option<usize> {
        let up = |link: &usize| self.links[*link].endpoint.is_some();
        let others = (0..self.links.len())
            .filter(up)
            .any(|link| Some(link) != avoid);
        let share = |link: &usize| {
            let pace = self.links[*link].pacer.pace();
            pace.in_flight as f64 / pace.window
        };
        (0..self.links.len())
            .filter(up)
            .filter(|link| Some(*link) != avoid || !others)
            .filter(|link| self.links[*link].pacer.ready(now) == Ready::Now)
            .min_by(|a, b| share(a).total_cmp(&share(b)))
    }
}

impl State {
    /// The link may have gone, and come back as another, since the place was given.
    fn is_current(&self, place: &Place) -> bool {
        let endpoint = self.links[place.link].endpoint.as_ref();
        endpoint.is_some_and(|endpoint| Arc::ptr_eq(endpoint, &place.endpoint))
    }

    fn forget(&mut self, context: &Context) {
        if let Some(attempt) = self.attempts.remove(context)
            && attempt.in_flight
        {
            self.links[attempt.link].pacer.abandoned();
        }
    }
}

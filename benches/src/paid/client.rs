//! A client that pays, where payment is asked for.
//!
//! What a paid request costs its client must not show in the storage node's figures. So the
//! client does everything beforehand: it buys as many pairs as there are requests in a run,
//! builds all requests, and only then is the clock started. Replacements are taken in after the
//! clock has stopped; they pay for the next run. So are passes: what is
//! paid for shows the one that came with an answer of an earlier run.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use larder_credentials::{InFlight, Unspent};
use larder_onion::{Circuits, CircuitsConfig, Destination, PeerAddress};
use larder_protocol::{
    Address, Call, Done, Pass, Payment, Quote, Record, Reply, ServerKey, envelope,
};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::wallet::{Wallet, Work, contents, on_all_cores, paid, reply};
use crate::actor;

/// Requests under way while pairs are bought.
const BUYING: usize = 16;

/// Longer than any run.
pub(crate) const FOREVER: u64 = 3_600;

/// An order to a client.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Buy what is missing to so many pairs. Nothing where nothing is asked for.
    Buy(u64),
    /// Build the requests for so many blobs, from this one on.
    Prepare { work: Work, first: u64, count: u64 },
    /// Send what was built, so many at once, for so many seconds at most.
    Run { in_flight: usize, seconds: u64 },
}

/// What came of a run.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Wall time from the first request to the last answer.
    pub(crate) seconds: f64,
    /// Milliseconds from a request to its answer, of those that were done.
    pub(crate) latencies: Vec<f64>,
    /// Requests in all.
    pub(crate) asked: usize,
    /// Requests sent, retries included.
    pub(crate) sent: u64,
    /// Bytes of a request without its padding.
    pub(crate) request_bytes: usize,
    /// Bytes of a reply without its padding.
    pub(crate) reply_bytes: usize,
}

/// A request that is ready to be sent.
struct Ready {
    work: Option<(Work, u64)>,
    contents: Vec<u8>,
    in_flight: Option<InFlight>,
}

/// A request that was answered.
struct Answered {
    request: Ready,
    contents: Vec<u8>,
    attempts: u32,
    milliseconds: f64,
}

struct Client {
    circuits: Arc<Circuits>,
    to: Destination,
    server: ServerKey,
    wallet: Option<Wallet>,
    pairs: Vec<Unspent>,
    ready: Vec<Ready>,
    /// Answers whose replacements have yet to be taken in.
    done: Vec<(InFlight, Reply)>,
    /// Of the epoch that all runs are in.
    pass: Option<Pass>,
}

/// Plays a client of the node at `address` through `lsp` that takes [`Order`]s.
pub(crate) fn play(lsp: PeerAddress, address: &Address) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let mut client = runtime.block_on(Client::connect(lsp, address))?;
    actor::perform("ready", |order| {
        let outcome = match serde_json::from_str(order)? {
            Order::Buy(pairs) => runtime.block_on(client.buy(pairs)).map(|()| None)?,
            Order::Prepare { work, first, count } => {
                client.prepare(work, first, count).ok_or("cannot pay")?;
                None
            }
            Order::Run { in_flight, seconds } => {
                Some(runtime.block_on(client.run(in_flight, seconds))?)
            }
        };
        Ok(serde_json::to_string(&outcome.unwrap_or_default())?)
    })
}

impl Client {
    async fn connect(lsp: PeerAddress, address: &Address) -> Result<Self, Box<dyn Error>> {
        let circuits = Arc::new(Circuits::start(CircuitsConfig::new(vec![lsp]))?);
        circuits.wait_connected().await;
        let mut client = Client {
            circuits,
            to: Destination::new(address.node_id()),
            server: *address.server_key(),
            wallet: None,
            pairs: Vec::new(),
            ready: Vec::new(),
            done: Vec::new(),
            pass: None,
        };
        let record = client.record().await.ok_or("no record")?;
        client.wallet = Wallet::new(&record);
        Ok(client)
    }

    async fn record(&self) -> Option<Record> {
        let ask = contents(Call::Info, Payment::None)?;
        let answer = self.circuits.request(&self.to, &ask).await.ok()?;
        match reply(&answer.contents)?.outcome {
            Ok(Done::Info(signed)) => signed.verified(&self.server).cloned(),
            _ => None,
        }
    }

    async fn buy(&mut self, pairs: u64) -> Result<(), Box<dyn Error>> {
        self.settle();
        let Some(wallet) = &mut self.wallet else {
            return Ok(());
        };
        let pairs = pairs.saturating_sub(self.pairs.len() as u64);
        let mut claims = Vec::new();
        for _ in 0..pairs.div_ceil(Quote::MAX_TAGS as u64) {
            let (call, quoted) = wallet.quote(None);
            let ask = contents(call, Payment::None).ok_or("no quote fits")?;
            self.circuits.request(&self.to, &ask).await?;
            claims.extend(quoted);
        }
        let wallet = &*wallet;
        let requests = on_all_cores(claims, |claim| {
            let in_flight = wallet.purchase(claim)?;
            Ready::new(None, Call::Purchase, Some(in_flight))
        });
        self.ready = requests.into_iter().flatten().collect();
        self.run(BUYING, FOREVER).await?;
        self.settle();
        Ok(())
    }

    /// Builds requests. `None` when the pairs do not suffice.
    fn prepare(&mut self, work: Work, first: u64, count: u64) -> Option<()> {
        self.settle();
        let (wallet, server) = (self.wallet.as_ref(), &self.server);
        let mut pairs = std::mem::take(&mut self.pairs);
        let items = (first..first + count).map(|number| (number, pairs.pop()));
        let ready = on_all_cores(items.collect(), |(number, pair)| {
            let call = work.call(number, server)?;
            let in_flight = match wallet {
                Some(wallet) => Some(wallet.pay(pair?, &call, work.price(&wallet.prices))?),
                None => None,
            };
            Ready::new(Some((work, number)), call, in_flight)
        });
        self.pairs = pairs;
        self.ready = ready.into_iter().collect::<Option<_>>()?;
        Some(())
    }

    /// Takes in what replaced the pairs of the last run.
    fn settle(&mut self) {
        if let Some(wallet) = &self.wallet {
            let done = std::mem::take(&mut self.done);
            let pairs = on_all_cores(done, |(in_flight, reply)| wallet.accept(in_flight, &reply));
            self.pairs.extend(pairs.into_iter().flatten());
        }
    }

    /// Sends what is ready. The clock runs from here to the last answer, or to the end of the time.
    async fn run(&mut self, in_flight: usize, seconds: u64) -> Result<Outcome, Box<dyn Error>> {
        let ready = std::mem::take(&mut self.ready);
        let mut outcome = Outcome {
            asked: ready.len(),
            ..Outcome::default()
        };
        let queue = Arc::new(Mutex::new(ready.into_iter()));
        let mut lanes = JoinSet::new();
        let started = Instant::now();
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let to_be_paid = Destination {
            pass: self.pass,
            ..self.to.clone()
        };
        for _ in 0..in_flight {
            let circuits = Arc::clone(&self.circuits);
            let (buying, working) = (self.to.clone(), to_be_paid.clone());
            let queue = Arc::clone(&queue);
            lanes.spawn(async move {
                let mut answered = Vec::new();
                while let Some(request) = next(&queue) {
                    let asked = Instant::now();
                    let to = match request.work {
                        Some(_) => &working,
                        None => &buying,
                    };
                    let reply = timeout_at(end, circuits.request(to, &request.contents)).await;
                    let Ok(reply) = reply else { break };
                    if let Ok(reply) = reply {
                        answered.push(Answered {
                            request,
                            contents: reply.contents,
                            attempts: reply.attempts,
                            milliseconds: asked.elapsed().as_secs_f64() * 1e3,
                        });
                    }
                }
                answered
            });
        }
        let mut answered = Vec::new();
        while let Some(lane) = lanes.join_next().await {
            answered.extend(lane?);
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        answered
            .into_iter()
            .for_each(|a| self.take(a, &mut outcome));
        Ok(outcome)
    }

    /// Counts an answer if it is the one that was asked for, and keeps its replacement and its pass.
    fn take(&mut self, answered: Answered, outcome: &mut Outcome) {
        let Ready {
            work,
            contents,
            in_flight,
        } = answered.request;
        let Some(reply) = reply(&answered.contents) else {
            return;
        };
        if work.is_none_or(|(work, number)| work.is_done(number, &reply.outcome)) {
            let body = |contents: &[u8]| envelope::unwrap(contents).map_or(0, <[u8]>::len);
            outcome.latencies.push(answered.milliseconds);
            outcome.sent += u64::from(answered.attempts);
            outcome.request_bytes = body(&contents);
            outcome.reply_bytes = body(&answered.contents);
        }
        if let Some([pass, _]) = reply.extension.passes.as_deref() {
            self.pass = Some(*pass);
        }
        self.done
            .extend(in_flight.map(|in_flight| (in_flight, reply)));
    }
}

impl Ready {
    fn new(work: Option<(Work, u64)>, call: Call, in_flight: Option<InFlight>) -> Option<Self> {
        let payment = in_flight.as_ref().map_or(Payment::None, paid);
        Some(Ready {
            work,
            contents: contents(call, payment)?,
            in_flight,
        })
    }
}

fn next(queue: &Mutex<std::vec::IntoIter<Ready>>) -> Option<Ready> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

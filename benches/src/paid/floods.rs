//! What free opens of breakglass cells take from those who pay, when they arrive at a storage node's
//! intake at ten times what it can serve.
//!
//! Relay, storage node, honest client and flooder are processes and share the machine, so a flood
//! costs the honest client also what it costs to be made and carried. What a node *can* serve is
//! reckoned from the CPU that it takes to serve an open, from the socket to the answer, with all of
//! the machine's cores for nothing else, on a node without an allowance.
//!
//! The flood comes from peers of its own, and through the honest client's relay, in each of both
//! size classes. What arrives is counted by the node, honest requests among it.

use std::error::Error;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use super::Cast;
use super::client;
use super::flooder::Order;
use super::wallet::Work;
use crate::actor::Actor;
use crate::report::{Bar, Report, spread};
use crate::roles::{ADDRESS, LISTENS, MEMORY, SEEN};

const ROUNDS: usize = 3;
/// How much more comes than can be served.
const TIMES: f64 = 10.0;
/// Opens a second while it is measured what one costs, and how long that takes.
const MEASURED: f64 = 400.0;
const MEASURING: Duration = Duration::from_secs(2);
/// How long a run is, the honest inserts that are ready for it, and how many are sent at once.
const SECONDS: u64 = 2;
const INSERTS: u64 = 384;
const IN_FLIGHT: usize = 16;

/// A flood, and what was measured beside it.
struct Flood {
    name: &'static str,
    behind_relay: bool,
    big: bool,
    /// Honest inserts a second, by round, against those without a flood.
    kept: Vec<f64>,
    /// Opens that were poured, and messages that arrived, against what can be served.
    poured: Vec<f64>,
    arrived: Vec<f64>,
    /// The part of these that found room to wait.
    peeled: Vec<f64>,
}

/// What a node says of itself: messages that arrived, and those dropped unseen.
struct Seen {
    arrived: f64,
    dropped: f64,
}

fn seen(node: &mut Actor) -> Result<Seen, Box<dyn Error>> {
    let (arrived, dropped): (f64, f64) = serde_json::from_str(&node.ask(SEEN)?)?;
    Ok(Seen { arrived, dropped })
}

fn flooder(neighbour: &str, node: &mut Actor) -> Result<Actor, Box<dyn Error>> {
    Ok(Actor::cast("flooder", &[neighbour, &node.ask(ADDRESS)?])?)
}

fn pour(flooder: &mut Actor, order: Order) -> Result<f64, Box<dyn Error>> {
    Ok(flooder.ask(&serde_json::to_string(&order)?)?.parse()?)
}

/// Opens of this class that a storage node can serve in a second.
fn servable(big: bool) -> Result<f64, Box<dyn Error>> {
    let relay = Actor::cast("relay", &[])?;
    let mut node = Actor::cast("open-node", &[&relay.address])?;
    let listens = node.ask(LISTENS)?;
    let mut flooder = flooder(&listens, &mut node)?;
    let (cpu, before) = (node.cpu()?, seen(&mut node)?);
    let per_second = MEASURED;
    pour(&mut flooder, Order::Pour { per_second, big })?;
    sleep(MEASURING);
    pour(&mut flooder, Order::Stop)?;
    let after = seen(&mut node)?;
    // On a machine that others use, too, some may find no room.
    let served = (after.arrived - after.dropped) - (before.arrived - before.dropped);
    let each = (node.cpu()? - cpu) / served;
    Ok(available_parallelism()?.get() as f64 / each)
}

/// Takes the figures.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "floods of free opens: {ROUNDS} rounds of {SECONDS} seconds of paid inserts, {IN_FLIGHT} at \
         once, without a flood and beside each; the flooder tries {TIMES} times what the node could \
         serve if it did nothing else, and what left it and what arrived is printed"
    ));
    let flood = |name, behind_relay, big| Flood {
        name,
        behind_relay,
        big,
        kept: Vec::new(),
        poured: Vec::new(),
        arrived: Vec::new(),
        peeled: Vec::new(),
    };
    let mut floods = [
        flood("small, from other peers", false, false),
        flood("big, from other peers", false, true),
        flood("small, through the same relay", true, false),
        flood("big, through the same relay", true, true),
    ];
    let can = [servable(false)?, servable(true)?];
    for (name, can) in ["small", "big"].iter().zip(can) {
        report.value(
            &format!("opens that can be served, {name}"),
            can,
            "per second",
        );
    }
    let (mut alone, mut grown) = (Vec::new(), 0.0_f64);
    for _ in 0..ROUNDS {
        let mut cast = Cast::of("paid-node")?;
        let listens = cast.node.ask(LISTENS)?;
        let mut beside = flooder(&listens, &mut cast.node)?;
        let mut behind = flooder(&cast.relay.address, &mut cast.node)?;
        cast.prepare()?;
        cast.inserts()?;
        for flood in &mut floods {
            cast.prepare()?;
            let rate = cast.inserts()?;
            alone.push(rate);
            cast.prepare()?;
            let memory: f64 = cast.node.ask(MEMORY)?.parse()?;
            let flooder = match flood.behind_relay {
                true => &mut behind,
                false => &mut beside,
            };
            let can = can[usize::from(flood.big)];
            let (big, per_second) = (flood.big, TIMES * can);
            let (before, since) = (seen(&mut cast.node)?, Instant::now());
            pour(flooder, Order::Pour { per_second, big })?;
            let kept = cast.inserts()?;
            let poured = pour(flooder, Order::Stop)?;
            let (after, took) = (seen(&mut cast.node)?, since.elapsed().as_secs_f64());
            let arrived = after.arrived - before.arrived;
            flood.kept.push(kept / rate);
            flood.poured.push(poured / took / can);
            flood.arrived.push(arrived / took / can);
            flood
                .peeled
                .push(1.0 - (after.dropped - before.dropped) / arrived);
            grown = grown.max(cast.node.ask(MEMORY)?.parse::<f64>()? - memory);
        }
    }
    let (rate, low, high) = spread(&mut alone);
    report.value(
        &format!("honest paid inserts, no flood [{low:.0}-{high:.0}]"),
        rate,
        "per second",
    );
    for flood in &mut floods {
        let (poured, low, high) = spread(&mut flood.poured);
        let name = format!("flood, {}: poured [{low:.1}-{high:.1}]", flood.name);
        report.value(&name, poured, "times what can be served");
        let (arrived, low, high) = spread(&mut flood.arrived);
        let name = format!("flood, {}: arrived [{low:.1}-{high:.1}]", flood.name);
        report.value(&name, arrived, "times what can be served");
        let (peeled, low, high) = spread(&mut flood.peeled);
        let name = format!("flood, {}: found room [{low:.2}-{high:.2}]", flood.name);
        report.value(&name, peeled, "of what arrived");
        let (kept, low, high) = spread(&mut flood.kept);
        let name = format!(
            "flood, {}: honest inserts keep [{low:.2}-{high:.2}]",
            flood.name
        );
        report.count(&name, kept, "of their rate", Bar::AtLeast(0.5));
    }
    let name = "floods: what the node's peak grew by during one, at most";
    report.count(name, grown / 1024.0, "MiB", Bar::AtMost(16.0));
    Ok(())
}

impl Cast {
    /// Makes the honest inserts of a run.
    fn prepare(&mut self) -> Result<(), Box<dyn Error>> {
        let (first, count, work) = (self.next, INSERTS, Work::Insert);
        self.next += count;
        self.tell(client::Order::Buy(count))?;
        self.tell(client::Order::Prepare { work, first, count })?;
        Ok(())
    }

    /// Sends them; how many were done in a second.
    fn inserts(&mut self) -> Result<f64, Box<dyn Error>> {
        let (in_flight, seconds) = (IN_FLIGHT, SECONDS);
        let outcome = self.tell(client::Order::Run { in_flight, seconds })?;
        Ok(outcome.latencies.len() as f64 / outcome.seconds)
    }
}

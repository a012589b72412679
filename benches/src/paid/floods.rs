//! What free opens of breakglass cells, and inserts with false payments, take from those who pay, when they arrive at a
//! storage node's intake at ten times what it can serve.
//!
//! The honest client comes through a stock relay, over loopback; both are processes of their own. The
//! flood comes from [inside the node's process](super::flooder), because over sockets it does not
//! come to ten times: flooder, relay and node share the machine, and a message that is carried
//! costs as much as one that is served. What was handed over is counted by the node.
//!
//! What a node *can* serve is reckoned from the CPU that its threads take to serve an open, or to turn a false payment away,
//! from the inbox to the answer, with all of the machine's cores for nothing else, on a node without an
//! allowance.
//!
//! The flood comes from peers of its own, and from the peer through which honest requests come, in
//! each of both size classes where it is of opens. It has no pass. The honest client has one from a run before, and shows it
//! with every first attempt.

use std::error::Error;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use super::Cast;
use super::client::{self, Outcome};
use super::flooder::{Order, Pour, Poured, What};
use super::wallet::Work;
use crate::actor::Actor;
use crate::report::{Bar, Report, spread};

const ROUNDS: usize = 3;
/// How much more comes than can be served.
const TIMES: f64 = 10.0;
/// Opens, or false payments, a second while it is measured what one costs, and how long that takes.
const MEASURED: f64 = 400.0;
const MEASURED_FALSE: f64 = 40.0;
const MEASURING: Duration = Duration::from_secs(2);
/// How long a run is, the honest inserts that are ready for it, and how many are sent at once.
const SECONDS: u64 = 2;
const INSERTS: u64 = 384;
const IN_FLIGHT: usize = 16;

/// The threads that peel and serve what has a pass, and what has none.
const SERVE: &str = "larder-serve";
const YIELD: &str = "larder-yield";
/// Those that check payments with a pass, and without.
const VERIFY: &str = "larder-verify";
const DOUBT: &str = "larder-doubt";
/// Threads of which is told what they took, and what they do.
const THREADS: [(&str, &str); 5] = [
    (SERVE, "peeling and serving with a pass"),
    (YIELD, "peeling and serving without one"),
    (VERIFY, "verifying with a pass"),
    (DOUBT, "verifying without one"),
    ("flood", "handing over"),
];

/// A flood, and what was measured beside it.
struct Flood {
    name: &'static str,
    behind_relay: bool,
    what: What,
    /// Honest inserts a second, by round, against those without a flood.
    kept: Vec<f64>,
    /// Messages that arrived, against what can be served.
    arrived: Vec<f64>,
    /// The part of these that found room to wait.
    peeled: Vec<f64>,
    /// Messages with a pass, against honest inserts.
    with_pass: Vec<f64>,
    /// Cores that [`THREADS`] took.
    cores: [Vec<f64>; THREADS.len()],
    /// KiB that the node's memory grew by at its peak, at most.
    grown: f64,
}

impl Flood {
    fn new(name: &'static str, behind_relay: bool, what: What) -> Self {
        Flood {
            name,
            behind_relay,
            what,
            kept: Vec::new(),
            arrived: Vec::new(),
            peeled: Vec::new(),
            with_pass: Vec::new(),
            cores: Default::default(),
            grown: 0.0,
        }
    }

    /// Adds a round: a run of inserts beside the flood, and their rate without it.
    fn add(&mut self, beside: &Outcome, alone: f64, poured: &Poured, can: f64) {
        self.kept.push(rate(beside) / alone);
        let inserts = beside.latencies.len() as f64;
        self.with_pass.push(poured.with_pass / inserts);
        self.arrived.push(poured.arrived / poured.seconds / can);
        self.peeled.push(1.0 - poured.dropped / poured.arrived);
        for ((name, _), cores) in THREADS.iter().zip(&mut self.cores) {
            let used = poured.cpu.get(*name).copied().unwrap_or_default();
            cores.push(used / poured.seconds);
        }
        self.grown = self.grown.max(poured.grown);
    }

    fn print(&mut self, report: &mut Report) {
        let named = |what: &str, (low, high): (f64, f64)| {
            format!("flood, {}: {what} [{low:.2}-{high:.2}]", self.name)
        };
        let (arrived, low, high) = spread(&mut self.arrived);
        let name = named("arrived", (low, high));
        report.value(&name, arrived, "times what can be served");
        let (peeled, low, high) = spread(&mut self.peeled);
        let name = named("found room", (low, high));
        report.value(&name, peeled, "of what arrived");
        let (with_pass, low, high) = spread(&mut self.with_pass);
        let name = named("messages with a pass", (low, high));
        report.value(&name, with_pass, "per honest insert");
        for ((_, what), cores) in THREADS.iter().zip(&mut self.cores) {
            let (cores, low, high) = spread(cores);
            report.value(&named(what, (low, high)), cores, "cores");
        }
        let name = format!("flood, {}: the node's memory grew by", self.name);
        report.count(&name, self.grown / 1024.0, "MiB", Bar::AtMost(16.0));
        let (kept, low, high) = spread(&mut self.kept);
        let name = named("honest inserts keep", (low, high));
        report.count(&name, kept, "of their rate", Bar::AtLeast(0.5));
    }
}

fn pour(node: &mut Actor, pour: Pour) -> Result<(), Box<dyn Error>> {
    node.ask(&serde_json::to_string(&Order::Pour(pour))?)?;
    Ok(())
}

fn stop(node: &mut Actor) -> Result<Poured, Box<dyn Error>> {
    let poured = node.ask(&serde_json::to_string(&Order::Stop)?)?;
    Ok(serde_json::from_str(&poured)?)
}

/// Messages of this kind that a storage node can serve in a second.
fn servable(what: What) -> Result<f64, Box<dyn Error>> {
    let relay = Actor::cast("relay", &[])?;
    let mut node = Actor::cast("open-node", &[&relay.address])?;
    let measured = Pour {
        per_second: match what {
            What::FalseProofs => MEASURED_FALSE,
            _ => MEASURED,
        },
        what,
        behind_relay: false,
    };
    pour(&mut node, measured)?;
    sleep(MEASURING);
    let poured = stop(&mut node)?;
    // On a machine that others use, too, some may find no room.
    let served = poured.arrived - poured.dropped;
    let by = |name| poured.cpu.get(name).copied().unwrap_or_default();
    let took = by(SERVE) + by(YIELD) + by(VERIFY) + by(DOUBT);
    if took == 0.0 {
        return Err("no thread serves".into());
    }
    Ok(available_parallelism()?.get() as f64 * served / took)
}

/// Takes the figures.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "floods of free opens and of false payments: {ROUNDS} rounds of {SECONDS} seconds of paid inserts, {IN_FLIGHT} at \
         once, without a flood and beside each; {TIMES} times what the node could serve if it did \
         nothing else is handed over at its intake"
    ));
    let floods = [
        Flood::new("small, from other peers", false, What::SmallOpens),
        Flood::new("big, from other peers", false, What::BigOpens),
        Flood::new("small, from the client's own relay", true, What::SmallOpens),
        Flood::new("big, from the client's own relay", true, What::BigOpens),
        Flood::new("false payments, from other peers", false, What::FalseProofs),
        Flood::new(
            "false payments, from the client's own relay",
            true,
            What::FalseProofs,
        ),
    ];
    let mut all_can = Vec::new();
    for (name, what) in [
        ("small opens", What::SmallOpens),
        ("big opens", What::BigOpens),
        ("false payments", What::FalseProofs),
    ] {
        let can = servable(what)?;
        report.value(&format!("{name} that can be served"), can, "per second");
        all_can.push((what, can));
    }
    for mut flood in floods {
        let mut cast = Cast::of("flooded-node")?;
        let mut alone = Vec::new();
        let can = all_can.iter().find(|(what, _)| *what == flood.what);
        let (_, can) = *can.ok_or("a flood of another kind")?;
        let poured = Pour {
            per_second: TIMES * can,
            what: flood.what,
            behind_relay: flood.behind_relay,
        };
        for round in 0..=ROUNDS {
            cast.prepare()?;
            let rate = rate(&cast.inserts()?);
            if round == 0 {
                // The first one warms tables, windows and caches.
                continue;
            }
            alone.push(rate);
            cast.prepare()?;
            pour(&mut cast.node, poured)?;
            let beside = cast.inserts()?;
            flood.add(&beside, rate, &stop(&mut cast.node)?, can);
        }
        let (rate, low, high) = spread(&mut alone);
        let name = format!("honest paid inserts, no flood [{low:.0}-{high:.0}]");
        report.value(&name, rate, "per second");
        flood.print(report);
    }
    Ok(())
}

/// Inserts that were done in a second.
fn rate(run: &Outcome) -> f64 {
    run.latencies.len() as f64 / run.seconds
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

    /// Sends them.
    fn inserts(&mut self) -> Result<Outcome, Box<dyn Error>> {
        let (in_flight, seconds) = (IN_FLIGHT, SECONDS);
        self.tell(client::Order::Run { in_flight, seconds })
    }
}

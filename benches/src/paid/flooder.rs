//! A flood inside the process of its victim: of free opens, half of them with a signature of noise,
//! half well signed, all for cells that do not exist; or of inserts whose payment reads well and has a false proof, without
//! a pass.
//!
//! Every message is one that would get there over a socket, from a peer that is connected, with a
//! path along which its answer leaves. It is made before the flood begins, and handed over where
//! LDK hands over what it has read: a message costs the machine what taking it in costs the
//! node, and nothing for carrying it.

use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::{Duration, Instant};

use larder_attacker::{Attacker, OnionMessage};
use larder_credentials::Unspent;
use larder_node::Node;
use larder_onion::{NodeId, PeerAddress};
use larder_protocol::{
    BreakglassOpen, Call, Key, Nonce, Payment, Request, ServerKey, SizeClass, envelope,
};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};

use super::refused::CHALLENGE;
use super::threads::{self, Threads};
use super::wallet::{Wallet, Work, contents, on_all_cores, paid, reply};
use crate::engine::status;

/// Peers of the node, and one that is behind its relay.
const BESIDE: RangeInclusive<u8> = 101..=104;
const BEHIND: u8 = 105;
/// Opens of each peer, poured round and round.
const OPENS: u64 = 64;
/// The first blob of those that nobody stores: far from those of honest inserts.
const FALSE: u64 = 1 << 40;
/// How often what is due is handed over.
const TICK: Duration = Duration::from_millis(1);

/// An order to a flooder.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Pour.
    Pour(Pour),
    /// Stop, and say what came of it: [`Poured`].
    Stop,
}

/// What is in the messages.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    SmallOpens,
    BigOpens,
    FalseProofs,
}

/// What is to be poured.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pour {
    pub(crate) per_second: f64,
    pub(crate) what: What,
    /// From the peer through which honest requests come, too.
    pub(crate) behind_relay: bool,
}

/// What a node saw while it was poured at, honest requests among it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Poured {
    pub(crate) seconds: f64,
    /// Messages that arrived, and those dropped unseen.
    pub(crate) arrived: f64,
    pub(crate) dropped: f64,
    /// Of those that arrived, the ones that showed a pass: only honest ones can.
    pub(crate) with_pass: f64,
    /// What its memory's peak was above what it had before, in KiB.
    pub(crate) grown: f64,
    /// CPU seconds by threads.
    pub(crate) cpu: Threads,
}

/// Pours at the node of its own process.
pub(crate) struct Flooder {
    node: Arc<Node>,
    beside: Vec<Attacker>,
    behind: Attacker,
    flood: Option<Flood>,
}

/// A flood that is under way.
struct Flood {
    thread: JoinHandle<()>,
    over: Arc<AtomicBool>,
    since: Instant,
    arrived: u64,
    dropped: u64,
    with_pass: u64,
    memory: u64,
    cpu: Threads,
}

impl Flooder {
    /// Connects its peers: to the node, and to the relay in front of it.
    pub(crate) async fn connect(node: Arc<Node>, lsp: PeerAddress) -> Option<Self> {
        let listens = node.listens()?;
        let mut beside = Vec::new();
        for number in BESIDE {
            beside.push(Attacker::connect(number, listens).await);
        }
        let behind = Attacker::connect_behind(BEHIND, lsp, node.node_id()).await;
        Some(Flooder {
            node,
            beside,
            behind,
            flood: None,
        })
    }

    /// Does as it is told.
    pub(crate) fn obey(&mut self, order: Order) -> Result<String, Box<dyn Error>> {
        match order {
            Order::Pour(pour) => {
                self.flood = Some(self.pour(pour)?);
                Ok(String::new())
            }
            Order::Stop => {
                let flood = self.flood.take().ok_or("nothing is poured")?;
                Ok(serde_json::to_string(&flood.stop(&self.node)?)?)
            }
        }
    }

    fn pour(&self, pour: Pour) -> Result<Flood, Box<dyn Error>> {
        let from = match pour.behind_relay {
            true => std::slice::from_ref(&self.behind),
            false => &self.beside,
        };
        let server = self.node.address().server_key();
        let count = OPENS * from.len() as u64;
        let contents: Option<Vec<_>> = match pour.what {
            What::SmallOpens => (0..count)
                .map(|n| open(server, n, SizeClass::Small))
                .collect(),
            What::BigOpens => (0..count)
                .map(|n| open(server, n, SizeClass::Big))
                .collect(),
            What::FalseProofs => false_proofs(&self.node, count),
        };
        let contents = contents.ok_or("the flood cannot be made")?;
        let by_peers = contents.into_iter().zip(from.iter().cycle());
        let opens: Vec<(NodeId, OnionMessage)> = by_peers
            .map(|(contents, peer)| (peer.last_hop(), peer.arriving(contents)))
            .collect();
        let over = Arc::new(AtomicBool::new(false));
        threads::forget_peak()?;
        let (seen, since) = (self.node.seen(), Instant::now());
        let (memory, cpu) = (status("/proc/self/status", "VmRSS:")?, threads::cpu()?);
        let thread = Builder::new().name("flood".to_owned()).spawn({
            let (node, over) = (self.node.clone(), over.clone());
            move || {
                let mut handed = 0;
                let mut opens = opens.iter().cycle();
                while !over.load(Ordering::Relaxed) {
                    let due = (since.elapsed().as_secs_f64() * pour.per_second) as u64;
                    for (peer, open) in opens.by_ref().take((due - handed) as usize) {
                        node.hand_over(*peer, open);
                    }
                    handed = due;
                    sleep(TICK);
                }
            }
        })?;
        Ok(Flood {
            thread,
            over,
            since,
            arrived: seen.arrived,
            dropped: seen.dropped,
            with_pass: seen.with_pass,
            memory,
            cpu,
        })
    }
}

impl Flood {
    fn stop(self, node: &Node) -> Result<Poured, Box<dyn Error>> {
        // While all threads are still there to be asked.
        let (seen, mut cpu) = (node.seen(), threads::cpu()?);
        let seconds = self.since.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the flood has panicked")?;
        for (name, used) in &mut cpu {
            *used -= self.cpu.get(name).copied().unwrap_or_default();
        }
        let peak = status("/proc/self/status", "VmHWM:")?;
        Ok(Poured {
            seconds,
            arrived: (seen.arrived - self.arrived) as f64,
            dropped: (seen.dropped - self.dropped) as f64,
            with_pass: (seen.with_pass - self.with_pass) as f64,
            grown: peak.saturating_sub(self.memory) as f64,
            cpu,
        })
    }
}

/// Inserts that are paid with pairs nobody has spent, by proofs that do not hold. Whoever has no pair can write as much;
/// it is less work to spoil good ones.
fn false_proofs(node: &Node, count: u64) -> Option<Vec<Vec<u8>>> {
    let server = node.address().server_key();
    let signed = node.record();
    let mut wallet = Wallet::new(signed.verified(server)?)?;
    let ask = |contents: &[u8]| reply(&node.answer(contents));
    let (quote, claims) = wallet.quote(None);
    ask(&contents(quote, Payment::None)?)?.outcome.ok()?;
    let mut pairs = Vec::new();
    for claim in claims {
        let in_flight = wallet.purchase(claim)?;
        let answer = ask(&contents(Call::Purchase, paid(&in_flight))?)?;
        pairs.push(wallet.accept(in_flight, &answer)?.encode());
    }
    let numbered = (FALSE..FALSE + count).zip(pairs.iter().cycle()).collect();
    let wallet = &wallet;
    let written = on_all_cores(numbered, |(number, pair)| {
        let call = Work::Insert.call(number, server)?;
        let pair = Unspent::decode(&**pair).ok()?;
        let in_flight = wallet.pay(pair, &call, wallet.prices.insert)?;
        let mut core = in_flight.core().to_vec();
        core[CHALLENGE] ^= 1;
        contents(call, Payment::Credentials(core))
    });
    written.into_iter().collect()
}

/// The contents of an open. Every other one is garbage.
fn open(server: &ServerKey, number: u64, class: SizeClass) -> Option<Vec<u8>> {
    let mut secret = [2; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    let keypair = Keypair::from_secret_key(SECP256K1, &SecretKey::from_slice(&secret).ok()?);
    let nonce = Nonce([0x5a; 32]);
    let garbage = (number / BESIDE.count() as u64) % 2 == 1;
    let open = match garbage {
        false => BreakglassOpen::sign(&keypair, server, nonce),
        true => BreakglassOpen {
            key: Key::from(keypair.public_key()),
            signature: [number as u8; 64],
        },
    };
    let request = Request::unpaid(nonce, Call::BreakglassOpen(open));
    envelope::wrap(&request.encode(), class)
}

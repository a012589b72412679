//! The way between wallets and storage node: two LSPs at most, delay, loss and duplicates, and what arrives is
//! written down.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use larder_onion::{
    Blame, Destination, Network, NodeId, PeerAddress, PeerHost, Reply, RequestError, Way,
};
use larder_protocol::Pass;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use super::recording::{Recording, Seen, Who};

/// One way takes as long, in milliseconds; every length in between is as likely as twice that.
const DELAY: (f64, f64) = (5.0, 60.0);

/// Of a hundred messages, so many are lost, and so many come twice.
const LOST: u32 = 1;
const TWICE: u32 = 1;

/// What an attempt is waited for, as over sockets before a round trip was measured.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 20;

/// The port of the first wallet at its LSP. Each has one of its own, by which it is known here and nowhere else.
const FIRST_PORT: u16 = 10_000;

/// What serves.
pub(crate) trait Serve: Send + Sync {
    /// Answers a message that came from this LSP and showed this pass. Empty when it is dropped.
    fn serve(&self, lsp: usize, pass: Option<Pass>, contents: &[u8]) -> Vec<u8>;

    /// How many epochs it has entered.
    fn epoch(&self) -> u32;
}

/// The network of one world.
pub(crate) struct Paths {
    node: Arc<dyn Serve>,
    lsps: Vec<NodeId>,
    started: Instant,
    rng: Mutex<StdRng>,
    recording: Mutex<Recording>,
    commands: Vec<AtomicU32>,
}

impl Paths {
    pub(crate) fn new(node: Arc<dyn Serve>, lsps: usize, wallets: usize, seed: u64) -> Arc<Self> {
        let lsps = (0..lsps as u8).map(|lsp| larder_onion::node_id(&[lsp + 1; 32]));
        Arc::new(Paths {
            node,
            lsps: lsps.collect(),
            started: Instant::now(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            recording: Mutex::default(),
            commands: (0..wallets).map(|_| AtomicU32::new(0)).collect(),
        })
    }

    /// Where this wallet finds its LSP.
    pub(crate) fn lsp_of(&self, wallet: usize) -> PeerAddress {
        let port = FIRST_PORT + wallet as u16;
        PeerAddress {
            node_id: self.lsps[wallet % self.lsps.len()],
            address: ([127, 0, 0, 1], port).into(),
        }
    }

    /// The wallet that finds its LSP there.
    fn wallet_at(&self, lsp: &PeerHost) -> Option<usize> {
        let mut wallets = 0..self.commands.len();
        wallets.find(|&wallet| PeerHost::from(self.lsp_of(wallet)) == *lsp)
    }

    /// What comes from this wallet now is of another command; returns its number.
    pub(crate) fn next_command(&self, wallet: usize) -> u32 {
        self.commands[wallet].fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn take_recording(&self) -> Recording {
        std::mem::take(&mut *self.recording())
    }

    pub(crate) fn recording(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn delay(&self) {
        let (least, most) = DELAY;
        let exponent: f64 = self.draw(Rng::random);
        let milliseconds = least * (most / least).powf(exponent);
        sleep(Duration::from_secs_f64(milliseconds / 1e3)).await;
    }

    fn is_one_of(&self, in_a_hundred: u32) -> bool {
        self.draw(|rng| rng.random_ratio(in_a_hundred, 100))
    }

    fn arrive(&self, wallet: usize, pass: Option<Pass>, contents: &[u8]) -> Vec<u8> {
        let lsp = wallet % self.lsps.len();
        let at = self.started.elapsed();
        let epoch = self.node.epoch();
        let answer = self.node.serve(lsp, pass, contents);
        let who = Who {
            wallet,
            command: self.commands[wallet].load(Ordering::Relaxed),
        };
        if let Some(seen) = Seen::of(at, (lsp, pass), contents, &answer, epoch) {
            self.recording().take(seen, who);
        }
        answer
    }

    async fn pursue(
        self: &Arc<Self>,
        wallet: usize,
        to: Destination,
        contents: Vec<u8>,
    ) -> Result<Reply, RequestError> {
        let begun = Instant::now();
        for attempts in 1..=ATTEMPTS {
            let sent = Instant::now();
            // Every other one behind the first, as over sockets.
            let pass = to.pass.filter(|_| attempts % 2 == 1);
            if !self.is_one_of(LOST) {
                self.delay().await;
                let answer = self.arrive(wallet, pass, &contents);
                if self.is_one_of(TWICE) {
                    let (paths, contents) = (self.clone(), contents.clone());
                    tokio::spawn(async move {
                        paths.delay().await;
                        paths.arrive(wallet, pass, &contents);
                    });
                }
                if !answer.is_empty() && !self.is_one_of(LOST) {
                    self.delay().await;
                    return Ok(Reply {
                        contents: answer,
                        attempts,
                        round_trip: begun.elapsed(),
                    });
                }
            }
            sleep(PATIENCE.saturating_sub(sent.elapsed())).await;
        }
        Err(RequestError::Unreachable {
            attempts: ATTEMPTS,
            blame: Blame::NotConnected(Vec::new()),
        })
    }
}

/// The network as circuits know it.
pub(crate) struct Handle(pub(crate) Arc<Paths>);

impl Network for Handle {
    fn carry(&self, from: PeerHost, to: Destination, contents: Vec<u8>) -> Way {
        let paths = self.0.clone();
        let wallet = paths.wallet_at(&from);
        Box::pin(async move {
            match wallet {
                Some(wallet) => paths.pursue(wallet, to, contents).await,
                None => Err(RequestError::ShutDown),
            }
        })
    }
}

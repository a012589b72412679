//! A flood of free opens: half of them with a signature of noise, half well signed, all for cells that
//! do not exist. Its onions are made before it is let loose.

use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder_attacker::Attacker;
use larder_onion::PeerAddress;
use larder_protocol::{
    Address, BreakglassOpen, Call, Key, Nonce, Request, ServerKey, SizeClass, envelope,
};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::actor;

/// LDK's pause after 32 messages is one of each connection, so there are several.
const NUMBERS: RangeInclusive<u8> = 101..=104;
/// Opens of each connection and class, poured round and round.
const OPENS: u64 = 64;
/// How often what is due is let out.
const TICK: Duration = Duration::from_millis(1);

/// An order to a flooder.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Pour so many a second.
    Pour { per_second: f64, big: bool },
    /// Stop, and say how many were poured.
    Stop,
}

struct Flooder {
    attackers: Vec<Arc<Attacker>>,
    server: ServerKey,
    poured: Arc<AtomicU64>,
    pouring: Vec<JoinHandle<()>>,
}

/// Plays a flooder of the node at `address`: connected to it, or to a relay in front of it.
pub(crate) fn play(neighbour: PeerAddress, address: &Address) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let mut flooder = runtime.block_on(Flooder::connect(neighbour, address));
    actor::perform("ready", |order| {
        match serde_json::from_str(order)? {
            Order::Pour { per_second, big } => {
                let _inside = runtime.enter();
                flooder
                    .pour(per_second, big)
                    .ok_or("the opens cannot be made")?;
            }
            Order::Stop => flooder.stop(),
        }
        Ok(flooder.poured.swap(0, Ordering::Relaxed).to_string())
    })
}

impl Flooder {
    async fn connect(neighbour: PeerAddress, address: &Address) -> Self {
        let mut attackers = Vec::new();
        for number in NUMBERS {
            let attacker = match neighbour.node_id == address.node_id() {
                true => Attacker::connect(number, neighbour).await,
                false => Attacker::connect_behind(number, neighbour, address.node_id()).await,
            };
            attackers.push(Arc::new(attacker));
        }
        Flooder {
            attackers,
            server: *address.server_key(),
            poured: Arc::default(),
            pouring: Vec::new(),
        }
    }

    fn pour(&mut self, per_second: f64, big: bool) -> Option<()> {
        let class = if big {
            SizeClass::Big
        } else {
            SizeClass::Small
        };
        let each = per_second / NUMBERS.count() as f64;
        for (number, attacker) in (0..).zip(&self.attackers) {
            let opens = (0..OPENS).map(|at| open(&self.server, OPENS * number + at, class));
            let opens = opens.map(|open| open.map(|open| attacker.request(open)));
            let opens = opens.collect::<Option<Vec<_>>>()?;
            let (poured, since, mut mine) = (self.poured.clone(), Instant::now(), 0_u64);
            attacker.pour(move || {
                let due = (since.elapsed().as_secs_f64() * each) as u64;
                (mine < due).then(|| {
                    mine += 1;
                    poured.fetch_add(1, Ordering::Relaxed);
                    opens[(mine % OPENS) as usize].clone()
                })
            });
            let attacker = attacker.clone();
            self.pouring.push(tokio::spawn(async move {
                let mut tick = tokio::time::interval(TICK);
                loop {
                    tick.tick().await;
                    attacker.go_on();
                }
            }));
        }
        Some(())
    }

    fn stop(&mut self) {
        self.attackers
            .iter()
            .for_each(|attacker| attacker.pour(|| None));
        self.pouring.drain(..).for_each(|pouring| pouring.abort());
    }
}

/// The contents of an open. Those with odd numbers are garbage.
fn open(server: &ServerKey, number: u64, class: SizeClass) -> Option<Vec<u8>> {
    let mut secret = [2; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    let keypair = Keypair::from_secret_key(SECP256K1, &SecretKey::from_slice(&secret).ok()?);
    let nonce = Nonce([0x5a; 32]);
    let open = match number % 2 {
        0 => BreakglassOpen::sign(&keypair, server, nonce),
        _ => BreakglassOpen {
            key: Key::from(keypair.public_key()),
            signature: [number as u8; 64],
        },
    };
    let request = Request::unpaid(nonce, Call::BreakglassOpen(open));
    envelope::wrap(&request.encode(), class)
}

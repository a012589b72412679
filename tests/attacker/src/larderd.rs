//! A storage node that lies: the real desk, store, ledger and onion service, and its own good signature under every lie.
//!
//! It is told what to do on standard input (`lie.rs` lists what it understands), and says `done` behind each line on standard output. For
//! tests: it panics where the real one would complain.

use std::fs;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use larder_node::clock::SystemClock;
use larder_node::config::Payment;
use larder_node::till::Giveaway;
use larder_node::{Config, Desk, Identity, Sale};
use larder_onion::{Incoming, Intake, PeerHost, Service, ServiceConfig};
use larder_protocol::{
    Address, Blob, Call, Done, Key, Pass, Receipt, Record, Refusal, Reply, Request, SignedRecord,
    SizeClass, envelope,
};
use larder_store::{Engine, Options, Reading, SledEngine, Stat};
use secp256k1::{Keypair, SECP256K1, SecretKey};

use crate::forge::{Forger, Replaces, hmac};
use crate::lie::{Lie, Order, Tag, Time, Withheld};

/// Threads that take requests, for those with a pass and for those without.
const THREADS: usize = 2;

/// Runs it in this data folder, connected to these LSPs, until standard input ends.
///
/// # Panics
/// When anything fails.
pub fn run(folder: &Path, lsps: &[PeerHost]) {
    let mut config =
        Config::load(None, Some(folder), std::env::vars_os()).expect("a configuration");
    config.lsps = lsps.to_vec();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let runtime = runtime.expect("threads");
    let node = Arc::new(Node::open(config));
    let (service, intake) = runtime.block_on(node.listen());
    for with_pass in [true, false] {
        for _ in 0..THREADS {
            let intake = match with_pass {
                true => intake.with_pass(),
                false => intake.without_pass(),
            };
            let node = node.clone();
            // It ends with the service.
            std::thread::spawn(move || {
                while let Some(incoming) = intake.recv() {
                    node.serve(incoming, with_pass);
                }
            });
        }
    }
    node.honour(&intake);
    say(&format!("address {}", node.address(&service)));
    say(&format!(
        "listens {}",
        service.address().expect("it listens")
    ));
    runtime.block_on(service.wait_connected());
    say("ready");
    for line in stdin().lock().lines() {
        let line = line.expect("text");
        let order = Order::read(&line).expect("an order");
        let told = node.obey(order);
        node.honour(&intake);
        say(&format!("done {told}"));
    }
    runtime.block_on(service.shutdown());
}

fn say(line: &str) {
    let mut out = stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .expect("somebody listens");
}

struct Node {
    config: Config,
    seed: [u8; 32],
    server: Keypair,
    receipt: Keypair,
    /// None while its store is exchanged.
    open: RwLock<Option<Open>>,
    lying: Mutex<Lying>,
}

/// A store, and the desk at which it is served.
struct Open {
    engine: Arc<SledEngine>,
    desk: Arc<Desk>,
}

struct Lying {
    lie: Lie,
    told: u64,
    forger: Forger,
    /// A key that something is stored under.
    stored: Option<Key>,
    /// The terms of the first epoch.
    first: SignedRecord,
    /// The terms that a client was told last, if those are not the desk's.
    terms: Option<Record>,
    /// How often somebody was told terms of their own.
    tagged: u32,
}

impl Node {
    fn open(config: Config) -> Self {
        let open = open(&config);
        let text = fs::read_to_string(config.seed_path()).expect("a seed");
        let mut seed = [0; 32];
        hex::decode_to_slice(text.trim(), &mut seed).expect("a seed");
        // As the storage node's identity derives them.
        let keypair = |purpose: &str| {
            let secret = SecretKey::from_slice(&hmac(&seed, &[purpose.as_bytes()]));
            Keypair::from_secret_key(SECP256K1, &secret.expect("a scalar"))
        };
        let (server, receipt) = (
            keypair("larder/node/server-key"),
            keypair("larder/node/receipt-key"),
        );
        assert_eq!(open.desk.server_key(), server.public_key().into());
        let lying = Lying {
            lie: Lie::None,
            told: 0,
            forger: Forger::default(),
            stored: None,
            first: open.desk.record(),
            terms: None,
            tagged: 0,
        };
        Node {
            config,
            seed,
            server,
            receipt,
            open: RwLock::new(Some(open)),
            lying: Mutex::new(lying),
        }
    }

    async fn listen(&self) -> (Service, Intake) {
        let identity = Identity::from_seed(self.seed);
        let service = Service::start(ServiceConfig {
            listen: Some(self.config.listen),
            connect_to: self.config.lsps.clone(),
            ..ServiceConfig::new(identity.onion_seed())
        });
        service.await.expect("it listens")
    }

    fn address(&self, service: &Service) -> Address {
        let lsps = self.config.lsps.iter().map(|lsp| lsp.node_id).collect();
        Address::new(self.server.public_key().into(), service.node_id(), lsps)
    }

    fn with<T>(&self, look: impl FnOnce(&Open) -> T) -> Option<T> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(look)
    }

    fn lying<T>(&self, look: impl FnOnce(&mut Lying) -> T) -> T {
        look(&mut self.lying.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn honour(&self, intake: &Intake) {
        let honest = self.with(|open| open.desk.honoured()).unwrap_or_default();
        intake.honour(&[honest, own_passes().to_vec()].concat());
    }

    fn obey(&self, order: Order) -> String {
        match order {
            Order::Lie(lie) => self.lying(|lying| {
                lying.lie = lie;
                lying.forger = Forger::default();
                lying.terms = None;
            }),
            Order::Snapshot => self.exchanged(|store, folder| copy(store, &folder.join("older"))),
            Order::RollBack => self.exchanged(|store, folder| {
                fs::rename(store, folder.join("newer")).expect("moved");
                copy(&folder.join("older"), store);
            }),
            Order::RollForward => self.exchanged(|store, folder| {
                fs::remove_dir_all(store).expect("removed");
                fs::rename(folder.join("newer"), store).expect("moved");
            }),
            Order::Enter(epochs) => (0..epochs).for_each(|_| {
                let entered = self.with(|open| open.desk.enter_next_epoch());
                entered.expect("it is open").expect("the next epoch");
            }),
            Order::Told => {
                let told = self.lying(|lying| std::mem::take(&mut lying.told));
                let usage = self.with(|open| open.engine.usage()).expect("it is open");
                return format!("{told} {}", usage.expect("a store").blobs);
            }
        }
        String::new()
    }

    /// Closes the store, does something to its folder, and opens it again. What comes in meanwhile waits.
    fn exchanged(&self, change: impl FnOnce(&PathBuf, &Path)) {
        let mut open_store = self.open.write().unwrap_or_else(PoisonError::into_inner);
        *open_store = None;
        change(&self.config.data_dir.join("store"), &self.config.data_dir);
        *open_store = Some(open(&self.config));
    }

    fn serve(&self, incoming: Incoming, with_pass: bool) {
        let body = envelope::unwrap(&incoming.contents).expect("an honest client");
        let request = Request::decode(body).expect("an honest client");
        let contents = self.with(|open| self.answer(open, &request, &incoming.contents, with_pass));
        if let Some(Some(contents)) = contents {
            // A client that is gone needs no answer.
            let _ = incoming.responder.answer(&contents);
        }
    }

    fn answer(
        &self,
        open: &Open,
        request: &Request,
        contents: &[u8],
        with_pass: bool,
    ) -> Option<Vec<u8>> {
        let lie = self.lying(|lying| lying.lie);
        if lie == Lie::Withhold(Withheld::Answers) && request.call != Call::Info {
            self.lying(|lying| lying.told += 1);
            return None;
        }
        // What a receipt of this is about, from before it is done.
        let stored = stored(open, request);
        let honest = open.desk.answer(contents);
        let class = SizeClass::of(contents);
        let Some(mut reply) = envelope::unwrap(&honest)
            .ok()
            .and_then(|body| Reply::decode(body).ok())
        else {
            return (!honest.is_empty()).then_some(honest);
        };
        let twisted = self.lying(|lying| {
            let twisted = lying.twist(self, open, request, &mut reply, with_pass);
            lying.told += u64::from(twisted);
            if let (Call::Insert(insert), Ok(Done::Inserted)) = (&request.call, &reply.outcome) {
                lying.stored = Some(insert.key);
            }
            twisted
        });
        if twisted {
            let record = self.lying(|lying| lying.terms.clone());
            let honest = open.desk.record();
            let honest = honest.verified(&self.server.public_key().into());
            let record = record.or(honest.cloned()).expect("its own");
            reply.receipt = Reply::finding(&request.subject(), &reply.outcome, stored)
                .map(|finding| Receipt::sign(&self.receipt, &finding, record.epoch, record.hash()));
        }
        envelope::wrap(&reply.encode(), class)
    }
}

impl Lying {
    /// Changes an answer; returns whether it did.
    fn twist(
        &mut self,
        node: &Node,
        open: &Open,
        request: &Request,
        reply: &mut Reply,
        with_pass: bool,
    ) -> bool {
        match (self.lie, &request.call) {
            (Lie::Forge { how, everywhere }, Call::Lookup(lookup)) => {
                let is_there = matches!(reply.outcome, Ok(Done::Found(_)));
                if is_there && !everywhere {
                    return false;
                }
                let other = self.stored.filter(|key| *key != lookup.key);
                let other = other.and_then(|key| read(open, &key));
                let server = node.server.public_key().into();
                let replaces = Replaces {
                    is_there,
                    everywhere,
                };
                let forged = self.forger.blob(how, &server, &lookup.key, replaces, other);
                match forged {
                    Some(blob) => reply.outcome = Ok(Done::Found(blob)),
                    None => return false,
                }
                true
            }
            (Lie::Withhold(Withheld::Blobs), Call::Lookup(_)) => {
                let is_there = matches!(reply.outcome, Ok(Done::Found(_)));
                if is_there {
                    reply.outcome = Err(Refusal::Absent);
                }
                is_there
            }
            (Lie::Withhold(Withheld::Passes), _) => reply.extension.passes.take().is_some(),
            (Lie::Tag(_) | Lie::Time(_), Call::Info) => {
                self.terms = self.told_terms(node, open, with_pass);
                let told = self.terms.clone();
                if let Some(record) = told {
                    reply.outcome = Ok(Done::Info(Box::new(record.sign(&node.server))));
                }
                self.terms.is_some()
            }
            // Under the terms that were told.
            (Lie::Tag(tag), _) => {
                if tag == Tag::Passes
                    && let Some(passes) = &mut reply.extension.passes
                {
                    **passes = own_passes();
                }
                self.terms.is_some()
            }
            (Lie::Time(_), _) => self.terms.is_some(),
            _ => false,
        }
    }

    /// What whoever asks for the terms is told.
    fn told_terms(&mut self, node: &Node, open: &Open, with_pass: bool) -> Option<Record> {
        let server = node.server.public_key().into();
        let mut record = open.desk.record().verified(&server)?.clone();
        match self.lie {
            // Who shows a pass is told what it was told before.
            Lie::Tag(_) if with_pass && self.terms.is_some() => return self.terms.clone(),
            Lie::Tag(tag) => {
                self.tagged += 1;
                let (tagged, tariff) = (self.tagged, record.tariff.as_mut());
                match (tag, tariff) {
                    // Of a call that nobody makes at once.
                    (Tag::Prices, Some(tariff)) => tariff.prices.breakglass += u64::from(tagged),
                    (Tag::Passes, Some(tariff)) => {
                        // Who comes first has one that is known again, the others one that nobody will have.
                        let mut passes = own_passes().map(|pass| pass.commitment());
                        passes[1][0] ^= tagged as u8;
                        tariff.passes = Some(passes);
                    }
                    (Tag::Timers, Some(tariff)) => tariff.breakglass_seconds += tagged,
                    (_, None) => record.epoch_seconds += tagged,
                }
            }
            Lie::Time(Time::Ahead(epochs)) => record.epoch += epochs,
            Lie::Time(Time::Back) => record = self.first.verified(&server)?.clone(),
            Lie::Time(Time::Seconds(seconds)) => record.epoch_seconds = seconds,
            _ => return None,
        }
        Some(record)
    }
}

/// Passes of no epoch, for clients that are to be known again.
fn own_passes() -> [Pass; 2] {
    [[0x66; 32], [0x67; 32]].map(Pass::from_bytes)
}

fn stored(open: &Open, request: &Request) -> Option<larder_protocol::BlobHash> {
    match &request.call {
        Call::Insert(insert) => Some(insert.blob.hash()),
        Call::BreakglassPut(put) => Some(put.cell.hash()),
        Call::Delete(delete) => match open.engine.stat(&delete.key).expect("a store") {
            Stat::Present { blob_hash, .. } => Some(blob_hash),
            Stat::Absent | Stat::Deleted => None,
        },
        _ => None,
    }
}

fn read(open: &Open, key: &Key) -> Option<Blob> {
    match open.engine.read(key).expect("a store") {
        Reading::Found(blob) => Some(blob),
        Reading::Absent | Reading::Deleted => None,
    }
}

fn open(config: &Config) -> Open {
    let store = config.data_dir.join("store");
    fs::create_dir_all(&store).expect("a folder");
    let options = Options {
        cache_bytes: config.cache_bytes,
        free_space_floor: config.free_space_floor,
        open_claims: config.open_claims,
        ..Options::default()
    };
    let engine = Arc::new(SledEngine::open(&store, options).expect("a store"));
    let seed = config.seed_path();
    let identity = match seed.exists() {
        true => Identity::load(&seed),
        false => Identity::create(&seed),
    };
    let identity = identity.expect("a seed");
    let sale = match config.payment {
        Payment::None => None,
        Payment::Credentials(_) => Some(Sale {
            offer: config.offer.clone(),
            till: Arc::new(Giveaway),
        }),
    };
    let clock = Arc::new(SystemClock);
    let desk = Desk::open(engine.clone(), identity, sale, config.breakglass, clock);
    Open {
        engine,
        desk: desk.expect("its own store"),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("known").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

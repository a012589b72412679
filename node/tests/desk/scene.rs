//! A storage node without threads, over a store that can be closed and opened again; and a wallet
//! that keeps its pairs itself.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_credentials::{
    AdjustRule, Epoch, InFlight, Record as Terms, Replaced, Reply as Replacement, Root, Row,
    Settled, Spending, Unspent,
};
use larder_node::clock::Clock;
use larder_node::till::{Giveaway, Till};
use larder_node::{Breakglass, Desk, Identity, NodeError, Offer, Sale};
use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::record::Prices;
use larder_protocol::{
    BLOB_LEN, Blob, BlobHash, Call, Done, Key, Nonce, Op, Payment, Quote, Record, Refusal, Reply,
    Request, SizeClass, envelope,
};
use larder_store::{Engine, Options, SledEngine};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use tempfile::TempDir;

pub(crate) const SEED: [u8; 32] = [1; 32];
pub(crate) const START: u64 = 1_800_000_000;
/// The epoch of a store that begins at [`START`].
pub(crate) const FIRST: u32 = START as u32;
pub(crate) const WEEK: u64 = 604_800;

pub(crate) const BREAKGLASS: Breakglass = Breakglass {
    seconds: 72 * 3_600,
    opens_per_second: 20,
};

/// A clock that stands still until it is set.
pub(crate) struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn running(&self) -> Duration {
        Duration::from_secs(self.now())
    }
}

pub(crate) fn offer() -> Offer {
    Offer {
        epoch_seconds: WEEK as u32,
        earlier_epochs: 2,
        prices: Prices {
            insert: 16,
            lookup: 2,
            delete: 1,
            breakglass: 64,
            transfer: 3,
        },
        refunds: vec![8, 6, 4],
        denominations: vec![100, 1_000],
    }
}

/// A node. What it keeps is in its folder; the rest can be dropped and made anew.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<Still>,
    pub(crate) engine: Arc<SledEngine>,
    pub(crate) desk: Arc<Desk>,
}

pub(crate) fn scene() -> Scene {
    Scene::of(options(), sale(offer()))
}

/// A node that serves everybody for free.
pub(crate) fn scene_without_sale() -> Scene {
    Scene::open(options(), None, START)
}

/// A node whose store begins later than others.
pub(crate) fn scene_at(now: u64) -> Scene {
    Scene::open(options(), Some(sale(offer())), now)
}

pub(crate) fn sale(offer: Offer) -> Sale {
    let till: Arc<dyn Till> = Arc::new(Giveaway);
    Sale { offer, till }
}

/// How these tests open a store: however full the disk is.
pub(crate) fn options() -> Options {
    Options {
        free_space_floor: 0,
        ..Options::default()
    }
}

fn open(folder: &TempDir, options: Options) -> Arc<SledEngine> {
    // Where the daemon has it, so that its commands can be run on it.
    let store = folder.path().join("store");
    std::fs::create_dir_all(&store).expect("a folder");
    Arc::new(SledEngine::open(&store, options).expect("a store"))
}

impl Scene {
    pub(crate) fn of(options: Options, sale: Sale) -> Self {
        Self::open(options, Some(sale), START)
    }

    fn open(options: Options, sale: Option<Sale>, now: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(Still(AtomicU64::new(now)));
        let engine = open(&folder, options);
        let identity = Identity::from_seed(SEED);
        let desk = Desk::open(engine.clone(), identity, sale, BREAKGLASS, clock.clone());
        Scene {
            desk: desk.expect("a desk"),
            engine,
            folder,
            clock,
        }
    }

    /// Closes the store, as a restart does, and opens it with this offer and till.
    pub(crate) fn restarted(self, sale: Option<Sale>) -> Result<Self, NodeError> {
        self.reopened(options(), SEED, sale)
    }

    /// The same with another store, seed or sale.
    pub(crate) fn reopened(
        self,
        options: Options,
        seed: [u8; 32],
        sale: Option<Sale>,
    ) -> Result<Self, NodeError> {
        let Scene {
            folder,
            clock,
            engine,
            desk,
        } = self;
        drop((desk, engine));
        let engine = open(&folder, options);
        let identity = Identity::from_seed(seed);
        let desk = Desk::open(engine.clone(), identity, sale, BREAKGLASS, clock.clone())?;
        Ok(Scene {
            folder,
            clock,
            engine,
            desk,
        })
    }

    /// Closes the store, runs the daemon's command on it, and opens it again.
    pub(crate) fn after_command(self, command: &str) -> Self {
        let Scene {
            folder,
            clock,
            engine,
            desk,
        } = self;
        drop((desk, engine));
        let seed = folder.path().join("seed");
        std::fs::write(&seed, hex::encode(SEED)).expect("written");
        std::fs::set_permissions(&seed, Permissions::from_mode(0o600)).expect("set");
        let args = [
            "larderd".as_ref(),
            "--data-dir".as_ref(),
            folder.path().as_os_str(),
            // What this desk was told of the time is not what this machine's clock says.
            "--trust-clock".as_ref(),
        ];
        let args = args
            .into_iter()
            .chain([command.as_ref()])
            .map(OsString::from);
        let code = larder_node::daemon::run(args);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
        let engine = open(&folder, options());
        let identity = Identity::from_seed(SEED);
        let sale = Some(sale(offer()));
        let desk = Desk::open(engine.clone(), identity, sale, BREAKGLASS, clock.clone());
        Scene {
            desk: desk.expect("a desk"),
            engine,
            folder,
            clock,
        }
    }

    pub(crate) fn later(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn next_epoch(&self) {
        self.desk.enter_next_epoch().expect("the next epoch");
    }

    /// What the node publishes.
    pub(crate) fn record(&self) -> Record {
        let signed = self.desk.record();
        signed
            .verified(&self.desk.server_key())
            .expect("signed by the node")
            .clone()
    }

    /// What proofs are made with.
    pub(crate) fn terms(&self) -> Terms {
        let terms = self.record().credentials().expect("a node that sells");
        terms.expect("its own parameters")
    }

    pub(crate) fn tokens_outstanding(&self) -> u128 {
        self.engine.supply().expect("a supply").outstanding
    }

    /// Sends a request, and reads its answer as a client does.
    pub(crate) fn ask(&self, call: Call, payment: Payment) -> Reply {
        let request = Request {
            payment,
            ..Request::unpaid(Nonce([9; 32]), call)
        };
        let subject = request.subject();
        let contents = envelope::wrap(&request.encode(), SizeClass::Big).expect("it fits");
        let answer = self.desk.answer(&contents);
        let reply = Reply::decode(envelope::unwrap(&answer).expect("an answer")).expect("a reply");
        // What is said of a key is signed, whatever it is.
        if let Some(receipt) = &reply.receipt {
            let stored = stored(&request.call);
            let finding = Reply::finding(&subject, &reply.outcome, stored).expect("of a key");
            assert!(receipt.proves(&self.record().receipt_key, &finding));
        } else {
            assert_eq!(
                Reply::finding(&subject, &reply.outcome, stored(&request.call)),
                None
            );
        }
        reply
    }

    pub(crate) fn free(&self, call: Call) -> Result<Done, Refusal> {
        self.ask(call, Payment::None).outcome
    }
}

/// The hash that a client knows its own insert or delete to be about.
fn stored(call: &Call) -> Option<BlobHash> {
    match call {
        Call::Insert(insert) => Some(insert.blob.hash()),
        // Every delete of these tests is of blob 1.
        Call::Delete(_) => Some(blob(1).hash()),
        Call::BreakglassPut(put) => Some(put.cell.hash()),
        _ => None,
    }
}

/// A client that counts for itself.
pub(crate) struct Wallet {
    pub(crate) root: Root,
    claims: u64,
}

/// A paid operation, and what became of the pair.
#[derive(Debug)]
pub(crate) struct Performed {
    pub(crate) outcome: Result<Done, Refusal>,
    pub(crate) pair: Unspent,
    pub(crate) status: u8,
    pub(crate) adjust: u64,
}

impl Wallet {
    pub(crate) fn new(root: u8) -> Self {
        Wallet {
            root: Root::from_bytes([root; 32]),
            claims: 0,
        }
    }

    pub(crate) fn quote(&mut self, tokens: u64, claims: u64, voucher: Option<Vec<u8>>) -> Quote {
        let tags = (0..claims).map(|claim| self.root.claim_secret(self.claims + claim).tag());
        let quote = Quote {
            tokens,
            tags: tags.collect(),
            voucher,
        };
        self.claims += claims;
        quote
    }

    /// The purchase of the claim of this number.
    pub(crate) fn purchase(&self, scene: &Scene, claim: u64, tokens: u64) -> InFlight {
        let secret = self.root.claim_secret(claim);
        InFlight::purchase(&self.root, &scene.terms(), &secret, tokens, None).expect("a purchase")
    }

    /// Buys a pair of so many tokens at a till that gives them away.
    pub(crate) fn buy(&mut self, scene: &Scene, tokens: u64) -> Unspent {
        let claim = self.claims;
        let quote = self.quote(tokens, 1, None);
        match scene.free(Call::Quote(quote)) {
            Ok(Done::Quoted(quoted)) => assert!(quoted.paid && quoted.request.is_empty()),
            other => panic!("no quote: {other:?}"),
        }
        let in_flight = self.purchase(scene, claim, tokens);
        self.settle(scene, Call::Purchase, in_flight).pair
    }

    /// Builds the payment of a call at its published price.
    pub(crate) fn pay(&self, scene: &Scene, pair: &Unspent, call: &Call) -> InFlight {
        let prices = scene.record().tariff.expect("a tariff").prices;
        let price = match call.op() {
            Op::Insert => prices.insert,
            Op::Delete => prices.delete,
            Op::Lookup => prices.lookup,
            Op::BreakglassPut => prices.breakglass,
            _ => prices.transfer,
        };
        self.pay_with(&scene.terms(), pair, call, price)
    }

    pub(crate) fn pay_with(
        &self,
        terms: &Terms,
        pair: &Unspent,
        call: &Call,
        price: u64,
    ) -> InFlight {
        let digest = call.digest();
        let spending = match call {
            Call::Transfer => Spending::transfer(price),
            Call::Reissue => Spending::reissue(),
            _ => Spending::on(call.op().paid_as().expect("a paid op"), &digest, price),
        };
        copy(pair)
            .spend(&self.root, terms, &spending)
            .expect("a request")
    }

    /// Sends a paid call and takes its replacement.
    pub(crate) fn settle(&self, scene: &Scene, call: Call, in_flight: InFlight) -> Performed {
        let reply = scene.ask(call, paid(&in_flight));
        self.accept(scene, in_flight, reply)
    }

    pub(crate) fn accept(&self, scene: &Scene, in_flight: InFlight, reply: Reply) -> Performed {
        let Reply {
            outcome,
            replacement: Some(replacement),
            ..
        } = reply
        else {
            panic!("no replacement: {reply:?}")
        };
        let replacement = Replacement::decode(&replacement).expect("a replacement");
        let rule = AdjustRule::AtMost(u64::MAX);
        match in_flight.accept(&self.root, &scene.terms(), replacement, rule) {
            Ok(Settled::Performed(Replaced {
                pair,
                status,
                adjust,
            })) => Performed {
                outcome,
                pair,
                status: status.0,
                adjust,
            },
            other => panic!("not performed: {other:?}"),
        }
    }

    /// Pays for a call and performs it.
    pub(crate) fn perform(&self, scene: &Scene, pair: &Unspent, call: Call) -> Performed {
        let in_flight = self.pay(scene, pair, &call);
        self.settle(scene, call, in_flight)
    }

    /// The pair that a row holds.
    pub(crate) fn open(&self, scene: &Scene, row: &Row) -> Unspent {
        row.open(&self.root, &scene.terms()).expect("a row of ours")
    }
}

pub(crate) fn paid(in_flight: &InFlight) -> Payment {
    Payment::Credentials(in_flight.core().to_vec())
}

/// A pair that can be spent again and again, as whoever keeps backups could try to.
pub(crate) fn copy(pair: &Unspent) -> Unspent {
    Unspent::decode(&*pair.encode()).expect("a pair")
}

/// The rows with which a spent pair is answered.
pub(crate) fn rows(refusal: Result<Done, Refusal>) -> Vec<Row> {
    let Err(Refusal::AlreadySpent { row }) = refusal else {
        panic!("not spent: {refusal:?}")
    };
    match Replacement::decode(&row) {
        Ok(Replacement::NotPerformed(rows)) => rows,
        other => panic!("no rows: {other:?}"),
    }
}

pub(crate) fn keypair(number: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[number; 32]).expect("a scalar");
    Keypair::from_secret_key(SECP256K1, &secret)
}

pub(crate) fn key(number: u8) -> Key {
    Key::from(keypair(number).public_key())
}

pub(crate) fn blob(number: u8) -> Blob {
    Blob::from_slice(&[number; BLOB_LEN]).expect("a blob")
}

pub(crate) fn insert(number: u8, content: u8) -> Call {
    Call::Insert(Insert {
        key: key(number),
        blob: blob(content),
    })
}

/// The delete of blob 1 under this key.
pub(crate) fn delete(scene: &Scene, number: u8) -> Call {
    let server = scene.desk.server_key();
    Call::Delete(Delete::sign(&keypair(number), &server, blob(1).hash()))
}

pub(crate) fn lookup(number: u8) -> Call {
    Call::Lookup(Lookup { key: key(number) })
}

pub(crate) fn wrong_epoch(current: u32, oldest: u32) -> Result<Done, Refusal> {
    Err(Refusal::WrongEpoch { current, oldest })
}

pub(crate) fn epoch(scene: &Scene) -> Epoch {
    scene.terms().current()
}

//! What it costs a storage node to turn a request away, in honest inserts.
//!
//! One desk on a real store, without threads and without a network, and every request goes all
//! the way through it, alone. The yardstick does too: a paid insert of a new blob, from its
//! first byte to its signed answer, with its own commit. It runs in every round, between the
//! others.
//!
//! The Σ-proof signs the range proof, so a range proof that was spoilt on its way fails with the
//! Σ-proof. Whoever signs a wrong one needs an unspent pair, and then costs a whole verification:
//! as much as a spent pair does.
//!
//! Before anything is measured, every request is sent once and has to be refused as it should
//! be. None of them changes anything, so the same ones are refused in every round.

use std::error::Error;
use std::sync::Arc;

use larder_credentials::{InFlight, PAIR_BYTES, Unspent};
use larder_node::clock::{Clock, SystemClock};
use larder_node::till::Vouchers;
use larder_node::{Breakglass, Config, Desk, Identity, Sale};
use larder_protocol::{Call, Done, Payment, Quote, Refusal, Reply, ServerKey};
use larder_store::suite::sample;
use larder_store::{Options, SledEngine};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::wallet::{Wallet, Work, contents, on_all_cores, paid, reply};
use crate::report::{Bar, Report, cpu_of, spread};

/// Requests of each kind, and honest inserts in a round.
pub(super) const REQUESTS: u64 = 32;
const ROUNDS: usize = 5;
/// What is turned away is sent so often in a round.
const TURNS: usize = 2;

/// Claims from here on are never opened.
const NEVER_OPENED: u64 = 1 << 32;

/// In the core of a request that spends a pair (`larder_credentials::Request`): the lowest byte
/// of the epoch of its outputs,
const OUT_EPOCH: usize = 6;
/// of the first scalar of its range proof,
const RANGE: usize = 448;
/// and of the challenge of its Σ-proof.
pub(super) const CHALLENGE: usize = 1_024 + 31;

/// A pair that can be spent again and again, as whoever keeps backups could try to.
type Stored = Zeroizing<[u8; PAIR_BYTES]>;

/// Some requests that are turned away for one reason.
struct Kind {
    name: &'static str,
    requests: Vec<Vec<u8>>,
    /// The answer that they get, whatever its fields say.
    due: Result<Done, Refusal>,
    /// Microseconds of CPU for each, by round.
    samples: Vec<f64>,
}

/// A desk that sells, and the wallet that buys there.
pub(super) struct Scene {
    pub(super) desk: Arc<Desk>,
    wallet: Wallet,
    server: ServerKey,
    /// Sells to the wallet.
    till: Arc<Vouchers>,
    /// The next blob to be stored.
    next: u64,
    vouchers: u8,
    /// Those that were used.
    used: Vec<Vec<u8>>,
    _folder: TempDir,
}

/// An honest insert, and the pair that pays for it.
pub(super) struct Honest {
    number: u64,
    call: Call,
    in_flight: InFlight,
}

/// Takes the figures.
pub(crate) fn run(report: &mut Report) -> Result<(), Box<dyn Error>> {
    report.note(&format!(
        "turned away: {REQUESTS} requests of each kind, {ROUNDS} interleaved rounds, through a \
         desk without threads, one at a time; the yardstick is a paid insert on the same way"
    ));
    let mut scene = Scene::set(Breakglass::default(), Arc::new(SystemClock))?;
    let mut kinds = scene.kinds().ok_or("the requests cannot be made")?;
    for kind in &kinds {
        for request in &kind.requests {
            let outcome = reply(&scene.desk.answer(request)).map(|reply| reply.outcome);
            if outcome.as_ref().map(Reply::code) != Some(Reply::code(&kind.due)) {
                return Err(format!("{}: answered {outcome:?}", kind.name).into());
            }
        }
    }
    let mut pairs = scene.buy(REQUESTS).ok_or("no pairs")?;
    let mut honest = Vec::new();
    for round in 0..=ROUNDS {
        let inserts = scene.prepare(pairs).ok_or("the inserts cannot be made")?;
        let played = scene.play(inserts, |_| {});
        let (took, back) = played.ok_or("an honest insert was refused")?;
        pairs = back;
        honest.push(took);
        for kind in &mut kinds {
            let took = cpu_of(|| {
                for request in std::iter::repeat_n(&kind.requests, TURNS).flatten() {
                    std::hint::black_box(scene.desk.answer(request));
                }
            });
            let requests = (kind.requests.len() * TURNS) as f64;
            kind.samples.push(took.as_secs_f64() * 1e6 / requests);
        }
        if round == 0 {
            // The first one warms caches and tables.
            honest.clear();
            kinds.iter_mut().for_each(|kind| kind.samples.clear());
        }
    }
    let (yardstick, low, high) = spread(&mut honest);
    let name = format!("an honest paid insert, alone [{low:.1}-{high:.1}]");
    report.value(&name, yardstick, "us CPU");
    for kind in &mut kinds {
        let (took, low, high) = spread(&mut kind.samples);
        let name = format!("turned away: {} [{low:.1}-{high:.1}]", kind.name);
        let yardstick = ("honest inserts", yardstick);
        report.ratio(&name, took, "us CPU", yardstick, Some(Bar::AtMost(1.0)));
    }
    Ok(())
}

impl Scene {
    pub(super) fn set(
        breakglass: Breakglass,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let config = Config::load(None, Some(folder.path()), [])?;
        let options = Options {
            free_space_floor: 0,
            ..Options::default()
        };
        let engine = Arc::new(SledEngine::open(folder.path(), options)?);
        let identity = Identity::from_seed([1; 32]);
        let till = Arc::new(Vouchers::new(&identity));
        let sale = Sale {
            offer: config.offer,
            till: till.clone(),
        };
        let desk = Desk::open(engine, identity, Some(sale), breakglass, clock)?;
        let server = desk.server_key();
        let signed = desk.record();
        let record = signed.verified(&server).ok_or("another node's record")?;
        Ok(Scene {
            wallet: Wallet::new(record).ok_or("a node that sells nothing")?,
            desk,
            server,
            till,
            next: 0,
            vouchers: 0,
            used: Vec::new(),
            _folder: folder,
        })
    }

    fn ask(&self, call: Call, payment: Payment) -> Option<Reply> {
        reply(&self.desk.answer(&contents(call, payment)?))
    }

    /// Buys at least so many pairs.
    pub(super) fn buy(&mut self, pairs: u64) -> Option<Vec<Unspent>> {
        let each = Quote::MAX_TAGS as u64;
        let mut bought = Vec::new();
        for _ in 0..pairs.div_ceil(each) {
            self.vouchers += 1;
            let (id, expires) = ([self.vouchers; 16], SystemClock.now() + 3_600);
            let voucher = self.till.issue(id, each * self.wallet.tokens, expires);
            let (quote, claims) = self.wallet.quote(Some(voucher.encode()));
            self.ask(quote, Payment::None)?.outcome.ok()?;
            self.used.push(voucher.encode());
            for claim in claims {
                let in_flight = self.wallet.purchase(claim)?;
                let reply = self.ask(Call::Purchase, paid(&in_flight))?;
                bought.push(self.wallet.accept(in_flight, &reply)?);
            }
        }
        Some(bought)
    }

    /// Pays with each pair for an insert of a new blob.
    fn inserts(&mut self, pairs: Vec<Unspent>, price: u64) -> Option<Vec<Honest>> {
        let numbers = self.next..;
        self.next += pairs.len() as u64;
        let (wallet, server) = (&self.wallet, &self.server);
        let built = on_all_cores(numbers.zip(pairs).collect(), |(number, pair)| {
            let call = Work::Insert.call(number, server)?;
            let in_flight = wallet.pay(pair, &call, price)?;
            Some(Honest {
                number,
                call,
                in_flight,
            })
        });
        built.into_iter().collect()
    }

    /// An honest insert for each pair.
    pub(super) fn prepare(&mut self, pairs: Vec<Unspent>) -> Option<Vec<Honest>> {
        self.inserts(pairs, self.wallet.prices.insert)
    }

    /// CPU microseconds for one honest insert and what is done after each of them, and the pairs
    /// that came back.
    pub(super) fn play(
        &self,
        inserts: Vec<Honest>,
        mut beside: impl FnMut(&Desk),
    ) -> Option<(f64, Vec<Unspent>)> {
        let requests = requests(&inserts)?;
        let mut answers = Vec::with_capacity(requests.len());
        let took = cpu_of(|| {
            for request in &requests {
                answers.push(self.desk.answer(request));
                beside(&self.desk);
            }
        });
        let pairs = inserts.into_iter().zip(&answers).map(|(honest, answer)| {
            let reply = reply(answer)?;
            let done = Work::Insert.is_done(honest.number, &reply.outcome);
            self.wallet
                .accept(honest.in_flight, &reply)
                .filter(|_| done)
        });
        let took = took.as_secs_f64() * 1e6 / requests.len() as f64;
        Some((took, pairs.collect::<Option<_>>()?))
    }

    /// Pays with copies of these pairs for inserts of new blobs.
    fn copies(&mut self, pairs: &[Stored], price: u64) -> Option<Vec<Honest>> {
        let pairs = pairs.iter().map(|pair| Unspent::decode(&**pair).ok());
        let pairs = pairs.collect::<Option<_>>()?;
        self.inserts(pairs, price)
    }

    /// Everything that is to be turned away. Made with pairs of which half stays unspent, and
    /// the other half is spent here.
    fn kinds(&mut self) -> Option<Vec<Kind>> {
        let stored = |pairs: &[Unspent]| pairs.iter().map(Unspent::encode).collect::<Vec<_>>();
        let (unspent, spent) = (stored(&self.buy(REQUESTS)?), stored(&self.buy(REQUESTS)?));
        let price = self.wallet.prices.insert;
        let good = self.copies(&unspent, price)?;
        let over = self.copies(&unspent, price + 1)?;
        let under = self.copies(&unspent, price - 1)?;
        let performed = self.copies(&spent, price)?;
        let another = self.copies(&spent, price)?;
        for honest in &performed {
            let reply = self.ask(honest.call.clone(), paid(&honest.in_flight))?;
            reply.outcome.ok()?;
        }
        let found = self.lookups(&performed)?;
        let noise = good.iter().map(|honest| noise(honest.request()?));
        let free = good
            .iter()
            .map(|honest| contents(honest.call.clone(), Payment::None));
        let next = good.iter().cycle().skip(1);
        let elsewhere = (good.iter().zip(next))
            .map(|(honest, next)| contents(next.call.clone(), paid(&honest.in_flight)));
        let unknown = (0..REQUESTS).map(|claim| {
            let in_flight = self.wallet.purchase(NEVER_OPENED + claim)?;
            contents(Call::Purchase, paid(&in_flight))
        });
        let wrong_price = Refusal::WrongPrice { price };
        let wrong_epoch = Refusal::WrongEpoch {
            current: 0,
            oldest: 0,
        };
        let spent = Refusal::AlreadySpent { row: Vec::new() };
        let blob = sample::blob(0);
        let kinds = [
            ("noise", noise.collect(), Err(Refusal::Malformed)),
            (
                "a core of noise",
                spoilt(&good, |core| core.fill(0xa5)),
                Err(Refusal::Malformed),
            ),
            ("unpaid", free.collect(), Err(wrong_price.clone())),
            ("overpriced", requests(&over), Err(wrong_price.clone())),
            ("underpriced", requests(&under), Err(wrong_price)),
            (
                "of another epoch",
                spoilt(&good, |core| core[OUT_EPOCH] ^= 0x80),
                Err(wrong_epoch),
            ),
            (
                "paid for another blob",
                elsewhere.collect(),
                Err(Refusal::BadProof),
            ),
            (
                "wrong Σ-proof",
                spoilt(&good, |core| core[CHALLENGE] ^= 1),
                Err(Refusal::BadProof),
            ),
            (
                "wrong range proof",
                spoilt(&good, |core| core[RANGE] ^= 1),
                Err(Refusal::BadProof),
            ),
            ("performed before", requests(&performed), Ok(Done::Inserted)),
            ("replayed look-up", requests(&found), Ok(Done::Found(blob))),
            ("spent pair, another blob", requests(&another), Err(spent)),
            (
                "unknown claim",
                unknown.collect(),
                Err(Refusal::UnknownClaim),
            ),
            ("forged voucher", self.forged(), Err(Refusal::BadVoucher)),
            ("used voucher", self.used(), Err(Refusal::VoucherUsed)),
        ];
        let kinds = kinds.into_iter().map(|(name, requests, due)| {
            Some(Kind {
                name,
                requests: requests?,
                due,
                samples: Vec::new(),
            })
        });
        kinds.collect()
    }

    /// Look-ups of what these inserts have stored, paid and performed.
    fn lookups(&mut self, stored: &[Honest]) -> Option<Vec<Honest>> {
        let pairs = self.buy(stored.len() as u64)?;
        let lookups = stored.iter().zip(pairs).map(|(stored, pair)| {
            let number = stored.number;
            let call = Work::Lookup.call(number, &self.server)?;
            let in_flight = self.wallet.pay(pair, &call, self.wallet.prices.lookup)?;
            let reply = self.ask(call.clone(), paid(&in_flight))?;
            Work::Lookup
                .is_done(number, &reply.outcome)
                .then_some(Honest {
                    number,
                    call,
                    in_flight,
                })
        });
        lookups.collect()
    }

    /// Quotes with vouchers that other claims were opened with.
    fn used(&mut self) -> Option<Vec<Vec<u8>>> {
        let vouchers = self.used.iter().cycle().take(REQUESTS as usize);
        let quotes = vouchers.map(|voucher| {
            let (quote, _) = self.wallet.quote(Some(voucher.clone()));
            contents(quote, Payment::None)
        });
        quotes.collect()
    }

    /// Quotes with vouchers of another node.
    fn forged(&mut self) -> Option<Vec<Vec<u8>>> {
        let other = Vouchers::new(&Identity::from_seed([2; 32]));
        let expires = SystemClock.now() + 3_600;
        let tokens = Quote::MAX_TAGS as u64 * self.wallet.tokens;
        let quotes = (0..REQUESTS).map(|number| {
            let voucher = other.issue([number as u8; 16], tokens, expires);
            let (quote, _) = self.wallet.quote(Some(voucher.encode()));
            contents(quote, Payment::None)
        });
        quotes.collect()
    }
}

impl Honest {
    fn request(&self) -> Option<Vec<u8>> {
        contents(self.call.clone(), paid(&self.in_flight))
    }
}

fn requests(inserts: &[Honest]) -> Option<Vec<Vec<u8>>> {
    inserts.iter().map(Honest::request).collect()
}

/// The same calls, each paid with a core of which something was changed.
fn spoilt(inserts: &[Honest], change: fn(&mut [u8])) -> Option<Vec<Vec<u8>>> {
    let requests = inserts.iter().map(|honest| {
        let mut core = honest.in_flight.core().to_vec();
        change(&mut core);
        contents(honest.call.clone(), Payment::Credentials(core))
    });
    requests.collect()
}

/// A message as long as this one that says nothing, behind the version that it has to have.
fn noise(mut request: Vec<u8>) -> Option<Vec<u8>> {
    let (_, said) = request.split_first_mut()?;
    said.iter_mut()
        .for_each(|byte| *byte = byte.wrapping_mul(167) ^ 0x5a);
    Some(request)
}

//! A wallet without a journal, and what it asks for: calls by number, the same in every run.

use std::ops::Range;
use std::thread;

use larder_credentials::{
    AdjustRule, InFlight, Record as Terms, Reply as Replacement, Root, Settled, Spending, Unspent,
};
use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::record::Prices;
use larder_protocol::{
    Call, Done, Key, Nonce, Payment, Quote, Record, Refusal, Reply, Request, ServerKey, SizeClass,
    envelope,
};
use larder_store::suite::sample;
use secp256k1::{Keypair, SECP256K1, SecretKey};
use serde::{Deserialize, Serialize};

/// What is asked of a storage node.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// To store a new blob.
    Insert,
    /// A blob that an insert has stored.
    Lookup,
    /// To remove it.
    Delete,
}

impl Work {
    /// The call on the blob with this number.
    pub(crate) fn call(self, number: u64, server: &ServerKey) -> Option<Call> {
        let keypair = keypair(number)?;
        let key = Key::from(keypair.public_key());
        Some(match self {
            Work::Insert => Call::Insert(Insert {
                key,
                blob: sample::blob(number),
            }),
            Work::Lookup => Call::Lookup(Lookup { key }),
            Work::Delete => {
                let blob = sample::blob(number);
                Call::Delete(Delete::sign(&keypair, server, blob.hash()))
            }
        })
    }

    /// Whether this is what was asked for. A retry whose first answer was lost finds it done.
    pub(crate) fn is_done(self, number: u64, outcome: &Result<Done, Refusal>) -> bool {
        match (self, outcome) {
            (Work::Insert, Ok(Done::Inserted) | Err(Refusal::AlreadyExists { .. }))
            | (Work::Delete, Ok(Done::Removed) | Err(Refusal::Deleted)) => true,
            (Work::Lookup, Ok(Done::Found(blob))) => *blob == sample::blob(number),
            _ => false,
        }
    }

    pub(crate) fn price(self, prices: &Prices) -> u64 {
        match self {
            Work::Insert => prices.insert,
            Work::Lookup => prices.lookup,
            Work::Delete => prices.delete,
        }
    }
}

fn keypair(number: u64) -> Option<Keypair> {
    let mut secret = [1; 32];
    secret[24..].copy_from_slice(&number.to_be_bytes());
    let secret = SecretKey::from_slice(&secret).ok()?;
    Some(Keypair::from_secret_key(SECP256K1, &secret))
}

/// The contents of the message with this call.
pub(crate) fn contents(call: Call, payment: Payment) -> Option<Vec<u8>> {
    let request = Request {
        payment,
        ..Request::unpaid(Nonce([0x5a; 32]), call)
    };
    envelope::wrap(&request.encode(), SizeClass::Big)
}

/// The reply in the contents of a message.
pub(crate) fn reply(contents: &[u8]) -> Option<Reply> {
    Reply::decode(envelope::unwrap(contents).ok()?).ok()
}

/// What pays for these requests, as it travels.
pub(crate) fn paid(in_flight: &InFlight) -> Payment {
    Payment::Credentials(in_flight.core().to_vec())
}

/// A wallet at one storage node.
pub(crate) struct Wallet {
    root: Root,
    terms: Terms,
    pub(crate) prices: Prices,
    /// Tokens of a pair when it is bought.
    pub(crate) tokens: u64,
    claims: u64,
}

impl Wallet {
    /// At the node with this record. `None` when it sells nothing.
    pub(crate) fn new(record: &Record) -> Option<Self> {
        let tariff = record.tariff.as_ref()?;
        Some(Wallet {
            root: Root::from_bytes([4; 32]),
            terms: record.credentials()?.ok()?,
            prices: tariff.prices,
            tokens: *tariff.denominations.first()?,
            claims: 0,
        })
    }

    /// A quote for as many pairs as one may be for, and the numbers of their claims.
    pub(crate) fn quote(&mut self, voucher: Option<Vec<u8>>) -> (Call, Range<u64>) {
        let claims = self.claims..self.claims + Quote::MAX_TAGS as u64;
        self.claims = claims.end;
        let tags = claims.clone();
        let quote = Quote {
            tokens: self.tokens,
            tags: tags
                .map(|claim| self.root.claim_secret(claim).tag())
                .collect(),
            voucher,
        };
        (Call::Quote(quote), claims)
    }

    /// Takes the pair of a claim.
    pub(crate) fn purchase(&self, claim: u64) -> Option<InFlight> {
        let secret = self.root.claim_secret(claim);
        InFlight::purchase(&self.root, &self.terms, &secret, self.tokens, None).ok()
    }

    /// Pays for a call.
    pub(crate) fn pay(&self, pair: Unspent, call: &Call, price: u64) -> Option<InFlight> {
        let digest = call.digest();
        let spending = Spending::on(call.op().paid_as()?, &digest, price);
        pair.spend(&self.root, &self.terms, &spending).ok()
    }

    /// The pair that came back.
    pub(crate) fn accept(&self, in_flight: InFlight, reply: &Reply) -> Option<Unspent> {
        let replacement = Replacement::decode(reply.replacement.as_deref()?).ok()?;
        let rule = AdjustRule::AtMost(self.prices.insert);
        match in_flight.accept(&self.root, &self.terms, replacement, rule) {
            Ok(Settled::Performed(replaced)) => Some(replaced.pair),
            _ => None,
        }
    }
}

/// Does the client's arithmetic on all cores; the results are in the order of the items.
pub(crate) fn on_all_cores<T: Send, R: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(cores);
    let (mut items, work) = (items.into_iter(), &work);
    thread::scope(|scope| {
        let shares: Vec<_> = (0..cores)
            .map(|_| {
                let share: Vec<T> = items.by_ref().take(share).collect();
                scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>())
            })
            .collect();
        // A thread that panicked leaves its results out, and they are missed.
        let results = shares.into_iter().filter_map(|share| share.join().ok());
        results.flatten().collect()
    })
}

//! Credentials to store: purchases and what follows from them, issued without a ledger.
//!
//! Entries are prepared for a store that may not know of them: whether they take effect is
//! what the tests ask.

use std::num::NonZeroU64;

use larder_credentials::ledger::{self, Entry, Tariff, Teller};
use larder_credentials::{
    AdjustRule, ClaimTag, Epoch, InFlight, Issuer, MasterSecret, OpCode, Reference, Root, Service,
    Settled, Spending, Unspent,
};

/// Tokens of a purchase.
pub const TOKENS: u64 = 100;

/// Tokens that [`Scene::spend`] costs.
pub const PRICE: u64 = 10;

/// Earlier epochs whose credentials are good.
pub const EARLIER: u32 = 1;

/// Every operation costs [`PRICE`], and gives nothing back.
struct Prices;

impl Tariff for Prices {
    fn price(&self, _: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        NonZeroU64::new(PRICE)
    }

    fn largest_adjust(&self, _: OpCode, _: &[u8]) -> u64 {
        0
    }
}

/// An issuer in one epoch, and the one holder that it has.
pub struct Scene {
    teller: Teller<Prices>,
    root: Root,
}

/// What is ready to be stored, and the pair that its holder has once it is.
pub struct Ready {
    /// For [`Effect::paid`](crate::Effect::paid).
    pub entry: Entry,
    /// The replacement.
    pub pair: Unspent,
}

impl Ready {
    /// What the entry consumes.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        self.entry.row().references().iter().collect()
    }
}

impl Scene {
    /// The scene in this epoch; the same secrets in each.
    #[must_use]
    pub fn new(epoch: u32) -> Self {
        let master = MasterSecret::from_bytes([1; 32]);
        let issuer = Issuer::new(&master, Service::new([7; 32]), Epoch(epoch), EARLIER);
        Scene {
            teller: Teller::new(issuer, Prices),
            root: Root::from_bytes([2; 32]),
        }
    }

    /// The tag of the claim with this number.
    #[must_use]
    pub fn tag(&self, number: u64) -> ClaimTag {
        self.root.claim_secret(number).tag()
    }

    /// A purchase of [`TOKENS`] against the claim with this number.
    #[must_use]
    pub fn purchase(&self, number: u64) -> Ready {
        let claim = self.root.claim_secret(number);
        let record = self.teller.issuer().record();
        let in_flight = InFlight::purchase(&self.root, record, &claim, TOKENS, None);
        self.ready(in_flight.expect("a purchase"))
    }

    /// An operation on a pair. Another number makes it another request.
    #[must_use]
    pub fn spend(&self, pair: &Unspent, number: u8) -> Ready {
        let work = OpCode::of_service(20).expect("20 is a service's");
        let pair = Unspent::decode(&*pair.encode()).expect("a pair");
        let record = self.teller.issuer().record();
        let parameters = [number];
        let spending = Spending::on(work, &parameters, PRICE);
        let in_flight = pair.spend(&self.root, record, &spending);
        self.ready(in_flight.expect("enough tokens"))
    }

    /// Verifies a request, issues for it, and opens the answer.
    fn ready(&self, in_flight: InFlight) -> Ready {
        let mut verified = self
            .teller
            .verify(vec![Box::new(in_flight.request().clone())]);
        let verified = verified.remove(0).expect("its proofs hold");
        let entry = self.teller.prepare(&verified, ledger::Outcome::DONE);
        let entry = entry.expect("it is within the tariff");
        let record = self.teller.issuer().record();
        let rule = AdjustRule::Exactly(0);
        match in_flight.accept(&self.root, record, entry.reply(), rule) {
            Ok(Settled::Performed(replaced)) => Ready {
                entry,
                pair: replaced.pair,
            },
            _ => panic!("the answer does not open"),
        }
    }
}

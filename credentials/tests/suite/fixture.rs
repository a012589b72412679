//! One issuer, one holder and a ledger in memory, with everything seeded.

use std::convert::Infallible;
use std::num::NonZeroU64;

use larder_credentials::ledger::memory::{Memory, MemoryTransaction};
use larder_credentials::ledger::{LedgerError, Outcome, Reads as _, Storage, Supply, Tariff};
use larder_credentials::{
    AdjustRule, ClaimSecret, Epoch, InFlight, Issuer, Ledger, MasterSecret, OpCode, Record,
    Refusal, Replaced, Reply, Request, Root, Service, Settled, Spending, Status, Unspent,
};

pub(crate) const SERVICE: Service = Service::new([7; 32]);
pub(crate) const WIDE: Service = Service::wide([7; 32]);
pub(crate) const EPOCH: Epoch = Epoch(5);
pub(crate) const EARLIER: u32 = 2;
pub(crate) const FEE: u64 = 1;
pub(crate) const PRICE: u64 = 10;
pub(crate) const LARGEST_ADJUST: u64 = 1_000;
pub(crate) const WORK: OpCode = match OpCode::of_service(20) {
    Some(op) => op,
    None => panic!("20 belongs to the service"),
};

/// What performing an operation on a [`TestLedger`] results in.
pub(crate) type Performed = Result<Outcome, LedgerError<Infallible>>;

/// A transfer costs one token; [`WORK`] costs ten; nothing else is offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prices;

impl Tariff for Prices {
    fn price(&self, op: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        match op {
            OpCode::TRANSFER => NonZeroU64::new(FEE),
            WORK => NonZeroU64::new(PRICE),
            _ => None,
        }
    }

    fn largest_adjust(&self, _: OpCode, _: &[u8]) -> u64 {
        LARGEST_ADJUST
    }
}

pub(crate) type TestLedger = Ledger<Memory, Prices>;

pub(crate) fn master() -> MasterSecret {
    MasterSecret::from_bytes([1; 32])
}

pub(crate) fn root() -> Root {
    Root::from_bytes([2; 32])
}

pub(crate) fn issuer(service: Service, epoch: Epoch) -> Issuer {
    Issuer::new(&master(), service, epoch, EARLIER)
}

pub(crate) fn ledger() -> TestLedger {
    ledger_of(SERVICE)
}

pub(crate) fn ledger_of(service: Service) -> TestLedger {
    Ledger::new(issuer(service, EPOCH), Memory::new(), Prices).unwrap()
}

/// The next epoch, on the same ledger.
pub(crate) fn next_epoch<S: Storage>(ledger: &mut Ledger<S, Prices>)
where
    S::Error: std::fmt::Debug,
{
    let next = Epoch(ledger.issuer().current().0 + 1);
    ledger.enter(issuer(SERVICE, next)).unwrap();
}

/// Performs nothing and gives nothing back.
pub(crate) fn done(_: &mut MemoryTransaction<'_>, _: &Request) -> Performed {
    Ok(Outcome::DONE)
}

/// Gives back so many tokens, with status 1.
pub(crate) fn giving_back(
    adjust: u64,
) -> impl FnOnce(&mut MemoryTransaction<'_>, &Request) -> Performed {
    move |_, _| {
        Ok(Outcome {
            status: Status(1),
            adjust,
        })
    }
}

/// Fails the test when an operation is performed that must not be.
pub(crate) fn never(_: &mut MemoryTransaction<'_>, _: &Request) -> Performed {
    panic!("this operation must not be performed")
}

/// A claim that is paid.
pub(crate) fn paid_claim(ledger: &TestLedger, root: &Root, index: u64, amount: u64) -> ClaimSecret {
    let claim = root.claim_secret(index);
    ledger.open_claim(&claim.tag(), [9; 32], amount).unwrap();
    ledger.mark_paid(&claim.tag()).unwrap();
    claim
}

/// A pair worth `amount`, bought with the claim of this index.
pub(crate) fn buy(ledger: &TestLedger, root: &Root, index: u64, amount: u64) -> Unspent {
    let claim = paid_claim(ledger, root, index, amount);
    let record = ledger.issuer().record();
    let in_flight = InFlight::purchase(root, record, &claim, amount, None).unwrap();
    let reply = ledger.process(in_flight.core(), never).unwrap();
    performed(in_flight, root, record, reply).pair
}

/// A ledger, and somebody who has bought a pair of 100 tokens there.
pub(crate) fn funded() -> (TestLedger, Root, Unspent) {
    let (ledger, root) = (ledger(), root());
    let pair = buy(&ledger, &root, 0, 100);
    (ledger, root, pair)
}

/// A pair that can be spent again and again: what a holder's backup would be.
pub(crate) fn copy(pair: &Unspent) -> Unspent {
    Unspent::decode(&*pair.encode()).unwrap()
}

pub(crate) fn spend(
    pair: &Unspent,
    root: &Root,
    record: &Record,
    spending: Spending<'_>,
) -> InFlight {
    copy(pair).spend(root, record, &spending).unwrap()
}

/// A request on a pair, in the ledger's present epoch.
pub(crate) fn request(
    ledger: &TestLedger,
    pair: &Unspent,
    root: &Root,
    spending: Spending<'_>,
) -> InFlight {
    spend(pair, root, ledger.issuer().record(), spending)
}

pub(crate) fn performed(
    in_flight: InFlight,
    root: &Root,
    record: &Record,
    reply: Reply,
) -> Replaced {
    match in_flight.accept(root, record, reply, AdjustRule::AtMost(u64::MAX)) {
        Ok(Settled::Performed(replaced)) => replaced,
        other => panic!("not performed: {other:?}"),
    }
}

/// What a ledger refused, or a panic.
pub(crate) fn refusal<T: std::fmt::Debug, E: std::fmt::Debug>(
    result: Result<T, LedgerError<E>>,
) -> Refusal {
    match result {
        Err(LedgerError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn amounts(pair: &Unspent) -> [u64; 2] {
    [0, 1].map(|i| pair.credentials()[i].amount())
}

/// What the ledger believes is outstanding.
pub(crate) fn supply(ledger: &TestLedger) -> Supply {
    let Ok(mut transaction) = ledger.storage().begin();
    let Ok(supply) = transaction.supply();
    supply
}

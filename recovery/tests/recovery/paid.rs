//! A storage node in memory that takes tokens: the real ledger, the real proofs.

mod answers;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

use larder_credentials::ledger::memory::Memory;
use larder_credentials::ledger::{Reads as _, Storage as _, Tariff};
use larder_credentials::{ClaimTag, Epoch, Issuer, IssuerKey, Ledger, MasterSecret, OpCode};
use larder_protocol::record::{Prices, Tariff as PriceList};
use larder_protocol::{
    Address, BLOB_LEN, Blob, BlobHash, Cell, Key, NodeId, Op, Pass, Record, Refusal, Request,
    Voucher, issuer_commitment,
};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Journal, Means, MemoryJournal, Provider, Purse, RecoveryError, Stage, Transport, Unreachable,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(crate) use self::answers::read;
use crate::shelf::{keypair, root};

pub(crate) const INSERT: u64 = 20;
pub(crate) const LOOKUP: u64 = 2;
pub(crate) const DELETE: u64 = 3;
pub(crate) const PUT: u64 = 5;
pub(crate) const FEE: u64 = 1;
pub(crate) const REFUNDS: [u64; 2] = [12, 6];
pub(crate) const FIRST_EPOCH: u32 = 5;
pub(crate) const EPOCH_SECONDS: u32 = 86_400;
/// Earlier epochs that are accepted.
pub(crate) const EARLIER: u32 = 2;
/// How long a cell that was opened stays.
pub(crate) const BREAKGLASS_SECONDS: u32 = 259_200;
const VOUCHER_KEY: [u8; 32] = [8; 32];

/// What a dishonest storage node does to its answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trick {
    /// It keeps what is left of a payment.
    KeepsChange,
    /// It changes a byte of the proof of what it issues.
    BendsProof,
    /// It gives back so many tokens with every operation on a key.
    GivesBack(u64),
    /// It refuses the epoch that it publishes.
    RefusesItsEpoch,
    /// It leaves the receipt out.
    NoReceipt,
    /// One of the two passes that it hands out is not the one that its terms commit to.
    BendsPass(usize),
    /// It hands out no passes.
    KeepsPasses,
}

/// The published prices, for the ledger.
struct Book;

impl Tariff for Book {
    fn price(&self, op: OpCode, _: &[u8]) -> Option<NonZeroU64> {
        NonZeroU64::new(match op.code() {
            2 => FEE,
            17 => INSERT,
            18 => DELETE,
            19 => LOOKUP,
            20 => PUT,
            _ => 0,
        })
    }

    fn largest_adjust(&self, _: OpCode, _: &[u8]) -> u64 {
        1_000
    }
}

struct State {
    ledger: Ledger<Memory, Book>,
    record: Record,
    /// With the epoch of its insert.
    blobs: HashMap<Key, (Blob, u32)>,
    /// With the hash of what was deleted.
    tombstones: HashMap<Key, BlobHash>,
    /// With its sequence, and when it is deleted if it is doomed.
    cells: HashMap<Key, (u64, Cell, Option<u64>)>,
    /// Unix seconds.
    now: u64,
    quotes: HashMap<Vec<ClaimTag>, bool>,
    vouchers: HashMap<[u8; 16], Vec<ClaimTag>>,
    trick: Option<Trick>,
    /// Refuses so many paid requests untouched.
    refuses: Option<(u32, Refusal)>,
    /// Refuses one quote.
    refuses_quote: Option<Refusal>,
    /// Answers so many requests and then loses the answer, or the request.
    lose_answers: u32,
    lose_requests: u32,
    /// Loses the answers to this operation.
    lose_answers_to: Option<Op>,
    /// Of 256 messages, how many are lost, doubled, or come again later.
    rough: u8,
    rng: StdRng,
    /// What arrived, with the pass that it was shown.
    log: Vec<(Vec<u8>, Option<Pass>)>,
    /// Operations that took effect: not answered again, not refused.
    performed: Vec<Op>,
}

/// The storage node; clones are the same one.
#[derive(Clone)]
pub(crate) struct PaidShelf(Arc<Mutex<State>>);

fn master() -> MasterSecret {
    MasterSecret::from_bytes([3; 32])
}

fn issuer(record: &Record, epoch: u32) -> Issuer {
    Issuer::new(&master(), record.service(), Epoch(epoch), EARLIER)
}

/// The terms of an epoch that can be reached without closing any.
fn publish(record: &mut Record, issuer: &Issuer) {
    let (before, hash) = (record.epoch, record.hash());
    record.epoch = issuer.current().0;
    let tariff = record.tariff.as_mut().expect("a price list");
    if record.epoch > before {
        tariff.earlier = tariff.earlier_with(before, hash);
    }
    let live = issuer.record().live();
    tariff.issuers = live.map(|parameters| parameters.encode()).collect();
    let next = IssuerKey::derive(
        &master(),
        issuer.record().service(),
        Epoch(record.epoch + 1),
    );
    tariff.next_issuer = issuer_commitment(&next.parameters().encode());
    tariff.passes = Some(passes(record.epoch).map(|pass| pass.commitment()));
}

/// The passes of an epoch and of the next one.
pub(crate) fn passes(epoch: u32) -> [Pass; 2] {
    [epoch, epoch + 1].map(|epoch| {
        let mut bytes = [0x9a; 32];
        bytes[..4].copy_from_slice(&epoch.to_be_bytes());
        Pass::from_bytes(bytes)
    })
}

impl PaidShelf {
    pub(crate) fn new() -> Self {
        let mut record = Record {
            server_key: keypair(1).public_key().into(),
            receipt_key: keypair(101).public_key().into(),
            node_id: NodeId::from(keypair(51).public_key()),
            epoch: FIRST_EPOCH,
            epoch_seconds: EPOCH_SECONDS,
            tariff: Some(PriceList {
                issuers: Vec::new(),
                next_issuer: [0; 32],
                passes: None,
                earlier: Vec::new(),
                prices: Prices {
                    insert: INSERT,
                    lookup: LOOKUP,
                    delete: DELETE,
                    breakglass: PUT,
                    transfer: FEE,
                },
                refunds: REFUNDS.to_vec(),
                denominations: vec![24, 50, 500],
                breakglass_seconds: BREAKGLASS_SECONDS,
                next_takes: EARLIER as u8,
            }),
        };
        let issuer = issuer(&record, FIRST_EPOCH);
        publish(&mut record, &issuer);
        let ledger = Ledger::new(issuer, Memory::new(), Book).expect("a new ledger");
        PaidShelf(Arc::new(Mutex::new(State {
            ledger,
            record,
            blobs: HashMap::new(),
            tombstones: HashMap::new(),
            cells: HashMap::new(),
            now: 0,
            quotes: HashMap::new(),
            vouchers: HashMap::new(),
            trick: None,
            refuses: None,
            refuses_quote: None,
            lose_answers: 0,
            lose_requests: 0,
            lose_answers_to: None,
            rough: 0,
            rng: StdRng::seed_from_u64(1),
            log: Vec::new(),
            performed: Vec::new(),
        })))
    }

    /// Another one that has lived through the same.
    pub(crate) fn fork(&self) -> Self {
        self.with(|state| {
            let record = state.record.clone();
            let (storage, issuer) = (
                state.ledger.storage().clone(),
                issuer(&record, record.epoch),
            );
            PaidShelf(Arc::new(Mutex::new(State {
                ledger: Ledger::new(issuer, storage, Book).expect("the same epoch"),
                record,
                blobs: state.blobs.clone(),
                tombstones: state.tombstones.clone(),
                cells: state.cells.clone(),
                now: state.now,
                quotes: state.quotes.clone(),
                vouchers: state.vouchers.clone(),
                trick: state.trick,
                refuses: state.refuses.clone(),
                refuses_quote: state.refuses_quote.clone(),
                lose_answers: state.lose_answers,
                lose_requests: state.lose_requests,
                lose_answers_to: state.lose_answers_to,
                rough: state.rough,
                rng: state.rng.clone(),
                log: state.log.clone(),
                performed: state.performed.clone(),
            })))
        })
    }

    /// Keys of the blobs that are there.
    pub(crate) fn keys(&self) -> HashSet<Key> {
        self.with(|state| state.blobs.keys().copied().collect())
    }

    /// Shows these blobs alone from now on; or again what it has, as [`fork`](PaidShelf::fork) kept it.
    pub(crate) fn shows_only(&self, keys: &HashSet<Key>) {
        self.with(|state| state.blobs.retain(|key, _| keys.contains(key)));
    }

    pub(crate) fn shows_again(&self, kept: &PaidShelf) {
        let blobs = kept.with(|state| state.blobs.clone());
        self.with(|state| state.blobs.extend(blobs));
    }

    pub(crate) fn address(&self) -> Address {
        self.with(|state| Address::new(state.record.server_key, state.record.node_id, vec![]))
    }

    pub(crate) fn record(&self) -> Record {
        self.with(|state| state.record.clone())
    }

    /// A voucher over so many tokens.
    pub(crate) fn voucher(&self, id: u8, tokens: u64) -> Voucher {
        Voucher::new(&VOUCHER_KEY, [id; 16], tokens, u64::MAX)
    }

    /// The invoices of all quotes are paid.
    pub(crate) fn pay(&self) {
        self.with(|state| {
            for (tags, paid) in &mut state.quotes {
                *paid = true;
                for tag in tags {
                    state.ledger.mark_paid(tag).expect("a claim that is known");
                }
            }
        });
    }

    pub(crate) fn next_epoch(&self) {
        self.enters_epoch();
        self.publishes();
    }

    /// Enters the next epoch, which its terms do not say yet.
    pub(crate) fn enters_epoch(&self) {
        self.with(|state| {
            let issuer = issuer(&state.record, state.record.epoch + 1);
            state.ledger.enter(issuer).expect("the next epoch");
        });
    }

    /// Publishes the terms of the epoch that it has entered.
    pub(crate) fn publishes(&self) {
        self.with(|state| {
            let State { record, ledger, .. } = state;
            publish(record, ledger.issuer());
        });
    }

    pub(crate) fn with_record(&self, change: impl FnOnce(&mut Record)) {
        self.with(|state| change(&mut state.record));
    }

    /// It is this time, in unix seconds.
    pub(crate) fn is_now(&self, now: u64) {
        self.with(|state| state.now = now);
    }

    /// Sequences of the cells that are there.
    pub(crate) fn cells(&self) -> Vec<u64> {
        self.with(|state| {
            state
                .cells
                .values()
                .map(|(sequence, ..)| *sequence)
                .collect()
        })
    }

    pub(crate) fn tricks(&self, trick: Option<Trick>) {
        self.with(|state| state.trick = trick);
    }

    pub(crate) fn refuses(&self, times: u32, refusal: Refusal) {
        self.with(|state| state.refuses = Some((times, refusal)));
    }

    pub(crate) fn refuses_quote(&self, refusal: Refusal) {
        self.with(|state| state.refuses_quote = Some(refusal));
    }

    pub(crate) fn loses_answers(&self, count: u32) {
        self.with(|state| state.lose_answers = count);
    }

    pub(crate) fn loses_answers_to(&self, op: Option<Op>) {
        self.with(|state| state.lose_answers_to = op);
    }

    pub(crate) fn loses_requests(&self, count: u32) {
        self.with(|state| state.lose_requests = count);
    }

    /// Loses, doubles and reorders this share of 256 messages.
    pub(crate) fn is_rough(&self, rough: u8, seed: u64) {
        self.with(|state| {
            state.rough = rough;
            state.rng = StdRng::seed_from_u64(seed);
        });
    }

    /// A copy of the last message arrives.
    pub(crate) fn comes_again(&self) {
        self.with(|state| {
            let (last, _) = state.log.last().cloned().expect("there was one");
            state.serve(&last);
        });
    }

    /// Every request that arrived, in order.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.with(|state| state.log.iter().map(|(it, _)| read(it)).collect())
    }

    /// Which operation was shown which pass, in the order of the log.
    pub(crate) fn shown(&self) -> Vec<(Op, Option<Pass>)> {
        let shown = |(contents, pass): &(Vec<u8>, _)| (read(contents).call.op(), *pass);
        self.with(|state| state.log.iter().map(shown).collect())
    }

    /// How many operations of this kind took effect.
    pub(crate) fn performed(&self, op: Op) -> usize {
        self.with(|state| state.performed.iter().filter(|&&done| done == op).count())
    }

    /// Has another blob from now on where it has one.
    pub(crate) fn swaps(&self, key: &Key, blob: Blob) {
        self.with(|state| state.blobs.get_mut(key).expect("it is there").0 = blob);
    }

    /// Has other cells from now on.
    pub(crate) fn bends_cells(&self, bend: impl Fn(&mut u64, &mut Cell)) {
        self.with(|state| {
            let cells = state.cells.values_mut();
            cells.for_each(|(sequence, cell, _)| bend(sequence, cell));
        });
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.with(|state| state.blobs.contains_key(key))
    }

    /// Tokens that honest clients hold, as the ledger counts them.
    pub(crate) fn outstanding(&self) -> u64 {
        self.with(|state| {
            let Ok(mut transaction) = state.ledger.storage().begin();
            let Ok(supply) = transaction.supply();
            supply.outstanding as u64
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("no test panics in here"))
    }

    fn answer(&self, contents: &[u8], pass: Option<Pass>) -> Option<Vec<u8>> {
        self.with(|state| {
            if state.lose_requests > 0 {
                state.lose_requests -= 1;
                return None;
            }
            let (rough, lost) = (state.rough, state.rng.random::<u8>());
            if lost < rough {
                return None;
            }
            if read(contents).call.op() == Op::BreakglassOpen {
                assert_eq!(pass, None, "who opens a cell has no pass");
            }
            state.log.push((contents.to_vec(), pass));
            let answer = state.serve(contents);
            if state.rng.random::<u8>() < rough {
                // An earlier message comes again, late.
                let at = state.rng.random_range(0..state.log.len());
                let (again, _) = state.log[at].clone();
                state.serve(&again);
            }
            if state.lose_answers > 0 {
                state.lose_answers -= 1;
                return None;
            }
            let lost = state.lose_answers_to == Some(read(contents).call.op());
            (!lost && state.rng.random::<u8>() >= rough).then_some(answer)
        })
    }
}

impl Transport for PaidShelf {
    /// Tries again as long as the real one does.
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            for _ in 0..20 {
                // Others get their turn, as on a network.
                tokio::task::yield_now().await;
                if let Some(answer) = self.answer(&contents, pass) {
                    return Ok(answer);
                }
            }
            Err(Unreachable {
                advice: "twenty tries were lost".to_owned(),
            })
        })
    }
}

/// A provider that pays from a purse with this journal.
pub(crate) async fn open(
    shelf: &PaidShelf,
    journal: impl Journal + 'static,
    seed: u64,
) -> Result<Arc<Provider>, RecoveryError> {
    open_over(shelf, Arc::new(shelf.clone()), journal, seed).await
}

/// The same over a transport of the test's own.
pub(crate) async fn open_over(
    shelf: &PaidShelf,
    transport: Arc<dyn Transport>,
    journal: impl Journal + 'static,
    seed: u64,
) -> Result<Arc<Provider>, RecoveryError> {
    let address = shelf.address();
    let rng = StdRng::seed_from_u64(seed);
    let provider = Provider::connect_with(address.clone(), transport, rng).await?;
    let purse = Purse::open(&root(1), address.server_key(), journal)?;
    Ok(Arc::new(provider.with_purse(purse)?))
}

/// A provider with so many tokens, bought with a voucher, and its journal.
pub(crate) async fn funded(shelf: &PaidShelf, tokens: u64) -> (Arc<Provider>, MemoryJournal) {
    let journal = MemoryJournal::new();
    let provider = open(shelf, journal.clone(), 1)
        .await
        .expect("an honest provider");
    let means = Means::Voucher(shelf.voucher(1, tokens));
    let purchase = provider.buy(tokens, means).await.expect("a good voucher");
    assert_eq!(purchase.stage, Stage::Collected);
    (provider, journal)
}

pub(crate) fn tokens(provider: &Provider) -> u64 {
    provider.purse().expect("one was given").holdings().tokens
}

/// A key of its own, and a blob.
pub(crate) fn pair(n: u8) -> (Key, Blob) {
    let blob = Blob::try_from(vec![n; BLOB_LEN]).expect("a blob's length");
    (keypair(100 + n).public_key().into(), blob)
}

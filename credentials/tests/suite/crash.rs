//! A crash between any two steps of the transaction leaves all or nothing.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use larder_credentials::ledger::memory::{Memory, MemoryTransaction};
use larder_credentials::ledger::{
    Claim, EpochError, Floor, LedgerError, Outcome, Reads, Storage, Supply, Transaction, Writes,
};
use larder_credentials::{
    ClaimTag, Epoch, InFlight, Ledger, Reference, Refusal, Reply, Row, Spending, Unspent,
};

use crate::fixture::*;

/// The process died here.
#[derive(Debug, PartialEq, Eq)]
struct Crash;

/// Storage that dies at the step where its fuse ends; steps count from one.
#[derive(Default)]
struct Crashing {
    inner: Memory,
    fuse: AtomicU32,
}

const NEVER: u32 = 0;

impl Crashing {
    /// Whether this step is survived.
    fn step(&self) -> Result<(), Crash> {
        match self.fuse.load(Ordering::Relaxed) {
            NEVER => Ok(()),
            1 => Err(Crash),
            left => {
                self.fuse.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

struct CrashingTransaction<'s> {
    inner: MemoryTransaction<'s>,
    storage: &'s Crashing,
}

fn sure<T>(Ok(value): Result<T, Infallible>) -> T {
    value
}

impl Storage for Crashing {
    type Error = Crash;
    type Transaction<'s> = CrashingTransaction<'s>;

    fn begin(&self) -> Result<CrashingTransaction<'_>, Crash> {
        self.step()?;
        Ok(CrashingTransaction {
            inner: sure(self.inner.begin()),
            storage: self,
        })
    }
}

impl Reads for CrashingTransaction<'_> {
    type Error = Crash;

    fn row(&mut self, reference: &Reference) -> Result<Option<Row>, Crash> {
        self.storage.step()?;
        Ok(sure(self.inner.row(reference)))
    }
    fn floor(&mut self) -> Result<Option<Floor>, Crash> {
        self.storage.step()?;
        Ok(sure(self.inner.floor()))
    }
    fn claim(&mut self, tag: &ClaimTag) -> Result<Option<Claim>, Crash> {
        self.storage.step()?;
        Ok(sure(self.inner.claim(tag)))
    }
    fn supply(&mut self) -> Result<Supply, Crash> {
        self.storage.step()?;
        Ok(sure(self.inner.supply()))
    }
}

impl Writes for CrashingTransaction<'_> {
    fn insert_row(&mut self, row: &Row) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.insert_row(row));
        self.storage.step()
    }
    fn drop_rows_before(&mut self, oldest: Epoch) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.drop_rows_before(oldest));
        Ok(())
    }
    fn put_floor(&mut self, floor: Floor) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.put_floor(floor));
        self.storage.step()
    }
    fn put_claim(&mut self, tag: &ClaimTag, claim: Claim) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.put_claim(tag, claim));
        self.storage.step()
    }
    fn drop_claim(&mut self, tag: &ClaimTag) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.drop_claim(tag));
        Ok(())
    }
    fn put_supply(&mut self, supply: Supply) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.put_supply(supply));
        self.storage.step()
    }
}

impl Transaction for CrashingTransaction<'_> {
    fn commit(self) -> Result<(), Crash> {
        self.storage.step()?;
        sure(self.inner.commit());
        // The second way to die here: durable, but the reply is never sent.
        self.storage.step()
    }
}

type CrashingLedger = Ledger<Crashing, Prices>;

/// What the service writes in the same transaction: a counter under a key of its own.
const EFFECTS: ClaimTag = ClaimTag([0xee; 32]);

fn count_effect(
    transaction: &mut CrashingTransaction<'_>,
    _: &larder_credentials::Request,
) -> Result<Outcome, LedgerError<Crash>> {
    let known = transaction.claim(&EFFECTS);
    let amount = known
        .map_err(LedgerError::Storage)?
        .map_or(0, |claim| claim.amount)
        + 1;
    let counter = Claim {
        payment: [0; 32],
        amount,
        paid: false,
        consumed: false,
    };
    let written = transaction.put_claim(&EFFECTS, counter);
    written.map_err(LedgerError::Storage)?;
    Ok(Outcome::DONE)
}

fn state(ledger: &CrashingLedger) -> (usize, Supply, u64) {
    let mut transaction = sure(ledger.storage().inner.begin());
    let supply = sure(transaction.supply());
    let effects = sure(transaction.claim(&EFFECTS)).map_or(0, |claim| claim.amount);
    drop(transaction);
    (ledger.storage().inner.references(), supply, effects)
}

fn ledger_with_paid_claim() -> (CrashingLedger, InFlight) {
    let ledger = Ledger::new(issuer(SERVICE, EPOCH), Crashing::default(), Prices).unwrap();
    let claim = root().claim_secret(0);
    ledger.open_claim(&claim.tag(), [0; 32], 100).unwrap();
    ledger.mark_paid(&claim.tag()).unwrap();
    let record = ledger.issuer().record();
    let purchase = InFlight::purchase(&root(), record, &claim, 100, None).unwrap();
    (ledger, purchase)
}

fn bought() -> (CrashingLedger, Unspent) {
    let (ledger, purchase) = ledger_with_paid_claim();
    let reply = ledger.process(purchase.core(), count_effect).unwrap();
    let pair = performed(purchase, &root(), ledger.issuer().record(), reply).pair;
    (ledger, pair)
}

/// Dies at every step in turn; in between, the state is that before or that after.
fn survives_every_crash(
    start: impl Fn() -> (CrashingLedger, InFlight),
    before: (usize, u128, u64),
    after: (usize, u128, u64),
) {
    let plain = |(rows, supply, effects): (usize, Supply, u64)| (rows, supply.outstanding, effects);
    let (mut died, mut died_after_commit) = (0, 0);
    for fuse in 1.. {
        let (ledger, in_flight) = start();
        assert_eq!(plain(state(&ledger)), before);
        ledger.storage().fuse.store(fuse, Ordering::Relaxed);
        let result = ledger.process(in_flight.core(), count_effect);
        ledger.storage().fuse.store(NEVER, Ordering::Relaxed);
        let crashed = match result {
            Err(LedgerError::Storage(Crash)) => true,
            Ok(Reply::Performed { .. }) => false,
            other => panic!("{other:?}"),
        };
        let found = plain(state(&ledger));
        assert!(
            found == before || found == after,
            "half done at step {fuse}: {found:?}"
        );
        died += u32::from(crashed);
        died_after_commit += u32::from(crashed && found == after);
        let reply = ledger.process(in_flight.core(), count_effect).unwrap();
        assert_eq!(plain(state(&ledger)), after, "step {fuse}");
        performed(in_flight, &root(), ledger.issuer().record(), reply);
        if !crashed {
            break;
        }
    }
    assert!(died > 8, "only {died} steps");
    assert_eq!(died_after_commit, 1);
}

#[test]
fn a_crash_at_any_step_of_a_spend_leaves_all_or_nothing() {
    let start = || {
        let (ledger, pair) = bought();
        let work = Spending::on(WORK, b"", PRICE);
        let in_flight = spend(&pair, &root(), ledger.issuer().record(), work);
        (ledger, in_flight)
    };
    survives_every_crash(start, (1, 100, 0), (3, 90, 1));
}

#[test]
fn a_crash_at_any_step_of_a_reissue_leaves_all_or_nothing() {
    let start = || {
        let (mut ledger, pair) = bought();
        next_epoch(&mut ledger);
        let record = ledger.issuer().record();
        let in_flight = spend(&pair, &root(), record, Spending::reissue());
        (ledger, in_flight)
    };
    survives_every_crash(start, (1, 100, 0), (3, 100, 0));
}

#[test]
fn a_crash_at_any_step_of_a_purchase_leaves_all_or_nothing() {
    survives_every_crash(ledger_with_paid_claim, (0, 0, 0), (1, 100, 0));
}

/// Runs `call` on a ledger that dies at one step after the other. `check` sees the fuse that
/// was lit, and the ledger and the result of each death.
fn at_every_step(
    start: impl Fn() -> CrashingLedger,
    call: impl Fn(&mut CrashingLedger) -> bool,
    mut check: impl FnMut(u32, CrashingLedger),
) {
    for fuse in 1.. {
        let mut ledger = start();
        ledger.storage().fuse.store(fuse, Ordering::Relaxed);
        let crashed = call(&mut ledger);
        ledger.storage().fuse.store(NEVER, Ordering::Relaxed);
        if !crashed {
            assert!(fuse > 4, "only {fuse} steps");
            return;
        }
        check(fuse, ledger);
    }
}

#[test]
fn a_crash_at_any_step_of_entering_an_epoch_makes_no_pair_spendable_twice() {
    let (_, pair) = bought();
    let far = Epoch(EPOCH.0 + EARLIER + 1);
    let start = || {
        let (ledger, pair) = bought();
        let record = ledger.issuer().record();
        let spent = spend(&pair, &root(), record, Spending::on(WORK, b"", PRICE));
        ledger.process(spent.core(), count_effect).unwrap();
        ledger
    };
    let (mut before, mut after) = (0, 0);
    let enter = |ledger: &mut CrashingLedger| match ledger.enter(issuer(SERVICE, far)) {
        Ok(()) => false,
        Err(EpochError::Storage(Crash)) => true,
        Err(error) => panic!("{error:?}"),
    };
    at_every_step(start, enter, |fuse, mut ledger| {
        // The former issuer is in force: it knows the rows, or it takes nothing new.
        assert_eq!(ledger.issuer().current(), EPOCH);
        let record = ledger.issuer().record();
        let again = spend(&pair, &root(), record, Spending::transfer(FEE));
        match ledger.process(again.core(), count_effect) {
            Ok(Reply::NotPerformed(_)) => before += 1,
            Err(LedgerError::Refused(Refusal::WrongEpoch { current, .. })) => {
                assert_eq!(current, far);
                after += 1;
            }
            other => panic!("step {fuse}: {other:?}"),
        }
        // Called again, it succeeds.
        assert!(!enter(&mut ledger));
        assert_eq!(state(&ledger), (0, state(&ledger).1, 1));
    });
    assert!(before > 3);
    assert_eq!(after, 1);
}

#[test]
fn a_crash_at_any_step_of_opening_a_claim_leaves_all_or_nothing() {
    let start = || Ledger::new(issuer(SERVICE, EPOCH), Crashing::default(), Prices).unwrap();
    let tag = root().claim_secret(0).tag();
    let open = |ledger: &CrashingLedger| ledger.open_claim(&tag, [0; 32], 100);
    let call = |ledger: &mut CrashingLedger| open(ledger) == Err(LedgerError::Storage(Crash));
    let mut durable = 0;
    at_every_step(start, call, |fuse, ledger| match open(&ledger) {
        Ok(()) => assert_eq!(durable, 0, "step {fuse}"),
        Err(LedgerError::Refused(Refusal::AlreadyClaimed)) => durable += 1,
        other => panic!("step {fuse}: {other:?}"),
    });
    assert_eq!(durable, 1);
}

#[test]
fn a_crash_at_any_step_of_marking_a_claim_paid_is_mended_by_marking_it_again() {
    let claim = root().claim_secret(0);
    let start = || {
        let ledger = Ledger::new(issuer(SERVICE, EPOCH), Crashing::default(), Prices).unwrap();
        ledger.open_claim(&claim.tag(), [0; 32], 100).unwrap();
        ledger
    };
    let mark = |ledger: &CrashingLedger| ledger.mark_paid(&claim.tag());
    let call = |ledger: &mut CrashingLedger| mark(ledger) == Err(LedgerError::Storage(Crash));
    let (mut unpaid, mut paid) = (0, 0);
    at_every_step(start, call, |fuse, ledger| {
        let record = ledger.issuer().record();
        let purchase = InFlight::purchase(&root(), record, &claim, 100, None).unwrap();
        match ledger.process(purchase.core(), count_effect) {
            Err(LedgerError::Refused(Refusal::NotPaid)) => unpaid += 1,
            Ok(Reply::Performed { .. }) => paid += 1,
            other => panic!("step {fuse}: {other:?}"),
        }
        mark(&ledger).unwrap();
        ledger.process(purchase.core(), count_effect).unwrap();
        assert_eq!(state(&ledger).1.outstanding, 100);
    });
    assert!(unpaid > 3);
    assert_eq!(paid, 1);
}

#[test]
fn a_crash_at_any_step_of_halting_lets_no_forged_token_through() {
    let (_, pair) = bought();
    let start = || {
        let (ledger, _) = bought();
        let mut transaction = sure(ledger.storage().inner.begin());
        let forged = Supply {
            outstanding: u128::from(PRICE) - 1,
            halted: false,
        };
        sure(transaction.put_supply(forged));
        sure(transaction.commit());
        ledger
    };
    let process = |ledger: &CrashingLedger| {
        let record = ledger.issuer().record();
        let spending = spend(&pair, &root(), record, Spending::on(WORK, b"", PRICE));
        ledger.process(spending.core(), count_effect)
    };
    let call = |ledger: &mut CrashingLedger| match process(ledger) {
        Err(LedgerError::Storage(Crash)) => true,
        Err(LedgerError::Refused(Refusal::Halted)) => false,
        other => panic!("{other:?}"),
    };
    let mut halted = 0;
    at_every_step(start, call, |fuse, mut ledger| {
        let (references, supply, effects) = state(&ledger);
        assert_eq!((references, effects), (1, 0), "step {fuse}");
        halted += u32::from(supply.halted);
        assert!(!call(&mut ledger));
        assert!(state(&ledger).1.halted);
    });
    assert_eq!(halted, 1);
}

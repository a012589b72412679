//! Crashes of the client at every step, backups of every age, and rough networks: no token is
//! lost, none is made, and nothing is paid for twice.

use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use futures_util::stream::{FuturesUnordered, StreamExt};
use larder_protocol::{Op, Pass, Refusal};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Entry, Journal, JournalError, Looked, Means, MemoryJournal, Provider, RecoveryError, Removed,
    Stage, Transport, Unreachable, Written,
};
use proptest::prelude::*;

use crate::paid::{
    DELETE, FEE, INSERT, LOOKUP, PaidShelf, REFUNDS, funded, open, open_over, pair, tokens,
};
use crate::payments::holdings;
use crate::shelf::keypair;

/// When the client dies: at a step, counted over journal writes and exchanges, before or after
/// the step took effect. From then on nothing it does has any effect.
#[derive(Clone, Default)]
pub(crate) struct Life(Arc<Mutex<Clock>>);

#[derive(Default)]
struct Clock {
    step: u32,
    death: Option<(u32, When)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Before,
    After,
}

pub(crate) enum Fate {
    Lives,
    DiesAfterwards,
    IsDead,
}

impl Life {
    pub(crate) fn until(step: u32, when: When) -> Self {
        Life(Arc::new(Mutex::new(Clock {
            step: 0,
            death: Some((step, when)),
        })))
    }

    pub(crate) fn step(&self) -> Fate {
        let mut clock = self.0.lock().expect("no test panics in here");
        clock.step += 1;
        match clock.death {
            Some((step, When::After)) if clock.step == step => Fate::DiesAfterwards,
            Some((step, _)) if clock.step >= step => Fate::IsDead,
            _ => Fate::Lives,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let clock = self.0.lock().expect("no test panics in here");
        clock.death.is_some_and(|(step, _)| clock.step >= step)
    }
}

pub(crate) struct MortalJournal(pub(crate) MemoryJournal, pub(crate) Life);

impl MortalJournal {
    fn write(
        &mut self,
        write: impl FnOnce(&mut MemoryJournal) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let dead = || Err(JournalError::Io("dead".to_owned()));
        match self.1.step() {
            Fate::Lives => write(&mut self.0),
            Fate::DiesAfterwards => write(&mut self.0).and_then(|()| dead()),
            Fate::IsDead => dead(),
        }
    }
}

impl Journal for MortalJournal {
    fn entries(&mut self) -> Result<Vec<Entry>, JournalError> {
        self.0.entries()
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        self.write(|journal| journal.append(entry))
    }

    fn replace(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        self.write(|journal| journal.replace(entries))
    }
}

pub(crate) struct MortalTransport(pub(crate) PaidShelf, pub(crate) Life);

impl Transport for MortalTransport {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            let dead = || {
                Err(Unreachable {
                    advice: "dead".to_owned(),
                })
            };
            match self.1.step() {
                Fate::Lives => self.0.exchange(contents, pass).await,
                Fate::DiesAfterwards => self.0.exchange(contents, pass).await.and_then(|_| dead()),
                Fate::IsDead => dead(),
            }
        })
    }
}

/// What a wallet does in its life, one thing after the other. It remembers which it has done.
const TASKS: usize = 8;

async fn task(provider: &Provider, shelf: &PaidShelf, task: usize) -> Result<(), RecoveryError> {
    let [(first, blob), (second, other)] = [pair(1), pair(2)];
    match task {
        0 => {
            // After a crash it goes on with the purchase that it has begun.
            let begun = provider.purchases();
            let voucher = || Means::Voucher(shelf.voucher(1, 100));
            let purchase = match begun.first() {
                Some(purchase) => provider.collect(purchase).await?,
                None if tokens(provider) > 0 => return Ok(()),
                None => provider.buy(100, voucher()).await?,
            };
            assert_eq!(purchase.stage, Stage::Collected);
        }
        1 => {
            let written = provider.insert(first, blob).await?;
            assert!(matches!(written, Written::New | Written::Already));
        }
        2 => assert_eq!(provider.lookup(first).await?, Looked::Found(blob)),
        3 => {
            let written = provider.insert(second, other).await?;
            assert!(matches!(written, Written::New | Written::Already));
        }
        4 => {
            let removed = provider.delete(&keypair(101), blob.hash()).await?;
            assert!(matches!(removed, Removed::Now | Removed::Before));
        }
        5 => assert_eq!(provider.upkeep(1_000).await?.next, None),
        6 => {
            // In another epoch, with credentials of the one before.
            assert_eq!(provider.upkeep(200_000).await?.next, None);
        }
        _ => assert_eq!(provider.lookup(second).await?, Looked::Found(other)),
    }
    Ok(())
}

/// What they leave of a hundred tokens.
const LEFT: u64 = 100 - 2 * INSERT - 2 * LOOKUP - DELETE + REFUNDS[0];

/// Runs all tasks, with one crash at this step. Returns whether there was one, and how many
/// tokens are left.
async fn live(step: u32, when: When) -> (bool, u64) {
    let (shelf, journal) = (PaidShelf::new(), MemoryJournal::new());
    let mut life = Life::until(step, when);
    let (mut died, mut next, mut epochs) = (false, 0, 0);
    loop {
        let transport = Arc::new(MortalTransport(shelf.clone(), life.clone()));
        let mortal = MortalJournal(journal.clone(), life.clone());
        let opened = open_over(&shelf, transport, mortal, u64::from(step) + 1).await;
        while let Ok(provider) = &opened
            && next < TASKS
        {
            while next >= 5 && epochs < 2 {
                shelf.next_epoch();
                epochs += 1;
            }
            match task(provider, &shelf, next).await {
                Ok(()) => next += 1,
                Err(_) => break,
            }
        }
        match opened {
            Ok(provider) if next == TASKS => {
                assert_eq!(tokens(&provider), shelf.outstanding(), "{step} {when:?}");
                return (died || life.is_over(), tokens(&provider));
            }
            opened => {
                let why = opened.map(drop);
                assert!(
                    life.is_over() && !died,
                    "{step} {when:?}, task {next}: {why:?}"
                );
            }
        }
        (died, life) = (true, Life::default());
    }
}

#[tokio::test]
async fn a_crash_at_any_step_loses_no_token_and_pays_for_nothing_twice() {
    let mut steps = 0;
    for step in 1.. {
        let (before, left) = live(step, When::Before).await;
        assert_eq!(left, LEFT, "{step}");
        let (after, left) = live(step, When::After).await;
        assert_eq!(left, LEFT, "{step}");
        if !before && !after {
            steps = step;
            break;
        }
    }
    assert!(steps > 30, "{steps}");
}

#[tokio::test]
async fn a_backup_of_any_age_finds_every_token_again() {
    for age in 0..6 {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        let mut backup = None;
        for n in (0..6).rev() {
            if n == age {
                backup = Some(copy(&journal));
            }
            match n % 2 {
                0 => drop(provider.insert(pair(n).0, pair(n).1).await),
                _ => drop(provider.lookup(pair(n).0).await),
            }
        }
        drop(provider);
        let before = shelf.outstanding();
        assert_eq!(before, 100 - 3 * INSERT - 3 * LOOKUP);
        let backup = backup.expect("made above");
        let provider = open(&shelf, backup, 7).await.expect("honest");
        // Whatever it shows first, it spends to the last token that there is.
        let (mut looked, (key, blob)) = (0, pair(0));
        let elsewhere = || holdings(&provider).elsewhere.unwrap_or(0);
        let error = loop {
            match provider.lookup(key).await {
                Ok(found) => assert_eq!(found, Looked::Found(blob.clone())),
                // There is no other copy that lives.
                Err(RecoveryError::UsedElsewhere | RecoveryError::OutOfTokens { .. })
                    if elsewhere() > FEE =>
                {
                    provider.take_back().await.expect("honest");
                    continue;
                }
                Err(error) => break error,
            }
            looked += LOOKUP;
        };
        assert!(
            matches!(error, RecoveryError::OutOfTokens { .. }),
            "{error}"
        );
        let fees = FEE * shelf.performed(Op::Transfer) as u64;
        let elsewhere = elsewhere();
        assert_eq!(tokens(&provider), before - looked - fees - elsewhere);
        assert_eq!(tokens(&provider) + elsewhere, shelf.outstanding());
        assert!(looked + fees >= before - LOOKUP - 2 * FEE, "{looked}");
    }
}

/// Does this again and again until it has the journal rewritten. How often.
pub(crate) async fn until_rewritten(journal: &MemoryJournal, writes: impl AsyncFn()) -> u64 {
    let entries = || journal.clone().entries().expect("in memory").len();
    let (mut times, mut before) = (0, 0);
    while entries() > before {
        before = entries();
        writes().await;
        times += 1;
    }
    times
}

#[tokio::test]
async fn a_journal_that_was_rewritten_has_forgotten_nothing() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    let [(kept, first), (lost, second)] = [pair(1), pair(2)];
    shelf.loses_answers(20);
    assert!(provider.insert(kept, first.clone()).await.is_err());
    assert_eq!(provider.upkeep(1_000).await.map(|done| done.settled), Ok(1));
    shelf.loses_answers(20);
    assert!(provider.insert(lost, second.clone()).await.is_err());
    let purchase = provider.buy(100, Means::Lightning).await.expect("sold");
    let (key, blob) = pair(3);
    let insert = async || {
        provider.insert(key, blob.clone()).await.expect("enough");
    };
    let inserts = until_rewritten(&journal, insert).await;
    drop(provider);

    let provider = open(&shelf, journal, 2).await.expect("honest");
    let held = 500 - 3 * INSERT - (inserts - 1) * LOOKUP;
    assert_eq!(tokens(&provider), held + INSERT);
    assert_eq!(provider.insert(kept, first).await, Ok(Written::New));
    assert_eq!(provider.insert(lost, second).await, Ok(Written::New));
    assert_eq!(tokens(&provider), held);
    assert_eq!(provider.purchases(), vec![purchase.clone()]);
    shelf.pay();
    provider.collect(&purchase).await.expect("paid");
    // The claims after it are others.
    let other = provider.buy(100, Means::Lightning).await.expect("sold");
    assert_ne!(other.id, purchase.id);
    assert_eq!(tokens(&provider), held + 100);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn a_copy_that_comes_true_after_a_refusal_costs_no_token() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 50).await;
    let (key, blob) = pair(1);
    shelf.refuses(1, Refusal::StoreFull);
    let written = provider.insert(key, blob.clone()).await;
    assert_eq!(written, Err(RecoveryError::Refused(Refusal::StoreFull)));
    shelf.comes_again();
    assert!(shelf.has(&key));
    // The pair that was given back is spent. What replaced it pays.
    assert_eq!(provider.lookup(key).await, Ok(Looked::Found(blob)));
    assert_eq!(tokens(&provider), 50 - INSERT - LOOKUP);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

#[tokio::test]
async fn what_is_done_after_a_backup_is_done_now_and_not_remembered() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    let backup = copy(&journal);
    provider.lookup(pair(1).0).await.expect("enough");
    drop(provider);
    // The same call with the same pair: a retry of the first one would be free, and old.
    let provider = open(&shelf, backup, 7).await.expect("honest");
    assert_eq!(provider.lookup(pair(1).0).await, Ok(Looked::Absent));
    assert_eq!(shelf.performed(Op::Lookup), 2);
    // The pair that was spent, an exchange of the other, and the look-up.
    assert_eq!(shelf.outstanding(), 100 - 2 * LOOKUP - FEE);
}

#[tokio::test]
async fn rows_that_come_in_any_order_are_counted_once() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    let backup = copy(&journal);
    // One pair is spent, and what replaced it together with the halves of the other.
    for n in 0..3 {
        provider.lookup(pair(n).0).await.expect("enough");
    }
    drop(provider);
    let provider = open(&shelf, backup, 7).await.expect("honest");
    let looked = provider.lookup(pair(4).0).await;
    assert_eq!(looked, Err(RecoveryError::UsedElsewhere));
    // The first pair is shown first and its row comes last, when what it holds is spent.
    let mut first = Box::pin(provider.take_back());
    let polled = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    provider.take_back().await.expect("honest");
    first.await.expect("honest");
    let fees = FEE * shelf.performed(Op::Transfer) as u64;
    assert_eq!(shelf.outstanding(), 100 - 3 * LOOKUP - fees);
    assert_eq!(tokens(&provider), shelf.outstanding());
    let error = loop {
        match provider.lookup(pair(4).0).await {
            Ok(looked) => assert_eq!(looked, Looked::Absent),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, RecoveryError::OutOfTokens { .. }),
        "{error}"
    );
    assert_eq!(tokens(&provider), shelf.outstanding());
    assert!(tokens(&provider) < LOOKUP + 2 * FEE);
}

#[tokio::test]
async fn many_operations_at_once_on_a_rough_network_conserve_tokens() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    shelf.is_rough(90, 5);
    let inserts = (0..16).map(|n| {
        let (key, blob) = pair(n);
        let provider = provider.clone();
        async move { again(|| provider.insert(key, blob.clone())).await }
    });
    // Some of them are not waited for to their end.
    let mut inserts: FuturesUnordered<_> = inserts.collect();
    for _ in 0..10 {
        assert_eq!(inserts.next().await, Some(Some(Written::New)));
    }
    drop((inserts, provider));
    shelf.is_rough(0, 0);
    let provider = open(&shelf, journal, 2).await.expect("honest");
    provider.upkeep(1_000).await.expect("a calm network");
    let inserts = shelf.performed(Op::Insert) as u64;
    assert!((10..=16).contains(&inserts));
    // Who comes first is up to the network; some may have had to gather tokens.
    let fees = FEE * shelf.performed(Op::Transfer) as u64;
    assert_eq!(tokens(&provider), 500 - INSERT * inserts - fees);
    assert_eq!(shelf.outstanding(), tokens(&provider));
}

/// A journal with the same entries, of its own.
pub(crate) fn copy(journal: &MemoryJournal) -> MemoryJournal {
    let (mut from, mut to) = (journal.clone(), MemoryJournal::new());
    for entry in from.entries().expect("in memory") {
        to.append(&entry).expect("in memory");
    }
    to
}

/// What may happen in the life of a wallet.
#[derive(Debug, Clone)]
enum Happening {
    Insert(u8),
    Lookup(u8),
    Delete(u8),
    Upkeep,
    NextEpoch,
    Restart,
    Buy,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4_u8).prop_map(Happening::Insert),
        3 => (0..4_u8).prop_map(Happening::Lookup),
        3 => (0..4_u8).prop_map(Happening::Delete),
        1 => Just(Happening::Upkeep),
        1 => Just(Happening::NextEpoch),
        1 => Just(Happening::Restart),
        1 => Just(Happening::Buy),
    ]
}

/// What is under a key, as a plain book has it: with the epoch of the insert, or deleted.
#[derive(Clone, Copy)]
enum Shelved {
    Since(u32),
    Deleted,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tokens_are_conserved_against_plain_arithmetic_whatever_happens(
        happenings in proptest::collection::vec(happening(), 1..25),
        rough in 0..100_u8,
        seed: u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(history(happenings, rough, seed));
    }
}

async fn history(happenings: Vec<Happening>, rough: u8, seed: u64) {
    let shelf = PaidShelf::new();
    let (mut provider, journal) = funded(&shelf, 200).await;
    let (mut plain, mut epoch, mut vouchers, mut now) = (200, 0, 1, 0);
    let mut keys = [None; 4];
    shelf.is_rough(rough, seed);
    for (at, happening) in happenings.into_iter().enumerate() {
        match happening {
            Happening::Insert(n) => {
                let (key, blob) = pair(n);
                plain -= match again(|| provider.insert(key, blob.clone())).await {
                    None => continue,
                    Some(_) if keys[usize::from(n)].is_some() => LOOKUP,
                    Some(_) => INSERT,
                };
                keys[usize::from(n)].get_or_insert(Shelved::Since(epoch));
            }
            Happening::Lookup(n) => {
                let Some(looked) = again(|| provider.lookup(pair(n).0)).await else {
                    continue;
                };
                plain -= LOOKUP;
                assert_eq!(
                    looked,
                    match keys[usize::from(n)] {
                        None => Looked::Absent,
                        Some(Shelved::Since(_)) => Looked::Found(pair(n).1),
                        Some(Shelved::Deleted) => Looked::Deleted,
                    }
                );
            }
            Happening::Delete(n) => {
                let (keypair, hash) = (keypair(100 + n), pair(n).1.hash());
                if again(|| provider.delete(&keypair, hash)).await.is_none() {
                    continue;
                }
                plain -= DELETE;
                if let Some(Shelved::Since(then)) = keys[usize::from(n)] {
                    plain += REFUNDS.get((epoch - then) as usize).copied().unwrap_or(0);
                    keys[usize::from(n)] = Some(Shelved::Deleted);
                }
            }
            Happening::Upkeep => {
                now += 10_000;
                again(|| provider.upkeep(now)).await;
            }
            Happening::NextEpoch => {
                // Whoever is kept up in every epoch loses nothing.
                now += 86_400;
                again(|| provider.upkeep(now)).await;
                shelf.next_epoch();
                epoch += 1;
            }
            Happening::Restart => {
                drop(provider);
                let seed = seed ^ at as u64;
                provider = loop {
                    // A client that cannot reach the storage node tries again.
                    if let Ok(provider) = open(&shelf, journal.clone(), seed).await {
                        break provider;
                    }
                };
            }
            Happening::Buy => {
                vouchers += 1;
                let means = Means::Voucher(shelf.voucher(vouchers, 48));
                let mut purchase = provider.buy(48, means).await.ok();
                while purchase
                    .as_ref()
                    .is_none_or(|p| p.stage != Stage::Collected)
                {
                    let Some(begun) = provider.purchases().into_iter().next() else {
                        break;
                    };
                    purchase = provider.collect(&begun).await.ok();
                }
                plain += 48;
            }
        }
    }
    shelf.is_rough(0, 0);
    provider.upkeep(now).await.expect("a calm network");
    let fees = FEE * shelf.performed(Op::Transfer) as u64;
    let holdings = provider.purse().expect("given").holdings();
    assert_eq!((holdings.in_flight, holdings.expired), (0, 0));
    assert_eq!(holdings.tokens, plain - fees);
    assert_eq!(shelf.outstanding(), plain - fees);
}

/// Does it until it is done, as a wallet would; nothing when the tokens do not suffice.
async fn again<T, F: Future<Output = Result<T, RecoveryError>>>(
    mut operation: impl FnMut() -> F,
) -> Option<T> {
    loop {
        match operation().await {
            Ok(done) => return Some(done),
            Err(RecoveryError::Unreachable(_)) => {}
            Err(RecoveryError::OutOfTokens { .. }) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

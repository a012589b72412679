//! Passes: learnt from what was paid for, and shown with all but questions for the terms. What keeps them from being one client's alone
//! is in [`passes_kept_back`](crate::passes_kept_back).

use std::sync::{Arc, Mutex};

use larder_protocol::{Op, Pass, Refusal};
use larder_recovery::breakglass::Wrote;
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Journal, Looked, Means, MemoryJournal, Provider, Purse, RecoveryError, Transport,
};

use crate::crashes::{Life, MortalJournal, When, until_rewritten};
use crate::loss::{Wallet, nothing_left, read};
use crate::paid::{
    self, FIRST_EPOCH, LOOKUP, PaidShelf, funded, open, open_over, pair, passes, tokens,
};
use crate::shelf::{keypair, root};

/// The code of the event that has them, in a journal.
const PASSES: u8 = 18;

pub(crate) async fn looks_up(provider: &Provider) {
    let looked = provider.lookup(pair(1).0).await;
    assert_eq!(looked, Ok(Looked::Absent));
}

/// What the look-ups so far were shown.
pub(crate) fn shown_by_lookups(shelf: &PaidShelf) -> Vec<Option<Pass>> {
    let shown = shelf.shown().into_iter();
    shown
        .filter_map(|(op, pass)| (op == Op::Lookup).then_some(pass))
        .collect()
}

/// How often passes were written down.
pub(crate) fn writes(journal: &MemoryJournal) -> usize {
    let entries = journal.clone().entries().expect("in memory");
    entries.iter().filter(|entry| entry[0] == PASSES).count()
}

/// The same without the passes, as of before there were any.
fn without_passes(journal: &MemoryJournal) -> MemoryJournal {
    let old = MemoryJournal::new();
    let mut entries = journal.clone().entries().expect("in memory");
    entries.retain(|entry| entry[0] != PASSES);
    old.clone().replace(&entries).expect("in memory");
    old
}

#[tokio::test]
async fn a_purchase_brings_passes_so_what_its_tokens_pay_for_first_is_not_known_by_having_none() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    assert_eq!(writes(&journal), 1);
    for _ in 0..3 {
        looks_up(&provider).await;
    }
    let [pass, _] = passes(FIRST_EPOCH).map(Some);
    assert_eq!(shown_by_lookups(&shelf), [pass; 3]);
    assert_eq!(writes(&journal), 1);
    provider.insert(pair(1).0, pair(1).1).await.expect("enough");
    assert_eq!(shelf.shown().last(), Some(&(Op::Insert, pass)));
}

#[tokio::test]
async fn what_is_free_shows_the_pass_in_messages_of_either_size_but_for_infos_and_an_open() {
    for compact in [false, true] {
        let shelf = PaidShelf::new();
        let (address, way) = (shelf.address(), Arc::new(shelf.clone()));
        let (provider, journal) = funded(&shelf, 100).await;
        looks_up(&provider).await;
        drop(provider);
        let arrived = shelf.shown().len();
        let provider = Provider::connect(address.clone(), way).await;
        let provider = provider.expect("honest");
        let provider = if compact {
            provider.compact()
        } else {
            provider
        };
        let purse = Purse::open(&root(1), address.server_key(), journal).expect("its own");
        let provider = provider.with_purse(purse).expect("its own");
        provider.upkeep(1_000).await.expect("honest");
        provider.buy(50, Means::Lightning).await.expect("sold");
        assert_eq!(provider.open_cell(&keypair(1)).await, Ok(None));
        looks_up(&provider).await;
        let mut shown = shelf.shown().split_off(arrived);
        // What does not fit a small message is asked for again.
        shown.dedup();
        let [pass, _] = passes(FIRST_EPOCH).map(Some);
        let [quote, lookup] = [Op::Quote, Op::Lookup].map(|op| (op, pass));
        let [info, open] = [Op::Info, Op::BreakglassOpen].map(|op| (op, None));
        assert_eq!(shown, [info, quote, open, lookup]);
    }
}

#[tokio::test]
async fn a_storage_node_that_takes_no_tokens_any_more_is_shown_no_pass() {
    let shelf = PaidShelf::new();
    let (provider, _) = funded(&shelf, 100).await;
    looks_up(&provider).await;
    shelf.next_epoch();
    shelf.with_record(|record| record.tariff = None);
    provider.upkeep(1_000).await.expect("it may do that");
    // This one takes nothing without tokens.
    assert!(provider.lookup(pair(1).0).await.is_err());
    let [pass, _] = passes(FIRST_EPOCH).map(Some);
    assert_eq!(shown_by_lookups(&shelf), [pass, None]);
}

#[tokio::test]
async fn a_restart_forgets_no_pass_and_a_journal_of_before_there_were_any_opens_without() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    looks_up(&provider).await;
    drop(provider);
    let old = without_passes(&journal);
    let [pass, _] = passes(FIRST_EPOCH).map(Some);
    for (journal, first) in [(journal, pass), (old, None)] {
        let shelf = shelf.fork();
        let provider = open(&shelf, journal, 2).await.expect("its own");
        looks_up(&provider).await;
        looks_up(&provider).await;
        assert_eq!(shown_by_lookups(&shelf), [pass, first, pass]);
    }
}

#[tokio::test]
async fn the_first_request_of_an_epoch_shows_its_pass_and_that_of_the_one_after_the_next_none() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    looks_up(&provider).await;
    shelf.next_epoch();
    provider.upkeep(1_000).await.expect("honest");
    looks_up(&provider).await;
    looks_up(&provider).await;
    // Each epoch's first answer brings one that is new.
    assert_eq!(writes(&journal), 2);
    for now in [2_000, 3_000] {
        shelf.next_epoch();
        provider.upkeep(now).await.expect("honest");
    }
    looks_up(&provider).await;
    let [first, _] = passes(FIRST_EPOCH).map(Some);
    let [second, third] = passes(FIRST_EPOCH + 1).map(Some);
    assert_eq!(shown_by_lookups(&shelf), [first, second, second, None]);
    let upkeep = shelf
        .shown()
        .into_iter()
        .filter(|(op, _)| *op == Op::Reissue);
    let upkeep: Vec<_> = upkeep.map(|(_, pass)| pass).collect();
    assert!(upkeep.contains(&third), "{upkeep:?}");
}

#[tokio::test]
async fn a_journal_that_is_rewritten_has_the_passes_that_may_still_be_shown_and_no_others() {
    for (epochs, kept) in [(0, 1), (1, 1), (2, 0)] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 500).await;
        looks_up(&provider).await;
        for epoch in 0..epochs {
            shelf.next_epoch();
            provider.upkeep(1_000 * epoch).await.expect("honest");
        }
        // What is refused brings no passes.
        shelf.refuses(u32::MAX, Refusal::StoreFull);
        let full = Err(RecoveryError::Refused(Refusal::StoreFull));
        let (key, blob) = pair(2);
        let insert = async || assert_eq!(provider.insert(key, blob.clone()).await, full);
        until_rewritten(&journal, insert).await;
        shelf.refuses(0, Refusal::StoreFull);
        assert_eq!(writes(&journal), kept, "{epochs}");
        drop(provider);
        let provider = open(&shelf, journal, 2).await.expect("its own");
        looks_up(&provider).await;
        let [first, _] = passes(FIRST_EPOCH).map(Some);
        let pass = passes(FIRST_EPOCH).get(epochs as usize).copied();
        assert_eq!(shown_by_lookups(&shelf), [first, pass]);
    }
}

/// A way on which an epoch begins, and the client hears of it, while the answer to a look-up comes.
struct Overtaken(PaidShelf, Mutex<Option<Arc<Provider>>>);

impl Transport for Overtaken {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            let looks_up = paid::read(&contents).call.op() == Op::Lookup;
            let answer = self.0.exchange(contents, pass).await;
            let take = || self.1.lock().expect("no test panics in here").take();
            if let Some(provider) = looks_up.then(take).flatten() {
                self.0.next_epoch();
                provider.upkeep(1_000).await.expect("honest");
            }
            answer
        })
    }
}

#[tokio::test]
async fn an_answer_that_an_epoch_overtook_counts_for_all_but_its_passes() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    drop(provider);
    let journal = without_passes(&journal);
    let way = Arc::new(Overtaken(shelf.clone(), Mutex::default()));
    let provider = open_over(&shelf, way.clone(), journal.clone(), 2).await;
    let provider = provider.expect("its own");
    *way.1.lock().expect("no test panics in here") = Some(provider.clone());
    looks_up(&provider).await;
    assert_eq!(writes(&journal), 0);
    looks_up(&provider).await;
    looks_up(&provider).await;
    let [pass, _] = passes(FIRST_EPOCH + 1).map(Some);
    assert_eq!(shown_by_lookups(&shelf), [None, None, pass]);
    assert_eq!(tokens(&provider), shelf.outstanding());
}

/// A way that counts what is sent apart.
struct Counted(PaidShelf, Mutex<Vec<Op>>);

impl Transport for Counted {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        self.0.exchange(contents, pass)
    }

    fn exchange_apart(&self, contents: Vec<u8>) -> Exchange<'_> {
        let op = paid::read(&contents).call.op();
        self.1.lock().expect("no test panics in here").push(op);
        self.0.exchange(contents, None)
    }
}

#[tokio::test]
async fn the_terms_are_asked_for_apart_from_all_that_a_session_has_sent_and_nothing_else_is() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    drop(provider);
    let way = Arc::new(Counted(shelf.clone(), Mutex::default()));
    let provider = open_over(&shelf, way.clone(), journal, 2).await;
    let provider = provider.expect("its own");
    looks_up(&provider).await;
    shelf.next_epoch();
    // Because a request is refused, to compare what that brought, and for an upkeep.
    looks_up(&provider).await;
    provider.upkeep(1_000).await.expect("honest");
    let apart = way.1.lock().expect("no test panics in here").clone();
    assert_eq!(apart, [Op::Info; 3]);
}

#[tokio::test]
async fn a_restore_shows_what_its_first_payment_has_taught_it_and_opens_without() {
    let mut wallet = Wallet::new(8, 6).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, _) = wallet.lose();
    let arrived = shelf.shown().len();
    let (provider, restore) = nothing_left(&shelf).await;
    read(&restore).await.expect("the cell pays");
    provider.upkeep(1_000).await.expect("honest");
    assert_eq!(provider.open_cell(&keypair(1)).await, Ok(None));
    let shown = shelf.shown().split_off(arrived);
    let (opens, others): (Vec<_>, Vec<_>) = shown
        .into_iter()
        .partition(|(op, _)| *op == Op::BreakglassOpen);
    assert_eq!(opens, [(Op::BreakglassOpen, None); 2]);
    // What was given up of the restore's reading arrives before or behind the question for the terms, by chance.
    let (infos, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|(op, _)| *op == Op::Info);
    assert_eq!(infos, [(Op::Info, None); 3]);
    let [pass, _] = passes(FIRST_EPOCH).map(Some);
    let first = others.iter().position(|(_, shown)| shown.is_some());
    let (before, after) = others.split_at(first.expect("more than one is paid for"));
    assert!(after.iter().all(|(_, shown)| *shown == pass), "{after:?}");
    let priced = before.iter().map(|(op, _)| *op);
    let priced = priced.filter(|op| *op != Op::Reissue);
    assert_eq!(priced.count(), 1, "{before:?}");
}

#[tokio::test]
async fn a_write_that_fails_while_a_pass_is_learnt_loses_no_token() {
    for when in [When::Before, When::After] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        drop(provider);
        let journal = without_passes(&journal);
        // The request is written first, and the passes that its answer brings after it.
        let mortal = MortalJournal(journal.clone(), Life::until(2, when));
        let provider = open(&shelf, mortal, 2).await.expect("its own");
        let looked = provider.lookup(pair(1).0).await;
        assert!(
            matches!(looked, Err(RecoveryError::Journal(_))),
            "{looked:?}"
        );
        let holdings = provider.purse().expect("given").holdings();
        assert_eq!((holdings.tokens, holdings.in_flight), (100, 50));
        drop(provider);

        let provider = open(&shelf, journal.clone(), 3).await.expect("its own");
        looks_up(&provider).await;
        assert_eq!(tokens(&provider), 100 - LOOKUP);
        assert_eq!(shelf.outstanding(), tokens(&provider));
        // An answer that is given again in its epoch brings them again.
        assert_eq!(writes(&journal), 1);
    }
}

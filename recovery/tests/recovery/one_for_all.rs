//! Terms are one for all: a storage node that gives each client terms of its own is found out before anything is paid
//! by them, and paid nothing more. It knows a client by the circuits that he goes on with, and not by those of a
//! question that goes apart.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use larder_credentials::{Epoch, IssuerKey, MasterSecret, PARAMETERS_BYTES};
use larder_protocol::record::Tariff;
use larder_protocol::{
    Done, Op, Pass, Record, RecordHash, Reply, SignedRecord, SizeClass, envelope,
};
use larder_recovery::contradiction::Contradiction;
use larder_recovery::transport::Exchange;
use larder_recovery::{Looked, Means, MemoryJournal, Provider, RecoveryError, Stage, Transport};

use crate::paid::{FIRST_EPOCH, LOOKUP, PaidShelf, funded, open, open_over, pair, read, tokens};
use crate::shelf::keypair;

/// What a record is made to say to somebody of this number.
type Lie = fn(&mut Tariff, u32);

const LIES: [(&str, Lie); 6] = [
    ("a pass", |tariff, who| {
        let [_, next] = tariff.passes.as_mut().expect("there are passes");
        next[..4].copy_from_slice(&who.to_be_bytes());
    }),
    ("a price", |tariff, who| {
        tariff.prices.lookup += u64::from(who);
    }),
    ("a refund", |tariff, who| {
        tariff.refunds.push(u64::from(who));
    }),
    ("a denomination", |tariff, who| {
        tariff.denominations.push(1_000 + u64::from(who));
    }),
    ("a timer", |tariff, who| tariff.breakglass_seconds += who),
    ("a commitment to keys", |tariff, who| {
        tariff.next_issuer[..4].copy_from_slice(&who.to_be_bytes());
    }),
];

/// A way to a storage node that lies to whom it knows always the same, and to each stranger something else.
struct Liar {
    shelf: PaidShelf,
    lie: Mutex<Option<Lie>>,
    known: u32,
    strangers: Arc<AtomicU32>,
}

impl Liar {
    fn new(shelf: &PaidShelf, known: u32, strangers: &Arc<AtomicU32>) -> Arc<Self> {
        Arc::new(Liar {
            shelf: shelf.clone(),
            lie: Mutex::default(),
            known,
            strangers: strangers.clone(),
        })
    }

    fn lies(&self, lie: Option<Lie>) {
        *self.lie.lock().expect("no test panics in here") = lie;
    }

    fn told(&self, contents: Vec<u8>, pass: Option<Pass>, who: u32) -> Exchange<'_> {
        let (op, class) = (read(&contents).call.op(), SizeClass::of(&contents));
        let lie = *self.lie.lock().expect("no test panics in here");
        Box::pin(async move {
            let answer = self.shelf.exchange(contents, pass).await?;
            Ok(match lie.filter(|_| op == Op::Info) {
                Some(lie) => bent(&answer, class, |tariff| lie(tariff, who)),
                None => answer,
            })
        })
    }
}

impl Transport for Liar {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        self.told(contents, pass, self.known)
    }

    fn exchange_apart(&self, contents: Vec<u8>) -> Exchange<'_> {
        let who = self.strangers.fetch_add(1, Ordering::Relaxed);
        self.told(contents, None, who)
    }
}

/// The same answer with another tariff, signed as it should be.
fn bent(answer: &[u8], class: SizeClass, bend: impl FnOnce(&mut Tariff)) -> Vec<u8> {
    let mut reply = Reply::decode(envelope::unwrap(answer).expect("wrapped")).expect("a reply");
    if let Ok(Done::Info(signed)) = &mut reply.outcome {
        let mut record = verified(signed);
        bend(record.tariff.as_mut().expect("a price list"));
        **signed = record.sign(&keypair(1));
    }
    envelope::wrap(&reply.encode(), class).unwrap_or_else(|| answer.to_vec())
}

fn verified(signed: &SignedRecord) -> Record {
    let record = signed.verified(&keypair(1).public_key().into());
    record.expect("signed by it").clone()
}

/// The proof, which has to be one.
fn objects<T: std::fmt::Debug>(result: Result<T, RecoveryError>) -> Box<Contradiction> {
    match result {
        Err(RecoveryError::Contradicted { what, proof }) => {
            assert_eq!(proof.convicts(&keypair(1).public_key().into()), Some(what));
            assert_eq!(proof.convicts(&keypair(2).public_key().into()), None);
            proof
        }
        other => panic!("it does not object: {other:?}"),
    }
}

async fn looks_up(provider: &Provider) -> Result<(), RecoveryError> {
    let looked = provider.lookup(pair(1).0).await?;
    assert_eq!(looked, Looked::Absent);
    Ok(())
}

/// Eight wallets with tokens, and the ways that they go.
async fn eight(shelf: &PaidShelf) -> Vec<(Arc<Provider>, MemoryJournal, Arc<Liar>)> {
    let strangers = Arc::new(AtomicU32::new(20));
    let mut wallets = Vec::new();
    for who in 1..=8 {
        let (journal, way) = (MemoryJournal::new(), Liar::new(shelf, who, &strangers));
        let provider = open_over(shelf, way.clone(), journal.clone(), who.into()).await;
        let provider = provider.expect("honest so far");
        let means = Means::Voucher(shelf.voucher(who as u8, 100));
        let bought = provider.buy(100, means).await.expect("honest so far");
        assert_eq!(bought.stage, Stage::Collected);
        looks_up(&provider).await.expect("honest so far");
        wallets.push((provider, journal, way));
    }
    wallets
}

#[tokio::test]
async fn every_wallet_objects_to_terms_of_its_own_before_its_first_payment_by_them() {
    for (what, lie) in LIES {
        for restarts in [false, true] {
            let shelf = PaidShelf::new();
            let mut wallets = eight(&shelf).await;
            shelf.next_epoch();
            let paid = shelf.performed(Op::Lookup);
            for (who, (provider, journal, way)) in (1..).zip(&mut wallets) {
                way.lies(Some(lie));
                if restarts {
                    let again = open_over(&shelf, way.clone(), journal.clone(), 100 + who);
                    *provider = again.await.expect("nothing to compare with yet");
                }
                let proof = objects(looks_up(provider).await);
                assert_ne!(verified(&proof.one), verified(&proof.other), "{what}");
                // It goes on objecting, whatever is asked for.
                objects(provider.insert(pair(2).0, pair(2).1).await);
                objects(provider.upkeep(1_000).await);
                let means = Means::Voucher(shelf.voucher(100 + who as u8, 100));
                objects(provider.buy(100, means).await);
                // And after a restart, when it is told what everybody else is.
                way.lies(None);
                let again = open_over(&shelf, way.clone(), journal.clone(), 200 + who);
                assert_eq!(objects(again.await.map(drop)), proof);
                assert_eq!(tokens(provider), 100 - LOOKUP);
            }
            assert_eq!(shelf.performed(Op::Lookup), paid, "{what}");
            assert_eq!(shelf.performed(Op::Insert), 0, "{what}");
        }
    }
}

#[tokio::test]
async fn a_new_wallet_objects_before_it_asks_what_tokens_cost() {
    for (what, lie) in LIES {
        let shelf = PaidShelf::new();
        let way = Liar::new(&shelf, 1, &Arc::new(AtomicU32::new(2)));
        way.lies(Some(lie));
        let provider = open_over(&shelf, way, MemoryJournal::new(), 1).await;
        let provider = provider.expect("nothing to compare with yet");
        let means = Means::Voucher(shelf.voucher(1, 100));
        objects(provider.buy(100, means).await);
        let ops: Vec<Op> = shelf.shown().into_iter().map(|(op, _)| op).collect();
        assert_eq!(ops, [Op::Info; 2], "{what}");
    }
}

#[tokio::test]
async fn what_one_session_was_told_the_next_one_must_be_told_as_well() {
    for (_, lie) in LIES {
        let shelf = PaidShelf::new();
        let (strangers, journal) = (Arc::new(AtomicU32::new(1)), MemoryJournal::new());
        let bought = async |way: Arc<Liar>, seed| {
            let provider = open_over(&shelf, way, journal.clone(), seed).await?;
            let means = Means::Voucher(shelf.voucher(1, 100));
            provider.buy(100, means).await.map(drop)
        };
        let way = Liar::new(&shelf, 1, &strangers);
        bought(way, 1).await.expect("honest so far");
        let way = Liar::new(&shelf, 3, &strangers);
        way.lies(Some(lie));
        objects(bought(way, 2).await);
    }
}

#[tokio::test]
async fn a_session_asks_once_more_in_an_epoch_and_the_sessions_behind_it_do_not() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 500).await;
    let infos = || {
        shelf
            .log()
            .iter()
            .filter(|it| it.call.op() == Op::Info)
            .count()
    };
    // To connect, and to compare.
    assert_eq!(infos(), 2);
    for _ in 0..3 {
        looks_up(&provider).await.expect("honest");
    }
    assert_eq!(infos(), 2);
    shelf.next_epoch();
    for _ in 0..3 {
        looks_up(&provider).await.expect("honest");
    }
    assert_eq!(infos(), 4);
    for seed in 2..5 {
        let provider = open(&shelf, journal.clone(), seed).await.expect("honest");
        looks_up(&provider).await.expect("honest");
        provider.tend(1_000).await.expect("honest");
    }
    assert_eq!(infos(), 7);
}

#[tokio::test]
async fn whoever_was_away_for_epochs_compares_with_what_later_terms_name() {
    let wrong: [(&str, Lie); 3] = [
        ("another", |tariff, _| {
            let known = tariff.earlier.iter_mut();
            let mut known = known.filter(|it| it.epoch == FIRST_EPOCH);
            known.next().expect("it is named").hash = RecordHash([7; 32]);
        }),
        ("passed over", |tariff, _| {
            tariff.earlier.retain(|it| it.epoch != FIRST_EPOCH);
            let (epoch, hash) = (FIRST_EPOCH - 1, RecordHash([7; 32]));
            tariff
                .earlier
                .insert(0, larder_protocol::Earlier { epoch, hash });
        }),
        ("none", |tariff, _| tariff.earlier.clear()),
    ];
    for (epochs, until) in [(1, 3), (2, 3), (3, 2), (15, 2)] {
        for (what, lie) in &wrong[..until] {
            let shelf = PaidShelf::new();
            let (provider, journal) = funded(&shelf, 100).await;
            looks_up(&provider).await.expect("honest");
            drop(provider);
            for _ in 0..epochs {
                shelf.next_epoch();
            }
            let honest = open(&shelf, journal.clone(), 2).await;
            honest.expect("it names what it had signed");
            let told = shelf.log().len();
            shelf.with_record(|record| lie(record.tariff.as_mut().expect("a price list"), 1));
            let lied_to = open(&shelf, journal, 3).await;
            objects(lied_to.map(drop));
            assert_eq!(shelf.log().len(), told + 1, "{epochs}, {what}");
        }
    }
}

#[tokio::test]
async fn what_a_record_names_no_more_is_taken_for_too_long_ago() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    drop(provider);
    for _ in 0..=Tariff::EARLIER {
        shelf.next_epoch();
    }
    let provider = open(&shelf, journal, 2).await.expect("honest");
    let short = provider.lookup(pair(1).0).await;
    assert!(matches!(
        short,
        Err(RecoveryError::OutOfTokens { held: 0, .. })
    ));
    let holdings = provider.purse().expect("given").holdings();
    assert_eq!(holdings.expired, 100);
}

#[tokio::test]
async fn a_store_that_was_put_back_may_name_nothing_if_it_takes_nothing_of_before() {
    for takes_old in [false, true] {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        drop(provider);
        (0..2).for_each(|_| shelf.next_epoch());
        shelf.with_record(|record| {
            let tariff = record.tariff.as_mut().expect("a price list");
            tariff.earlier.clear();
            if !takes_old {
                tariff.issuers.drain(..2);
            }
        });
        let opened = open(&shelf, journal, 2).await;
        if takes_old {
            objects(opened.map(drop));
            continue;
        }
        let provider = opened.expect("all that was issued before is closed");
        provider.compare_terms().await.expect("the same twice");
        // That is how a wallet sees it.
        let holdings = provider.purse().expect("given").holdings();
        assert_eq!((holdings.tokens, holdings.expired), (0, 100));
    }
}

#[tokio::test]
async fn a_wallet_that_was_away_while_a_store_was_put_back_convicts_nobody() {
    // The epoch that it knows is in no backup, and it comes one, two or three epochs after the restore.
    for later in 1..4 {
        let shelf = PaidShelf::new();
        let (provider, journal) = funded(&shelf, 100).await;
        drop(provider);
        (0..2).for_each(|_| shelf.next_epoch());
        shelf.with_record(|record| record.tariff.as_mut().expect("prices").earlier.clear());
        (0..later).for_each(|_| shelf.next_epoch());
        let provider = open(&shelf, journal, 2).await.expect("it is honest");
        provider.compare_terms().await.expect("the same twice");
        assert!(provider.purse().expect("given").contradiction().is_none());
    }
}

/// Keys of an epoch that are not those of the shelf.
fn others(epoch: u32) -> [u8; PARAMETERS_BYTES] {
    let service = PaidShelf::new().record().service();
    let key = IssuerKey::derive(&MasterSecret::from_bytes([4; 32]), &service, Epoch(epoch));
    key.parameters().encode()
}

#[tokio::test]
async fn terms_without_a_tariff_in_between_hide_no_change_of_keys_commitments_or_names() {
    let lies: [Option<Lie>; 4] = [
        None,
        Some(|tariff, epoch| tariff.issuers[0] = others(epoch)),
        Some(|tariff, epoch| tariff.issuers[1] = others(epoch + 1)),
        Some(|tariff, _| tariff.earlier.clear()),
    ];
    for restarts in [false, true] {
        for lie in lies {
            let shelf = PaidShelf::new();
            let (mut provider, journal) = funded(&shelf, 100).await;
            shelf.next_epoch();
            let tariff = shelf.record().tariff;
            shelf.with_record(|record| record.tariff = None);
            if restarts {
                provider = open(&shelf, journal, 2).await.expect("it may do that");
            }
            provider.upkeep(1_000).await.expect("it may do that");
            shelf.with_record(|record| record.tariff = tariff);
            shelf.next_epoch();
            let bend = |record: &mut Record| {
                let tariff = record.tariff.as_mut().expect("a price list");
                lie.into_iter().for_each(|lie| lie(tariff, FIRST_EPOCH));
            };
            shelf.with_record(bend);
            let kept = provider.upkeep(2_000).await;
            match lie {
                None => assert!(kept.is_ok_and(|done| done.reissued == 2)),
                Some(_) => drop(objects(kept)),
            }
        }
    }
}

#[tokio::test]
async fn a_storage_node_that_shows_a_stranger_an_earlier_epoch_is_not_paid_by_the_later_one() {
    let shelf = PaidShelf::new();
    let (provider, journal) = funded(&shelf, 100).await;
    drop(provider);
    let earlier = shelf.fork();
    shelf.next_epoch();
    let way = Arc::new(TwoTimes(shelf.clone(), earlier));
    let provider = open_over(&shelf, way, journal, 2)
        .await
        .expect("honest so far");
    let back = RecoveryError::Misbehaved("it went back to an earlier epoch");
    assert_eq!(looks_up(&provider).await, Err(back));
    assert_eq!(shelf.performed(Op::Lookup), 0);
}

/// A way to a storage node for which it is another epoch for strangers.
struct TwoTimes(PaidShelf, PaidShelf);

impl Transport for TwoTimes {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        self.0.exchange(contents, pass)
    }

    fn exchange_apart(&self, contents: Vec<u8>) -> Exchange<'_> {
        self.1.exchange(contents, None)
    }
}

#[tokio::test]
async fn whoever_pardons_it_pays_again_by_what_it_shows_then_and_compares_anew() {
    let (_, lie) = LIES[1];
    let shelf = PaidShelf::new();
    let (provider, journal, way) = eight(&shelf).await.remove(0);
    shelf.next_epoch();
    way.lies(Some(lie));
    objects(looks_up(&provider).await);
    let purse = provider.purse().expect("given");
    assert!(purse.contradiction().is_some());
    purse.pardon().expect("in memory");
    assert!(purse.contradiction().is_none());
    drop(provider);
    // Anew, and lied to again.
    let provider = open_over(&shelf, way.clone(), journal.clone(), 2).await;
    let provider = provider.expect("it was pardoned");
    objects(looks_up(&provider).await);
    provider
        .purse()
        .expect("given")
        .pardon()
        .expect("in memory");
    drop(provider);
    way.lies(None);
    let provider = open_over(&shelf, way, journal, 3)
        .await
        .expect("it was pardoned");
    looks_up(&provider).await.expect("honest again");
    assert_eq!(tokens(&provider), 100 - 2 * LOOKUP);
}

#[tokio::test]
async fn what_another_device_was_told_is_compared_and_confirms() {
    let shelf = PaidShelf::new();
    let (other, _) = funded(&shelf, 100).await;
    let told = other.signed_terms();
    let infos = || {
        shelf
            .log()
            .iter()
            .filter(|it| it.call.op() == Op::Info)
            .count()
    };
    let provider = open(&shelf, MemoryJournal::new(), 2).await.expect("honest");
    let before = infos();
    provider.expects(&told).await.expect("the same");
    let means = Means::Voucher(shelf.voucher(2, 100));
    provider.buy(100, means).await.expect("a good voucher");
    assert_eq!(infos(), before);
    // Signed by somebody else it says nothing.
    let mut record = verified(&told);
    record.epoch_seconds += 1;
    let forged = record.clone().sign(&keypair(2));
    provider
        .expects(&forged)
        .await
        .expect("no proof of anything");
    objects(provider.expects(&record.sign(&keypair(1))).await);
    objects(looks_up(&provider).await);

    // One that has not heard of an epoch asks once more, and objects when it is shown no such epoch then.
    shelf.next_epoch();
    let later = shelf.record().sign(&keypair(1));
    other.expects(&later).await.expect("it has begun");
    let behind = PaidShelf::new();
    let (provider, _) = funded(&behind, 100).await;
    let back = RecoveryError::Misbehaved("it went back to an earlier epoch");
    assert_eq!(provider.expects(&later).await, Err(back));
}

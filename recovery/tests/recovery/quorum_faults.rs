//! Three storage nodes over real blobs and receipts, one of which fails: survived, named, proven, healed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use larder_protocol::{Blob, Key, ReceiptKey};
use larder_recovery::conviction::{Conviction, Ledger};
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{OneProvider, Registers};
use larder_recovery::quorum::{LateProvider, Policy, Quorum};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::{Provider, RecoveryError, Removed};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::shelf::{Lie, Shelf, keypair, root};

/// A device with its providers, and what it keeps of their answers.
pub(crate) struct Device {
    pub(crate) providers: Vec<Arc<Provider>>,
    ledgers: Vec<Arc<Ledger>>,
    pub(crate) quorum: Arc<Quorum>,
    pub(crate) map: Map,
}

pub(crate) fn shelves() -> Vec<Shelf> {
    (1..=3).map(Shelf::of).collect()
}

pub(crate) fn receipt_key(identity: usize) -> ReceiptKey {
    keypair(identity as u8 + 101).public_key().into()
}

pub(crate) async fn one(shelf: &Shelf, seed: u64) -> (Arc<Provider>, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let keep = ledger.clone();
    let rng = StdRng::seed_from_u64(seed);
    let provider = Provider::connect_with(shelf.address(), Arc::new(shelf.clone()), rng).await;
    let provider = provider.expect("it answers");
    let provider = provider.on_evidence(move |evidence| keep.take(evidence));
    (Arc::new(provider), ledger)
}

pub(crate) fn registers(provider: &Arc<Provider>) -> Arc<dyn Registers> {
    Arc::new(OneProvider::new(&root(1), provider.clone()))
}

pub(crate) async fn lead(quorum: Arc<Quorum>, seed: u64) -> Map {
    let map = Map::open(quorum, &mut StdRng::seed_from_u64(seed), None).await;
    let map = map.expect("two are honest");
    map.take_over().await.expect("two are honest");
    map
}

/// A device that was never there before. It needs to have been told the terms of all.
pub(crate) async fn device(shelves: &[Shelf], seed: u64) -> Device {
    let (mut providers, mut ledgers) = (Vec::new(), Vec::new());
    for shelf in shelves {
        let (provider, ledger) = one(shelf, seed).await;
        providers.push(provider);
        ledgers.push(ledger);
    }
    let all = providers.iter().map(registers);
    let quorum = Quorum::new(all, Policy::majority(shelves.len())).expect("majorities overlap");
    let quorum = Arc::new(quorum);
    Device {
        map: lead(quorum.clone(), seed).await,
        providers,
        ledgers,
        quorum,
    }
}

impl Device {
    /// What each provider can be convicted of.
    async fn audit(&self) -> Vec<Vec<Conviction>> {
        let mut all = Vec::new();
        for (provider, ledger) in self.providers.iter().zip(&self.ledgers) {
            let mut convictions = Vec::new();
            for key in ledger.keys() {
                if let Ok(Some(conviction)) = ledger.audit(provider, &key).await {
                    convictions.push(conviction);
                }
            }
            all.push(convictions);
        }
        all
    }
}

pub(crate) async fn put(map: &Map, key: &str, value: impl Into<Vec<u8>>) {
    let commit = Commit::of([Write::put(key, Expect::Any, value)]);
    map.commit(commit).await.expect("no condition");
}

async fn get(map: &Map, key: &str) -> Option<Vec<u8>> {
    map.get(key).await.expect("two are honest").value
}

pub(crate) fn large() -> Vec<u8> {
    (0..3 * BODY_MAX).map(|at| at as u8).collect()
}

fn full(shelf: &Shelf) -> HashSet<Key> {
    shelf.blobs().into_keys().collect()
}

/// Only provider `guilty` is convicted, by its own receipts, and of nothing but that.
fn only_guilty(convictions: &[Vec<Conviction>], guilty: usize) {
    for (index, convictions) in convictions.iter().enumerate() {
        assert_eq!(convictions.is_empty(), index != guilty, "provider {index}");
        for conviction in convictions {
            let (own, other) = (receipt_key(index), receipt_key((index + 1) % 3));
            assert!(conviction.convicts(&own, &own));
            assert!(!conviction.convicts(&own, &other) && !conviction.convicts(&other, &own));
        }
    }
}

#[tokio::test]
async fn one_provider_down_is_survived_named_and_brought_up_to_date() {
    for down in 0..3 {
        let shelves = shelves();
        let old = device(&shelves, 1).await;
        put(&old.map, "before", "1").await;
        let new = device(&shelves, 2).await;
        shelves[down].is_down(true);
        put(&new.map, "large", large()).await;
        new.map.roll_up().await.expect("two are enough");
        put(&new.map, "after", "2").await;
        let late = old
            .map
            .commit(Commit::of([Write::put("late", Expect::Any, "3")]));
        let late = late.await.expect_err("another has taken over");
        assert!(late.to_string().contains("another device"), "{late}");
        // Named.
        let troubles = new.quorum.troubles();
        for (index, trouble) in troubles.iter().enumerate() {
            let unreachable = matches!(trouble, Some(RecoveryError::Unreachable(_)));
            assert_eq!(unreachable, index == down);
        }
        let missed = new.quorum.missed();
        assert!(missed[down] > 0);
        // Brought up to date, and then another one may be down.
        shelves[down].is_down(false);
        let healed = new.quorum.catch_up().await.expect("all answer");
        assert_eq!((healed.left, new.quorum.missed()), (0, vec![0; 3]));
        assert!(healed.copied[down] > 0);
        let restored = {
            let all = new.providers.iter().map(registers);
            let quorum = Quorum::new(all, Policy::majority(3)).expect("majorities overlap");
            shelves[(down + 1) % 3].is_down(true);
            lead(Arc::new(quorum), 3).await
        };
        assert_eq!(get(&restored, "before").await, Some(b"1".to_vec()));
        assert_eq!(get(&restored, "large").await, Some(large()));
        assert_eq!(get(&restored, "after").await, Some(b"2".to_vec()));
        assert_eq!(get(&restored, "late").await, None);
    }
}

#[tokio::test]
async fn a_restore_from_the_root_key_alone_begins_while_any_one_provider_is_down() {
    for down in 0..3 {
        let shelves = shelves();
        let lost = device(&shelves, 1).await;
        put(&lost.map, "a", large()).await;
        shelves[down].is_down(true);
        let late = |shelf: &Shelf| -> Arc<dyn Registers> {
            let shelf = shelf.clone();
            Arc::new(LateProvider::new(&root(1), move || {
                let shelf = shelf.clone();
                Box::pin(async move {
                    let transport = Arc::new(shelf.clone());
                    let provider = Provider::connect(shelf.address(), transport).await?;
                    Ok(Arc::new(provider))
                })
            }))
        };
        let quorum = Quorum::new(shelves.iter().map(late), Policy::majority(3));
        let quorum = Arc::new(quorum.expect("majorities overlap"));
        let map = lead(quorum.clone(), 2).await;
        assert_eq!(get(&map, "a").await, Some(large()));
        put(&map, "b", "1").await;
        // It is connected to as soon as it answers.
        shelves[down].is_down(false);
        let healed = quorum.heal(map.slots()).await.expect("all answer");
        assert!(healed.copied[down] > 0 && healed.left == 0);
    }
}

#[tokio::test]
async fn one_provider_rolled_back_is_survived_named_proven_and_healed() {
    for guilty in 0..3 {
        let shelves = shelves();
        let device_1 = device(&shelves, 1).await;
        put(&device_1.map, "a", "1").await;
        let backup = shelves[guilty].blobs();
        put(&device_1.map, "b", large()).await;
        put(&device_1.map, "a", "2").await;
        only_guilty(&device_1.audit().await, 3);
        shelves[guilty].rolls_back(backup);
        // Survived.
        let device_2 = device(&shelves, 2).await;
        assert_eq!(get(&device_2.map, "a").await, Some(b"2".to_vec()));
        assert_eq!(get(&device_2.map, "b").await, Some(large()));
        // Healed, and thereby named. Proven before that.
        only_guilty(&device_1.audit().await, guilty);
        let slots: Vec<_> = device_2.map.slots().collect();
        let healed = device_2
            .quorum
            .heal(slots.clone())
            .await
            .expect("all answer");
        assert!(healed.copied[guilty] > 0 && healed.left == 0);
        let healed = device_2.quorum.heal(slots).await.expect("all answer");
        assert_eq!(healed.copied, [0; 3]);
        only_guilty(&device_1.audit().await, 3);
    }
}

#[tokio::test]
async fn one_provider_that_withholds_is_survived_named_and_proven() {
    for guilty in 0..3 {
        let shelves = shelves();
        let device_1 = device(&shelves, 1).await;
        put(&device_1.map, "a", "1").await;
        put(&device_1.map, "b", large()).await;
        shelves[guilty].lies(Lie::Withholds);
        let device_2 = device(&shelves, 2).await;
        assert_eq!(get(&device_2.map, "a").await, Some(b"1".to_vec()));
        assert_eq!(get(&device_2.map, "b").await, Some(large()));
        put(&device_2.map, "a", "2").await;
        only_guilty(&device_1.audit().await, guilty);
        device_2.quorum.catch_up().await.expect("two are honest");
        // Named: it lacks again what it was given.
        for _ in 0..2 {
            let healed = device_2.quorum.heal(device_2.map.slots()).await;
            let copied = healed.expect("two are honest").copied;
            for (index, copied) in copied.into_iter().enumerate() {
                assert_eq!(copied > 0, index == guilty, "provider {index}");
            }
        }
    }
}

#[tokio::test]
async fn receipts_from_before_the_blob_was_stored_convict_nobody() {
    let shelves = shelves();
    let device = device(&shelves, 1).await;
    put(&device.map, "a", "1").await;
    let kept = shelves[0].blobs();
    shelves[0].rolls_back(HashMap::new());
    let conviction = device.audit().await.remove(0).remove(0);
    let own = receipt_key(0);
    assert!(conviction.convicts(&own, &own));
    // Without the salt the second one may be older than the first.
    let salt = [0; 32];
    let framed = Conviction {
        salt,
        ..conviction.clone()
    };
    assert!(!framed.convicts(&own, &own));
    let mut swapped = conviction.clone();
    std::mem::swap(&mut swapped.stored, &mut swapped.missing);
    assert!(!swapped.convicts(&own, &own));
    let mut another = conviction.clone();
    another.stored.finding.key = keypair(60).public_key().into();
    assert!(!another.convicts(&own, &own));
    // It still has it: nothing to convict it of.
    shelves[0].rolls_back(kept);
    let key = conviction.stored.finding.key;
    let audit = device.ledgers[0].audit(&device.providers[0], &key).await;
    assert_eq!(audit, Ok(None));
}

#[tokio::test]
async fn an_owner_that_deleted_a_blob_cannot_convict_a_provider_that_has_forgotten_the_delete() {
    let shelf = Shelf::of(1);
    let (provider, ledger) = one(&shelf, 1).await;
    let blob = Blob::try_from(vec![5; 16_433]).expect("a blob's length");
    let (secret, own) = (keypair(60), receipt_key(0));
    let key = secret.public_key().into();
    provider.insert(key, blob.clone()).await.expect("honest");
    let stored = Ledger::default();
    stored.take(&ledger.of(&key).expect("it was acknowledged"));
    let removed = provider.delete(&secret, blob.hash()).await;
    assert_eq!(removed, Ok(Removed::Now));
    assert!(ledger.keys().is_empty(), "its own ledger does not even ask");
    // As long as tombstones live, the answer is another one.
    assert_eq!(stored.audit(&provider, &key).await, Ok(None));
    for (epochs, convicts) in [(1, true), (2, false)] {
        shelf.forget_tombstones();
        shelf.next_epoch();
        let conviction = stored.audit(&provider, &key).await.expect("it answers");
        let conviction = conviction.expect("it is gone");
        assert_eq!(conviction.convicts(&own, &own), convicts, "{epochs}");
    }
}

#[tokio::test]
async fn an_audit_in_every_epoch_keeps_the_ledger_fit_to_convict() {
    let shelf = Shelf::of(1);
    let (provider, ledger) = one(&shelf, 1).await;
    let blob = Blob::try_from(vec![5; 16_433]).expect("a blob's length");
    let own = receipt_key(0);
    let key = keypair(60).public_key().into();
    provider.insert(key, blob).await.expect("honest");
    for _ in 0..3 {
        shelf.next_epoch();
        assert_eq!(ledger.audit(&provider, &key).await, Ok(None));
    }
    shelf.rolls_back(HashMap::new());
    shelf.next_epoch();
    let conviction = ledger.audit(&provider, &key).await.expect("it answers");
    assert!(conviction.expect("it is gone").convicts(&own, &own));
}

#[tokio::test]
async fn a_prefix_of_what_the_wallet_knew_of_is_refused() {
    let shelves = shelves();
    let device_1 = device(&shelves, 1).await;
    put(&device_1.map, "a", "1").await;
    let backups: Vec<_> = shelves.iter().map(Shelf::blobs).collect();
    put(&device_1.map, "a", "2").await;
    let known = device_1.map.log().records();
    // More than the policy survives.
    for (shelf, backup) in shelves.iter().zip(backups) {
        shelf.rolls_back(backup);
    }
    let device_2 = device(&shelves, 2).await;
    assert_eq!(device_2.map.log().reaches(known - 1), Ok(()));
    let reaches = device_2.map.log().reaches(known);
    assert!(matches!(reaches, Err(RecoveryError::OlderState { .. })));
}

#[tokio::test]
async fn a_provider_joins_and_another_leaves_while_commits_go_on() {
    let mut shelves = shelves();
    let device_1 = device(&shelves, 1).await;
    put(&device_1.map, "a", "1").await;
    device_1.map.roll_up().await.expect("honest");
    put(&device_1.map, "b", large()).await;
    // One joins.
    let fourth = Shelf::of(4);
    let (provider, _) = one(&fourth, 1).await;
    let wider = Arc::new(
        device_1
            .quorum
            .joined_by(registers(&provider))
            .expect("majorities"),
    );
    let map = lead(wider.clone(), 2).await;
    put(&map, "c", "3").await;
    let healed = wider.heal(map.slots()).await.expect("all answer");
    assert!(healed.copied[3] > 0 && healed.copied[..3] == [0; 3] && healed.left == 0);
    // The first one leaves, and then is gone.
    let fewer = Arc::new(wider.left_by(0).expect("majorities"));
    let map = lead(fewer, 3).await;
    put(&map, "d", "4").await;
    shelves.remove(0).rolls_back(HashMap::new());
    shelves[0].is_down(true);
    map.roll_up().await.expect("two of three are enough");
    assert_eq!(get(&map, "a").await, Some(b"1".to_vec()));
    assert_eq!(get(&map, "b").await, Some(large()));
    assert_eq!(get(&map, "c").await, Some(b"3".to_vec()));
    assert_eq!(get(&map, "d").await, Some(b"4".to_vec()));
}

#[tokio::test]
async fn two_colluding_providers_share_no_key_no_blob_and_no_block_of_ciphertext() {
    let shelves = shelves();
    let device = device(&shelves, 1).await;
    put(&device.map, "a", large()).await;
    put(&device.map, "b", "the same everywhere").await;
    device.map.roll_up().await.expect("honest");
    device.quorum.catch_up().await.expect("all answer");
    let blocks = |shelf: &Shelf| -> HashSet<[u8; 16]> {
        let blobs = shelf.blobs();
        let chunks = blobs
            .values()
            .flat_map(|blob| blob.as_bytes().chunks_exact(16));
        chunks
            .map(|block| block.try_into().expect("16 bytes"))
            .collect()
    };
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let (one, other) = (&shelves[one], &shelves[other]);
        assert!(full(one).len() > 8 && full(one).len() == full(other).len());
        assert!(full(one).is_disjoint(&full(other)));
        assert!(blocks(one).is_disjoint(&blocks(other)));
    }
}

#[test]
fn a_policy_whose_providers_do_not_overlap_is_refused() {
    let three = || (0..3).map(|_| crate::sea::Sea::calm().registers());
    for (acknowledge, recover, fits) in [
        (2, 2, true),
        (2, 3, true),
        (3, 2, true),
        (1, 3, true),
        (1, 2, false),
        (3, 1, false),
        (2, 4, false),
        (4, 2, false),
        (0, 3, false),
    ] {
        let policy = Policy {
            acknowledge,
            recover,
        };
        assert_eq!(Quorum::new(three(), policy).is_ok(), fits, "{policy:?}");
    }
}

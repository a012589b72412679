//! What LSS promises, rule by rule (`lightning-storage-server`, read in its code), against the versioned map. Where the
//! map differs on purpose, the test's name says so.
//!
//! | rule of LSS | test |
//! | --- | --- |
//! | the first version is 0 and each put exactly one up; no unconditional put | [`the_first_version_is_0_and_every_put_is_exactly_one_up`] |
//! | a put is atomic; when it conflicts nothing is written, and it returns key, version and value of every item in its way | [`a_conflict_returns_key_version_and_value_of_every_item_and_writes_nothing`] |
//! | keys of a put are sorted, and may repeat | [`keys_of_a_put_come_in_any_order_and_repeat_never`] |
//! | the reply to a put proves that it is stored | [`a_put_leaves_a_receipt_that_proves_it_to_who_knows_the_receipt_key`] |
//! | the reply to a get proves, with a nonce, that it is of now | [`a_get_is_proven_to_be_of_now_for_a_nonce_by_a_signed_end_of_the_log`] |
//! | a get returns all with a prefix, values included, in key order, in one atomic read | [`a_get_returns_all_with_a_prefix_in_key_order_as_of_one_moment`] |
//! | at most 4 MiB of them | [`a_prefix_of_more_than_the_4_mib_of_lss_is_read_back_whole`] |
//! | no pages, no list without values | [`a_list_of_keys_goes_on_behind_any_key_where_lss_has_no_pages`] |
//! | no delete | [`a_key_can_be_deleted_where_lss_keeps_all_and_its_versions_go_on`] |
//!
//! Not rules of a map: `Ping`, `Info`, tokens. The server learns neither keys nor values nor their sizes, and versions
//! reuse no nonce ([`seal`](larder_recovery::seal)).

use std::sync::Arc;

use larder_protocol::{Done, Op, Reply};
use larder_recovery::log::OneProvider;
use larder_recovery::log::map::{Commit, CommitError, Expect, Listed, Map, Write};
use larder_recovery::quorum::Policy;
use larder_recovery::reach::{Challenge, KeyProof};
use larder_recovery::seal::BODY_MAX;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::log_map::{alone, conflict, current, delete, has, lead, open, put, roll_up};
use crate::quorum_faults::one;
use crate::sea::Sea;
use crate::shelf::{Shelf, root};

#[tokio::test]
async fn the_first_version_is_0_and_every_put_is_exactly_one_up() {
    // LSS names the version that is to be; its n is the n that is expected here.
    let map = alone().await;
    for n in 0..5 {
        assert_eq!(put(&map, "k", Expect::Version(n), "a").await, Ok(n + 1));
        let again = put(&map, "k", Expect::Version(n), "b").await;
        assert_eq!(again, conflict([current("k", n + 1, Some("a"))]));
        let gap = put(&map, "k", Expect::Version(n + 2), "b").await;
        assert_eq!(gap, conflict([current("k", n + 1, Some("a"))]));
    }
}

#[tokio::test]
async fn a_conflict_returns_key_version_and_value_of_every_item_and_writes_nothing() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let large = "x".repeat(3 * BODY_MAX);
    put(&map, "a", Expect::Any, &large)
        .await
        .expect("no condition");
    put(&map, "b", Expect::Any, "small")
        .await
        .expect("no condition");
    let commit = Commit::of([
        Write::put("a", Expect::Version(0), "1"),
        Write::put("b", Expect::Version(1), "2"),
        Write::put("c", Expect::Version(3), "3"),
    ]);
    let theirs = conflict([current("a", 1, Some(&large)), current("c", 0, None)]);
    assert_eq!(map.commit(commit).await, theirs);
    assert_eq!(has(&map, "b").await, (1, Some("small".to_owned())));
}

#[tokio::test]
async fn a_list_of_keys_goes_on_behind_any_key_where_lss_has_no_pages() {
    let map = alone().await;
    for key in ["b", "a/2", "a/10", "a/1", "c"] {
        put(&map, key, Expect::Absent, key).await.expect("it is");
    }
    let keys = |listed: Vec<Listed>| {
        listed
            .into_iter()
            .map(|listed| listed.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(map.list("a/", None, 9)), ["a/1", "a/10", "a/2"]);
    assert_eq!(keys(map.list("a/", None, 2)), ["a/1", "a/10"]);
    assert_eq!(keys(map.list("a/", Some("a/10"), 2)), ["a/2"]);
    assert_eq!(keys(map.list("", Some("a/2"), 9)), ["b", "c"]);
    assert!(map.list("d", None, 9).is_empty());
}

#[tokio::test]
async fn keys_of_a_put_come_in_any_order_and_repeat_never() {
    let map = alone().await;
    let put = |key: &str| Write::put(key, Expect::Version(0), "1");
    assert_eq!(map.commit(Commit::of(["b", "a"].map(put))).await, Ok(1));
    let twice = map.commit(Commit::of(["c", "c"].map(put))).await;
    assert_eq!(twice, Err(CommitError::Repeated));
}

#[tokio::test]
async fn a_put_leaves_a_receipt_that_proves_it_to_who_knows_the_receipt_key() {
    let shelf = Shelf::new();
    let (provider, ledger) = one(&shelf, 1).await;
    let registers = Arc::new(OneProvider::new(&root(1), provider.clone()));
    let map = Map::open(registers, &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("honest");
    map.take_over().await.expect("honest");
    let before = ledger.keys().len();
    put(&map, "k", Expect::Version(0), "a")
        .await
        .expect("it has");
    assert_eq!(ledger.keys().len(), before + 1, "an entry");
    let receipt_key = provider.record().receipt_key;
    for key in ledger.keys() {
        let evidence = ledger.of(&key).expect("it is kept");
        let (finding, stored) = (&evidence.finding, shelf.blobs()[&key].hash());
        assert_eq!((finding.op, finding.blob), (Op::Insert, Some(stored)));
        assert_eq!(finding.outcome, Reply::code(&Ok(Done::Inserted)));
        assert!(evidence.receipt.proves(&receipt_key, finding));
    }
}

#[tokio::test]
async fn a_get_is_proven_to_be_of_now_for_a_nonce_by_a_signed_end_of_the_log() {
    let shelf = Shelf::new();
    let (provider, _) = one(&shelf, 1).await;
    let registers = Arc::new(OneProvider::new(&root(1), provider.clone()));
    let map = Map::open(registers.clone(), &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("honest");
    map.take_over().await.expect("honest");
    put(&map, "k", Expect::Version(0), "a")
        .await
        .expect("it has");
    let (providers, policy) = ([provider.clone()], Policy::majority(1));
    let nonce = Challenge([7; 32]);
    let proof =
        KeyProof::gather(registers.as_ref(), &root(1), &providers, policy, "k", nonce).await;
    let proof = proof.expect("honest").expect("nobody else writes");
    let keys = [(*provider.server_key(), provider.record().receipt_key)];
    let verify = |nonce| proof.verify(&root(1), &keys, policy, "k", nonce);
    let shown = verify(nonce).map(|shown| shown.current);
    assert!(shown == Ok(current("k", 1, Some("a"))));
    assert!(verify(Challenge([8; 32])).is_err());
}

#[tokio::test]
async fn a_get_returns_all_with_a_prefix_in_key_order_as_of_one_moment() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let large = |letter: &str| letter.repeat(2 * BODY_MAX);
    for key in ["b", "a/2", "a/10", "a/1", "c", "a/0"] {
        put(&map, key, Expect::Absent, &large(key))
            .await
            .expect("it is");
    }
    delete(&map, "a/0", Expect::Present).await.expect("it is");
    let keys = ["a/1", "a/10", "a/2"];
    let all = keys.map(|key| current(key, 1, Some(&large(key))));
    assert!(map.read("a/").await == Ok(all.to_vec()));
    assert!(map.read("d").await == Ok(Vec::new()));
    // A reader that knows older values which are deleted by now reads them all anew, not half of them.
    let reader = open(&sea, 2).await;
    for key in ["a/1", "a/2"] {
        put(&map, key, Expect::Version(1), &large("x"))
            .await
            .expect("it has");
    }
    assert!(reader.read("a/").await == Ok(all.to_vec()));
    roll_up(&map).await;
    let new = [
        current("a/1", 2, Some(&large("x"))),
        current("a/10", 1, Some(&large("a/10"))),
        current("a/2", 2, Some(&large("x"))),
    ];
    assert!(reader.read("a/").await == Ok(new.to_vec()));
}

#[tokio::test]
async fn a_prefix_of_more_than_the_4_mib_of_lss_is_read_back_whole() {
    let map = alone().await;
    let value = "x".repeat(1 << 20);
    for n in 0..5 {
        let key = format!("p/{n}");
        put(&map, &key, Expect::Version(0), &value)
            .await
            .expect("it has");
    }
    let all = map.read("p/").await.expect("an honest one answers");
    let len: usize = all
        .iter()
        .flat_map(|current| &current.value)
        .map(Vec::len)
        .sum();
    assert_eq!((all.len(), len), (5, 5 << 20));
}

#[tokio::test]
async fn a_key_can_be_deleted_where_lss_keeps_all_and_its_versions_go_on() {
    let map = alone().await;
    put(&map, "k", Expect::Version(0), "a")
        .await
        .expect("it has");
    delete(&map, "k", Expect::Version(1)).await.expect("it has");
    let stale = put(&map, "k", Expect::Version(1), "b").await;
    assert_eq!(stale, conflict([current("k", 2, None)]));
    assert_eq!(put(&map, "k", Expect::Version(2), "b").await, Ok(3));
    assert_eq!(has(&map, "k").await, (3, Some("b".to_owned())));
}

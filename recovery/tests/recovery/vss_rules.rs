//! What VSS promises, rule by rule (`vss-server`, read in its code), against the versioned map. Where the map
//! is stricter on purpose, the test's name says so.
//!
//! | rule of VSS | test |
//! | --- | --- |
//! | `getObject` returns value and version, or says that there is none; the global version never is missing | [`a_get_returns_value_and_version_and_a_missing_key_has_none`] |
//! | `putObjects` is all or nothing | [`put_objects_is_all_or_nothing_and_a_conflict_says_what_is_there`] |
//! | it does puts first, then deletes | [`put_objects_of_a_put_and_a_delete_of_one_key_is_refused_where_vss_does_one_after_the_other`] |
//! | it takes at most 1,000 items | [`put_objects_takes_more_than_the_1000_items_of_vss`] |
//! | a put with version 0 inserts only; the version is then 1 | [`version_0_inserts_and_nothing_else`] |
//! | one with version `n` needs `n` and makes `n + 1` | [`version_n_updates_n_to_n_plus_1_or_conflicts`] |
//! | one with −1 is unconditional and makes 1 | [`version_minus_1_is_unconditional_and_counts_on_unless_asked_to_restart_at_1`] |
//! | a missing key in `delete_items` conflicts; `deleteObject` of it is fine | [`deleting_a_missing_key_conflicts_in_put_objects_and_is_fine_alone`] |
//! | `deleteObject` of another version says that all is well and deletes nothing | [`deleting_another_version_deletes_nothing_and_is_no_success_as_in_vss`] |
//! | a delete forgets the version | [`a_delete_does_not_forget_versions_as_vss_does_unless_asked_to`] |
//! | the global version: checked and counted when it is there, from 0; −1 makes 1 | [`the_global_version_is_checked_and_counted_only_when_it_is_there`] |
//! | it is an ordinary row, and a plain put overwrites it | [`a_key_that_is_called_global_version_is_like_any_and_not_the_global_version`] |
//! | transactions are isolated | [`of_two_transactions_with_a_key_in_common_one_conflicts_whatever_the_order`] |
//! | `listKeyVersions`: no values, newest created first, an update keeps its place, a key that comes back is new; `%` and `_` are wildcards | [`lists_by_prefix_newest_created_first_in_pages_and_updates_keep_their_place`] |
//! | pages end exactly where the keys do; one of size 0 is empty; a bad token is refused | [`a_page_of_no_keys_is_empty_and_one_more_than_a_page_tells_whether_there_is_another`] |
//! | a value has at most about 1 GiB | [`a_value_of_more_than_1_gib_is_refused_before_any_of_it_is_stored`] |
//! | a conditional put whose answer is lost conflicts with itself when it is done again | [`a_conditional_put_whose_answer_is_lost_is_settled_where_vss_has_it_conflict_with_itself`] |
//! | empty keys and values, keys of 600 characters | [`empty_keys_empty_values_and_keys_of_600_characters_are_allowed`] |
//!
//! Not rules of a map: accounts and `store_id` (a prefix), HTTP, authentication, versions below −1.

use futures_util::future::join;
use larder_recovery::RecoveryError;
use larder_recovery::log::map::{Commit, CommitError, Count, Expect, Write};

use crate::log_map::{alone, conflict, current, delete, has, lead, put};
use crate::sea::Sea;

#[tokio::test]
async fn version_0_inserts_and_nothing_else() {
    let map = alone().await;
    assert_eq!(put(&map, "k", Expect::Absent, "a").await, Ok(1));
    assert_eq!(has(&map, "k").await, (1, Some("a".to_owned())));
    let theirs = conflict([current("k", 1, Some("a"))]);
    assert_eq!(put(&map, "k", Expect::Absent, "b").await, theirs);
    assert_eq!(has(&map, "k").await, (1, Some("a".to_owned())));
}

#[tokio::test]
async fn version_n_updates_n_to_n_plus_1_or_conflicts() {
    let map = alone().await;
    let nothing = conflict([current("k", 0, None)]);
    assert_eq!(put(&map, "k", Expect::Version(1), "a").await, nothing);
    assert_eq!(put(&map, "k", Expect::Version(0), "a").await, Ok(1));
    assert_eq!(put(&map, "k", Expect::Version(1), "b").await, Ok(2));
    assert_eq!(has(&map, "k").await, (2, Some("b".to_owned())));
    let theirs = conflict([current("k", 2, Some("b"))]);
    assert_eq!(put(&map, "k", Expect::Version(1), "c").await, theirs);
}

#[tokio::test]
async fn version_minus_1_is_unconditional_and_counts_on_unless_asked_to_restart_at_1() {
    let map = alone().await;
    for version in 1..4 {
        assert_eq!(put(&map, "k", Expect::Any, "a").await, Ok(version));
        assert_eq!(has(&map, "k").await.0, version, "stricter: it counts on");
    }
    let as_vss = Write::put("k", Expect::Any, "b").restarting();
    assert_eq!(map.commit(Commit::of([as_vss])).await, Ok(4));
    assert_eq!(has(&map, "k").await, (1, Some("b".to_owned())));
}

#[tokio::test]
async fn put_objects_is_all_or_nothing_and_a_conflict_says_what_is_there() {
    let map = alone().await;
    put(&map, "b", Expect::Any, "b")
        .await
        .expect("no condition");
    let commit = Commit::of([
        Write::put("a", Expect::Absent, "1"),
        Write::put("b", Expect::Absent, "2"),
        Write::delete("c", Expect::Present),
    ]);
    let theirs = conflict([current("b", 1, Some("b")), current("c", 0, None)]);
    assert_eq!(map.commit(commit).await, theirs);
    assert_eq!(has(&map, "a").await, (0, None));
    let commit = Commit::of([
        Write::put("a", Expect::Absent, "1"),
        Write::delete("b", Expect::Version(1)),
    ]);
    assert_eq!(map.commit(commit).await, Ok(2));
    assert_eq!(has(&map, "a").await, (1, Some("1".to_owned())));
    assert_eq!(has(&map, "b").await, (2, None));
}

#[tokio::test]
async fn deleting_a_missing_key_conflicts_in_put_objects_and_is_fine_alone() {
    let map = alone().await;
    let nothing = conflict([current("k", 0, None)]);
    assert_eq!(delete(&map, "k", Expect::Present).await, nothing);
    assert_eq!(delete(&map, "k", Expect::Any).await, Ok(1));
    assert_eq!(
        has(&map, "k").await,
        (0, None),
        "there is nothing to remember"
    );
}

#[tokio::test]
async fn deleting_another_version_deletes_nothing_and_is_no_success_as_in_vss() {
    let map = alone().await;
    put(&map, "k", Expect::Any, "a")
        .await
        .expect("no condition");
    let theirs = conflict([current("k", 1, Some("a"))]);
    assert_eq!(delete(&map, "k", Expect::Version(7)).await, theirs);
    assert_eq!(delete(&map, "k", Expect::Version(1)).await, Ok(2));
}

#[tokio::test]
async fn a_delete_does_not_forget_versions_as_vss_does_unless_asked_to() {
    let map = alone().await;
    put(&map, "k", Expect::Any, "a")
        .await
        .expect("no condition");
    delete(&map, "k", Expect::Version(1)).await.expect("it has");
    put(&map, "k", Expect::Absent, "b").await.expect("it is");
    // Who read version 1 before is not told that "b" is "a".
    let theirs = conflict([current("k", 3, Some("b"))]);
    assert_eq!(put(&map, "k", Expect::Version(1), "c").await, theirs);
    let as_vss = Write::delete("k", Expect::Any).restarting();
    map.commit(Commit::of([as_vss]))
        .await
        .expect("no condition");
    assert_eq!(has(&map, "k").await, (0, None));
    assert_eq!(put(&map, "k", Expect::Version(0), "d").await, Ok(5));
    assert_eq!(has(&map, "k").await.0, 1);
}

#[tokio::test]
async fn the_global_version_is_checked_and_counted_only_when_it_is_there() {
    let map = alone().await;
    let with = |expect| Commit {
        writes: vec![Write::put("k", Expect::Any, "a")],
        global: Some((expect, Count::On)),
    };
    assert_eq!(map.global(), 0, "it is never missing");
    assert_eq!(map.commit(with(Expect::Version(0))).await, Ok(1));
    put(&map, "k", Expect::Any, "b")
        .await
        .expect("no condition");
    assert_eq!(map.global(), 1, "it was left alone");
    let other = Err(CommitError::Conflict {
        items: Vec::new(),
        global: Some(1),
    });
    assert_eq!(map.commit(with(Expect::Version(0))).await, other);
    assert_eq!(has(&map, "k").await, (2, Some("b".to_owned())));
    assert_eq!(map.commit(with(Expect::Version(1))).await, Ok(3));
    let restart = Commit {
        writes: Vec::new(),
        global: Some((Expect::Any, Count::Restart)),
    };
    assert_eq!(map.global(), 2);
    map.commit(restart).await.expect("no condition");
    assert_eq!(map.global(), 1, "as -1 does");
}

#[tokio::test]
async fn lists_by_prefix_newest_created_first_in_pages_and_updates_keep_their_place() {
    let map = alone().await;
    for key in ["p/a", "p/b", "p_c", "q/d", "p/e%"] {
        put(&map, key, Expect::Absent, "1").await.expect("it is");
    }
    put(&map, "p/a", Expect::Present, "2").await.expect("it is");
    delete(&map, "p/b", Expect::Present).await.expect("it is");
    put(&map, "p/b", Expect::Absent, "3").await.expect("it is");
    let mut keys = Vec::new();
    let mut before = None;
    loop {
        let page = map.list_newest("p/", before, 2);
        let Some(last) = page.last() else { break };
        before = Some(last.created);
        keys.extend(page.into_iter().map(|listed| (listed.key, listed.version)));
    }
    let key = |key: &str, version| (key.to_owned(), version);
    // A wildcard of SQL is nothing special here.
    assert_eq!(keys, [key("p/b", 3), key("p/e%", 1), key("p/a", 2)]);
}

#[tokio::test]
async fn a_get_returns_value_and_version_and_a_missing_key_has_none() {
    let map = alone().await;
    put(&map, "k", Expect::Any, "a")
        .await
        .expect("no condition");
    assert!(map.get("k").await == Ok(current("k", 1, Some("a"))));
    assert!(map.get("none").await == Ok(current("none", 0, None)));
    assert_eq!(map.global(), 0, "it is never missing");
}

#[tokio::test]
async fn put_objects_of_a_put_and_a_delete_of_one_key_is_refused_where_vss_does_one_after_the_other()
 {
    let map = alone().await;
    let both = [
        Write::put("k", Expect::Any, "a"),
        Write::delete("k", Expect::Any),
    ];
    let refused = map.commit(Commit::of(both)).await;
    assert_eq!(refused, Err(CommitError::Repeated));
    assert_eq!(has(&map, "k").await, (0, None));
}

#[tokio::test]
async fn put_objects_takes_more_than_the_1000_items_of_vss() {
    let map = alone().await;
    let put = |n| Write::put(format!("{n}"), Expect::Absent, "x");
    let puts = Commit::of((0..1_001).map(put).collect::<Vec<_>>());
    assert_eq!(map.commit(puts).await, Ok(1));
    assert_eq!(map.list("", None, usize::MAX).len(), 1_001);
}

#[tokio::test]
async fn a_key_that_is_called_global_version_is_like_any_and_not_the_global_version() {
    let map = alone().await;
    put(&map, "global_version", Expect::Absent, "9")
        .await
        .expect("it is");
    assert_eq!(map.global(), 0);
    assert_eq!(map.list("", None, 9).len(), 1);
}

#[tokio::test]
async fn of_two_transactions_with_a_key_in_common_one_conflicts_whatever_the_order() {
    let map = alone().await;
    let commit = |keys: [&str; 2]| {
        let put = |key: &str| Write::put(key, Expect::Version(0), keys[0]);
        Commit::of(keys.map(put))
    };
    let (one, other) = (
        map.commit(commit(["a", "b"])),
        map.commit(commit(["b", "c"])),
    );
    let (one, other) = join(one, other).await;
    assert_eq!(one, Ok(1));
    assert_eq!(other, conflict([current("b", 1, Some("a"))]));
    assert_eq!(has(&map, "c").await, (0, None));
}

#[tokio::test]
async fn empty_keys_empty_values_and_keys_of_600_characters_are_allowed() {
    let map = alone().await;
    let long = "k".repeat(600);
    for key in ["", &long] {
        assert!(put(&map, key, Expect::Absent, "").await.is_ok());
        assert_eq!(has(&map, key).await, (1, Some(String::new())));
    }
    let listed = map.list("", None, 9).into_iter().map(|listed| listed.key);
    assert_eq!(listed.collect::<Vec<_>>(), [String::new(), long]);
}

#[tokio::test]
async fn a_page_of_no_keys_is_empty_and_one_more_than_a_page_tells_whether_there_is_another() {
    let map = alone().await;
    for key in ["a", "b", "c"] {
        put(&map, key, Expect::Absent, "x").await.expect("it is");
    }
    assert!(map.list_newest("", None, 0).is_empty());
    let page = map.list_newest("", None, 2 + 1);
    assert_eq!(page.len(), 3, "there is another");
    let next = map.list_newest("", Some(page[1].created), 2 + 1);
    assert_eq!(next.len(), 1, "there is none");
    assert_eq!(next[0].key, "a");
    // There is no bad page token: every number is a place.
    assert!(map.list_newest("", Some(0), 9).is_empty());
}

#[tokio::test]
async fn a_value_of_more_than_1_gib_is_refused_before_any_of_it_is_stored() {
    let sea = Sea::calm();
    let map = lead(&sea, 1).await;
    let before = sea.requests();
    let (max, got) = (1 << 30, (1 << 30) + 1);
    // Nobody writes to it, so it takes no memory.
    let value = vec![0; got as usize];
    let refused = map.commit(Commit::of([Write::put("k", Expect::Any, value)]));
    let too_long = CommitError::Failed(RecoveryError::TooLong { max, got });
    assert_eq!(refused.await, Err(too_long));
    assert_eq!(sea.requests(), before);
    assert_eq!(has(&map, "k").await, (0, None));
}

#[tokio::test]
async fn a_conditional_put_whose_answer_is_lost_is_settled_where_vss_has_it_conflict_with_itself() {
    for arrives in [false, true] {
        let sea = Sea::calm();
        let map = lead(&sea, 1).await;
        sea.cut_after(0, arrives);
        let lost = put(&map, "k", Expect::Version(0), "a").await;
        let lost = matches!(
            lost,
            Err(CommitError::Failed(RecoveryError::Unreachable(_)))
        );
        assert!(lost, "{arrives}");
        assert_eq!(has(&map, "k").await, (0, None), "nobody knows yet");
        sea.power_is_back();
        assert_eq!(map.flush().await, Ok(()));
        assert_eq!(has(&map, "k").await, (1, Some("a".to_owned())));
        assert_eq!(put(&map, "k", Expect::Version(1), "b").await, Ok(2));
    }
}

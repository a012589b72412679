//! The same map over real blobs, receipts and a storage node that loses and repeats.

use std::sync::Arc;

use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{OneProvider, Registers};
use larder_recovery::seal::BODY_MAX;
use larder_recovery::{RecoveryError, RootKey};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::shelf::{Shelf, root};

async fn registers(shelf: &Shelf, root: &RootKey, seed: u64) -> Arc<dyn Registers> {
    Arc::new(OneProvider::new(root, shelf.connect(seed).await))
}

async fn lead(shelf: &Shelf, seed: u64) -> Map {
    let registers = registers(shelf, &root(1), seed).await;
    let map = Map::open(registers, &mut StdRng::seed_from_u64(seed), None).await;
    let map = map.expect("an honest one answers");
    map.take_over().await.expect("an honest one answers");
    map
}

async fn put(map: &Map, key: &str, value: impl Into<Vec<u8>>) -> u64 {
    let commit = Commit::of([Write::put(key, Expect::Any, value)]);
    map.commit(commit).await.expect("no condition")
}

#[tokio::test]
async fn a_restore_from_the_root_key_alone_finds_every_commit_through_losses_and_repeats() {
    let shelf = Shelf::new();
    shelf.loses(40, 40, 7);
    let map = lead(&shelf, 1).await;
    let large: Vec<u8> = (0..3 * BODY_MAX).map(|at| at as u8).collect();
    for n in 0..10 {
        assert_eq!(put(&map, &format!("k/{n}"), [n]).await, u64::from(n) + 1);
    }
    put(&map, "large", large.clone()).await;
    assert_eq!(map.roll_up().await, Ok(1));
    put(&map, "k/0", "again").await;
    while map.log().upkeep(20).await.expect("an honest one answers") {}
    drop(map);
    let restored = lead(&shelf, 2).await;
    assert_eq!(restored.commits(), 12);
    let get = async |key: &str| restored.get(key).await.expect("an honest one answers");
    assert_eq!(get("large").await.value, Some(large));
    assert_eq!(get("k/0").await.value, Some(b"again".to_vec()));
    assert_eq!((get("k/0").await.version, get("k/9").await.version), (2, 1));
}

#[tokio::test]
async fn an_older_device_is_fenced_by_the_storage_node_itself() {
    let shelf = Shelf::new();
    let old = lead(&shelf, 1).await;
    put(&old, "k", "old").await;
    let new = lead(&shelf, 2).await;
    put(&new, "k", "new").await;
    let late = old.commit(Commit::of([Write::put("k", Expect::Any, "late")]));
    assert!(
        late.await
            .is_err_and(|error| error.to_string().contains("another device"))
    );
    new.roll_up().await.expect("an honest one answers");
    while new.log().upkeep(20).await.expect("an honest one answers") {}
    // A third device, another root: nothing of this is its own.
    let stranger = registers(&shelf, &root(2), 3).await;
    let stranger = Map::open(stranger, &mut StdRng::seed_from_u64(3), None).await;
    assert_eq!(stranger.expect("an honest one answers").commits(), 0);
    let read = new.get("k").await.expect("an honest one answers");
    assert_eq!(read.value, Some(b"new".to_vec()));
}

#[tokio::test]
async fn a_blob_that_is_not_ours_ends_a_restore_with_the_storage_node_named() {
    let shelf = Shelf::new();
    let map = lead(&shelf, 1).await;
    put(&map, "k", "v").await;
    let (key, mut bytes) = {
        let blobs = shelf.blobs();
        let (key, blob) = blobs.iter().next().expect("a seal and an entry");
        (*key, blob.as_bytes().to_vec())
    };
    bytes[5_000] ^= 1;
    shelf.tamper(key, Some(bytes.try_into().expect("a blob's length")));
    let registers = registers(&shelf, &root(1), 2).await;
    let map = Map::open(registers, &mut StdRng::seed_from_u64(2), None).await;
    assert!(matches!(map.err(), Some(RecoveryError::Misbehaved(_))));
}

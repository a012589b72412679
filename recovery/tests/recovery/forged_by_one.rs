//! Three storage nodes, one of which forges: the client copies nothing of it to the honest ones, deletes nothing there
//! because of it, forgets nothing, and knows who it was.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use larder_protocol::{Blob, BlobHash, Key};
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{OneProvider, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::reach::{Challenge, KeyProof};
use larder_recovery::seal::{Contents, Kind, seal};
use larder_recovery::{Forgery, Provider, Purpose, RecoveryError, Schedule, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::forger::Forger;
use crate::quorum_faults::{Device, device, large, lead, put, receipt_key, shelves};
use crate::sea::Sea;
use crate::shelf::{Shelf, keypair, root};

/// A history of somebody's own, far ahead, whose list of garbage names what is at the beginning of every generation.
async fn invented() -> HashMap<Slot, Contents> {
    let sea = Sea::calm();
    let map = Map::open(sea.registers(), &mut StdRng::seed_from_u64(99), None).await;
    let map = map.expect("calm");
    map.take_over().await.expect("calm");
    for n in 0..9 {
        let write = Write::put("a", Expect::Any, format!("invented {n}"));
        map.commit(Commit::of([write])).await.expect("no condition");
        map.roll_up().await.expect("calm");
    }
    let held = sea.backup().into_iter();
    held.filter_map(|(slot, contents)| Some((slot, contents?)))
        .collect()
}

/// Forges everything of a history, and another thing where the wallet has something or will have: in one way.
async fn begin(device: &Device, shelf: &Shelf, identity: u8, way: usize) {
    let schedule = Schedule::new(root(1), keypair(identity).public_key().into());
    let foreign = |root_byte, server: u8| {
        let schedule = Schedule::new(root(root_byte), keypair(server).public_key().into());
        let slot = device.map.log().ahead()[0];
        seal(&schedule, &slot, &another(&slot))
    };
    let others = vec![foreign(9, identity), foreign(1, identity % 3 + 1)];
    let forger = Forger::of(identity, shelf, others);
    let mut wanted = invented().await;
    for slot in device.map.slots() {
        wanted.entry(slot).or_insert_with(|| another(&slot));
    }
    let forged = wanted.iter().map(|(slot, contents)| {
        let key = schedule.key(slot);
        (key, forger.makes(&key, slot, contents).swap_remove(way).1)
    });
    shelf.forges(forged.collect());
}

fn another(slot: &Slot) -> Contents {
    let (kind, body) = match slot.purpose {
        Purpose::Chunk => (Kind::Chunk, vec![9; 100]),
        _ => (Kind::Seal, vec![0]),
    };
    Contents {
        kind,
        writer: [9; 16],
        previous: BlobHash([9; 32]),
        body,
    }
}

async fn tidy(map: &Map) {
    while map.log().upkeep(50).await.expect("two are honest") {}
}

/// What a wallet does whose second device restores while one storage node forges; returns what the others
/// hold in the end, and whom the device accuses.
async fn life(liar: Option<usize>, way: usize) -> (Vec<HashMap<Key, Blob>>, Vec<usize>) {
    let shelves = shelves();
    let first = device(&shelves, 1).await;
    put(&first.map, "a", "1").await;
    put(&first.map, "large", large()).await;
    first.map.roll_up().await.expect("honest");
    tidy(&first.map).await;
    put(&first.map, "b", "2").await;
    first.quorum.catch_up().await.expect("all answer");
    if let Some(liar) = liar {
        begin(&first, &shelves[liar], liar as u8 + 1, way).await;
    }

    let kept: Vec<Arc<Mutex<Vec<Forgery>>>> = (0..3).map(|_| Arc::default()).collect();
    let mut providers = Vec::new();
    for (shelf, kept) in shelves.iter().zip(&kept) {
        let (transport, kept) = (Arc::new(shelf.clone()), kept.clone());
        let rng = StdRng::seed_from_u64(2);
        let provider = Provider::connect_with(shelf.address(), transport, rng).await;
        let provider = provider.expect("it answers").on_forgery(move |forgery| {
            let mut kept = kept.lock().expect("no test panics in here");
            kept.push(forgery.clone());
        });
        providers.push(Arc::new(provider));
    }
    let all = providers.iter().map(|provider| -> Arc<dyn Registers> {
        Arc::new(OneProvider::new(&root(1), provider.clone()))
    });
    let quorum = Quorum::new(all, Policy::majority(3)).expect("majorities overlap");
    let quorum = Arc::new(quorum);
    let map = lead(quorum.clone(), 2).await;
    let get = async |key: &str| map.get(key).await.expect("two are honest").value;
    assert_eq!(get("a").await, Some(b"1".to_vec()));
    assert_eq!(get("b").await, Some(b"2".to_vec()));
    assert_eq!(get("large").await, Some(large()));
    assert_eq!(map.commits(), 3);
    let (policy, challenge) = (Policy::majority(3), Challenge([7; 32]));
    let proof = KeyProof::gather(&*quorum, &root(1), &providers, policy, "b", challenge).await;
    let proof = proof.expect("two are honest").expect("nobody writes");
    let keys = providers
        .iter()
        .zip(0..)
        .map(|(provider, at)| (*provider.server_key(), receipt_key(at)));
    let keys: Vec<_> = keys.collect();
    let shown = proof.verify(&root(1), &keys, policy, "b", challenge);
    assert_eq!(
        shown.map(|shown| shown.current.value),
        Ok(Some(b"2".to_vec()))
    );

    put(&map, "a", "3").await;
    put(&map, "large", [large(), large()].concat()).await;
    map.roll_up().await.expect("two are honest");
    tidy(&map).await;
    put(&map, "b", "4").await;
    quorum.catch_up().await.expect("two are honest");
    let healed = quorum.heal(map.slots()).await.expect("two are honest");
    // A third one finds all of it.
    let third = lead(quorum.clone(), 3).await;
    for (key, value) in [("a", "3"), ("b", "4")] {
        let read = third.get(key).await.expect("two are honest");
        assert_eq!(read.value, Some(value.as_bytes().to_vec()));
    }
    assert_eq!(
        third.get("large").await.expect("two are honest").value,
        Some([large(), large()].concat())
    );
    for (at, trouble) in quorum.troubles().iter().enumerate() {
        let named =
            matches!(trouble, Some(RecoveryError::Misbehaved(why)) if why.contains("never wrote"));
        assert_eq!(named, Some(at) == liar, "{at}: {trouble:?}");
    }
    assert!(liar.is_some() || healed.left == 0);
    quorum.catch_up().await.expect("two are honest");

    let mut accused = Vec::new();
    for (at, kept) in kept.iter().enumerate() {
        let kept = kept.lock().expect("no test panics in here");
        let schedule = Schedule::new(root(1), *providers[at].server_key());
        let are_good = kept.iter().all(|forgery| {
            forgery.is_signed(providers[at].server_key()) && forgery.is_forged(&schedule)
        });
        assert!(are_good);
        accused.extend((!kept.is_empty()).then_some(at));
    }
    (shelves.iter().map(Shelf::blobs).collect(), accused)
}

#[tokio::test]
async fn one_of_three_that_forges_has_nothing_copied_to_the_others_and_nothing_deleted_there() {
    let (honest, accused) = life(None, 0).await;
    assert_eq!(accused, [0; 0]);
    for (liar, way) in [(0, 0), (1, 0), (2, 0), (0, 1), (1, 3), (2, 4)] {
        let (held, accused) = life(Some(liar), way).await;
        assert_eq!(accused, [liar], "way {way}");
        for at in (0..3).filter(|&at| at != liar) {
            let keys = |held: &[HashMap<Key, Blob>]| -> HashSet<Key> {
                held[at].keys().copied().collect()
            };
            let (held, expected) = (keys(&held), keys(&honest));
            let copied = held.difference(&expected).count();
            let deleted = expected.difference(&held).count();
            assert_eq!((copied, deleted), (0, 0), "at {at}, while {liar} forges");
        }
    }
}

/// With two that have to agree and one that is down, one that forges is one too many: nothing is believed, and it is said.
#[tokio::test]
async fn one_that_forges_while_another_is_down_stops_a_reader_and_misleads_nobody() {
    for liar in 0..3 {
        let shelves = shelves();
        let first = device(&shelves, 1).await;
        put(&first.map, "a", "1").await;
        first.quorum.catch_up().await.expect("all answer");
        begin(&first, &shelves[liar], liar as u8 + 1, 0).await;
        let down = (liar + 1) % 3;
        let second = device_of(&shelves).await;
        shelves[down].is_down(true);
        let before = shelves[(liar + 2) % 3].blobs();
        let opened = Map::open(second, &mut StdRng::seed_from_u64(2), None).await;
        let error = opened.err().expect("one honest answer is no majority");
        let honest = matches!(
            error,
            RecoveryError::Misbehaved(_) | RecoveryError::Unreachable(_)
        );
        assert!(honest, "{error}");
        assert!(shelves[(liar + 2) % 3].blobs() == before);
    }
}

async fn device_of(shelves: &[Shelf]) -> Arc<Quorum> {
    let mut all: Vec<Arc<dyn Registers>> = Vec::new();
    for shelf in shelves {
        all.push(Arc::new(OneProvider::new(&root(1), shelf.connect(2).await)));
    }
    Arc::new(Quorum::new(all, Policy::majority(3)).expect("majorities overlap"))
}

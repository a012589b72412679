//! What a signer believes of a key of the map, with the root key, receipt keys, and nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use larder_protocol::{Op, ReceiptKey, Request, ServerKey, envelope};
use larder_recovery::log::map::{Commit, Current, Expect, Map, Write};
use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, OneProvider, Put, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::reach::{Challenge, KeyProof, NotReached, Shown};
use larder_recovery::seal::{BODY_MAX, Contents};
use larder_recovery::{Provider, RecoveryError, Removed, Slot};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::quorum_faults::{device, large, lead, put, registers, shelves};
use crate::shelf::{Lie, Shelf, keypair, root};

/// The untrusted node: it reads and asks.
struct Node {
    registers: Arc<dyn Registers>,
    providers: Vec<Arc<Provider>>,
}

/// The signer: it has never seen the log.
struct Signer {
    providers: Vec<(ServerKey, ReceiptKey)>,
    policy: Policy,
}

impl Node {
    fn signer(&self) -> Signer {
        let keys =
            |provider: &Arc<Provider>| (*provider.server_key(), provider.record().receipt_key);
        Signer {
            providers: self.providers.iter().map(keys).collect(),
            policy: Policy::majority(self.providers.len()),
        }
    }

    async fn tries(&self, key: &str, challenge: u8) -> Result<Option<KeyProof>, RecoveryError> {
        let (registers, providers) = (self.registers.as_ref(), &self.providers);
        let policy = Policy::majority(providers.len());
        let challenge = Challenge([challenge; 32]);
        KeyProof::gather(registers, &root(1), providers, policy, key, challenge).await
    }

    async fn proves(&self, key: &str, challenge: u8) -> KeyProof {
        let proof = self.tries(key, challenge).await.expect("enough answer");
        proof.expect("nobody else writes")
    }
}

impl Signer {
    fn hears(&self, proof: &KeyProof, key: &str, challenge: u8) -> Result<Shown, NotReached> {
        let challenge = Challenge([challenge; 32]);
        proof.verify(&root(1), &self.providers, self.policy, key, challenge)
    }

    /// Version and value.
    fn believes(&self, proof: &KeyProof, key: &str) -> Result<(u64, Option<Vec<u8>>), NotReached> {
        let Shown { current, .. } = self.hears(proof, key, 7)?;
        let Current {
            key: shown,
            version,
            value,
        } = current;
        assert_eq!(shown, key);
        Ok((version, value))
    }
}

/// A map with one storage node, and the node that shows it.
async fn one(shelf: &Shelf) -> (Map, Node) {
    let provider = shelf.connect(1).await;
    let registers = Arc::new(OneProvider::new(&root(1), provider.clone()));
    let map = Map::open(registers.clone(), &mut StdRng::seed_from_u64(1), None).await;
    let map = map.expect("honest");
    map.take_over().await.expect("honest");
    let providers = vec![provider];
    (
        map,
        Node {
            registers,
            providers,
        },
    )
}

async fn delete(map: &Map, key: &str) {
    let commit = Commit::of([Write::delete(key, Expect::Present)]);
    map.commit(commit).await.expect("it is there");
}

async fn roll_up(map: &Map) {
    map.roll_up().await.expect("honest");
    while map.log().upkeep(50).await.expect("honest") {}
}

#[tokio::test]
async fn a_signer_learns_version_and_value_of_a_key_with_only_the_receipt_key() {
    let (map, node) = one(&Shelf::new()).await;
    let signer = node.signer();
    put(&map, "small", "1").await;
    put(&map, "small", "2").await;
    put(&map, "large", large()).await;
    put(&map, "gone", "x").await;
    delete(&map, "gone").await;
    let many: Vec<_> = (0..1_200)
        .map(|n| {
            Write::put(
                format!("n/{n:04}"),
                Expect::Absent,
                "more than one entry holds",
            )
        })
        .collect();
    map.commit(Commit::of(many)).await.expect("they are");
    // Behind an entry, behind an anchor, behind both, and behind another device's seal.
    for step in 0..4 {
        match step {
            0 => {}
            1 => roll_up(&map).await,
            2 => put(&map, "another", "1").await,
            _ => drop(lead_again(&node).await),
        }
        for (key, version, value) in [
            ("small", 2, Some(b"2".to_vec())),
            ("large", 1, Some(large())),
            ("gone", 2, None),
            ("never", 0, None),
            ("n/1199", 1, Some(b"more than one entry holds".to_vec())),
        ] {
            let proof = node.proves(key, 7).await;
            assert_eq!(
                signer.believes(&proof, key),
                Ok((version, value)),
                "{key}, {step}"
            );
            let commits = signer.hears(&proof, key, 7).map(|shown| shown.commits);
            assert_eq!(commits, Ok(6 + u64::from(step > 1)));
        }
    }
}

async fn lead_again(node: &Node) -> Map {
    let rng = &mut StdRng::seed_from_u64(2);
    let map = Map::open(node.registers.clone(), rng, None).await;
    let map = map.expect("honest");
    map.take_over().await.expect("honest");
    map
}

#[tokio::test]
async fn an_older_state_an_older_answer_and_parts_of_both_are_refused() {
    let (map, node) = one(&Shelf::new()).await;
    let signer = node.signer();
    put(&map, "k", "old").await;
    let old = node.proves("k", 7).await;
    assert_eq!(signer.believes(&old, "k"), Ok((1, Some(b"old".to_vec()))));
    assert_eq!(signer.hears(&old, "k", 8).err(), Some(NotReached::NotHeld));
    put(&map, "k", "new").await;
    let new = node.proves("k", 8).await;
    assert!(signer.hears(&new, "k", 8).is_ok());
    // Nothing signs that the older one was the end when it was asked later.
    let older = node.proves("k", 9).await;
    let mut patched = old.clone();
    patched.witnesses[0].next = older.witnesses[0].next.clone();
    assert_eq!(
        signer.hears(&patched, "k", 9).err(),
        Some(NotReached::NotHeld)
    );
    let mut patched = new.clone();
    patched.witnesses[0].next = None;
    assert_eq!(
        signer.hears(&patched, "k", 8).err(),
        Some(NotReached::NotNewest)
    );
    patched.witnesses[0] = old.witnesses[0].clone();
    assert_eq!(
        signer.hears(&patched, "k", 7).err(),
        Some(NotReached::NotHeld)
    );
    // And the end that another key's proof shows is this key's, too.
    assert_eq!(
        signer
            .hears(&new, "other", 8)
            .map(|shown| shown.current.version),
        Ok(0)
    );
}

#[tokio::test]
async fn the_end_of_the_log_held_is_no_proof_while_something_is_behind_it() {
    let (map, node) = one(&Shelf::new()).await;
    let signer = node.signer();
    put(&map, "k", "old").await;
    let old = node.proves("k", 1).await;
    put(&map, "k", "new").await;
    // A node that reads what was there before, and asks for it now.
    let past = Node {
        registers: Arc::new(Past(old.registers)),
        providers: node.providers.clone(),
    };
    assert!(past.tries("k", 7).await.expect("honest").is_none());
    assert!(signer.believes(&node.proves("k", 7).await, "k").is_ok());
}

/// Registers as they were.
pub(crate) struct Past(pub(crate) HashMap<Slot, Contents>);

impl Registers for Past {
    fn insert<'a>(&'a self, _: Slot, _: &'a Contents) -> Answer<'a, Put> {
        panic!("it only reads")
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        let look = self.0.get(&slot).cloned().map_or(Look::Absent, Look::Found);
        Box::pin(async move { Ok(look) })
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        panic!("it only reads")
    }
}

#[tokio::test]
async fn a_register_that_was_changed_or_left_out_breaks_the_chain() {
    let (map, node) = one(&Shelf::new()).await;
    let signer = node.signer();
    put(&map, "k", large()).await;
    roll_up(&map).await;
    put(&map, "other", "1").await;
    put(&map, "other", "2").await;
    let proof = node.proves("k", 7).await;
    assert!(signer.believes(&proof, "k").is_ok());
    // An anchor, a snapshot, three chunks, two entries.
    assert_eq!(proof.registers.len(), 7);
    for slot in proof.registers.keys() {
        let mut without = proof.clone();
        without.registers.remove(slot);
        assert!(signer.believes(&without, "k").is_err());
        let mut changed = proof.clone();
        let contents = changed.registers.get_mut(slot).expect("it is there");
        *contents.body.last_mut().expect("none is empty") ^= 1;
        assert!(signer.believes(&changed, "k").is_err());
        // No more than a blob holds: what a signer seals to check it.
        let contents = changed.registers.get_mut(slot).expect("it is there");
        contents.body = vec![0; BODY_MAX + 1];
        assert_eq!(signer.believes(&changed, "k"), Err(NotReached::Foreign));
    }
}

#[tokio::test]
async fn another_storage_node_and_another_root_are_refused_and_an_empty_log_has_no_proof() {
    let (map, node) = one(&Shelf::new()).await;
    let signer = node.signer();
    put(&map, "k", "1").await;
    let proof = node.proves("k", 7).await;
    let (server, receipt) = signer.providers[0];
    let elsewhere = keypair(99).public_key();
    for (root, server, receipt) in [
        (root(1), elsewhere.into(), receipt),
        (root(1), server, elsewhere.into()),
        (root(2), server, receipt),
    ] {
        let challenge = Challenge([7; 32]);
        let heard = proof.verify(&root, &[(server, receipt)], signer.policy, "k", challenge);
        assert_eq!(heard.err(), Some(NotReached::NotHeld));
    }
    let shelf = Shelf::of(2);
    let provider = shelf.connect(1).await;
    let empty = Node {
        registers: Arc::new(OneProvider::new(&root(1), provider.clone())),
        providers: vec![provider],
    };
    assert!(empty.tries("k", 7).await.expect("honest").is_none());
}

#[tokio::test]
async fn a_proof_costs_a_restore_and_two_look_ups() {
    let shelf = Shelf::new();
    let (map, node) = one(&shelf).await;
    for n in 0..10 {
        put(&map, "k", [n]).await;
    }
    let before = shelf.count(Op::Lookup);
    let restored = Map::open(node.registers.clone(), &mut StdRng::seed_from_u64(2), None).await;
    assert_eq!(restored.expect("honest").commits(), 10);
    let between = shelf.count(Op::Lookup);
    node.proves("k", 7).await;
    assert_eq!(shelf.count(Op::Lookup) - between, between - before + 2);
}

#[tokio::test]
async fn of_three_storage_nodes_one_may_be_down_or_withhold_or_be_rolled_back() {
    for fault in 0..3 {
        for guilty in 0..3 {
            let shelves = shelves();
            let device = device(&shelves, 1).await;
            put(&device.map, "k", "1").await;
            let backup = shelves[guilty].blobs();
            put(&device.map, "k", large()).await;
            device.quorum.catch_up().await.expect("all answer");
            match fault {
                0 => shelves[guilty].is_down(true),
                1 => shelves[guilty].lies(Lie::Withholds),
                _ => shelves[guilty].rolls_back(backup),
            }
            let node = Node {
                registers: device.quorum.clone(),
                providers: device.providers.clone(),
            };
            let signer = node.signer();
            let proof = node.proves("k", 7).await;
            assert_eq!(signer.believes(&proof, "k"), Ok((2, Some(large()))));
            let mut alone = proof.clone();
            alone.witnesses[(guilty + 1) % 3].held = None;
            let mut agreed = signer.believes(&alone, "k");
            if fault == 2 {
                // Reading has completed it there.
                alone.witnesses[guilty].held = None;
                agreed = signer.believes(&alone, "k");
            }
            assert_eq!(agreed, Err(NotReached::NotHeld));
            let mut alone = proof;
            alone
                .witnesses
                .iter_mut()
                .skip(1)
                .for_each(|w| w.next = None);
            assert_eq!(signer.believes(&alone, "k"), Err(NotReached::NotNewest));
        }
    }
}

#[tokio::test]
async fn a_take_over_that_several_storage_nodes_decided_in_a_later_round_is_an_end_like_any() {
    let shelves = shelves();
    let device = device(&shelves, 1).await;
    put(&device.map, "k", "1").await;
    let all = device.providers.iter().map(registers);
    let quorum = Arc::new(Quorum::new(all, Policy::majority(3)).expect("majorities"));
    drop(lead(quorum.clone(), 2).await);
    let node = Node {
        registers: quorum,
        providers: device.providers.clone(),
    };
    let proof = node.proves("k", 7).await;
    assert!(proof.round > 0);
    assert_eq!(
        node.signer().believes(&proof, "k"),
        Ok((1, Some(b"1".to_vec())))
    );
    let mut elsewhere = proof;
    elsewhere.round = 0;
    assert_eq!(
        node.signer().believes(&elsewhere, "k"),
        Err(NotReached::NotHeld)
    );
}

#[tokio::test]
async fn a_storage_node_that_finds_a_blob_of_its_own_everywhere_is_not_asked_for_ever() {
    let shelf = Shelf::new();
    let (map, node) = one(&shelf).await;
    put(&map, "k", "1").await;
    let read = node.proves("k", 1).await.registers;
    let node = Node {
        registers: Arc::new(Past(read)),
        ..node
    };
    shelf.lies(Lie::Fills);
    assert!(node.tries("k", 7).await.expect("it answers").is_none());
}

#[tokio::test]
async fn nonces_of_one_challenge_are_other_ones_at_every_storage_node() {
    let shelves = shelves();
    let device = device(&shelves, 1).await;
    put(&device.map, "k", "1").await;
    let node = Node {
        registers: device.quorum.clone(),
        providers: device.providers.clone(),
    };
    node.proves("k", 7).await;
    let mut nonces = HashSet::new();
    for shelf in &shelves {
        let requests = shelf.log();
        for contents in &requests[requests.len() - 2..] {
            let body = envelope::unwrap(contents).expect("an envelope");
            nonces.insert(Request::decode(body).expect("a request").nonce.0);
        }
    }
    assert_eq!(nonces.len(), 6, "for the end and what is behind it");
}

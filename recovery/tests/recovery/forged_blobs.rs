//! A storage node that answers with blobs of its own making: every place where one is opened refuses all of them, signs
//! for none, and leaves one in the owner's hands as evidence.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use larder_protocol::{Blob, BlobHash, Op, Pass, ServerKey};
use larder_recovery::breakglass::Wrote;
use larder_recovery::log::anchor::anchor_slot;
use larder_recovery::log::map::{Commit, Expect, Map, Write};
use larder_recovery::log::{OneProvider, Registers};
use larder_recovery::quorum::Policy;
use larder_recovery::reach::{Challenge, KeyProof, reach};
use larder_recovery::seal::{Contents, Kind, open, seal};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Forgery, Found, Lane, Position, Provider, Purpose, RecoveryError, RootKey, Schedule, Sequence,
    Slot, Transport, Walk,
};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::forger::{Forger, WAYS};
use crate::loss::{Wallet, nothing_left, read};
use crate::quorum_faults::{large, put, receipt_key};
use crate::reach_key::Past;
use crate::shelf::{Shelf, keypair, root};

/// Every way by which a blob that a storage node answers with is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    Walk,
    ReadHead,
    ReadChunk,
    MapAnchor,
    MapAnchorFarAhead,
    MapSnapshot,
    MapEntry,
    MapSeal,
    MapHistory,
    ValueChunk,
    TakeOver,
    Commit,
    Confirm,
    ProofOfReach,
    ProofOfKey,
    EndOfProofOfKey,
    // What changes something comes last.
    Append,
    DeleteValue,
    DeleteRegister,
}

use Opener as It;

const ALL: [Opener; 19] = [
    It::Walk,
    It::ReadHead,
    It::ReadChunk,
    It::MapAnchor,
    It::MapAnchorFarAhead,
    It::MapSnapshot,
    It::MapEntry,
    It::MapSeal,
    It::MapHistory,
    It::ValueChunk,
    It::TakeOver,
    It::Commit,
    It::Confirm,
    It::ProofOfReach,
    It::ProofOfKey,
    It::EndOfProofOfKey,
    It::Append,
    It::DeleteValue,
    It::DeleteRegister,
];

fn at(purpose: Purpose, lane: Lane, generation: u64, index: u64) -> Slot {
    Slot {
        purpose,
        lane,
        generation,
        index,
    }
}

fn server(identity: u8) -> ServerKey {
    keypair(identity).public_key().into()
}

fn value(index: u64) -> Slot {
    at(Purpose::Main, Lane::default(), 0, index)
}

/// What a forger wants to be believed: whatever belongs into such a place.
fn wanted(slot: &Slot) -> Contents {
    let (kind, body) = match (slot.purpose, slot.index) {
        (Purpose::Main, 1) => (Kind::Head, vec![1; 200]),
        (Purpose::Main, _) => (Kind::Whole, b"forged".to_vec()),
        (Purpose::Chunk, _) => (Kind::Chunk, vec![6; 16_285]),
        (Purpose::Log, _) => (Kind::Entry, vec![0, 0, 1, 9]),
        (Purpose::Anchor, _) => {
            let snapshot = [&[5; 32][..], &9_u64.to_be_bytes(), &[7; 32]].concat();
            (
                Kind::Anchor,
                [&7_u64.to_be_bytes()[..], &[4; 16], &snapshot].concat(),
            )
        }
        // The page: nothing is listed.
        _ => (Kind::Whole, vec![1, 0, 0, 0, 1, 0, 0]),
    };
    Contents {
        kind,
        writer: [0; 16],
        previous: BlobHash([0; 32]),
        body,
    }
}

type Evidences = Arc<Mutex<Vec<Forgery>>>;

/// Wallets with one storage node: one has values by counter and a map that was rolled up, the other a map in its
/// first generation.
struct World {
    shelf: Shelf,
    forger: Forger,
    kept: Evidences,
}

impl World {
    async fn new() -> Self {
        let shelf = Shelf::of(1);
        let mut world = World {
            forger: Forger::of(1, &filled(&shelf).await, others().await),
            shelf,
            kept: Evidences::default(),
        };
        let mut sequence = Sequence::start(&root(1), world.provider(1).await);
        sequence.append(b"small").await.expect("honest");
        sequence.append(&large()).await.expect("honest");
        let map = world.map(&root(1), 2).await.expect("honest");
        map.take_over().await.expect("honest");
        put(&map, "small", "1").await;
        put(&map, "large", large()).await;
        map.roll_up().await.expect("honest");
        while map.log().upkeep(50).await.expect("honest") {}
        put(&map, "after", "2").await;
        let map = world.map(&root(2), 3).await.expect("honest");
        map.take_over().await.expect("honest");
        put(&map, "k", "v").await;
        world.forger = Forger::of(1, &world.shelf, others().await);
        world
    }

    async fn provider(&self, seed: u64) -> Arc<Provider> {
        let rng = StdRng::seed_from_u64(seed);
        let transport = Arc::new(self.shelf.clone());
        let provider = Provider::connect_with(self.shelf.address(), transport, rng).await;
        let kept = self.kept.clone();
        let keep = move |forgery: &Forgery| {
            let mut kept = kept.lock().expect("no test panics in here");
            kept.push(forgery.clone());
        };
        Arc::new(provider.expect("it answers").on_forgery(keep))
    }

    async fn registers(&self, root: &RootKey, seed: u64) -> Arc<dyn Registers> {
        Arc::new(OneProvider::new(root, self.provider(seed).await))
    }

    async fn map(&self, root: &RootKey, seed: u64) -> Result<Map, RecoveryError> {
        let registers = self.registers(root, seed).await;
        Map::open(registers, &mut StdRng::seed_from_u64(seed), None).await
    }

    fn schedule(&self, root: &RootKey) -> Schedule {
        Schedule::new(root.clone(), keypair(1).public_key().into())
    }

    /// What this root key really wrote there.
    fn contents(&self, root: &RootKey, slot: &Slot) -> Contents {
        let schedule = self.schedule(root);
        let blob = &self.shelf.blobs()[&schedule.key(slot)];
        open(&schedule, slot, blob).expect("it is the root key's")
    }

    fn lane_in(&self, slot: Slot, from: usize) -> Lane {
        let body = self.contents(&root(1), &slot).body;
        Lane(body[from..][..32].try_into().expect("32 bytes"))
    }

    /// Begins to forge what is at a slot, in the way of this number; none is honest.
    fn forges(&self, root: &RootKey, slot: Slot, way: Option<usize>) {
        let key = self.schedule(root).key(&slot);
        let forged = way.map(|way| {
            self.forger
                .makes(&key, &slot, &wanted(&slot))
                .swap_remove(way)
        });
        self.shelf
            .forges(forged.map(|(_, blob)| (key, blob)).into_iter().collect());
    }

    /// Has something opened, while its blob is forged. What was believed is an Ok.
    async fn opens(&self, opener: Opener, way: Option<usize>) -> Result<(), String> {
        self.shelf.forges(HashMap::new());
        let (one, two) = (root(1), root(2));
        let seed = 100 + self.shelf.log().len() as u64;
        let provider = self.provider(seed).await;
        let sequence = |next| {
            let (provider, previous) = (provider.clone(), BlobHash([0; 32]));
            let position = Position { next, previous };
            Sequence::resume(&one, provider, Purpose::Main, Lane::default(), position)
        };
        let said = |error: RecoveryError| error.to_string();
        let found = |found: Found| match found {
            Found::Value(_) => Ok(()),
            other => Err(format!("{other:?}: never wrote")),
        };
        let entry = at(Purpose::Log, Lane::default(), 1, 0);
        match opener {
            It::Walk => {
                self.forges(&one, value(0), way);
                let step = Walk::new(sequence(0)).next().await.map_err(said)?;
                found(step.expect("there are values").found)
            }
            It::ReadHead | It::ReadChunk => {
                let slot = match opener {
                    It::ReadHead => value(1),
                    _ => at(Purpose::Chunk, self.lane_in(value(1), 0), 0, 1),
                };
                self.forges(&one, slot, way);
                found(sequence(0).read(1).await.map_err(said)?)
            }
            It::MapAnchor | It::MapAnchorFarAhead | It::MapSnapshot | It::MapEntry => {
                let slot = match opener {
                    It::MapAnchor => anchor_slot(1),
                    It::MapAnchorFarAhead => anchor_slot(1 << 20),
                    It::MapSnapshot => {
                        at(Purpose::Chunk, self.lane_in(anchor_slot(1), 8 + 16), 0, 0)
                    }
                    _ => entry,
                };
                self.forges(&one, slot, way);
                let map = self.map(&one, seed).await.map_err(said)?;
                assert_eq!(map.commits(), 3);
                Ok(())
            }
            It::MapSeal => {
                self.forges(&two, at(Purpose::Log, Lane::default(), 0, 0), way);
                let map = self.map(&two, seed).await.map_err(said)?;
                assert_eq!(map.commits(), 1);
                Ok(())
            }
            It::MapHistory => {
                self.forges(&one, entry, way);
                let registers = Arc::new(OneProvider::new(&one, provider));
                let mut rng = StdRng::seed_from_u64(seed);
                let opened = Map::open_with_history(registers, &mut rng, None).await;
                opened.map(drop).map_err(said)
            }
            It::ValueChunk => {
                let map = self.map(&one, seed).await.expect("honest so far");
                let chunk = map.slots().filter(|slot| slot.purpose == Purpose::Chunk);
                self.forges(&one, chunk.last().expect("it is large"), way);
                map.get("large").await.map(drop).map_err(said)
            }
            It::TakeOver => {
                let map = self.map(&two, seed).await.expect("honest so far");
                self.forges(&two, map.log().ahead()[0], way);
                map.take_over().await.map_err(said)
            }
            It::Commit | It::Confirm => {
                let map = self.map(&two, seed).await.expect("honest so far");
                map.take_over().await.expect("honest so far");
                self.forges(&two, map.log().ahead()[0], way);
                if opener == It::Confirm {
                    return map.confirm().await.map_err(said);
                }
                let commit = Commit::of([Write::put("k", Expect::Any, "w")]);
                map.commit(commit)
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            It::ProofOfReach => {
                self.forges(&one, value(1), way);
                let (schedule, challenge) = (self.schedule(&one), Challenge([7; 32]));
                let proof = reach(&provider, &schedule, value(1), challenge).await;
                let proof = proof
                    .expect("it answers")
                    .expect("it says that it is the newest");
                let shown = proof.verify(&schedule, value(0), &receipt_key(0), challenge);
                let shown = shown.map(drop);
                shown.map_err(|refused| format!("{refused}: never wrote"))
            }
            It::ProofOfKey | It::EndOfProofOfKey => {
                let (policy, challenge) = (Policy::majority(1), Challenge([7; 32]));
                let registers = OneProvider::new(&one, provider.clone());
                let all = [provider];
                let gather = async |registers: &dyn Registers| {
                    KeyProof::gather(registers, &one, &all, policy, "after", challenge).await
                };
                let honest = gather(&registers).await.expect("honest so far");
                self.forges(&one, entry, way);
                let proof = match opener {
                    It::ProofOfKey => gather(&registers).await,
                    // It has read the log; then it asks for the end of it.
                    _ => gather(&Past(honest.expect("nobody writes").registers)).await,
                };
                let proof = proof.map_err(said)?.ok_or("never wrote")?;
                let keys = [(*all[0].server_key(), receipt_key(0))];
                let shown = proof.verify(&one, &keys, policy, "after", challenge);
                shown.map(drop).map_err(|refused| refused.to_string())
            }
            It::Append => {
                self.forges(&one, value(2), way);
                sequence(2).append(b"new").await.map(drop).map_err(said)
            }
            It::DeleteValue => {
                self.forges(&one, value(0), way);
                sequence(0).delete(0).await.map(drop).map_err(said)
            }
            It::DeleteRegister => {
                self.forges(&one, entry, way);
                let registers = OneProvider::new(&one, provider);
                registers.delete(entry).await.map(drop).map_err(said)
            }
        }
    }

    fn kept(&self) -> Vec<Forgery> {
        std::mem::take(&mut *self.kept.lock().expect("no test panics in here"))
    }
}

/// A first request, so that there is something to have seen.
async fn filled(shelf: &Shelf) -> Shelf {
    let mut first = Sequence::start(&root(7), shelf.connect(70).await);
    first.append(b"first").await.expect("honest");
    first.append(b"second").await.expect("honest");
    shelf.clone()
}

/// Blobs of another wallet here, and of this one elsewhere, in the places that are forged.
async fn others() -> Vec<Blob> {
    let mut blobs = Vec::new();
    for (wallet, server) in [(9, 1), (1, 2)] {
        let schedule = Schedule::new(root(wallet), keypair(server).public_key().into());
        let entry = at(Purpose::Log, Lane::default(), 1, 0);
        for slot in [value(0), anchor_slot(1), entry] {
            blobs.push(seal(&schedule, &slot, &wanted(&slot)));
        }
    }
    blobs
}

#[tokio::test]
async fn nothing_that_can_be_made_without_the_root_key_opens() {
    let world = World::new().await;
    let schedule = world.schedule(&root(1));
    let mut made = BTreeSet::new();
    let places = [
        value(0),
        value(1),
        anchor_slot(1),
        anchor_slot(4),
        at(Purpose::Log, Lane::default(), 1, 0),
        at(Purpose::Chunk, world.lane_in(value(1), 0), 0, 0),
        at(Purpose::Breakglass, Lane::default(), 1, 5),
    ];
    for slot in places {
        let key = schedule.key(&slot);
        for (way, blob) in world.forger.makes(&key, &slot, &wanted(&slot)) {
            assert!(open(&schedule, &slot, &blob).is_err(), "{way}, {slot:?}");
            made.insert(way);
        }
        // Whoever has the secret makes what opens.
        let blob = seal(&schedule, &slot, &wanted(&slot));
        assert!(open(&schedule, &slot, &blob) == Ok(wanted(&slot)));
    }
    assert_eq!(made.len(), WAYS + 6, "{made:?}");
}

#[tokio::test]
async fn every_opener_refuses_every_forgery_and_leaves_it_as_evidence() {
    let world = World::new().await;
    let deletes = world.shelf.count(Op::Delete);
    for opener in ALL {
        for way in 0..WAYS {
            let opened = world.opens(opener, Some(way)).await;
            let error = opened
                .err()
                .unwrap_or_else(|| panic!("{opener:?} believed {way}"));
            assert!(error.contains("never wrote"), "{opener:?}, {way}: {error}");
            let kept = world.kept();
            assert!(!kept.is_empty(), "{opener:?} keeps no evidence");
            for forgery in kept {
                assert!(forgery.is_signed(&server(1)) && !forgery.is_signed(&server(99)));
                let roots = [root(1), root(2), root(3)];
                let owners = roots.map(|root| forgery.is_forged(&world.schedule(&root)));
                let others = [It::MapSeal, It::TakeOver, It::Commit, It::Confirm];
                let second = others.contains(&opener);
                assert_eq!(owners, [!second, second, false]);
            }
        }
    }
    assert_eq!(
        world.shelf.count(Op::Delete),
        deletes,
        "nothing is signed away"
    );
    // The same with an honest one: all of it opens, and nobody is accused.
    for opener in ALL {
        assert_eq!(world.opens(opener, None).await, Ok(()), "{opener:?}");
        assert_eq!(world.kept(), [], "{opener:?}");
    }
}

/// A way on which an epoch begins, and the client hears of it, while the answer to a look-up comes.
struct Overtaken(Shelf, Mutex<Option<Arc<Provider>>>);

impl Transport for Overtaken {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        Box::pin(async move {
            let looks_up = crate::paid::read(&contents).call.op() == Op::Lookup;
            let answer = self.0.exchange(contents, pass).await;
            let take = || self.1.lock().expect("no test panics in here").take();
            if let Some(provider) = looks_up.then(take).flatten() {
                self.0.next_epoch();
                let elsewhere = keypair(61).public_key().into();
                provider.lookup(elsewhere).await.expect("signed for");
            }
            answer
        })
    }
}

#[tokio::test]
async fn a_forgery_that_an_epoch_overtook_is_kept_with_the_terms_that_it_was_signed_under() {
    let shelf = Shelf::new();
    let mut sequence = Sequence::start(&root(1), shelf.connect(1).await);
    sequence.append(b"value").await.expect("honest so far");
    let noise = Blob::from_slice(&[7; larder_protocol::BLOB_LEN]).expect("of its length");
    let forged = |(key, _)| (key, noise.clone());
    shelf.forges(shelf.blobs().into_iter().map(forged).collect());

    let way = Arc::new(Overtaken(shelf.clone(), Mutex::default()));
    let kept: Arc<Mutex<Vec<Forgery>>> = Arc::default();
    let keep = kept.clone();
    let provider = Provider::connect(shelf.address(), way.clone()).await;
    let provider = provider.expect("it answers").on_forgery(move |forgery| {
        let mut kept = keep.lock().expect("no test panics in here");
        kept.push(forgery.clone());
    });
    let provider = Arc::new(provider);
    *way.1.lock().expect("no test panics in here") = Some(provider.clone());
    let mut walk = Walk::new(Sequence::start(&root(1), provider.clone()));
    let step = walk.next().await.expect("signed for").expect("something");
    assert_eq!(step.found, Found::Foreign);
    assert_eq!(provider.record().epoch, shelf.epoch());
    let kept = kept.lock().expect("no test panics in here");
    let overtaken = |forgery: &&Forgery| forgery.evidence.receipt.epoch < shelf.epoch();
    assert_eq!(kept.iter().filter(overtaken).count(), 1);
    assert!(kept.iter().all(|forgery| forgery.is_signed(&server(1))));
}

#[tokio::test]
async fn what_is_ours_is_no_evidence_and_what_was_not_signed_for_is_none() {
    let world = World::new().await;
    drop(world.opens(It::MapEntry, Some(0)).await);
    let forgery = world.kept().remove(0);
    let schedule = world.schedule(&root(1));
    let ours = Forgery {
        blob: world.shelf.blobs()[&schedule.key(&forgery.slot)].clone(),
        ..forgery.clone()
    };
    assert!(!ours.is_forged(&schedule) && !ours.is_signed(&server(1)));
    let moved = Forgery {
        slot: value(0),
        ..forgery.clone()
    };
    assert!(!moved.is_forged(&schedule));
    assert!(forgery.is_forged(&schedule) && forgery.is_signed(&server(1)));
}

/// The page and the cell, which are there where something is paid for.
#[tokio::test]
async fn a_forged_page_and_a_forged_cell_end_a_restore() {
    let mut wallet = Wallet::new(6, 2).await;
    wallet.until(Wrote::Page).await;
    wallet.until(Wrote::Cell).await;
    let (shelf, keys) = wallet.lose();
    let schedule = Schedule::new(root(1), *shelf.address().server_key());
    let forger = {
        let free = Shelf::of(1);
        Forger::of(1, &filled(&free).await, others().await)
    };
    let epoch = u64::from(shelf.record().epoch);
    let page = (0..32).map(|n| at(Purpose::Breakglass, Lane::default(), 1, (epoch << 16) + n));
    let page = page.into_iter().find(|slot| shelf.has(&schedule.key(slot)));
    let page = page.expect("a page was written");
    let key = schedule.key(&page);
    for way in [0, 3] {
        let lying = shelf.fork();
        lying.swaps(
            &key,
            forger.makes(&key, &page, &wanted(&page)).swap_remove(way).1,
        );
        let (provider, restore) = nothing_left(&lying).await;
        let error = read(&restore).await.err().expect("it is forged");
        assert!(error.to_string().contains("never wrote"), "{way}: {error}");
        drop(provider);
    }
    // Of another wallet's secret, from another time, and changed.
    let bends: [fn(&mut u64, &mut larder_protocol::Cell); 5] = [
        |_, cell| cell.0 = [0; 256],
        |_, cell| cell.0[0] ^= 1,
        |_, cell| cell.0[100] ^= 1,
        |_, cell| cell.0[255] ^= 1,
        |sequence, _| *sequence += 1,
    ];
    for bend in bends {
        let lying = shelf.fork();
        lying.bends_cells(bend);
        let (_, restore) = nothing_left(&lying).await;
        let error = read(&restore).await.err().expect("it is forged");
        assert!(matches!(error, RecoveryError::Misbehaved(_)), "{error}");
    }
    let (_, restore) = nothing_left(&shelf).await;
    let map = read(&restore).await.expect("the true ones are there");
    crate::loss::has_all(&map, keys).await;
}

/// Whoever opens what a storage node answers with is in the table above.
#[test]
fn no_source_file_opens_blobs_that_is_not_known_here() {
    let known = [
        // The one place, and the cell with a seal of its own.
        "forgery.rs: open(",
        "breakglass/restore.rs: cell::open(",
        // A signer has no provider to ask.
        "reach/mod.rs: open(",
        // They ask that place.
        "breakglass/restore.rs: .read(schedule",
        "forgery.rs: .opened(",
        "log/register.rs: .read(&self.schedule",
        "reach/key.rs: .opened(",
        "reach/mod.rs: .opened(",
        "sequence.rs: .read(&self.schedule",
        "walk.rs: .read(&schedule",
        "walk.rs: .read(schedule",
    ];
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("the sources").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]").next().expect("a first part");
            let code: Vec<&str> = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            let name = path.strip_prefix(&source).expect("it is inside");
            let name = name.to_str().expect("text").replace('\\', "/");
            let ways = [
                ("cell::open(", "cell::open("),
                (" open(schedule,", "open("),
                ("seal::open(", "seal::open("),
                ("= open(&", "open("),
                (".opened(schedule", ".opened("),
                (".opened(&schedule", ".opened("),
                (".read(schedule", ".read(schedule"),
                (".read(&schedule", ".read(&schedule"),
                (".read(&self.schedule", ".read(&self.schedule"),
            ];
            for (pattern, way) in ways {
                if code.iter().any(|line| line.contains(pattern)) {
                    found.insert(format!("{name}: {way}"));
                }
            }
        }
    }
    let known: BTreeSet<String> = known.iter().map(ToString::to_string).collect();
    assert_eq!(found, known, "forge what it opens, in the table of openers");
}

//! Everything that a storage node has stored and logged after ten clients paid it, looked through
//! by somebody who knows which request was whose: nothing in there tells that two came from one.
//!
//! Three things are looked for, in a copy of the store opened by sled itself:
//!
//! * a string of 16 bytes that stands in what two operations left. The protocol has an operation
//!   share with itself: a row with its second reference, a payment with its claims and their row;
//! * a byte of a fixed place in records that is more often equal within one client than chance
//!   has it, when the clients are dealt anew a hundred times;
//! * neighbours, in the order of slots and in that of references, that belong to one client more
//!   often than chance has it.
//!
//! And of what they sent with it: the pass that the storage node gave them is of the same bytes for all, each has it from
//! its purchase, and shows it with all requests behind that, whether those cost something or not, but with no question for
//! the terms.
//!
//! Each detector is shown first that it finds what was put there to be found. The log, at its
//! most talkative, has no value of any request in it and no line for any.
//!
//! The limits: *when* a request came is not in what is stored beyond the order of slots, and that is
//! the order of arrival, which here says nothing because the clients take turns by lot. What only
//! a whole algebra would find (a relation between two commitments) is the business of the
//! credentials' proofs, not of a test.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use larder_credentials::Request as Core;
use larder_protocol::{Call, Key, Op, Pass, Payment, Request, ServerKey, envelope};
use larder_recovery::transport::Exchange;
use larder_recovery::{
    Looked, Means, MemoryJournal, OnionTransport, Provider, Purse, Removed, RootKey, Transport,
    Written,
};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use secp256k1::Keypair;

use crate::privacy::form_found;
use crate::processes::{copy, larderd_command, relay, start};
use crate::wallet::{Client, blob, patient, runtime};

const CLIENTS: usize = 10;
const STEPS: usize = 8;
/// What each of them sends: it asks for the terms, and once more before it pays by them, and buys two pairs.
const SENT: [Op; 13] = [
    Op::Info,
    Op::Info,
    Op::Quote,
    Op::Purchase,
    Op::Purchase,
    Op::Insert,
    Op::Insert,
    Op::Insert,
    Op::Insert,
    Op::Delete,
    Op::Lookup,
    Op::Lookup,
    Op::Info,
];
const SLOT: usize = 16_384;
/// As the store opens sled; sled insists on it.
const SEGMENT_LEN: usize = 8 << 20;

/// A transport that remembers what it was given, with the pass that it shows.
struct Recording {
    way: Arc<OnionTransport>,
    sent: Mutex<Vec<(Vec<u8>, Option<Pass>)>>,
}

impl Transport for Recording {
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        let sent = (contents.clone(), pass);
        self.sent.lock().expect("no panic").push(sent);
        self.way.exchange(contents, pass)
    }
}

struct Wallet {
    client: Client,
    provider: Provider,
    recording: Arc<Recording>,
    first: u64,
}

impl Wallet {
    async fn new(
        number: usize,
        relay: larder_onion::PeerAddress,
        node: &larder_protocol::Address,
    ) -> Self {
        let client = Client::connect_without_tokens(patient(relay), node).await;
        let recording = Arc::new(Recording {
            way: client.transport.clone(),
            sent: Mutex::default(),
        });
        let provider = Provider::connect(node.clone(), recording.clone()).await;
        let root = RootKey::from_bytes(rand::rng().random());
        let purse = Purse::open(&root, node.server_key(), MemoryJournal::new());
        let provider = provider
            .expect("it answers")
            .with_purse(purse.expect("new"));
        Wallet {
            client,
            provider: provider.expect("its terms"),
            recording,
            first: 100 * number as u64,
        }
    }

    fn keypair(&self, at: u64) -> Keypair {
        self.client.keypair(self.first + at)
    }

    fn key(&self, at: u64) -> Key {
        self.keypair(at).public_key().into()
    }

    fn blob(&self, at: u64) -> larder_protocol::Blob {
        blob(self.first + at)
    }

    /// What was sent, and whether a pass was shown with it.
    fn shown(&self) -> Vec<(Op, bool)> {
        let sent = self.recording.sent.lock().expect("no panic");
        let op = |contents| {
            let request = envelope::unwrap(contents).and_then(Request::decode);
            request.expect("a request").call.op()
        };
        sent.iter()
            .map(|(contents, pass)| (op(contents), pass.is_some()))
            .collect()
    }

    async fn step(&self, step: usize) {
        let insert = |at| self.provider.insert(self.key(at), self.blob(at));
        match step {
            0 => {
                self.provider
                    .buy(2_000, Means::Lightning)
                    .await
                    .expect("sold");
            }
            1..=4 => assert_eq!(insert(step as u64).await, Ok(Written::New)),
            5 => {
                let (keypair, hash) = (self.keypair(1), self.blob(1).hash());
                let removed = self.provider.delete(&keypair, hash).await;
                assert_eq!(removed, Ok(Removed::Now));
            }
            6 => assert_eq!(self.provider.lookup(self.key(1)).await, Ok(Looked::Deleted)),
            _ => {
                assert_eq!(
                    self.provider.lookup(self.key(2)).await,
                    Ok(Looked::Found(self.blob(2)))
                );
                // Asks for the terms, which is free.
                self.provider.upkeep(0).await.expect("nothing is due");
            }
        }
    }
}

/// Which operation of which client.
type Owner = (usize, usize);

/// What the test knows: names that requests went by, and whose they were.
#[derive(Default)]
pub(crate) struct Truth {
    names: HashMap<Vec<u8>, Owner>,
    /// Whatever else a log should not have.
    values: Vec<Vec<u8>>,
    /// Passes, and who had them to show.
    passes: HashMap<[u8; 32], HashSet<usize>>,
    /// Blobs that are stored, or were.
    blobs: Vec<(usize, larder_protocol::Blob)>,
}

impl Truth {
    fn of(wallets: &[Wallet]) -> Self {
        let mut truth = Truth::default();
        for (client, wallet) in wallets.iter().enumerate() {
            let sent = wallet.recording.sent.lock().expect("no panic");
            let service = wallet.provider.record().service();
            // A purchase is one operation, however many requests it takes.
            let quote = usize::MAX;
            for (op, (contents, pass)) in sent.iter().enumerate() {
                let request = envelope::unwrap(contents).and_then(Request::decode);
                let request = request.expect("a request");
                truth.values.push(request.nonce.0.to_vec());
                if let Some(pass) = pass {
                    truth
                        .passes
                        .entry(*pass.as_bytes())
                        .or_default()
                        .insert(client);
                }
                if let Call::Quote(quoted) = &request.call {
                    let tags = quoted
                        .tags
                        .iter()
                        .map(|tag| (tag.0.to_vec(), (client, quote)));
                    truth.names.extend(tags);
                }
                if let Some(key) = request.call.key() {
                    truth.values.push(key.as_bytes().to_vec());
                    if let Call::Insert(_) = request.call {
                        truth.names.insert(key.as_bytes().to_vec(), (client, op));
                    }
                }
                if let Payment::Credentials(core) = &request.payment {
                    let core = Core::decode(&service, core).expect("a core");
                    for reference in core.references().iter() {
                        let name = reference.0.to_vec();
                        truth.names.entry(name).or_insert((client, op));
                    }
                }
            }
            truth
                .blobs
                .extend((1..=4).map(|at| (client, wallet.blob(at))));
        }
        truth.values.extend(truth.names.keys().cloned());
        let passes = truth.passes.keys().map(|pass| pass.to_vec());
        truth.values.extend(passes);
        truth
    }
}

/// One key and value of a tree.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) tree: String,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    owner: Option<Owner>,
}

impl Record {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [&self.key[..], &self.value].concat()
    }

    /// Whether the storage node says something of itself here: whose store it is, and the terms of an epoch.
    fn is_of_the_node(&self) -> bool {
        self.tree == "ledger" && [&b"server"[..], b"epochs"].contains(&&self.key[..])
    }

    /// What there is of it beside the storage node's public key, where it is of the node: before it, between, and behind.
    fn without(&self, own: &ServerKey) -> Vec<Vec<u8>> {
        let (bytes, own) = (self.bytes(), own.as_bytes());
        let (mut parts, mut from) = (Vec::new(), 0);
        for (at, key) in bytes.windows(own.len()).enumerate() {
            if self.is_of_the_node() && key == own {
                parts.push(bytes[from..at].to_vec());
                from = at + own.len();
            }
        }
        parts.push(bytes[from..].to_vec());
        parts
    }
}

/// Every record of every tree, with the operation that it names.
pub(crate) fn records(store: &Path, truth: &Truth) -> Vec<Record> {
    let folders = fs::read_dir(store)
        .expect("a store")
        .map(|entry| entry.expect("readable").path());
    let index = folders.filter(|path| path.is_dir()).collect::<Vec<_>>();
    let [index] = &index[..] else {
        panic!("one index: {index:?}")
    };
    let db = sled::Config::new()
        .path(index)
        .segment_size(SEGMENT_LEN)
        .open();
    let db = db.expect("sled's own");
    let mut records = Vec::new();
    for tree in db.tree_names() {
        for record in &db.open_tree(&tree).expect("a tree") {
            let (key, value) = record.expect("readable");
            let mut record = Record {
                tree: String::from_utf8_lossy(&tree).into_owned(),
                key: key.to_vec(),
                value: value.to_vec(),
                owner: None,
            };
            let bytes = record.bytes();
            let named = [32, 33].into_iter().flat_map(|len| bytes.windows(len));
            record.owner = named
                .filter_map(|name| truth.names.get(name))
                .next()
                .copied();
            records.push(record);
        }
    }
    records
}

/// A string of 16 bytes in what two operations left, if there is one. The storage node may have its own public key, `own`,
/// in more than one of the records that it keeps of itself: that is cut out of those, and nothing else is.
fn shared(records: &[Record], own: &ServerKey) -> Option<String> {
    let mut first: HashMap<Vec<u8>, usize> = HashMap::new();
    for (at, record) in records.iter().enumerate() {
        for window in record.without(own).iter().flat_map(|part| part.windows(16)) {
            // Numbers have many zeros, and say no more than that they are small.
            if window.iter().filter(|byte| **byte == 0).count() >= 6 {
                continue;
            }
            let before = *first.entry(window.to_vec()).or_insert(at);
            let other = &records[before];
            let same = other.owner.is_some() && other.owner == record.owner;
            if before != at && !same {
                return Some(format!("{} and {}: {window:02x?}", other.tree, record.tree));
            }
        }
    }
    None
}

/// By how many standard deviations a number about dealt clients exceeds that of chance.
fn excess(clients: &[usize], number: impl Fn(&[usize]) -> usize) -> f64 {
    let (mut rng, mut dealt) = (StdRng::seed_from_u64(5), clients.to_vec());
    let samples: Vec<f64> = (0..100)
        .map(|_| {
            dealt.shuffle(&mut rng);
            number(&dealt) as f64
        })
        .collect();
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let variance = samples
        .iter()
        .map(|sample| (sample - mean).powi(2))
        .sum::<f64>();
    // Of rare coincidences a hundred samples may show none.
    let deviation = (variance / samples.len() as f64).sqrt().max(1.0);
    (number(clients) as f64 - mean) / deviation
}

/// Neighbours of one client, among records in some order.
fn neighbours(clients: &[usize]) -> usize {
    clients.windows(2).filter(|two| two[0] == two[1]).count()
}

/// The largest excess of equal bytes within clients, over all places of records of one kind;
/// one record counts for each operation.
fn marked(records: &[Record]) -> f64 {
    let mut kinds: HashMap<(&str, usize), Vec<&Record>> = HashMap::new();
    for record in records.iter().filter(|record| record.owner.is_some()) {
        let kind = kinds.entry((&record.tree, record.value.len())).or_default();
        // An operation may say twice what it says.
        if kind.iter().all(|before| before.owner != record.owner) {
            kind.push(record);
        }
    }
    let mut largest = 0.0_f64;
    for ((_, len), records) in kinds {
        let clients: Vec<usize> = records.iter().filter_map(|r| Some(r.owner?.0)).collect();
        for place in 0..len {
            let column: Vec<u8> = records.iter().map(|record| record.value[place]).collect();
            if column.iter().all(|byte| *byte == column[0]) {
                continue;
            }
            let equal = |clients: &[usize]| {
                let mut counts: HashMap<(u8, usize), usize> = HashMap::new();
                let both = column.iter().copied().zip(clients.iter().copied());
                both.for_each(|both| *counts.entry(both).or_default() += 1);
                counts.values().map(|count| count * (count - 1) / 2).sum()
            };
            largest = largest.max(excess(&clients, equal));
        }
    }
    largest
}

/// More than this does not happen by chance in all the places together.
const CHANCE: f64 = 10.0;

#[test]
fn nothing_stored_or_logged_tells_which_requests_are_of_one_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, stolen) = (folder.path().join("node"), folder.path().join("stolen"));
    let relay = relay();
    let mut command = larderd_command(&data, &[relay.peer]);
    command
        .env("LARDERD_PAYMENT", "credentials")
        .env("LARDERD_CREDENTIALS_TILL", "instant")
        .env("LARDERD_LOG_LEVEL", "debug");
    let node = start(&mut command);
    let wallets = runtime().block_on(async {
        let mut wallets = Vec::new();
        for number in 0..CLIENTS {
            wallets.push(Wallet::new(number, relay.peer, &node.address).await);
        }
        // They take turns by lot.
        let mut turns: Vec<usize> = (0..CLIENTS * STEPS).map(|turn| turn % CLIENTS).collect();
        turns.shuffle(&mut StdRng::seed_from_u64(10));
        let mut steps = [0; CLIENTS];
        for client in turns {
            wallets[client].step(steps[client]).await;
            steps[client] += 1;
        }
        wallets
    });
    let (status, log) = node.process.terminate();
    assert!(status.success());
    let truth = Truth::of(&wallets);
    copy(&data.join("store"), &stolen);
    let records = records(&stolen, &truth);
    let own = node.address.server_key();

    // One pass, which all of them had to show.
    let shown: Vec<usize> = truth.passes.values().map(HashSet::len).collect();
    assert_eq!(shown, [CLIENTS]);
    for wallet in &wallets {
        // Questions for the terms never do, and a purchase, which brings the pass, cannot.
        for (op, shown) in wallet.shown() {
            let cannot = matches!(op, Op::Info | Op::Quote | Op::Purchase);
            assert_eq!(shown, !cannot, "{op:?}");
        }
        let ops: Vec<Op> = wallet.shown().into_iter().map(|(op, _)| op).collect();
        assert_eq!(ops, SENT);
    }

    // It is all there: a row for each payment under both of its serials, and so on.
    let count = |tree: &str| {
        records
            .iter()
            .filter(|record| record.tree.starts_with(tree))
            .count()
    };
    assert_eq!(count("rows/"), CLIENTS * (2 * (STEPS - 1) + 2));
    assert_eq!(
        (count("index"), count("claims")),
        (3 * CLIENTS, 2 * CLIENTS)
    );
    let owned = records
        .iter()
        .filter(|record| record.owner.is_some())
        .count();
    assert!(owned >= count("rows/") + count("index") + count("claims"));

    // The detectors detect.
    let with = |mark: &dyn Fn(Owner) -> Vec<u8>| {
        let mut records = records.clone();
        for record in &mut records {
            if let Some(owner) = record.owner {
                record.value.extend(mark(owner));
            }
        }
        records
    };
    assert!(shared(&with(&|(client, _)| vec![0x80 + client as u8; 16]), own).is_some());
    assert!(marked(&with(&|(client, _)| vec![client as u8])) > CHANCE);

    // Also between the two records that may share a key: any other string of them does not go through.
    let mut of_the_node = records.clone();
    let both = of_the_node.iter_mut().filter(|it| it.is_of_the_node());
    let both = both.map(|record| {
        assert!(record.without(own).len() > 1, "it has the key");
        record.value.extend([0x5a; 16]);
    });
    assert_eq!(both.count(), 2);
    assert!(shared(&of_the_node, own).is_some());

    assert_eq!(shared(&records, own), None);
    let marked = marked(&records);
    assert!(marked < CHANCE, "{marked}");
    let rows = records
        .iter()
        .filter(|record| record.tree.starts_with("rows/"));
    let rows: Vec<usize> = rows.filter_map(|record| Some(record.owner?.0)).collect();
    let mut sorted = rows.clone();
    sorted.sort_unstable();
    assert!(excess(&sorted, neighbours) > CHANCE);
    let by_reference = excess(&rows, neighbours);
    assert!(by_reference < CHANCE, "{by_reference}");

    // A slot has a blob in it, or nothing that was not one.
    let slots = fs::read(stolen.join("blobs.slots")).expect("the slot file");
    let blobs: HashMap<&[u8], usize> = (truth.blobs.iter())
        .map(|(client, blob)| (&blob.as_bytes()[..SLOT], *client))
        .collect();
    let mut clients = Vec::new();
    for slot in slots
        .chunks(SLOT)
        .skip(1)
        .filter(|slot| slot.iter().any(|byte| *byte != 0))
    {
        clients.push(blobs.get(slot).copied().expect("a blob and nothing else"));
    }
    assert!(clients.len() >= 3 * CLIENTS);
    let by_slot = excess(&clients, neighbours);
    assert!(by_slot < CHANCE, "{by_slot}");

    for value in &truth.values {
        assert_eq!(form_found(&log, value), None, "in the log");
    }
    let lines = log.lines().count();
    assert!(lines < CLIENTS * STEPS / 2, "a line for a request: {log}");
    println!(
        "{owned} of {} records, {marked:.1} {by_reference:.1} {by_slot:.1}",
        records.len()
    );
}

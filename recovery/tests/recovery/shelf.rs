//! A storage node in memory: real bytes in, real bytes out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use larder_protocol::{
    Address, Blob, BlobHash, Call, Done, Key, NodeId, Pass, Receipt, Record, Refusal, Reply,
    Request, ServerKey, SizeClass, envelope,
};
use larder_recovery::{Provider, RootKey, Transport, Unreachable, transport::Exchange};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use secp256k1::{Keypair, SECP256K1, SecretKey};

pub(crate) fn keypair(byte: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[byte; 32]).expect("a scalar");
    Keypair::from_secret_key(SECP256K1, &secret)
}

pub(crate) fn root(byte: u8) -> RootKey {
    RootKey::from_bytes([byte; 32])
}

/// What a dishonest storage node does to its replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    /// It leaves the receipt out.
    NoReceipt,
    /// It signs with another key.
    ForeignReceipt,
    /// It sends the receipt of an earlier, identical call.
    OldReceipt,
    /// It signs terms that it does not publish.
    UnpublishedTerms,
    /// It says `Absent` whatever is there, unsigned.
    UnsignedAbsent,
    /// It says `Inserted` whatever was asked.
    AnotherOperation,
    /// It sends bytes that are no reply.
    Garbage,
    /// It says that every key it has nothing under was deleted.
    AllDeleted,
    /// It refuses every insert in favour of a blob that it does not have.
    PhantomBlob,
    /// It refuses every delete as if it were signed wrongly.
    NoDeletes,
    /// It signs that nothing is there, whatever is looked up.
    Withholds,
    /// It finds a blob of its own under every key.
    Fills,
    /// It answers under the terms of the epoch before.
    LastEpoch,
}

struct State {
    blobs: HashMap<Key, Blob>,
    /// What it shows under these keys whatever else it holds there.
    forged: HashMap<Key, Blob>,
    tombstones: HashSet<Key>,
    record: Record,
    lie: Option<Lie>,
    old: Option<Receipt>,
    rng: StdRng,
    /// Of 256 requests, how many are lost on the way there, and how many answers on the way back.
    lost_requests: u8,
    lost_answers: u8,
    log: Vec<Vec<u8>>,
    down: bool,
    /// A blob that appears after so many more inserts, as another device's would.
    other_device: Option<(u32, Key, Blob)>,
}

/// The storage node; clones are the same one.
#[derive(Clone)]
pub(crate) struct Shelf(Arc<Mutex<State>>);

impl Shelf {
    pub(crate) fn new() -> Self {
        Shelf::of(1)
    }

    /// A provider of its own identity.
    pub(crate) fn of(identity: u8) -> Self {
        let record = Record {
            server_key: keypair(identity).public_key().into(),
            receipt_key: keypair(identity + 100).public_key().into(),
            node_id: NodeId::from(keypair(identity + 50).public_key()),
            epoch: 0,
            epoch_seconds: 0,
            tariff: None,
        };
        Shelf(Arc::new(Mutex::new(State {
            blobs: HashMap::new(),
            forged: HashMap::new(),
            tombstones: HashSet::new(),
            record,
            lie: None,
            old: None,
            rng: StdRng::seed_from_u64(identity.into()),
            lost_requests: 0,
            lost_answers: 0,
            log: Vec::new(),
            down: false,
            other_device: None,
        })))
    }

    pub(crate) fn lies(&self, lie: Lie) {
        self.with(|state| state.lie = Some(lie));
    }

    pub(crate) fn loses(&self, requests: u8, answers: u8, seed: u64) {
        self.with(|state| {
            (state.lost_requests, state.lost_answers) = (requests, answers);
            state.rng = StdRng::seed_from_u64(seed);
        });
    }

    pub(crate) fn blobs(&self) -> HashMap<Key, Blob> {
        self.with(|state| state.blobs.clone())
    }

    /// Puts a blob there behind everybody's back, or takes it away without a trace.
    pub(crate) fn tamper(&self, key: Key, blob: Option<Blob>) {
        self.with(|state| match blob {
            Some(blob) => state.blobs.insert(key, blob),
            None => state.blobs.remove(&key),
        });
    }

    /// Shows these blobs under these keys from now on, signs for them, and takes no others there.
    pub(crate) fn forges(&self, forged: HashMap<Key, Blob>) {
        self.with(|state| state.forged = forged);
    }

    /// Has a blob appear after so many more inserts.
    pub(crate) fn other_device(&self, after: u32, key: Key, blob: Blob) {
        self.with(|state| state.other_device = Some((after, key, blob)));
    }

    pub(crate) fn honest(&self) {
        self.with(|state| state.lie = None);
    }

    /// Answers nothing from now on, or again.
    pub(crate) fn is_down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    /// Goes back to what it was like when it held these blobs, and had deleted none.
    pub(crate) fn rolls_back(&self, blobs: HashMap<Key, Blob>) {
        self.with(|state| {
            state.blobs = blobs;
            state.tombstones.clear();
        });
    }

    /// How many requests with this op arrived.
    pub(crate) fn count(&self, op: larder_protocol::Op) -> usize {
        let requests = self.log();
        let ops = requests
            .iter()
            .filter_map(|contents| Request::decode(envelope::unwrap(contents).ok()?).ok());
        ops.filter(|request| request.call.op() == op).count()
    }

    pub(crate) fn forget_tombstones(&self) {
        self.with(|state| state.tombstones.clear());
    }

    pub(crate) fn next_epoch(&self) {
        self.with(|state| state.record.epoch += 1);
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.with(|state| state.record.epoch)
    }

    /// Changes its terms without a new epoch.
    pub(crate) fn change_terms(&self) {
        self.with(|state| state.record.epoch_seconds += 1);
    }

    /// Every request that arrived, in order.
    pub(crate) fn log(&self) -> Vec<Vec<u8>> {
        self.with(|state| state.log.clone())
    }

    pub(crate) fn address(&self) -> Address {
        self.with(|state| Address::new(state.record.server_key, state.record.node_id, vec![]))
    }

    pub(crate) async fn connect(&self, seed: u64) -> Arc<Provider> {
        let transport = Arc::new(self.clone());
        let rng = StdRng::seed_from_u64(seed);
        let provider = Provider::connect_with(self.address(), transport, rng).await;
        Arc::new(provider.expect("an honest provider answers"))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().expect("no test panics in here"))
    }
}

impl State {
    fn serve(&mut self, contents: &[u8]) -> Vec<u8> {
        let body = envelope::unwrap(contents).expect("clients send envelopes");
        let request = Request::decode(body).expect("clients send requests");
        assert_eq!(SizeClass::of(contents), SizeClass::Big, "clients pad");
        let (outcome, stored) = self.apply(&request);
        let mut reply = Reply::bare(outcome);
        let record = self.record.hash();
        reply.receipt = Reply::finding(&request.subject(), &reply.outcome, stored).map(|finding| {
            let signer = keypair(match self.lie {
                Some(Lie::ForeignReceipt) => 99,
                _ => self.identity() + 100,
            });
            let (epoch, record) = match self.lie {
                Some(Lie::UnpublishedTerms) => (0, larder_protocol::RecordHash([9; 32])),
                Some(Lie::LastEpoch) => {
                    let epoch = self.record.epoch - 1;
                    (
                        epoch,
                        Record {
                            epoch,
                            ..self.record.clone()
                        }
                        .hash(),
                    )
                }
                _ => (self.record.epoch, record),
            };
            Receipt::sign(&signer, &finding, epoch, record)
        });
        match self.lie {
            Some(Lie::NoReceipt) => reply.receipt = None,
            Some(Lie::OldReceipt) => {
                reply.receipt = self
                    .old
                    .replace(reply.receipt.clone().expect("an operation on a key"));
            }
            Some(Lie::UnsignedAbsent) if request.call.key().is_some() => {
                reply = Reply::bare(Err(Refusal::Absent));
            }
            Some(Lie::Garbage) => return vec![7; 2_000],
            _ => {}
        }
        envelope::wrap(&reply.encode(), SizeClass::Big).expect("a reply fits")
    }

    fn identity(&self) -> u8 {
        (1..50)
            .find(|&byte| ServerKey::from(keypair(byte).public_key()) == self.record.server_key)
            .expect("an identity below 50")
    }

    fn apply(&mut self, request: &Request) -> (Result<Done, Refusal>, Option<BlobHash>) {
        let key = match request.call.key() {
            Some(key) => *key,
            None if request.call != Call::Info => return (Err(Refusal::NotOffered), None),
            None => {
                let record = self.record.clone().sign(&keypair(self.identity()));
                return (Ok(Done::Info(Box::new(record))), None);
            }
        };
        if self.lie == Some(Lie::AnotherOperation) {
            return match request.call {
                Call::Insert(_) => (Ok(Done::Removed), Some(BlobHash([0; 32]))),
                _ => (Ok(Done::Inserted), Some(BlobHash([0; 32]))),
            };
        }
        if let (Call::Insert(_), Some((after, ..))) = (&request.call, &mut self.other_device) {
            *after = after.saturating_sub(1);
        }
        if let Some((_, key, blob)) = self.other_device.take_if(|(after, ..)| *after == 0) {
            self.blobs.insert(key, blob);
        }
        let shown = self.forged.get(&key).or_else(|| self.blobs.get(&key));
        let (shown, stored) = (shown.cloned(), shown.map(Blob::hash));
        let all_deleted = self.lie == Some(Lie::AllDeleted);
        let gone = || match all_deleted || self.tombstones.contains(&key) {
            true => Refusal::Deleted,
            false => Refusal::Absent,
        };
        match (self.lie, &request.call, stored) {
            (Some(Lie::PhantomBlob), Call::Insert(_), _) => {
                let blob_hash = BlobHash([8; 32]);
                return (Err(Refusal::AlreadyExists { blob_hash }), None);
            }
            (Some(Lie::Withholds), Call::Lookup(_), _) => return (Err(Refusal::Absent), None),
            (Some(Lie::Fills), Call::Lookup(_), _) => {
                let blob = Blob::try_from(vec![8; 16_433]).expect("a blob's length");
                return (Ok(Done::Found(blob)), None);
            }
            (Some(Lie::NoDeletes), Call::Delete(_), Some(blob_hash)) => {
                return (Err(Refusal::BadSignature { blob_hash }), None);
            }
            _ => {}
        }
        let outcome = match (&request.call, stored) {
            (Call::Insert(_), Some(blob_hash)) => Err(Refusal::AlreadyExists { blob_hash }),
            (Call::Insert(insert), None) => match gone() {
                Refusal::Absent => {
                    self.blobs.insert(key, insert.blob.clone());
                    return (Ok(Done::Inserted), Some(insert.blob.hash()));
                }
                refusal => Err(refusal),
            },
            (Call::Lookup(_), Some(_)) => Ok(Done::Found(shown.expect("it is stored"))),
            (Call::Delete(delete), Some(hash)) => {
                if delete.permits(&self.record.server_key, hash) {
                    assert!(
                        !self.forged.contains_key(&key),
                        "signed for what is not its own"
                    );
                    self.blobs.remove(&key);
                    self.tombstones.insert(key);
                    Ok(Done::Removed)
                } else {
                    Err(Refusal::BadSignature { blob_hash: hash })
                }
            }
            (_, None) => Err(gone()),
            (_, Some(_)) => panic!("without a key it is handled above"),
        };
        (outcome, stored)
    }
}

impl Transport for Shelf {
    /// Loses and repeats what it carries, like the real one, and tries again like the real one.
    fn exchange(&self, contents: Vec<u8>, pass: Option<Pass>) -> Exchange<'_> {
        assert_eq!(pass, None, "nothing is paid for here");
        Box::pin(async move {
            for _ in 0..50 {
                let answer = self.with(|state| {
                    if state.down || state.rng.random::<u8>() < state.lost_requests {
                        return None;
                    }
                    state.log.push(contents.clone());
                    let answer = state.serve(&contents);
                    (state.rng.random::<u8>() >= state.lost_answers).then_some(answer)
                });
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
            Err(Unreachable {
                advice: "fifty tries were lost".to_owned(),
            })
        })
    }
}

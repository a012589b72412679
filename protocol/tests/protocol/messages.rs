//! Strategies for every message, valid by construction.

use larder_credentials::ClaimTag;
use larder_protocol::delete::Delete;
use larder_protocol::extension::Extension;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::record::{Prices, Tariff};
use larder_protocol::{
    BLOB_LEN, Blob, BlobHash, BreakglassOpen, BreakglassPut, CELL_BYTES, Call, Cell, Done, Earlier,
    Key, NodeId, Nonce, OpenedCell, Pass, Payment, Quote, Quoted, Receipt, ReceiptKey, Record,
    RecordHash, Refusal, Reply, Request, ServerKey,
};
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use secp256k1::{Keypair, SECP256K1, SecretKey};

/// The keypair whose secret is one byte, 32 times.
pub(crate) fn keypair(number: u8) -> Keypair {
    let secret = SecretKey::from_slice(&[(number % 255).max(1); 32]).expect("not zero");
    Keypair::from_secret_key(SECP256K1, &secret)
}

pub(crate) fn key(number: u8) -> Key {
    keypair(number).public_key().into()
}

pub(crate) fn server_key(number: u8) -> ServerKey {
    keypair(number).public_key().into()
}

pub(crate) fn node(number: u8) -> NodeId {
    keypair(number).public_key().into()
}

/// A blob that differs for every seed.
pub(crate) fn blob(seed: u8) -> Blob {
    let bytes: Vec<u8> = (0..BLOB_LEN).map(|at| (at % 251) as u8 ^ seed).collect();
    bytes.try_into().expect("the right length")
}

/// A cell that differs for every seed.
pub(crate) fn cell(seed: u8) -> Cell {
    Cell(std::array::from_fn(|at| at as u8 ^ seed))
}

pub(crate) fn record(epoch: u32, mut tariff: Option<Tariff>) -> Record {
    if let Some(tariff) = &mut tariff {
        tariff.earlier.retain(|earlier| earlier.epoch < epoch);
    }
    Record {
        server_key: server_key(1),
        receipt_key: ReceiptKey::from(keypair(2).public_key()),
        node_id: NodeId::from(keypair(3).public_key()),
        epoch,
        epoch_seconds: 86_400,
        tariff,
    }
}

fn signature() -> impl Strategy<Value = [u8; 64]> {
    vec(any::<u8>(), 64).prop_map(|bytes| bytes.try_into().expect("64 bytes"))
}

fn cells() -> impl Strategy<Value = Cell> {
    vec(any::<u8>(), CELL_BYTES).prop_map(|bytes| Cell::from_slice(&bytes).expect("256 bytes"))
}

fn extension() -> impl Strategy<Value = Extension> {
    (
        option::of(vec(any::<u8>(), 0..600)),
        option::of(any::<[[u8; 32]; 2]>()),
    )
        .prop_map(|(hop_token, passes)| Extension {
            hop_token,
            passes: passes.map(|passes| Box::new(passes.map(Pass::from_bytes))),
        })
}

pub(crate) fn quote() -> impl Strategy<Value = Quote> {
    (
        any::<u64>(),
        btree_set(any::<[u8; 32]>(), 1..=Quote::MAX_TAGS),
        option::of(vec(any::<u8>(), 1..=Quote::MAX_VOUCHER_LEN)),
    )
        .prop_map(|(tokens, tags, voucher)| Quote {
            tokens,
            tags: tags.into_iter().map(ClaimTag).collect(),
            voucher,
        })
}

fn quoted() -> impl Strategy<Value = Quoted> {
    (any::<bool>(), any::<u64>(), "[!-~]{0,4096}").prop_map(|(paid, expires, request)| Quoted {
        paid,
        expires,
        request,
    })
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let call = prop_oneof![
        Just(Call::Info),
        any::<(u8, u8)>().prop_map(|(k, b)| Call::Insert(Insert {
            key: key(k),
            blob: blob(b)
        })),
        (any::<u8>(), signature()).prop_map(|(k, signature)| Call::Delete(Delete {
            key: key(k),
            signature
        })),
        any::<u8>().prop_map(|k| Call::Lookup(Lookup { key: key(k) })),
        (any::<u8>(), any::<u64>(), cells(), signature()).prop_map(
            |(k, sequence, cell, signature)| Call::BreakglassPut(Box::new(BreakglassPut {
                key: key(k),
                sequence,
                cell,
                signature,
            }))
        ),
        (any::<u8>(), signature()).prop_map(|(k, signature)| Call::BreakglassOpen(
            BreakglassOpen {
                key: key(k),
                signature
            }
        )),
        Just(Call::Transfer),
        Just(Call::Reissue),
        quote().prop_map(Call::Quote),
        Just(Call::Purchase),
    ];
    let payment = prop_oneof![
        Just(Payment::None),
        vec(any::<u8>(), 0..1_500).prop_map(Payment::Credentials),
    ];
    (any::<[u8; 32]>(), payment, call, extension()).prop_map(|(nonce, payment, call, extension)| {
        Request {
            nonce: Nonce(nonce),
            payment,
            call,
            extension,
        }
    })
}

pub(crate) fn tariff() -> impl Strategy<Value = Tariff> {
    let issuer = vec(any::<u8>(), 68).prop_map(|bytes| bytes.try_into().expect("68 bytes"));
    (
        vec(issuer, 0..9),
        any::<[u8; 32]>(),
        (
            option::of(any::<[[u8; 32]; 2]>()),
            vec(any::<[u8; 32]>(), 0..=Tariff::EARLIER),
        ),
        any::<[u64; 5]>(),
        vec(any::<u64>(), 0..255),
        vec(any::<u64>(), 0..255),
        any::<(u32, u8)>(),
    )
        .prop_map(
            |(
                issuers,
                next_issuer,
                (passes, earlier),
                p,
                refunds,
                denominations,
                (breakglass_seconds, next_takes),
            )| {
                let earlier = (1..).zip(earlier.into_iter().map(RecordHash));
                Tariff {
                    issuers,
                    next_issuer,
                    passes,
                    earlier: earlier
                        .map(|(epoch, hash)| Earlier { epoch, hash })
                        .collect(),
                    prices: Prices {
                        insert: p[0],
                        lookup: p[1],
                        delete: p[2],
                        breakglass: p[3],
                        transfer: p[4],
                    },
                    refunds,
                    denominations,
                    breakglass_seconds,
                    next_takes,
                }
            },
        )
}

pub(crate) fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Malformed,
        Refusal::UnsupportedVersion,
        Refusal::WrongSizeClass,
        Refusal::AlreadyExists {
            blob_hash: BlobHash([7; 32]),
        },
        Refusal::Absent,
        Refusal::Deleted,
        Refusal::BadSignature {
            blob_hash: BlobHash([6; 32]),
        },
        Refusal::StaleSequence { current: 9 },
        Refusal::WrongPrice { price: 10 },
        Refusal::WrongEpoch {
            current: 12,
            oldest: 11,
        },
        Refusal::BadProof,
        Refusal::AlreadySpent { row: vec![5; 579] },
        Refusal::UnknownClaim,
        Refusal::NotPaid,
        Refusal::Busy,
        Refusal::StoreFull,
        Refusal::Internal,
        Refusal::AlreadyClaimed,
        Refusal::BadVoucher,
        Refusal::VoucherUsed,
        Refusal::NotOffered,
        Refusal::Halted,
    ]
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let done = prop_oneof![
        (any::<u32>(), option::of(tariff())).prop_map(|(epoch, tariff)| {
            Done::Info(Box::new(record(epoch, tariff).sign(&keypair(1))))
        }),
        Just(Done::Inserted),
        Just(Done::Removed),
        any::<u8>().prop_map(|seed| Done::Found(blob(seed))),
        quoted().prop_map(Done::Quoted),
        Just(Done::Exchanged),
        Just(Done::CellStored),
        (any::<u64>(), cells(), any::<u32>()).prop_map(|(sequence, cell, seconds)| {
            Done::Cell(Box::new(OpenedCell {
                sequence,
                cell,
                seconds,
            }))
        }),
    ];
    let outcome = prop_oneof![
        done.prop_map(Ok),
        proptest::sample::select(refusals()).prop_map(Err)
    ];
    let receipt =
        (any::<u32>(), any::<[u8; 32]>(), signature()).prop_map(|(epoch, record, signature)| {
            Receipt {
                epoch,
                record: RecordHash(record),
                signature,
            }
        });
    (
        outcome,
        option::of(receipt),
        option::of(vec(any::<u8>(), 0..600)),
        extension(),
    )
        .prop_map(|(outcome, receipt, replacement, extension)| Reply {
            outcome,
            receipt,
            replacement,
            extension,
        })
}

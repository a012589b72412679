//! Sealed blobs: one root, one provider, one place.

use larder_protocol::{BLOB_LEN, Blob, BlobHash, ServerKey};
use larder_recovery::seal::{BODY_MAX, Contents, Foreign, Kind, open, seal};
use larder_recovery::{Lane, Purpose, Schedule, Slot};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::forger::sealed_under;
use crate::shelf::{keypair, root};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/blob.json");

fn provider_key(provider: u8) -> ServerKey {
    keypair(provider).public_key().into()
}

fn schedule(root_byte: u8, provider: u8) -> Schedule {
    Schedule::new(root(root_byte), provider_key(provider))
}

const SLOT: Slot = Slot {
    purpose: Purpose::Main,
    lane: Lane([7; 32]),
    generation: 0,
    index: 4,
};

fn contents(len: usize) -> Contents {
    let body = (0..len).map(|at| (at % 253) as u8 + 1).collect();
    Contents {
        kind: Kind::Whole,
        writer: [3; 16],
        previous: BlobHash([4; 32]),
        body,
    }
}

fn sealed(len: usize) -> Blob {
    seal(&schedule(1, 1), &SLOT, &contents(len))
}

#[test]
fn a_blob_is_what_the_tables_say() {
    for (len, purpose) in [
        (0, Purpose::Chunk),
        (10, Purpose::Main),
        (BODY_MAX, Purpose::Log),
    ] {
        let slot = Slot { purpose, ..SLOT };
        let blob = seal(&schedule(1, 2), &slot, &contents(len));
        let keypair = schedule(1, 2).keypair(&slot);
        let (secret, key) = (keypair.secret_bytes(), keypair.public_key().into());
        let server = provider_key(2);
        assert!(
            blob == sealed_under(&secret, &key, &server, &slot, &contents(len)),
            "{len}"
        );
    }
}

#[test]
fn the_published_vectors_are_what_is_sealed() {
    let schedule = schedule(0x11, 1);
    let kinds = [
        (Kind::Whole, Purpose::Main),
        (Kind::Head, Purpose::Channel),
        (Kind::Chunk, Purpose::Chunk),
        (Kind::Entry, Purpose::Log),
        (Kind::Seal, Purpose::Log),
        (Kind::Anchor, Purpose::Anchor),
    ];
    let vectors = kinds.map(|(kind, purpose)| {
        let slot = Slot { purpose, ..SLOT };
        let contents = Contents {
            kind,
            ..contents(3)
        };
        let blob = seal(&schedule, &slot, &contents);
        json!({
            "kind": kind as u8,
            "purpose": purpose.name(),
            "key": hex::encode(schedule.key(&slot).as_bytes()),
            "header": hex::encode(&blob.as_bytes()[..33]),
            "first_of_ciphertext": hex::encode(&blob.as_bytes()[33..65]),
            "tag": hex::encode(&blob.as_bytes()[BLOB_LEN - 16..]),
            "blob_hash": hex::encode(blob.hash().0),
        })
    });
    let built = json!({
        "root": hex::encode([0x11; 32]),
        "provider_key": schedule.provider().to_string(),
        "lane": hex::encode(SLOT.lane.0),
        "generation": SLOT.generation,
        "index": SLOT.index,
        "writer": hex::encode(contents(3).writer),
        "previous": hex::encode(contents(3).previous.0),
        "body": hex::encode(contents(3).body),
        "vectors": vectors,
    });
    if std::env::var_os("LARDER_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&built).expect("plain values");
        std::fs::write(FILE, text + "\n").expect("the repository is writable");
    }
    let text = std::fs::read_to_string(FILE).expect("vectors/blob.json is checked in");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), built);
}

#[test]
fn what_was_sealed_opens_at_every_length() {
    for len in [0, 1, 99, BODY_MAX - 1, BODY_MAX] {
        assert!(
            open(&schedule(1, 1), &SLOT, &sealed(len)) == Ok(contents(len)),
            "{len}"
        );
    }
}

#[test]
fn a_blob_opens_with_its_root_at_its_provider_in_its_place_only() {
    let blob = sealed(10);
    let foreign = |schedule: Schedule, slot: Slot| open(&schedule, &slot, &blob) == Err(Foreign);
    assert!(foreign(schedule(2, 1), SLOT), "another root");
    assert!(foreign(schedule(1, 2), SLOT), "another provider");
    assert!(foreign(
        schedule(1, 1),
        Slot {
            purpose: Purpose::Channel,
            ..SLOT
        }
    ));
    assert!(foreign(
        schedule(1, 1),
        Slot {
            lane: Lane([8; 32]),
            ..SLOT
        }
    ));
    assert!(foreign(
        schedule(1, 1),
        Slot {
            generation: 1,
            ..SLOT
        }
    ));
    assert!(foreign(schedule(1, 1), Slot { index: 5, ..SLOT }));
}

#[test]
fn the_same_contents_are_the_same_blob_and_others_share_nothing_that_shows() {
    assert!(
        sealed(10) == sealed(10),
        "a retry is recognised by its bytes"
    );
    let one_bit = Contents {
        writer: [2; 16],
        ..contents(10)
    };
    let elsewhere = Slot { index: 5, ..SLOT };
    let others = [
        seal(&schedule(1, 1), &SLOT, &one_bit),
        seal(&schedule(1, 1), &elsewhere, &contents(10)),
        seal(&schedule(1, 2), &SLOT, &contents(10)),
        seal(&schedule(2, 1), &SLOT, &contents(10)),
    ];
    let blob = sealed(10);
    for other in others {
        let equal = blob
            .as_bytes()
            .iter()
            .zip(other.as_bytes())
            .filter(|(a, b)| a == b)
            .count();
        // Of unrelated bytes one in 256 is equal: 64 of 16,433, give or take.
        assert!(equal < 150, "{equal} of {BLOB_LEN} bytes are equal");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_blob_with_any_bit_flipped_is_foreign(at in 0..BLOB_LEN * 8) {
        let mut bytes = sealed(10).as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        let blob = Blob::try_from(bytes).expect("as long as before");
        prop_assert!(open(&schedule(1, 1), &SLOT, &blob) == Err(Foreign));
    }

    #[test]
    fn noise_is_foreign(seed: [u8; 32], version in prop_oneof![Just(1), any::<u8>()]) {
        let mut bytes = vec![0; BLOB_LEN];
        rand::RngCore::fill_bytes(&mut StdRng::from_seed(seed), &mut bytes);
        bytes[0] = version;
        let blob = Blob::try_from(bytes).expect("a blob's length");
        prop_assert!(open(&schedule(1, 1), &SLOT, &blob) == Err(Foreign));
    }
}

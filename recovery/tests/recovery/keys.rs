//! The key schedule and its published vectors.

use larder_protocol::{Key, ServerKey};
use larder_recovery::{Lane, Purpose, RootKey, Schedule, Slot};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::shelf::{keypair, root};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/schedule.json");

fn provider(byte: u8) -> ServerKey {
    keypair(byte).public_key().into()
}

fn slot(purpose: Purpose) -> Slot {
    Slot {
        purpose,
        lane: Lane([0x22; 32]),
        generation: 3,
        index: 5,
    }
}

/// HMAC-SHA256 from its definition (RFC 2104), next to nothing shared with the code under test.
pub(crate) fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block
            .iter_mut()
            .zip(key)
            .for_each(|(block, key)| *block ^= key);
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

fn build() -> Value {
    let vectors: Vec<Value> = Purpose::ALL
        .into_iter()
        .map(|purpose| {
            let keypair = Schedule::new(root(0x11), provider(1)).keypair(&slot(purpose));
            json!({
                "purpose": purpose.name(),
                "secret": hex::encode(keypair.secret_bytes()),
                "key": hex::encode(keypair.public_key().serialize()),
            })
        })
        .collect();
    json!({
        "root": hex::encode([0x11; 32]),
        "provider_key": provider(1).to_string(),
        "lane": hex::encode([0x22; 32]),
        "generation": 3,
        "index": 5,
        "vectors": vectors,
    })
}

#[test]
fn the_published_vectors_are_what_is_derived() {
    if std::env::var_os("LARDER_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&build()).expect("plain values");
        std::fs::write(FILE, text + "\n").expect("the repository is writable");
    }
    let text = std::fs::read_to_string(FILE).expect("vectors/schedule.json is checked in");
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), build());
}

#[test]
fn the_derivation_is_the_one_in_the_design() {
    for purpose in Purpose::ALL {
        let message = [
            b"larder/1/".as_slice(),
            purpose.name().as_bytes(),
            &[0],
            provider(1).as_bytes(),
            &[0x22; 32],
            &3u64.to_be_bytes(),
            &5u64.to_be_bytes(),
        ]
        .concat();
        let derived = Schedule::new(root(0x11), provider(1)).keypair(&slot(purpose));
        assert_eq!(
            derived.secret_bytes(),
            hmac_sha256(&[0x11; 32], &message),
            "{purpose:?}"
        );
    }
}

#[test]
fn every_part_of_a_slot_and_the_provider_change_the_key() {
    let base = slot(Purpose::Main);
    let slots = [
        base,
        Slot {
            purpose: Purpose::Chunk,
            ..base
        },
        Slot {
            lane: Lane([0; 32]),
            ..base
        },
        Slot {
            generation: 4,
            ..base
        },
        Slot { index: 6, ..base },
    ];
    let mut keys: Vec<Key> = Vec::new();
    for (root_byte, server) in [(0x11, 1), (0x11, 2), (0x12, 1)] {
        let schedule = Schedule::new(root(root_byte), provider(server));
        keys.extend(slots.iter().map(|slot| schedule.key(slot)));
    }
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "two slots share a key");
}

#[test]
fn a_root_key_is_revealed_on_purpose_only_and_reads_back() {
    let secret = root(0xab);
    assert_eq!(format!("{secret:?}"), "RootKey(..)");
    let text = secret.reveal();
    assert_eq!(*text, "ab".repeat(32));
    let again: RootKey = text.parse().expect("what it wrote");
    assert_eq!(again.reveal(), text);
    for wrong in [
        "",
        "ab",
        &"ab".repeat(33),
        &"xy".repeat(32),
        &"é".repeat(32),
    ] {
        assert!(wrong.parse::<RootKey>().is_err(), "{wrong}");
    }
}

//! What a storage node can make of all that it ever saw: keys, blobs, signed deletes, its own secrets, what other
//! storage nodes and other wallets hold. There is no root key in here.

use std::collections::HashMap;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};
use larder_protocol::{Blob, Call, Key, Request, ServerKey, envelope};
use larder_recovery::Slot;
use larder_recovery::seal::{BODY_MAX, Contents};
use secp256k1::ecdh::SharedSecret;
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use sha2::{Digest, Sha256};

use crate::keys::hmac_sha256;
use crate::shelf::{Shelf, keypair};

/// What is inside a blob, by the tables.
fn inside(slot: &Slot, contents: &Contents) -> Vec<u8> {
    [
        &[contents.kind as u8],
        &slot.lane.0[..],
        &slot.generation.to_be_bytes(),
        &slot.index.to_be_bytes(),
        &contents.writer,
        &contents.previous.0,
        &(contents.body.len() as u16).to_be_bytes(),
        &contents.body,
        &vec![0; BODY_MAX - contents.body.len()],
    ]
    .concat()
}

fn place(slot: &Slot, key: &Key, server: &ServerKey) -> Vec<u8> {
    let purpose = slot.purpose.name().as_bytes();
    [purpose, &[0], key.as_bytes(), server.as_bytes()].concat()
}

fn encrypted(key: [u8; 32], place: &[u8], inside: &[u8]) -> Vec<u8> {
    let aad = [&[1], place].concat();
    let payload = Payload {
        msg: inside,
        aad: &aad,
    };
    let sealed = ChaCha20Poly1305::new(&key.into()).encrypt(&Nonce::default(), payload);
    sealed.expect("it is short")
}

fn blob(parts: &[&[u8]]) -> Blob {
    Blob::try_from(parts.concat()).expect("a blob's length")
}

/// The blob that the byte tables describe, next to nothing shared with the code under test, for whoever has the
/// secret of the slot.
pub(crate) fn sealed_under(
    secret: &[u8; 32],
    key: &Key,
    server: &ServerKey,
    slot: &Slot,
    contents: &Contents,
) -> Blob {
    let (inside, place) = (inside(slot, contents), place(slot, key, server));
    let derived = |label: &[u8]| hmac_sha256(secret, label);
    let mac = hmac_sha256(
        &derived(b"larder/blob/mac/1"),
        &[&place[..], &inside].concat(),
    );
    let aead_key = hmac_sha256(&derived(b"larder/blob/key/1"), &mac);
    blob(&[&[1], &mac, &encrypted(aead_key, &place, &inside)])
}

/// A blob for whoever has seen the key, which is what blobs once were
/// (`docs/decisions/0040-only-the-root-key-writes.md`).
fn sealed_to_the_point(key: &Key, server: &ServerKey, slot: &Slot, contents: &Contents) -> Blob {
    let ephemeral = SecretKey::from_slice(&[7; 32]).expect("a scalar");
    let header = PublicKey::from_secret_key(SECP256K1, &ephemeral).serialize();
    let shared = SharedSecret::new(&key.point(), &ephemeral).secret_bytes();
    // HKDF of one block.
    let extracted = hmac_sha256(&[0; 32], &shared);
    let info = [
        b"larder/blob/1",
        &server.as_bytes()[..],
        key.as_bytes(),
        &[1],
    ]
    .concat();
    let aead_key = hmac_sha256(&extracted, &info);
    let place = place(slot, key, server);
    blob(&[
        &header,
        &encrypted(aead_key, &place, &inside(slot, contents)),
    ])
}

fn with_byte(blob: &Blob, at: usize, byte: u8) -> Blob {
    let mut bytes = blob.as_bytes().to_vec();
    bytes[at] = byte;
    Blob::try_from(bytes).expect("as long as before")
}

pub(crate) struct Forger {
    server: ServerKey,
    /// Its own.
    secrets: [[u8; 32]; 2],
    /// Everything that it was ever sent, deleted blobs included.
    seen: HashMap<Key, Blob>,
    signatures: Vec<[u8; 64]>,
    /// Of other wallets, and with other storage nodes.
    others: Vec<Blob>,
}

/// How many of the ways to forge come to the same for every key.
pub(crate) const WAYS: usize = 6;

impl Forger {
    /// Whoever runs this one of the shelves.
    pub(crate) fn of(identity: u8, shelf: &Shelf, others: Vec<Blob>) -> Self {
        let mut forger = Forger {
            server: keypair(identity).public_key().into(),
            secrets: [identity, identity + 100].map(|byte| keypair(byte).secret_bytes()),
            seen: HashMap::new(),
            signatures: Vec::new(),
            others,
        };
        for contents in shelf.log() {
            let body = envelope::unwrap(&contents).expect("clients send envelopes");
            match Request::decode(body).expect("clients send requests").call {
                Call::Insert(insert) => _ = forger.seen.insert(insert.key, insert.blob),
                Call::Delete(delete) => forger.signatures.push(delete.signature),
                _ => {}
            }
        }
        assert!(!forger.seen.is_empty() && !forger.others.is_empty());
        forger
    }

    /// Every way to have these contents under this key, or at least some that the wallet could take for its own; the
    /// first [`WAYS`] are always the same.
    pub(crate) fn makes(
        &self,
        key: &Key,
        slot: &Slot,
        contents: &Contents,
    ) -> Vec<(&'static str, Blob)> {
        let under = |secret: &[u8; 32]| sealed_under(secret, key, &self.server, slot, contents);
        let to_the_point = sealed_to_the_point(key, &self.server, slot, contents);
        let mut elsewhere = self.seen.iter().filter(|(other, _)| *other != key);
        let elsewhere = elsewhere.next().expect("there is more than one").1;
        let mut made = vec![
            ("sealed to the point", to_the_point.clone()),
            ("the same of this version", with_byte(&to_the_point, 0, 1)),
            ("under its own secret", under(&self.secrets[0])),
            ("of another place", elsewhere.clone()),
            ("of others", self.others[0].clone()),
            ("of nobody", blob(&[&[1; 16_433]])),
        ];
        assert_eq!(made.len(), WAYS);
        let mut x = [0; 32];
        x.copy_from_slice(&key.as_bytes()[1..]);
        let shared = self.secrets.map(|secret| {
            let secret = SecretKey::from_slice(&secret).expect("a scalar");
            SharedSecret::new(&key.point(), &secret).secret_bytes()
        });
        let mut guesses = vec![[0; 32], x, Sha256::digest(key.as_bytes()).into()];
        guesses.extend(shared.into_iter().chain([self.secrets[1]]));
        for signature in &self.signatures {
            for half in signature.chunks_exact(32) {
                guesses.push(half.try_into().expect("32 bytes"));
            }
        }
        if let Some(ours) = self.seen.get(key) {
            let header = &ours.as_bytes()[1..33];
            guesses.push(header.try_into().expect("32 bytes"));
            guesses.push(ours.hash().0);
            // The true one, in part, or under another version.
            let (own, other) = (ours.as_bytes(), elsewhere.as_bytes());
            made.push(("of another header", blob(&[&other[..33], &own[33..]])));
            made.push(("of another body", blob(&[&own[..33], &other[33..]])));
            made.push(("of another tag", blob(&[&own[..16_417], &other[16_417..]])));
            made.push(("of another version", with_byte(ours, 0, 2)));
            made.push(("of no version", with_byte(ours, 0, 0)));
        }
        made.extend(guesses.iter().map(|guess| ("a guess", under(guess))));
        let moved = self.seen.iter().filter(|(other, _)| *other != key);
        made.extend(moved.map(|(_, blob)| ("of another place", blob.clone())));
        made.extend(self.others.iter().map(|blob| ("of others", blob.clone())));
        made
    }
}

//! Blobs that a storage node makes from what it was shown: keys, its own public key, blobs of others, formats.
//!
//! No secret of the wallet is in here. Every one of them has to be refused.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use hmac::{Hmac, Mac};
use larder_protocol::{BLOB_LEN, Blob, Key, ServerKey};
use larder_recovery::log::Link;
use larder_recovery::log::anchor::anchor_slot;
use larder_recovery::seal::{Contents, Kind, seal};
use larder_recovery::{Lane, Purpose, RootKey, Schedule, Slot};
use secp256k1::ecdh::SharedSecret;
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use sha2::{Digest, Sha256};

/// How a blob is made that is not the wallet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// Noise behind the version's byte.
    Random,
    /// By the rules, with a root key of the storage node's own.
    Foreign,
    /// Another blob of the same storage node.
    Swapped,
    /// Noise in the place of the log, behind an anchor and a snapshot that are the wallet's.
    Torn,
    /// As blobs were sealed once: to the key's point, which is what a look-up shows. First an anchor, then the snapshot
    /// that it names, with a value of the storage node's invention.
    Sealed,
    /// The same in the form of today, with what the storage node knows in the place of the secret.
    Keyed,
}

/// The name under which the invented value would be restored.
const INVENTED: &str = "invented";

/// How many powers of two a search for the newest anchor asks for first, all at once.
const POWERS: usize = 40;

/// What inside a blob is in front of its body, and what is left for all of it.
const INSIDE_LEN: usize = BLOB_LEN - 33 - 16;

/// Whether something is stored under a key, and whether that is forged as well.
#[derive(Clone, Copy)]
pub(crate) struct Replaces {
    pub(crate) is_there: bool,
    pub(crate) everywhere: bool,
}

/// What a forger was asked for so far.
#[derive(Default)]
pub(crate) struct Forger {
    /// Every key once.
    asked: Vec<Key>,
    /// The key of the anchor that it makes up.
    anchor: Option<Key>,
}

impl Forger {
    /// A blob for this key; `other` is one that is stored under another. `replaces` says whether this key has one, and whether
    /// it forges where that is so. None where this kind has nothing to say.
    pub(crate) fn blob(
        &mut self,
        how: Forgery,
        server: &ServerKey,
        key: &Key,
        replaces: Replaces,
        other: Option<Blob>,
    ) -> Option<Blob> {
        match how {
            Forgery::Random => Some(noise(key)),
            Forgery::Foreign => Some(foreign(server)),
            Forgery::Swapped => other,
            Forgery::Torn => (self.place(key) > POWERS).then(|| noise(key)),
            Forgery::Sealed | Forgery::Keyed => {
                let (slot, contents) = self.invented(key, replaces)?;
                Some(match how {
                    Forgery::Sealed => seal_to_point(server, key, &slot, &contents),
                    _ => keyed(server, key, &slot, &contents),
                })
            }
        }
    }

    /// How many other keys it was asked for before this one.
    fn place(&mut self, key: &Key) -> usize {
        let place = self.asked.iter().position(|asked| asked == key);
        place.unwrap_or_else(|| {
            self.asked.push(*key);
            self.asked.len() - 1
        })
    }

    /// Goes by what a restore that knows nothing asks for: 40 anchors in any order, of which the first one is there in a log
    /// that was rolled up once, and then the snapshot of the newest. Everything else is as it is.
    fn invented(&mut self, key: &Key, replaces: Replaces) -> Option<(Slot, Contents)> {
        let asked = self.place(key);
        if self.anchor.is_none() && replaces.is_there == replaces.everywhere {
            self.anchor = Some(*key);
        }
        let (chunk, snapshot) = snapshot();
        if self.anchor == Some(*key) {
            // Where nothing is it may be any but the first.
            let index = if replaces.everywhere { 1 } else { 2 };
            return Some(anchor(index, &chunk, &snapshot));
        }
        (asked == POWERS && !replaces.is_there).then_some((chunk, snapshot))
    }
}

fn noise(key: &Key) -> Blob {
    let mut bytes = vec![1];
    while bytes.len() < BLOB_LEN {
        let next = Sha256::new()
            .chain_update(key.as_bytes())
            .chain_update((bytes.len() as u64).to_be_bytes());
        bytes.extend_from_slice(&next.finalize());
    }
    bytes.truncate(BLOB_LEN);
    Blob::try_from(bytes).expect("a blob's length")
}

fn foreign(server: &ServerKey) -> Blob {
    let schedule = Schedule::new(RootKey::from_bytes([0x66; 32]), *server);
    let (slot, contents) = snapshot();
    seal(&schedule, &slot, &contents)
}

/// A state with one value, in one chunk.
fn snapshot() -> (Slot, Contents) {
    let slot = Slot {
        purpose: Purpose::Chunk,
        lane: Lane([0x66; 32]),
        generation: 0,
        index: 0,
    };
    // Nothing is due; one commit, no global version, no floor, one write.
    let mut body = vec![0; 4];
    body.extend([1u64, 0, 0, 1].map(u64::to_be_bytes).concat());
    // The first version of a value of four bytes.
    body.extend([1u64, 1].map(u64::to_be_bytes).concat());
    body.push(0);
    body.extend_from_slice(&(INVENTED.len() as u16).to_be_bytes());
    body.extend_from_slice(INVENTED.as_bytes());
    body.extend_from_slice(&4u32.to_be_bytes());
    body.extend_from_slice(b"fake");
    let contents = Contents {
        kind: Kind::Chunk,
        writer: [0x66; 16],
        previous: Link::default().into(),
        body,
    };
    (slot, contents)
}

fn anchor(index: u64, chunk: &Slot, snapshot: &Contents) -> (Slot, Contents) {
    let mut body = 1u64.to_be_bytes().to_vec();
    body.extend_from_slice(&[0x66; 16]);
    body.extend_from_slice(&chunk.lane.0);
    body.extend_from_slice(&(snapshot.body.len() as u64).to_be_bytes());
    body.extend_from_slice(&Link::of(chunk, snapshot).0);
    let contents = Contents {
        kind: Kind::Anchor,
        writer: [0x66; 16],
        previous: Link([0x66; 32]).into(),
        body,
    };
    (anchor_slot(index), contents)
}

fn inside(slot: &Slot, contents: &Contents) -> Vec<u8> {
    let mut inside = vec![contents.kind as u8];
    inside.extend_from_slice(&slot.lane.0);
    inside.extend_from_slice(&slot.generation.to_be_bytes());
    inside.extend_from_slice(&slot.index.to_be_bytes());
    inside.extend_from_slice(&contents.writer);
    inside.extend_from_slice(&contents.previous.0);
    inside.extend_from_slice(&(contents.body.len() as u16).to_be_bytes());
    inside.extend_from_slice(&contents.body);
    inside.resize(INSIDE_LEN, 0);
    inside
}

/// The key from ECDH between a point of the header and the key's own, both known to whoever is shown the key.
fn seal_to_point(server: &ServerKey, key: &Key, slot: &Slot, contents: &Contents) -> Blob {
    let ephemeral = SecretKey::from_slice(&[0x66; 32]).expect("a scalar");
    let header = PublicKey::from_secret_key(SECP256K1, &ephemeral).serialize();
    let shared = SharedSecret::new(&key.point(), &ephemeral);
    let extracted = hmac(&[0; 32], &[&shared.secret_bytes()]);
    let info: [&[u8]; 4] = [b"larder/blob/1", server.as_bytes(), key.as_bytes(), &[1]];
    let aead_key = hmac(&extracted, &info);
    let place = place(server, key, slot);
    sealed(&header, &aead_key, &place, inside(slot, contents))
}

/// The key's own bytes are keyed with instead of its secret.
fn keyed(server: &ServerKey, key: &Key, slot: &Slot, contents: &Contents) -> Blob {
    let (inside, place) = (inside(slot, contents), place(server, key, slot));
    let known: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let [mac_key, key_key] =
        [&b"larder/blob/mac/1"[..], b"larder/blob/key/1"].map(|label| hmac(&known, &[label]));
    let mac = hmac(&mac_key, &[&place[1..], &inside]);
    let aead_key = hmac(&key_key, &[&mac]);
    sealed(&[&[1], &mac[..]].concat(), &aead_key, &place, inside)
}

fn place(server: &ServerKey, key: &Key, slot: &Slot) -> Vec<u8> {
    let name = slot.purpose.name().as_bytes();
    [&[1], name, &[0], key.as_bytes(), server.as_bytes()].concat()
}

fn sealed(header: &[u8], aead_key: &[u8; 32], place: &[u8], mut inside: Vec<u8>) -> Blob {
    let cipher = <ChaCha20Poly1305 as chacha20poly1305::KeyInit>::new(aead_key.into());
    let tag = cipher.encrypt_in_place_detached(&Nonce::default(), place, &mut inside);
    let tag = tag.expect("short enough");
    Blob::try_from([header, &inside, &tag].concat()).expect("a blob's length")
}

pub(crate) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("any length will do");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

//! A blob: what the storage node sees, and what is inside.
//!
//! # What it promises
//!
//! * **Only the root key writes.** What [`open`] returns was sealed with this root key for this place with
//!   this provider. Whoever was shown keys, blobs, receipts and signed deletes, however many, makes no blob that
//!   opens, and moves none to another place.
//! * **It says nothing.** Without the root key a blob is noise of one length behind one constant byte.
//! * **The same again is the same bytes**, so that a retry needs no journal to be recognised.
//! * **Numbers from inside are bounded**: a body has at most [`BODY_MAX`] bytes, whatever its length says.
//!
//! # How it fails
//!
//! [`Foreign`]: the blob is not what this root key wrote in this place. It blames the provider, as a register takes one
//! blob for good and nobody else learns its key. `open` takes any 16,433 bytes and panics at none.
//!
//! # Bytes
//!
//! Outside, 16,433 bytes:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | header: version, 1 |
//! | 1 | 32 | header: MAC over the place and everything inside |
//! | 33 | 16,384 | ciphertext (ChaCha20) |
//! | 16,417 | 16 | tag (Poly1305) |
//!
//! Inside, 16,384 bytes:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | kind |
//! | 1 | 32 | lane |
//! | 33 | 8 | generation |
//! | 41 | 8 | index |
//! | 49 | 16 | writer nonce |
//! | 65 | 32 | hash of the previous blob of its chain, or zeros |
//! | 97 | 2 | length of the body, `n` |
//! | 99 | n | body |
//! | 99 + n | rest | zeros |
//!
//! ```text
//! secret   = of the slot, whose point is the key (`schedule`)
//! mac      = HMAC-SHA256(HMAC-SHA256(secret, "larder/blob/mac/1"), place ‖ inside)
//! aead key = HMAC-SHA256(HMAC-SHA256(secret, "larder/blob/key/1"), mac)
//! aad      = 1 ‖ place
//! place    = purpose ‖ 0x00 ‖ key ‖ provider
//! ```
//!
//! The AEAD's nonce is zero. Because its key follows from the MAC, and so from everything that is sealed, no two
//! contents ever share one, whatever a crash, a second device, a second provider or a bad random number
//! generator does. The MAC is computed again over what was opened: a blob opens under one secret, in one place, to one
//! contents. The secret also signs the delete, so it keys nothing but the derivation of keys, each with a label
//! of its own (`docs/decisions/0040-only-the-root-key-writes.md`).

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use larder_protocol::{BLOB_LEN, Blob, BlobHash};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::schedule::{hmac_keyed, hmac_sha256};
use crate::{Schedule, Slot};

const VERSION: u8 = 1;
const MAC_LEN: usize = 32;
const HEADER_LEN: usize = 1 + MAC_LEN;
const TAG_LEN: usize = 16;
const INSIDE_LEN: usize = BLOB_LEN - HEADER_LEN - TAG_LEN;
const FIELDS_LEN: usize = 1 + 32 + 8 + 8 + 16 + 32 + 2;

/// The longest body of one blob: 16,285 bytes.
pub const BODY_MAX: usize = INSIDE_LEN - FIELDS_LEN;

/// What a blob is to its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A whole value.
    Whole = 1,
    /// The head of a value that goes on in chunks.
    Head = 2,
    /// A continuation of a value.
    Chunk = 3,
    /// An entry of the client's log.
    Entry = 4,
    /// The end of a segment of the log, and the name of who goes on.
    Seal = 5,
    /// The beginning of a generation of the log.
    Anchor = 6,
}

/// What is inside a blob.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    /// What it is.
    pub kind: Kind,
    /// Tells writers of one slot apart where that matters; zeros in the plain layout, where the
    /// same value in the same place is the same blob, whoever wrote it.
    pub writer: [u8; 16],
    /// Hash of the blob before it in its chain; zeros for the first, or when the writer did not
    /// know it. In the log it is a [`Link`](crate::log::Link), the same with every provider.
    pub previous: BlobHash,
    /// At most [`BODY_MAX`] bytes.
    pub body: Vec<u8>,
}

/// A blob that is not what this root wrote for this slot. Only the provider could have put it
/// there: nobody else learns the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the blob was not written with this root key for this place")]
pub struct Foreign;

/// Seals contents for a slot; the same contents always to the same blob.
///
/// # Panics
/// When the body is longer than [`BODY_MAX`], which is a defect of the caller.
#[must_use]
pub fn seal(schedule: &Schedule, slot: &Slot, contents: &Contents) -> Blob {
    assert!(
        contents.body.len() <= BODY_MAX,
        "a body of more than {BODY_MAX} bytes"
    );
    let mut inside = Vec::with_capacity(INSIDE_LEN + TAG_LEN);
    inside.push(contents.kind as u8);
    inside.extend_from_slice(&slot.lane.0);
    inside.extend_from_slice(&slot.generation.to_be_bytes());
    inside.extend_from_slice(&slot.index.to_be_bytes());
    inside.extend_from_slice(&contents.writer);
    inside.extend_from_slice(&contents.previous.0);
    inside.extend_from_slice(&(contents.body.len() as u16).to_be_bytes());
    inside.extend_from_slice(&contents.body);
    inside.resize(INSIDE_LEN, 0);

    let keys = Keys::of(schedule, slot);
    let mac: [u8; MAC_LEN] = keys.mac(&inside).finalize().into_bytes().into();
    // Encrypted in place: what was plain is gone when this returns.
    #[expect(clippy::expect_used, reason = "16 KiB are far below the AEAD's limit")]
    let tag = keys
        .cipher(&mac)
        .encrypt_in_place_detached(&Nonce::default(), &keys.associated(), &mut inside)
        .expect("short enough");
    #[expect(
        clippy::expect_used,
        reason = "the lengths add up, as the test of every length shows"
    )]
    Blob::try_from([&[VERSION], &mac[..], &inside, &tag].concat()).expect("a blob's length")
}

/// Opens the blob that was found at a slot.
///
/// # Errors
/// [`Foreign`] when it was not sealed for this slot with this root.
pub fn open(schedule: &Schedule, slot: &Slot, blob: &Blob) -> Result<Contents, Foreign> {
    let (header, sealed) = blob.as_bytes().split_at(HEADER_LEN);
    let (ciphertext, tag) = sealed.split_at(INSIDE_LEN);
    let (version, mac) = header.split_at(1);
    if version != [VERSION] {
        return Err(Foreign);
    }
    let keys = Keys::of(schedule, slot);
    let mut inside = Zeroizing::new(ciphertext.to_vec());
    keys.cipher(mac)
        .decrypt_in_place_detached(
            &Nonce::default(),
            &keys.associated(),
            &mut inside,
            Tag::from_slice(tag),
        )
        .map_err(|_| Foreign)?;
    // In constant time.
    keys.mac(&inside).verify_slice(mac).map_err(|_| Foreign)?;
    parse(slot, &inside)
}

/// What was authenticated is ours, but may be of a later version.
fn parse(slot: &Slot, inside: &[u8]) -> Result<Contents, Foreign> {
    let (fields, rest) = inside.split_at(FIELDS_LEN);
    let kind = match fields[0] {
        1 => Kind::Whole,
        2 => Kind::Head,
        3 => Kind::Chunk,
        4 => Kind::Entry,
        5 => Kind::Seal,
        6 => Kind::Anchor,
        _ => return Err(Foreign),
    };
    let here = fields[1..33] == slot.lane.0
        && fields[33..41] == slot.generation.to_be_bytes()
        && fields[41..49] == slot.index.to_be_bytes();
    let len = usize::from(u16::from_be_bytes([fields[97], fields[98]]));
    if !here || len > BODY_MAX || rest[len..].iter().any(|&byte| byte != 0) {
        return Err(Foreign);
    }
    let (mut writer, mut previous) = ([0; 16], [0; 32]);
    writer.copy_from_slice(&fields[49..65]);
    previous.copy_from_slice(&fields[65..97]);
    Ok(Contents {
        kind,
        writer,
        previous: BlobHash(previous),
        body: rest[..len].to_vec(),
    })
}

/// What seals one slot's blob with one provider, erased when dropped.
struct Keys {
    mac: Zeroizing<[u8; 32]>,
    seal: Zeroizing<[u8; 32]>,
    place: Vec<u8>,
}

impl Keys {
    fn of(schedule: &Schedule, slot: &Slot) -> Self {
        let secret = schedule.secret(slot);
        let derive = |label| Zeroizing::new(hmac_sha256(&secret.bytes(), &[label]));
        Keys {
            mac: derive(b"larder/blob/mac/1".as_slice()),
            seal: derive(b"larder/blob/key/1".as_slice()),
            place: [
                slot.purpose.name().as_bytes(),
                &[0],
                secret.key().as_bytes().as_slice(),
                schedule.provider().as_bytes().as_slice(),
            ]
            .concat(),
        }
    }

    /// Over everything that is inside, and where.
    fn mac(&self, inside: &[u8]) -> Hmac<Sha256> {
        hmac_keyed(&self.mac)
            .chain_update(&self.place)
            .chain_update(inside)
    }

    /// For the contents with this MAC, and no others.
    fn cipher(&self, mac: &[u8]) -> ChaCha20Poly1305 {
        let key = Zeroizing::new(hmac_sha256(&self.seal, &[mac]));
        ChaCha20Poly1305::new(key.as_slice().into())
    }

    fn associated(&self) -> Vec<u8> {
        [&[VERSION], self.place.as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, Purpose};

    const SLOT: Slot = Slot {
        purpose: Purpose::Main,
        lane: Lane([0; 32]),
        generation: 0,
        index: 0,
    };

    proptest::proptest! {
        #[test]
        fn inside_bytes_are_contents_of_this_slot_or_foreign(
            start in proptest::collection::vec(0u8..8, FIELDS_LEN),
            here: bool,
            body in proptest::collection::vec(0u8.., 0..40),
        ) {
            let mut inside = start;
            if here {
                inside[1..49].fill(0);
            }
            inside.extend_from_slice(&body);
            inside.resize(INSIDE_LEN, 0);
            let len = usize::from(u16::from_be_bytes([inside[97], inside[98]]));
            match parse(&SLOT, &inside) {
                Ok(contents) => {
                    assert!((1..=6).contains(&inside[0]) && inside[1..49] == [0; 48]);
                    assert_eq!(contents.body, inside[FIELDS_LEN..][..len]);
                    assert!(inside[FIELDS_LEN + len..].iter().all(|&byte| byte == 0));
                }
                Err(Foreign) => assert!(
                    !(1..=6).contains(&inside[0])
                        || inside[1..49] != [0; 48]
                        || inside[FIELDS_LEN + len..].iter().any(|&byte| byte != 0)
                ),
            }
        }
    }
}

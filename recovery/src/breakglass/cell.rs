//! The breakglass cell: 256 bytes from which a wallet with only its root key goes on.
//!
//! Outside:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 16 | synthetic nonce |
//! | 16 | 224 | ciphertext (ChaCha20) |
//! | 240 | 16 | tag (Poly1305) |
//!
//! Inside:
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | version, 1 |
//! | 1 | 4 | epoch of the reserve |
//! | 5 | 8, 8 | its amounts, `a_1` and `a_2` |
//! | 21 | 32, 32 | its blindings, `r_1` and `r_2` |
//! | 85 | 32, 32 | its first MAC, `t_1` and `V_1` |
//! | 149 | 32, 32 | its second MAC, `t_2` and `V_2` |
//! | 213 | 5 | anchor: where to look for the log's newest one first; 0 for nowhere |
//! | 218 | 6 | number of the [page](super::page); 0 for none |
//!
//! The fields of the reserve are as a credential stores them, little-endian; the others are big-endian.
//!
//! ```text
//! secret   = of the slot (breakglass, lane 0, generation 0, index 0); its point is the cell's key
//! nonce    = HMAC-SHA256(secret, "larder/cell/nonce/1" ‖ sequence 8 ‖ inside)[..16]
//! aead key = HMAC-SHA256(secret, "larder/cell/key/1" ‖ sequence 8 ‖ nonce)
//! ```
//!
//! The AEAD's own nonce is zero. Two devices, or one that was put back from a backup, may write different
//! contents under one sequence: the keys differ, because each follows from all that is sealed. The
//! same contents under the same sequence are the same bytes, so that a retry is recognised. A cell
//! opens only under the sequence it was sealed for: a storage node cannot pass an old one off for a
//! newer one. Both keys follow from the secret, so that who has seen every cell and every signature makes none that
//! opens; the nonce is computed again over what was opened.
//! The provider is in the secret: a cell says nothing at another one.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use larder_credentials::CREDENTIAL_BYTES;
use larder_protocol::{CELL_BYTES, Cell};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::purse::Held;
use crate::schedule::{hmac_keyed, hmac_sha256};
use crate::{Lane, Purpose, Schedule, Slot};

const NONCE_LEN: usize = 16;
const TAG_LEN: usize = 16;
const INSIDE_LEN: usize = CELL_BYTES - NONCE_LEN - TAG_LEN;
const VERSION: u8 = 1;

/// Where the fields of a credential are: in a cell, for the first and the second, and in its
/// stored form.
const FIELDS: [([usize; 2], usize, usize); 5] = [
    ([1, 1], 0, 4),
    ([5, 13], 4, 8),
    ([21, 53], 12, 32),
    ([85, 149], 44, 32),
    ([117, 181], 76, 32),
];

/// What a cell says.
#[derive(Clone)]
pub(crate) struct Contents {
    /// The reserve, of one epoch.
    pub(crate) reserve: [Held; 2],
    /// The newest anchor when it was written; 0 for none.
    pub(crate) anchor: u64,
    /// The page; 0 for none.
    pub(crate) page: u64,
}

/// The slot of a provider's cell.
pub(crate) fn slot() -> Slot {
    Slot {
        purpose: Purpose::Breakglass,
        lane: Lane::default(),
        generation: 0,
        index: 0,
    }
}

/// Seals a cell; the same contents under the same sequence always to the same bytes.
pub(crate) fn seal(schedule: &Schedule, sequence: u64, contents: &Contents) -> Cell {
    let mut inside = Zeroizing::new([0; INSIDE_LEN]);
    inside[0] = VERSION;
    for (which, held) in contents.reserve.iter().enumerate() {
        for (places, from, len) in FIELDS {
            inside[places[which]..][..len].copy_from_slice(&held.encode()[from..][..len]);
        }
    }
    inside[213..218].copy_from_slice(&field::<5>(contents.anchor));
    inside[218..224].copy_from_slice(&field::<6>(contents.page));

    let secret = schedule.secret(&slot()).bytes();
    let sequence = sequence.to_be_bytes();
    let nonce = mac(&secret, &sequence, inside.as_slice()).finalize();
    let nonce = &nonce.into_bytes()[..NONCE_LEN];
    #[expect(
        clippy::expect_used,
        reason = "224 bytes are far below the AEAD's limit"
    )]
    let tag = cipher(&secret, &sequence, nonce)
        .encrypt_in_place_detached(&Nonce::default(), &[], inside.as_mut_slice())
        .expect("short enough");
    let mut cell = [0; CELL_BYTES];
    cell[..NONCE_LEN].copy_from_slice(nonce);
    cell[NONCE_LEN..][..INSIDE_LEN].copy_from_slice(inside.as_slice());
    cell[NONCE_LEN + INSIDE_LEN..].copy_from_slice(&tag);
    Cell(cell)
}

/// Opens a cell; `None` when it was not sealed with this root key for this provider and sequence.
pub(crate) fn open(schedule: &Schedule, sequence: u64, cell: &Cell) -> Option<Contents> {
    let (nonce, sealed) = cell.0.split_at(NONCE_LEN);
    let (ciphertext, tag) = sealed.split_at(INSIDE_LEN);
    let secret = schedule.secret(&slot()).bytes();
    let mut inside = Zeroizing::new([0; INSIDE_LEN]);
    inside.copy_from_slice(ciphertext);
    cipher(&secret, &sequence.to_be_bytes(), nonce)
        .decrypt_in_place_detached(
            &Nonce::default(),
            &[],
            inside.as_mut_slice(),
            Tag::from_slice(tag),
        )
        .ok()?;
    // In constant time.
    mac(&secret, &sequence.to_be_bytes(), inside.as_slice())
        .verify_truncated_left(nonce)
        .ok()?;
    if inside[0] != VERSION {
        return None;
    }
    let held = |which: usize| {
        let mut bytes = Zeroizing::new([0; CREDENTIAL_BYTES]);
        for (places, to, len) in FIELDS {
            bytes[to..][..len].copy_from_slice(&inside[places[which]..][..len]);
        }
        Held::listed(bytes.as_slice())
    };
    let number = |field: &[u8]| {
        field
            .iter()
            .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
    };
    Some(Contents {
        reserve: [held(0)?, held(1)?],
        anchor: number(&inside[213..218]),
        page: number(&inside[218..224]),
    })
}

/// The last bytes of a number; zeros, which mean none, for one that does not fit.
fn field<const N: usize>(number: u64) -> [u8; N] {
    let (mut field, bytes) = ([0; N], number.to_be_bytes());
    let (rest, last) = bytes.split_at(bytes.len() - N);
    if rest.iter().all(|&byte| byte == 0) {
        field.copy_from_slice(last);
    }
    field
}

/// Over everything that is inside, and its sequence; its first bytes are the nonce.
fn mac(secret: &[u8; 32], sequence: &[u8; 8], inside: &[u8]) -> Hmac<Sha256> {
    hmac_keyed(secret)
        .chain_update(b"larder/cell/nonce/1")
        .chain_update(sequence)
        .chain_update(inside)
}

fn cipher(secret: &[u8; 32], sequence: &[u8; 8], nonce: &[u8]) -> ChaCha20Poly1305 {
    let key = hmac_sha256(secret, &[b"larder/cell/key/1", sequence, nonce]);
    let key = Zeroizing::new(key);
    ChaCha20Poly1305::new(key.as_slice().into())
}

#[cfg(test)]
mod tests {
    use larder_protocol::ServerKey;
    use secp256k1::{Keypair, SECP256K1, SecretKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::RootKey;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/cell.json");
    const SEQUENCE: u64 = 7 << 16;

    fn schedule(root: u8, provider: u8) -> Result<Schedule, secp256k1::Error> {
        let secret = SecretKey::from_slice(&[provider; 32])?;
        let server = Keypair::from_secret_key(SECP256K1, &secret).public_key();
        Ok(Schedule::new(
            RootKey::from_bytes([root; 32]),
            ServerKey::from(server),
        ))
    }

    fn contents() -> Option<Contents> {
        Some(Contents {
            reserve: [Held::stored(7, 10)?, Held::stored(7, 20)?],
            anchor: 0x01_0203_0405,
            page: 0x0102_0304_0506,
        })
    }

    type Tested = Result<(), Box<dyn std::error::Error>>;

    #[test]
    fn the_published_vector_is_what_is_sealed() -> Tested {
        let contents = contents().ok_or("credentials")?;
        let schedule = schedule(0x11, 1)?;
        let built = json!({
            "root": hex::encode([0x11; 32]),
            "provider_key": schedule.provider().to_string(),
            "key": hex::encode(schedule.key(&slot()).as_bytes()),
            "sequence": SEQUENCE,
            "reserve": contents.reserve.each_ref().map(|held| hex::encode(held.encode())),
            "anchor": contents.anchor,
            "page": contents.page,
            "cell": hex::encode(seal(&schedule, SEQUENCE, &contents).0),
        });
        if std::env::var_os("LARDER_BLESS").is_some() {
            std::fs::write(FILE, serde_json::to_string_pretty(&built)? + "\n")?;
        }
        let text = std::fs::read_to_string(FILE)?;
        assert_eq!(serde_json::from_str::<Value>(&text)?, built);
        Ok(())
    }

    #[test]
    fn a_cell_opens_to_what_was_sealed_and_every_changed_byte_is_refused() -> Tested {
        let (schedule, contents) = (schedule(1, 1)?, contents().ok_or("credentials")?);
        let cell = seal(&schedule, SEQUENCE, &contents);
        let opened = open(&schedule, SEQUENCE, &cell).ok_or("our own")?;
        assert_eq!(
            (opened.anchor, opened.page),
            (contents.anchor, contents.page)
        );
        for (one, other) in opened.reserve.iter().zip(&contents.reserve) {
            assert_eq!(one.encode(), other.encode());
        }
        for at in 0..CELL_BYTES {
            let mut changed = cell.clone();
            changed.0[at] ^= 1;
            assert!(open(&schedule, SEQUENCE, &changed).is_none(), "{at}");
        }
        Ok(())
    }

    #[test]
    fn a_cell_opens_only_under_its_sequence_root_key_and_provider() -> Tested {
        let contents = contents().ok_or("credentials")?;
        let cell = seal(&schedule(1, 1)?, SEQUENCE, &contents);
        assert!(open(&schedule(1, 1)?, SEQUENCE, &cell).is_some());
        assert!(open(&schedule(1, 1)?, SEQUENCE + 1, &cell).is_none());
        assert!(open(&schedule(2, 1)?, SEQUENCE, &cell).is_none());
        assert!(open(&schedule(1, 2)?, SEQUENCE, &cell).is_none());
        Ok(())
    }

    #[test]
    fn other_contents_under_one_sequence_share_no_key() -> Tested {
        let schedule = schedule(1, 1)?;
        let (one, mut other) = (contents().ok_or("credentials")?, contents().ok_or("them")?);
        other.page += 1;
        let [one, other] = [one, other].map(|contents| seal(&schedule, SEQUENCE, &contents));
        assert_ne!(one.0[..NONCE_LEN], other.0[..NONCE_LEN]);
        // With one key they would agree in all that is equal inside.
        let same = (NONCE_LEN..NONCE_LEN + INSIDE_LEN).filter(|&at| one.0[at] == other.0[at]);
        assert!(same.count() < INSIDE_LEN / 4);
        Ok(())
    }

    #[test]
    fn numbers_that_do_not_fit_are_none() -> Tested {
        let schedule = schedule(1, 1)?;
        let mut contents = contents().ok_or("credentials")?;
        (contents.anchor, contents.page) = (1 << 40, 1 << 48);
        let opened = open(&schedule, 0, &seal(&schedule, 0, &contents)).ok_or("our own")?;
        assert_eq!((opened.anchor, opened.page), (0, 0));
        Ok(())
    }
}

//! What a test stores, and how: the same number gives the same key, blob or cell in every process.

use larder_credentials::Epoch;
use larder_credentials::ledger::Floor;
use larder_protocol::{BLOB_LEN, Blob, CELL_BYTES, Cell, Key};
use sha2::{Digest, Sha256};

use crate::{Enter, Options};

/// The key with this number.
#[must_use]
pub fn key(number: u64) -> Key {
    (0_u32..)
        .find_map(|attempt| {
            let x = Sha256::new()
                .chain_update(number.to_le_bytes())
                .chain_update(attempt.to_le_bytes())
                .finalize();
            // Every other x is on the curve.
            Key::from_slice(&[&[2], &x[..]].concat()).ok()
        })
        .expect("2^32 attempts do not all fail")
}

/// The blob with this number: incompressible, and unlike any other in every slice.
#[must_use]
pub fn blob(number: u64) -> Blob {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(BLOB_LEN + 8);
    while bytes.len() < BLOB_LEN {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(BLOB_LEN);
    Blob::try_from(bytes).expect("it has a blob's length")
}

/// The cell with this number.
#[must_use]
pub fn cell(number: u64) -> Cell {
    let blob = blob(number);
    Cell::from_slice(&blob.as_bytes()[..CELL_BYTES]).expect("it has a cell's length")
}

/// How a test opens a store: small, and however full the disk is.
#[must_use]
pub fn options() -> Options {
    Options {
        cache_bytes: 4 << 20,
        free_space_floor: 0,
        growth_slots: 8,
        ..Options::default()
    }
}

/// The epoch `current`, in which credentials count from `oldest` on; it has no terms and forgets
/// no tombstone.
#[must_use]
pub fn entering(oldest: u32, current: u32) -> Enter {
    Enter {
        floor: Floor {
            oldest: Epoch(oldest),
            current: Epoch(current),
        },
        since: 0,
        terms: Vec::new(),
        tombstones_before: 0,
    }
}

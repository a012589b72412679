//! The 44 bytes a server stores with a row and cannot read (§4.5).
//!
//! After a loss a holder knows only the *sum* of its outputs; the memo says how it was
//! split. Its key comes from the root, never from a credential: a previous holder of a
//! transferred pair must not be able to read it.
//!
//! | field | bytes |
//! | --- | --- |
//! | nonce | 12 |
//! | the two values, LE64 each, sealed | 16 |
//! | tag | 16 |

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};
use zeroize::Zeroizing;

use crate::operation::References;
use crate::root::Root;

/// The size of a memo, in bytes.
pub(crate) const MEMO_BYTES: usize = 44;

/// Seals two values for whoever has the root. `outputs` are the encodings of `M'_1`, `M'_2`.
pub(crate) fn seal(
    root: &Root,
    references: &References,
    outputs: [&[u8; 32]; 2],
    values: [u64; 2],
) -> [u8; MEMO_BYTES] {
    let nonce = root.memo_nonce(outputs);
    let mut memo = [0; MEMO_BYTES];
    let (head, rest) = memo.split_at_mut(12);
    let (sealed, tag) = rest.split_at_mut(16);
    head.copy_from_slice(&nonce);
    sealed[..8].copy_from_slice(&values[0].to_le_bytes());
    sealed[8..].copy_from_slice(&values[1].to_le_bytes());
    // Only a plaintext of 256 GiB could make this fail.
    match cipher(root, references).encrypt_in_place_detached(&Nonce::from(nonce), &[], sealed) {
        Ok(computed) => tag.copy_from_slice(&computed),
        Err(_) => unreachable!("16 bytes are never too many"),
    }
    memo
}

/// The two values, or nothing if the memo was not sealed for this root and references.
pub(crate) fn open(
    root: &Root,
    references: &References,
    memo: &[u8; MEMO_BYTES],
) -> Option<Zeroizing<[u64; 2]>> {
    let (nonce, rest) = memo.split_first_chunk::<12>()?;
    let (sealed, rest) = rest.split_first_chunk::<16>()?;
    let (tag, _) = rest.split_first_chunk::<16>()?;
    let mut values = Zeroizing::new(*sealed);
    cipher(root, references)
        .decrypt_in_place_detached(&Nonce::from(*nonce), &[], &mut *values, &Tag::from(*tag))
        .ok()?;
    let (first, rest) = values.split_first_chunk::<8>()?;
    let (second, _) = rest.split_first_chunk::<8>()?;
    let values = [u64::from_le_bytes(*first), u64::from_le_bytes(*second)];
    Some(Zeroizing::new(values))
}

fn cipher(root: &Root, references: &References) -> ChaCha20Poly1305 {
    let key = root.memo_key(references);
    ChaCha20Poly1305::new(Key::from_slice(key.as_bytes()))
}

//! What is larger than an entry: chunks, in parallel, before whatever names them.
//!
//! Chunk `i` is at the slot `(chunk, lane = entropy, generation 0, index i)`. All are full but the last, and each
//! holds the link of the one before it, so that the bytes are one writer's, whole, or refused. The
//! entropy is `SHA-256("larder/log/chunks/1" ‖ writer ‖ n)` for the writer's n-th: unique, so that no
//! two writers share a chunk and either may take its own back. It is no secret: keys follow from the root.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

use super::entry::{Chunks, Link, Writer};
use super::register::{Look, Put, Registers};
use crate::forgery::FORGED;
use crate::seal::{BODY_MAX, Contents, Kind};
use crate::value::chunk_slot;
use crate::{RecoveryError, Slot};

/// Requests that one value keeps in flight; the transport paces below that as it has to.
const WINDOW: usize = 32;

/// Where the n-th chunks of a writer are.
pub(crate) fn entropy(writer: Writer, n: u64) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"larder/log/chunks/1")
        .chain_update(writer.0)
        .chain_update(n.to_be_bytes())
        .finalize()
        .into()
}

/// Stores bytes, at least one, that nothing names yet.
pub(crate) async fn store(
    registers: &dyn Registers,
    writer: Writer,
    entropy: [u8; 32],
    bytes: &[u8],
) -> Result<Chunks, RecoveryError> {
    let mut last = Link::default();
    // By number: a closure that takes slices would tie the future to this thread.
    let starts = (0..bytes.len()).step_by(BODY_MAX).zip(0..);
    let inserts = starts.map(|(start, index)| {
        let slot = chunk_slot(entropy, index);
        let end = bytes.len().min(start + BODY_MAX);
        let contents = Contents {
            kind: Kind::Chunk,
            writer: writer.0,
            previous: last.into(),
            body: bytes[start..end].to_vec(),
        };
        last = Link::of(&slot, &contents);
        async move { registers.insert(slot, &contents).await }
    });
    let mut inserts = stream::iter(inserts).buffer_unordered(WINDOW);
    while let Some(put) = inserts.try_next().await? {
        match put {
            Put::New | Put::Already => {}
            Put::Occupied | Put::Tombstoned => {
                return Err(RecoveryError::Misbehaved(
                    "it holds or deleted a blob that only this session can have made",
                ));
            }
        }
    }
    drop(inserts);
    Ok(Chunks {
        entropy,
        len: bytes.len() as u64,
        last,
    })
}

/// Reads bytes that something names; `None` when they were deleted since.
pub(crate) async fn fetch(
    registers: &dyn Registers,
    chunks: &Chunks,
) -> Result<Option<Vec<u8>>, RecoveryError> {
    const TORN: RecoveryError =
        RecoveryError::Misbehaved("the chunks of a value are not one chain");
    let entropy = chunks.entropy;
    let mut lookups = stream::iter(0..chunks.count())
        .map(|index| async move {
            let slot = chunk_slot(entropy, index);
            (slot, registers.lookup(slot).await)
        })
        .buffered(WINDOW);
    let (mut bytes, mut last) = (Vec::new(), Link::default());
    while let Some((slot, look)) = lookups.next().await {
        let contents = match look? {
            Look::Found(contents) => contents,
            Look::Deleted => return Ok(None),
            Look::Absent => {
                return Err(RecoveryError::Misbehaved(
                    "it lost a chunk that it had acknowledged",
                ));
            }
            Look::Foreign => return Err(FORGED),
        };
        if contents.kind != Kind::Chunk || contents.previous.0 != last.0 {
            return Err(TORN);
        }
        last = Link::of(&slot, &contents);
        bytes.extend_from_slice(&contents.body);
    }
    let whole = last == chunks.last && bytes.len() as u64 == chunks.len;
    if whole { Ok(Some(bytes)) } else { Err(TORN) }
}

/// Where they all are.
pub(crate) fn slots(chunks: Chunks) -> impl Iterator<Item = Slot> {
    (0..chunks.count()).map(move |index| chunk_slot(chunks.entropy, index))
}

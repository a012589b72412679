//! The registers that one register of the log is made of, with every provider.
//!
//! | register | where | holds |
//! | --- | --- | --- |
//! | ballot of round 0 | the slot itself | the one value that its owner may put there, or a void |
//! | choice of round `r` ≥ 1 | lane `SHA-256("larder/choice/1" ‖ lane ‖ r)` | a value that somebody proposes |
//! | ballot of round `r` ≥ 1 | lane `SHA-256("larder/ballot/1" ‖ lane ‖ r)` | the value that was agreed on, or a void |
//!
//! Purpose, generation and index are those of the slot; `r` is a big-endian u64. A void is a seal
//! without a writer, a predecessor and a body, which is no seal that the log knows.

use larder_protocol::BlobHash;
use sha2::{Digest, Sha256};

use crate::seal::{Contents, Kind};
use crate::{Lane, Slot};

/// Where the votes of a round are.
pub(crate) fn ballot(slot: Slot, round: u64) -> Slot {
    match round {
        0 => slot,
        _ => beside(slot, b"larder/ballot/1", round),
    }
}

/// Where the proposals of a round, from 1, are.
pub(super) fn choice(slot: Slot, round: u64) -> Slot {
    beside(slot, b"larder/choice/1", round)
}

fn beside(slot: Slot, name: &[u8], round: u64) -> Slot {
    let lane = Sha256::new()
        .chain_update(name)
        .chain_update(slot.lane.0)
        .chain_update(round.to_be_bytes());
    Slot {
        lane: Lane(lane.finalize().into()),
        ..slot
    }
}

/// Fills a register so that nothing else ever will.
pub(super) fn void() -> Contents {
    Contents {
        kind: Kind::Seal,
        writer: [0; 16],
        previous: BlobHash([0; 32]),
        body: Vec::new(),
    }
}

/// Whether only one value can ever be put into this register in round 0, whoever does: entries are
/// their segment's writer's, chunks their session's, and an anchor follows from the seal before it.
/// Seals compete, and so does the plain layout.
pub(super) fn is_owned(contents: &Contents) -> bool {
    matches!(contents.kind, Kind::Entry | Kind::Chunk | Kind::Anchor)
}

//! Finding the newest anchor without any list.
//!
//! Anchors are numbered from 1. Once anchor `n` is there, only those are kept whose index is a binary
//! prefix of `n`: `n` with more and more of its lowest set bits cleared, so 22 = 10110b keeps 16, 20 and 22,
//! one per set bit.
//!
//! To find `n`, probe all powers of two at once: the largest that is there is the highest bit of `n`.
//! Then add lower bits greedily, from the highest down. A candidate with a right bit is a prefix of `n`
//! and was kept; one with a wrong bit is larger than `n` and never was. Anchors that should have been
//! deleted and are still there change nothing, as every one of them is smaller than `n` and no candidate.

use futures_util::future::join_all;

use super::register::{Look, Registers};
use crate::forgery::FORGED;
use crate::seal::Contents;
use crate::{Lane, Purpose, RecoveryError, Slot};

/// Bits of an anchor's index: a roll-up every second for 34,000 years.
const BITS: u32 = 40;

/// Where an anchor is.
#[must_use]
pub fn anchor_slot(index: u64) -> Slot {
    Slot {
        purpose: Purpose::Anchor,
        lane: Lane::default(),
        generation: 0,
        index,
    }
}

/// The anchors that are kept once this one is there, the newest first.
pub fn kept(newest: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(newest), |index| Some(index & index.wrapping_sub(1)))
        .take_while(|&index| index != 0)
}

/// The anchors that were kept before this one was there, and are no more.
pub fn retired(newest: u64) -> impl Iterator<Item = u64> {
    // All of them end in the bits that the carry cleared.
    kept(newest.saturating_sub(1)).take_while(move |&index| index > newest & newest.wrapping_sub(1))
}

/// The newest anchor and what it holds, or `None` when there never was one.
///
/// `hint` is an anchor that was the newest once, from a cache or a breakglass cell, or 0 when there was none yet. It
/// must not be older than the storage node's memory of deleted keys, which is at least one epoch: then whatever was put there
/// since is there or deleted, and an index is absent only if it was never reached. So a fresh hint costs two look-ups, and
/// one that is `d` roll-ups old some `2 log2 d` more. Without one the search needs no such memory, and up to 63.
///
/// # Errors
/// [`RecoveryError`]; `Misbehaved` when the answers contradict each other.
pub async fn newest(
    registers: &dyn Registers,
    hint: Option<u64>,
) -> Result<Option<(u64, Contents)>, RecoveryError> {
    // Another device may roll up while this one looks; it will not do so every time. One that was deleted is passed by
    // from then on, as there is a newer one with a higher bit where it has none.
    let mut overtaken = Vec::new();
    while overtaken.len() < 16 {
        let found = match hint {
            Some(hint) => climb(registers, hint).await?,
            None => search(registers).await?,
        };
        match found {
            Search::Done(found) => return Ok(found),
            Search::Overtaken(at) if overtaken.contains(&at) => break,
            Search::Overtaken(at) => overtaken.push(at),
        }
    }
    Err(RecoveryError::Misbehaved(
        "it says of the newest anchor, again and again, that it was deleted",
    ))
}

enum Search {
    Done(Option<(u64, Contents)>),
    /// This one was deleted meanwhile.
    Overtaken(u64),
}

async fn search(registers: &dyn Registers) -> Result<Search, RecoveryError> {
    let powers = probe(registers, (0..BITS).map(|bit| 1 << bit)).await?;
    let (mut index, mut contents) = match powers
        .into_iter()
        .rev()
        .find(|(_, look)| *look != Look::Absent)
    {
        Some((index, Look::Found(contents))) => (index, contents),
        Some((index, _)) => return Ok(Search::Overtaken(index)),
        None => return Ok(Search::Done(None)),
    };
    for bit in (0..index.trailing_zeros()).rev() {
        let candidate = index | 1 << bit;
        match lookup(registers, candidate).await? {
            Look::Found(found) => (index, contents) = (candidate, found),
            Look::Absent => {}
            _ => return Ok(Search::Overtaken(candidate)),
        }
    }
    Ok(Search::Done(Some((index, contents))))
}

/// From an anchor that was there once to the last one that ever was: in steps that double, then by halves.
async fn climb(registers: &dyn Registers, hint: u64) -> Result<Search, RecoveryError> {
    let mut newest = (hint, None);
    if hint > 0 {
        match lookup(registers, hint).await? {
            // It never was, as far as this storage node knows.
            Look::Absent => return search(registers).await,
            look => newest.1 = Some(look),
        }
    }
    let (mut step, mut never) = (1, None);
    loop {
        let next = match never {
            None => newest.0.saturating_add(step),
            Some(never) => newest.0 + (never - newest.0) / 2,
        };
        if next == newest.0 {
            break;
        }
        let look = match next >> BITS {
            0 => lookup(registers, next).await?,
            _ => Look::Absent,
        };
        match look {
            Look::Absent => never = Some(next),
            look => {
                newest = (next, Some(look));
                // By halves it goes on for as long again.
                if never.is_none() {
                    step *= 2;
                }
            }
        }
    }
    Ok(match newest {
        (index, Some(Look::Found(contents))) => Search::Done(Some((index, contents))),
        (0, _) => Search::Done(None),
        (index, _) => Search::Overtaken(index),
    })
}

async fn probe(
    registers: &dyn Registers,
    indices: impl Iterator<Item = u64>,
) -> Result<Vec<(u64, Look)>, RecoveryError> {
    let lookups = indices.map(|index| async move { Ok((index, lookup(registers, index).await?)) });
    join_all(lookups).await.into_iter().collect()
}

async fn lookup(registers: &dyn Registers, index: u64) -> Result<Look, RecoveryError> {
    match registers.lookup(anchor_slot(index)).await? {
        Look::Foreign => Err(FORGED),
        look => Ok(look),
    }
}

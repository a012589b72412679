//! Bytes that two requests have in common, whatever they mean; and lengths.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use larder_protocol::Op;

use crate::privacy::recording::{Outcome, Seen};

/// Bytes that are compared at a time, and how many of them in a row one is chosen from: any two requests that
/// share `RUN` bytes in a row, one less than both together, are found.
const WINDOW: usize = 12;
const CHOSEN_FROM: usize = 9;

/// So many shared bytes in a row are always found.
#[cfg(test)]
pub(crate) const RUN: usize = WINDOW + CHOSEN_FROM - 1;

/// With fewer requests of a kind only what all of them have is the same for all; with more, what most have.
const FEW: usize = 8;

/// Pairs of requests that share bytes and are not about one key. What requests of one operation and epoch have in one
/// place anyway is left out.
pub(crate) fn links(seen: &[Seen]) -> Vec<(usize, usize)> {
    let mut kinds: HashMap<(u8, u32), Vec<usize>> = HashMap::new();
    for (at, seen) in seen.iter().enumerate() {
        kinds
            .entry((seen.op as u8, seen.epoch))
            .or_default()
            .push(at);
    }
    let mut marks: Vec<(u64, u32)> = Vec::new();
    for places in kinds.values() {
        let bodies: Vec<&[u8]> = places.iter().map(|&at| &seen[at].body[..]).collect();
        let common = common(&bodies);
        for (body, &at) in bodies.iter().zip(places) {
            marks.extend(chosen(body, &common).map(|mark| (mark, at as u32)));
        }
    }
    marks.sort_unstable();
    marks.dedup();
    let mut links = BTreeSet::new();
    for group in marks.chunk_by(|one, next| one.0 == next.0) {
        for two in group.windows(2) {
            let (one, other) = (two[0].1 as usize, two[1].1 as usize);
            let same_key = seen[one].key.is_some() && seen[one].key == seen[other].key;
            if !same_key {
                links.insert((one, other));
            }
        }
    }
    links.into_iter().collect()
}

/// In each place the byte that all have there, if there is one.
fn common(bodies: &[&[u8]]) -> Vec<Option<u8>> {
    let longest = bodies.iter().map(|body| body.len()).max().unwrap_or(0);
    let needed = match bodies.len() {
        0..FEW => bodies.len().max(2),
        many => many / 2,
    };
    let byte = |place: usize| {
        let mut counts = [0_usize; 256];
        for byte in bodies.iter().filter_map(|body| body.get(place)) {
            counts[usize::from(*byte)] += 1;
        }
        (0..=u8::MAX).find(|byte| counts[usize::from(*byte)] >= needed)
    };
    (0..longest).map(byte).collect()
}

/// Hashes of some windows: the least of every few in a row.
fn chosen(body: &[u8], common: &[Option<u8>]) -> impl Iterator<Item = u64> {
    let hashes: Vec<u64> = (body.windows(WINDOW).zip(common.windows(WINDOW)))
        .map(|(window, common)| hash(window, common))
        .collect();
    let mut last = None;
    let chosen: Vec<u64> = (hashes.windows(CHOSEN_FROM).enumerate())
        .filter_map(|(first, hashes)| {
            let least = (0..CHOSEN_FROM).min_by_key(|at| hashes[*at])?;
            let is_new = last != Some(first + least);
            last = Some(first + least);
            (is_new && hashes[least] != SILENT).then_some(hashes[least])
        })
        .collect();
    chosen.into_iter()
}

/// The hash of a window that says nothing: it has something that all have, or is of few bytes, as numbers are.
const SILENT: u64 = u64::MAX;

fn hash(window: &[u8], common: &[Option<u8>]) -> u64 {
    // FNV-1a; `seen` has a bit for each byte.
    let (mut hash, mut seen) = (0xcbf2_9ce4_8422_2325_u64, [0_u64; 4]);
    for (byte, all) in window.iter().zip(common) {
        if Some(*byte) == *all {
            return SILENT;
        }
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    let distinct: u32 = seen.iter().map(|bits| bits.count_ones()).sum();
    match distinct as usize <= WINDOW / 2 {
        true => SILENT,
        false => hash,
    }
}

/// Operations with a key whose requests, or answers of one outcome, are not all of one length.
pub(crate) fn lengths(seen: &[Seen]) -> usize {
    let mut lengths: HashMap<(u8, Option<Outcome>), BTreeMap<usize, usize>> = HashMap::new();
    let keyed = seen.iter().filter(|seen| seen.is_keyed());
    for seen in keyed.filter(|seen| seen.outcome != Outcome::Refused) {
        let op = seen.op as u8;
        let mut count = |kind, len| *lengths.entry(kind).or_default().entry(len).or_default() += 1;
        count((op, None), seen.body.len());
        count((op, Some(seen.outcome)), seen.answer);
    }
    lengths.values().filter(|found| found.len() > 1).count()
}

/// How often each operation was asked for.
pub(crate) fn counts(seen: &[Seen]) -> String {
    let ops = [
        (Op::Info, "terms"),
        (Op::Quote, "quotes"),
        (Op::Purchase, "purchases"),
        (Op::Insert, "inserts"),
        (Op::Lookup, "look-ups"),
        (Op::Delete, "deletes"),
        (Op::Transfer, "exchanges"),
        (Op::Reissue, "reissues"),
        (Op::BreakglassPut, "cells"),
        (Op::BreakglassOpen, "opens"),
    ];
    let count = |op| seen.iter().filter(|seen| seen.op == op).count();
    let counts = ops.map(|(op, name)| format!("{} {name}", count(op)));
    counts.join(", ")
}

//! Bytes that two requests have in common, whatever they mean; and lengths.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use larder_protocol::Op;

use crate::privacy::recording::{Outcome, Seen};

/// Bytes that are compared at a time, and how many of them in a row one is chosen from: any two requests that
/// share [`RUN`] bytes in a row are found.
const WINDOW: usize = 8;
const CHOSEN_FROM: usize = 9;

/// So many shared bytes in a row are always found.
#[cfg(test)]
pub(crate) const RUN: usize = WINDOW + CHOSEN_FROM - 1;

/// What more than one request in so many has is the same for all.
const COMMON: usize = 4;

/// Pairs of requests that share bytes and are not about one key.
pub(crate) fn links(seen: &[Seen]) -> Vec<(usize, usize)> {
    let mut marks: Vec<(u64, u32)> = Vec::new();
    for (at, seen) in seen.iter().enumerate() {
        marks.extend(chosen(&seen.body).map(|mark| (mark, at as u32)));
    }
    marks.sort_unstable();
    marks.dedup();
    let mut links = BTreeSet::new();
    for group in marks.chunk_by(|one, next| one.0 == next.0) {
        if group.len() < 2 || group.len() * COMMON > seen.len() {
            continue;
        }
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

/// Hashes of some windows: the least of every few in a row.
fn chosen(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let hashes: Vec<u64> = bytes.windows(WINDOW).map(hash).collect();
    let mut last = None;
    let chosen: Vec<u64> = (hashes.windows(CHOSEN_FROM).enumerate())
        .filter_map(|(first, hashes)| {
            let least = (0..CHOSEN_FROM).min_by_key(|at| hashes[*at])?;
            let is_new = last != Some(first + least);
            last = Some(first + least);
            (is_new && hashes[least] != u64::MAX).then_some(hashes[least])
        })
        .collect();
    chosen.into_iter()
}

/// Numbers and lengths say nothing: what is mostly one byte counts for nothing.
fn hash(window: &[u8]) -> u64 {
    let distinct: BTreeSet<&u8> = window.iter().collect();
    if distinct.len() <= WINDOW / 2 {
        return u64::MAX;
    }
    let mut hasher = DefaultHasher::new();
    window.hash(&mut hasher);
    hasher.finish()
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

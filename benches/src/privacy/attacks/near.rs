//! Whatever comes close behind or beside something else is of the same wallet: so the guess.

use std::time::Duration;

use larder_protocol::Op;

use super::Score;
use crate::privacy::recording::{Recording, Seen};

/// Where the other one is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Behind,
}

/// For each of `things` the nearest of `among`, itself and its own key left out, if it is that near.
fn nearest(
    seen: &[Seen],
    things: &[usize],
    among: &[usize],
    side: Side,
    within: Duration,
) -> Vec<(usize, Option<usize>)> {
    let guess = |&thing: &usize| {
        let at = seen[thing].at;
        let is_other = |&&other: &&usize| {
            other != thing && (seen[thing].key.is_none() || seen[other].key != seen[thing].key)
        };
        let here = among.partition_point(|&other| other <= thing);
        let behind = among[here..].iter().find(is_other);
        let before = match side {
            Side::Both => among[..here].iter().rev().find(is_other),
            Side::Behind => None,
        };
        let distance = |&&other: &&usize| seen[other].at.abs_diff(at);
        let near = before.into_iter().chain(behind).min_by_key(distance);
        (
            thing,
            near.copied()
                .filter(|&other| seen[other].at.abs_diff(at) <= within),
        )
    };
    things.iter().map(guess).collect()
}

fn attack(
    recording: &Recording,
    things: &[usize],
    among: &[usize],
    side: Side,
    within: Duration,
) -> Score {
    let guesses = nearest(&recording.seen, things, among, side, within);
    Score::of(recording, &guesses, among)
}

/// The nearest delete, if it is so near.
pub(crate) fn deletes(recording: &Recording, within: Duration) -> Score {
    let all = recording.places(|seen| seen.op == Op::Delete);
    attack(recording, &all, &all, Side::Both, within)
}

/// The nearest reissue, if it is so near.
pub(crate) fn reissues(recording: &Recording, within: Duration) -> Score {
    let all = recording.places(|seen| seen.op == Op::Reissue);
    attack(recording, &all, &all, Side::Both, within)
}

/// About such deletes only; the nearest one may be anybody's.
pub(crate) fn deletes_of(
    recording: &Recording,
    about: &dyn Fn(usize) -> bool,
    within: Duration,
) -> Score {
    nearest_of(recording, Op::Delete, about, within)
}

/// The same about reissues.
pub(crate) fn reissues_of(
    recording: &Recording,
    about: &dyn Fn(usize) -> bool,
    within: Duration,
) -> Score {
    nearest_of(recording, Op::Reissue, about, within)
}

fn nearest_of(
    recording: &Recording,
    op: Op,
    about: &dyn Fn(usize) -> bool,
    within: Duration,
) -> Score {
    let all = recording.places(|seen| seen.op == op);
    let things: Vec<usize> = all.iter().copied().filter(|&at| about(at)).collect();
    attack(recording, &things, &all, Side::Both, within)
}

/// The first payment without a pass behind a quote: a wallet that buys for the first time has none.
pub(crate) fn purchases(recording: &Recording) -> Score {
    let quotes = recording.places(|seen| seen.op == Op::Quote);
    let without = without_pass(recording);
    attack(
        recording,
        &quotes,
        &without,
        Side::Behind,
        Duration::from_secs(600),
    )
}

/// Payments that show no pass.
pub(crate) fn without_pass(recording: &Recording) -> Vec<usize> {
    recording.places(|seen| seen.is_payment() && seen.pass.is_none())
}

/// What has a key and comes right behind an exchange.
pub(crate) fn exchanges(recording: &Recording, within: Duration) -> Score {
    let exchanges = recording.places(|seen| seen.op == Op::Transfer);
    let keyed = recording.places(Seen::is_keyed);
    attack(recording, &exchanges, &keyed, Side::Behind, within)
}

/// What is nearest to the writing of a cell.
pub(crate) fn cells(recording: &Recording) -> Score {
    let cells = recording.places(|seen| seen.op == Op::BreakglassPut);
    let keyed = recording.places(Seen::is_keyed);
    attack(
        recording,
        &cells,
        &keyed,
        Side::Both,
        Duration::from_secs(60),
    )
}

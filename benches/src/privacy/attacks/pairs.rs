//! Any two requests: are they of one wallet?
//!
//! Points are half of true positives less false positives on as many pairs of either kind, in percent: 50 is
//! certainty. How to judge is learned from one half of the time and counted on the other, both ways.

use std::time::Duration;

use larder_protocol::Op;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::trees::{Forest, Sample};
use crate::privacy::recording::{Outcome, Recording, Seen};

/// Pairs of either kind that are looked at, at most.
const PAIRS: usize = 6_000;

/// The advantage over two requests that come within so long, and are not about one key.
pub(crate) fn within(recording: &Recording, time: Duration, seed: u64) -> Option<f64> {
    let all: Vec<usize> = (0..recording.seen.len()).collect();
    judge(recording, &all, time, seed)
}

/// The same of the inserts of these wallets.
pub(crate) fn commits_within(
    recording: &Recording,
    time: Duration,
    wallets: impl Fn(usize) -> bool,
    seed: u64,
) -> Option<f64> {
    let all = 0..recording.seen.len();
    let commits: Vec<usize> = all
        .filter(|&at| recording.seen[at].op == Op::Insert && wallets(recording.who[at].wallet))
        .collect();
    judge(recording, &commits, time, seed)
}

/// The advantage of knowing through which LSP requests come.
pub(crate) fn lsp(recording: &Recording, seed: u64) -> f64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut same, mut other) = ([0_u32; 2], [0_u32; 2]);
    for _ in 0..200_000 {
        let [one, two] = [(); 2].map(|()| rng.random_range(0..recording.seen.len()));
        let kind = match recording.same(one, two) {
            true => &mut same,
            false => &mut other,
        };
        kind[0] += 1;
        kind[1] += u32::from(recording.seen[one].lsp == recording.seen[two].lsp);
    }
    let rate = |[all, positive]: [u32; 2]| f64::from(positive) / f64::from(all.max(1));
    50.0 * (rate(same) - rate(other))
}

/// `None` when there are too few pairs of a kind to tell.
fn judge(recording: &Recording, places: &[usize], time: Duration, seed: u64) -> Option<f64> {
    let last = recording.seen.last()?.at;
    let is_first = |at: Duration| at < last / 2;
    let mut rng = StdRng::seed_from_u64(seed);
    // Same or not, in either half.
    let mut pairs: [[Vec<(usize, usize, usize)>; 2]; 2] = Default::default();
    for (nth, &one) in places.iter().enumerate() {
        for (more, &other) in places[nth + 1..].iter().enumerate() {
            let (first, second) = (&recording.seen[one], &recording.seen[other]);
            if second.at - first.at > time {
                break;
            }
            if first.key.is_none() || first.key != second.key {
                let same = usize::from(recording.same(one, other));
                let half = usize::from(is_first(first.at));
                pairs[half][same].push((one, other, more));
            }
        }
    }
    let mut halves = Vec::new();
    for half in &mut pairs {
        for kind in half.iter_mut() {
            kind.shuffle(&mut rng);
        }
        let count = half[0].len().min(half[1].len()).min(PAIRS);
        if count < 30 {
            return None;
        }
        let samples: Vec<Sample> = half
            .iter()
            .zip([false, true])
            .flat_map(|(kind, same)| kind[..count].iter().map(move |pair| (pair, same)))
            .map(|(pair, same)| sample(&recording.seen, *pair, same))
            .collect();
        halves.push(samples);
    }
    let tested = [(0, 1), (1, 0)]
        .map(|(learnt, tested)| Forest::grown(&halves[learnt]).points(&halves[tested]));
    Some((tested[0] + tested[1]) / 2.0)
}

/// What is known of a pair but through which LSP they came.
fn sample(seen: &[Seen], (one, other, between): (usize, usize, usize), same: bool) -> Sample {
    let (first, second) = (&seen[one], &seen[other]);
    let apart = (second.at - first.at).as_secs_f64();
    let kind = |seen: &Seen| {
        let outcome = match seen.outcome {
            Outcome::Done => 0,
            Outcome::Found => 1,
            Outcome::Absent => 2,
            Outcome::Deleted => 3,
            Outcome::WrongEpoch | Outcome::Refused => 4,
        };
        f64::from(seen.op as u8) * 8.0 + f64::from(outcome)
    };
    let passes = f64::from(u8::from(first.pass.is_some()) + u8::from(second.pass.is_some()));
    let alike = f64::from(u8::from(first.op == second.op));
    let gap = |from: usize, to: Option<usize>| {
        let to = to.and_then(|to| seen.get(to));
        to.map_or(60.0, |to| to.at.abs_diff(seen[from].at).as_secs_f64())
    };
    Sample {
        features: [
            (apart + 1e-4).ln(),
            kind(first),
            kind(second),
            alike,
            passes,
            (between as f64 + 1.0).ln(),
            (gap(one, one.checked_sub(1)) + 1e-4).ln(),
            (gap(other, Some(other + 1)) + 1e-4).ln(),
        ],
        same,
    }
}

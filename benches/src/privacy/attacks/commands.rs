//! What one command asks that an earlier one has asked: whoever asks for the same keys again is the same.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use larder_protocol::{Key, Op};

use crate::privacy::recording::{Outcome, Recording, Who};

/// Look-ups of keys that an earlier command of the same wallet has looked up.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Repeated {
    /// Something was there, or had been.
    pub(crate) there: usize,
    /// Nothing was there the first time: the end of the log, the next anchor. At most for two commands in a row.
    pub(crate) in_vain_at_most: usize,
    /// All of the latter.
    pub(crate) in_vain: usize,
}

/// Look-ups that two commands share. A restore has lost everything, so what it asks for again is let off; what is asked for
/// again behind it is not.
pub(crate) fn repeated(recording: &Recording, restores: &[(usize, u32)]) -> Repeated {
    let mut first: HashMap<(usize, Key), (u32, Outcome)> = HashMap::new();
    let mut pairs: BTreeMap<(usize, u32, u32), usize> = BTreeMap::new();
    let mut repeated = Repeated::default();
    for (seen, who) in recording.seen.iter().zip(&recording.who) {
        let (Op::Lookup, Some(key)) = (seen.op, seen.key) else {
            continue;
        };
        let known = first.insert((who.wallet, key), (who.command, seen.outcome));
        let Some((command, outcome)) = known.filter(|(command, _)| *command != who.command) else {
            continue;
        };
        if restores.contains(&(who.wallet, who.command)) {
            continue;
        }
        match outcome {
            Outcome::Found | Outcome::Deleted => repeated.there += 1,
            _ => {
                repeated.in_vain += 1;
                *pairs.entry((who.wallet, command, who.command)).or_default() += 1;
            }
        }
    }
    repeated.in_vain_at_most = pairs.into_values().max().unwrap_or(0);
    repeated
}

/// Commands that a key ties to an earlier one of the same wallet, deletes apart, and all that could be tied.
pub(crate) fn tied(recording: &Recording) -> (usize, usize) {
    let mut first: HashMap<(usize, Key), u32> = HashMap::new();
    let (mut all, mut tied) = (HashSet::new(), HashSet::new());
    for (seen, who) in recording.seen.iter().zip(&recording.who) {
        let Some(key) = seen
            .key
            .filter(|_| seen.op != Op::Delete && seen.is_keyed())
        else {
            continue;
        };
        let earliest = first.entry((who.wallet, key)).or_insert(who.command);
        if *earliest != who.command {
            tied.insert(*who);
        }
        all.insert(*who);
    }
    // The first of each wallet has none before it.
    let wallets: HashSet<usize> = all.iter().map(|who| who.wallet).collect();
    (tied.len(), all.len() - wallets.len())
}

/// The most look-ups in vain that any command makes, restores apart.
pub(crate) fn in_vain_at_most(recording: &Recording, restores: &[(usize, u32)]) -> usize {
    let mut counts: HashMap<Who, usize> = HashMap::new();
    for (seen, who) in recording.seen.iter().zip(&recording.who) {
        let is_in_vain = seen.op == Op::Lookup && seen.outcome == Outcome::Absent;
        if is_in_vain && !restores.contains(&(who.wallet, who.command)) {
            *counts.entry(*who).or_default() += 1;
        }
    }
    counts.into_values().max().unwrap_or(0)
}

/// Look-ups in vain, and all.
pub(crate) fn in_vain(recording: &Recording) -> (usize, usize) {
    let lookups = recording.places(|seen| seen.op == Op::Lookup);
    let is_in_vain = |at: &&usize| recording.seen[**at].outcome == Outcome::Absent;
    (lookups.iter().filter(is_in_vain).count(), lookups.len())
}

/// Deletes whose key was looked up within so long before, and all.
pub(crate) fn looked_up_before_deletes(recording: &Recording, within: Duration) -> (usize, usize) {
    let mut looked_up: HashMap<Key, Duration> = HashMap::new();
    let (mut found, mut all, mut known) = (0, 0, HashSet::new());
    for seen in &recording.seen {
        let Some(key) = seen.key else { continue };
        match seen.op {
            Op::Lookup => {
                looked_up.insert(key, seen.at);
            }
            Op::Delete if known.insert(key) => {
                all += 1;
                let before = looked_up.get(&key);
                found += usize::from(before.is_some_and(|at| seen.at - *at <= within));
            }
            _ => {}
        }
    }
    (found, all)
}

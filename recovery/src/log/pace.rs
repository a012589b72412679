//! How fast garbage is deleted: all that is drawn for it, and from what.
//!
//! A storage node that sees deletes come close together guesses that they are one wallet's. So they go one by one, at times
//! that are drawn anew for each; and where no program runs that could wait, a command deletes one at most, and the daily
//! upkeep the rest, with pauses that are longer than a command takes. A command leaves two registers behind and more, so a
//! wallet that never runs its upkeep has more and more left to delete.
//!
//! A refund is the smaller the older a blob is, by epochs. So what has been due for longer goes before what came later, and
//! a program that keeps running goes faster when an epoch is about to end. A blob that still waits when the next epoch
//! begins gives back what that epoch lists for its age.

use std::time::Duration;

use rand::{CryptoRng, Rng};

/// In how many of so many commands one is deleted.
const COMMANDS: [u32; 2] = [3, 4];

/// Of the daily upkeep: from a quarter to three of them.
const QUARTERS: u64 = 4;

/// Milliseconds between two deletes of the daily upkeep.
const PAUSE: std::ops::Range<u64> = 2_500..6_500;

/// Seconds in which a program that keeps running deletes two thirds of what is due.
const SPREAD: u64 = 24 * 60 * 60;

/// Seconds between two deletes of such a program, at least and at most.
const GAP: std::ops::RangeInclusive<u64> = 1..=60 * 60;

/// Whether a command deletes one of what is due.
#[must_use]
pub fn one(rng: &mut (impl CryptoRng + ?Sized)) -> bool {
    let [some, all] = COMMANDS;
    rng.random_ratio(some, all)
}

/// Seconds that [`pause`] is on average.
#[must_use]
pub fn mean_pause() -> u64 {
    (PAUSE.start + PAUSE.end).div_ceil(2_000)
}

/// How many of `due` a command deletes that does little else and runs once a day.
#[must_use]
pub fn daily_part(due: u64, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let (least, most) = (due / QUARTERS, due.saturating_mul(3) / QUARTERS);
    rng.random_range(least..=most.max(least).max(due.min(1)))
}

/// How long that waits between two of them.
#[must_use]
pub fn pause(rng: &mut (impl CryptoRng + ?Sized)) -> Duration {
    Duration::from_millis(rng.random_range(PAUSE))
}

/// Seconds until a program that keeps running deletes the next one of `due`; sooner when less than that is left until
/// refunds fall.
pub(crate) fn gap(due: u64, left: Option<u64>, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let spread = SPREAD.min(left.unwrap_or(SPREAD));
    // Drawn below the longest, not cut off there, and never from one number: equal gaps would show.
    let mean = (spread / due.max(1)).clamp(2, GAP.end() / 2);
    rng.random_range(0..=2 * mean).max(*GAP.start())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn the_daily_part_is_the_larger_one_and_no_command_is_like_the_next() {
        let rng = &mut StdRng::seed_from_u64(1);
        let ones = (0..1_000).filter(|_| one(rng)).count();
        assert!((700..800).contains(&ones), "{ones}");
        assert!((0..1_000).all(|_| pause(rng) > Duration::from_secs(2)));
        let daily = (0..1_000).map(|_| daily_part(40, rng));
        assert!(daily.into_iter().all(|drawn| (10..=30).contains(&drawn)));
        assert!((0..99).any(|_| daily_part(1, rng) == 1) && daily_part(0, rng) == 0);
    }

    #[test]
    fn a_program_that_runs_deletes_the_faster_the_more_is_due_and_the_less_time_is_left() {
        let rng = &mut StdRng::seed_from_u64(1);
        let mut mean = |due, left| {
            let drawn: Vec<u64> = (0..5_000).map(|_| gap(due, left, rng)).collect();
            assert!(drawn.iter().all(|gap| GAP.contains(gap)));
            drawn.iter().sum::<u64>() / drawn.len() as u64
        };
        assert!((830..900).contains(&mean(100, None)));
        assert!((80..95).contains(&mean(1_000, None)));
        assert!((33..39).contains(&mean(100, Some(3_600))));
        assert_eq!(mean(u64::MAX, None), 2);
        assert_eq!(mean(100, Some(0)), 2);
        assert!((1_700..1_900).contains(&mean(1, None)));
    }
}

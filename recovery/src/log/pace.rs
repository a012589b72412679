//! How fast garbage is deleted: all that is drawn for it, and from what.
//!
//! A storage node that sees deletes come close together guesses that they are one wallet's. So they go one by one, at times
//! that are drawn anew for each; and where no program runs that could wait, each command deletes a small part of what is due.
//! Both are in proportion to how much is due, so that it does not grow for ever: with `g` registers more per command, some
//! `16 g` wait. A command deletes eight at most, as somebody waits for it: what a large value leaves goes with the
//! daily upkeep, or by and by.
//!
//! A refund is the smaller the older a blob is, by epochs. So the parts grow as an epoch goes on, up to half of what is due
//! on average, but for those eight; and what has been due for longer goes before what came later. A blob that still waits when the next epoch begins
//! gives back what that epoch lists for its age.

use std::time::Duration;

use rand::{CryptoRng, Rng};

/// The mean part of a command, as one of so many, when an epoch begins.
const PART: u64 = 16;

/// The largest part of a command.
const MOST: u64 = 8;

/// Of the daily upkeep: from a quarter to three of them.
const QUARTERS: u64 = 4;

/// The share of an epoch that is over, for [`part`]: in thousandths.
const WHOLE: u64 = 1_000;

/// Milliseconds between two deletes of one command.
const PAUSE: std::ops::Range<u64> = 250..1_500;

/// Seconds in which a program that keeps running deletes two thirds of what is due.
const SPREAD: u64 = 24 * 60 * 60;

/// Seconds between two deletes of such a program, at least and at most.
const GAP: std::ops::RangeInclusive<u64> = 1..=60 * 60;

/// How many registers of `due` a command deletes now. Of an epoch, so many thousandths are over.
#[must_use]
pub fn part(due: u64, over: u64, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let over = over.min(WHOLE);
    let cubed = over * over * over / (WHOLE * WHOLE);
    // Twice the mean is drawn from evenly: an eighth of all that is due at first, all of it at last.
    let share = 2 * WHOLE / PART + (WHOLE - 2 * WHOLE / PART) * cubed / WHOLE;
    let most = due.saturating_mul(share).div_ceil(WHOLE).min(due);
    rng.random_range(0..=most.min(MOST))
}

/// How many a command deletes that does little else and runs once a day.
#[must_use]
pub fn daily_part(due: u64, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let (least, most) = (due / QUARTERS, due.saturating_mul(3) / QUARTERS);
    rng.random_range(least..=most.max(least).max(due.min(1)))
}

/// How long a command waits between two of them.
#[must_use]
pub fn pause(rng: &mut (impl CryptoRng + ?Sized)) -> Duration {
    Duration::from_millis(rng.random_range(PAUSE))
}

/// Seconds until a program that keeps running deletes the next one of `due`; sooner when less than that is left until
/// refunds fall.
pub(crate) fn gap(due: u64, left: Option<u64>, rng: &mut (impl CryptoRng + ?Sized)) -> u64 {
    let spread = SPREAD.min(left.unwrap_or(SPREAD));
    // Drawn below the longest, not cut off there: equal gaps would show.
    let mean = (spread / due.max(1)).min(GAP.end() / 2);
    rng.random_range(0..=2 * mean).max(*GAP.start())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn parts_are_small_and_grow_as_an_epoch_goes_on() {
        let rng = &mut StdRng::seed_from_u64(1);
        let mut mean = |due: u64, over: u64| {
            let drawn: Vec<u64> = (0..20_000).map(|_| part(due, over, rng)).collect();
            assert!(drawn.iter().all(|&drawn| drawn <= due));
            assert!(due == 0 || drawn.contains(&0));
            drawn.iter().sum::<u64>() as f64 / drawn.len() as f64
        };
        assert_eq!(mean(0, 0), 0.0);
        // A sixteenth on average, then a ninth, then half.
        for (due, over, parts) in [
            (32, 0, 1.95..2.05),
            (34, 500, 3.9..4.1),
            (8, 1_000, 3.9..4.1),
            (8, u64::MAX, 3.9..4.1),
            (1_600, 0, 3.9..4.1),
            (1_600, 1_000, 3.9..4.1),
        ] {
            let mean = mean(due, over);
            assert!(parts.contains(&mean), "{due} {over}: {mean}");
        }
        assert!((0.45..0.55).contains(&mean(1, 0)), "a last one goes, too");
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
        assert_eq!(mean(u64::MAX, None), 1);
        assert_eq!(mean(100, Some(0)), 1);
        assert!((1_700..1_900).contains(&mean(1, None)));
    }
}

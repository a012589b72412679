//! What guesses are worth.

use std::collections::HashMap;

use crate::privacy::recording::Recording;

/// How guesses of the kind "this one and that one are of one wallet" came out.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(crate) struct Score {
    /// Things to be guessed about, and those about which a guess was made.
    pub(crate) of: usize,
    pub(crate) guesses: usize,
    pub(crate) right: usize,
    /// As many would be right by chance.
    pub(crate) by_chance: f64,
    /// What all would bring beyond chance if all were right.
    room: f64,
}

impl Score {
    /// Scores one guess, or none, per thing; what it could have named is `among`.
    pub(crate) fn of(
        recording: &Recording,
        guesses: &[(usize, Option<usize>)],
        among: &[usize],
    ) -> Score {
        let mut owned: HashMap<usize, usize> = HashMap::new();
        for &at in among {
            *owned.entry(recording.who[at].wallet).or_default() += 1;
        }
        let mut score = Score::default();
        for &(thing, guess) in guesses {
            let own = usize::from(among.contains(&thing));
            let others = among.len() - own;
            if others == 0 {
                continue;
            }
            let same = owned
                .get(&recording.who[thing].wallet)
                .copied()
                .unwrap_or(0);
            let chance = (same - own.min(same)) as f64 / others as f64;
            score.of += 1;
            score.room += 1.0 - chance;
            if let Some(guess) = guess {
                score.guesses += 1;
                score.by_chance += chance;
                score.right += usize::from(recording.same(thing, guess));
            }
        }
        score
    }

    /// Points of advantage: 0 at chance, 50 at certainty about every thing. Who makes no guess is at chance.
    pub(crate) fn points(&self) -> f64 {
        match self.room {
            room if room > 0.0 => 50.0 * (self.right as f64 - self.by_chance) / room,
            _ => 0.0,
        }
    }

    /// Of the guesses made, in percent.
    pub(crate) fn right_in_percent(&self) -> f64 {
        100.0 * self.right as f64 / self.guesses.max(1) as f64
    }

    pub(crate) fn chance_in_percent(&self) -> f64 {
        100.0 * self.by_chance / self.guesses.max(1) as f64
    }
}

//! What the demo stores.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// A file, as the updates in which a wallet would have written it: mostly small, now and then a
/// large one.
pub(crate) fn cut(content: &[u8]) -> Vec<Vec<u8>> {
    const SIZES: [usize; 6] = [700, 16_000, 1_900, 120_000, 5_000, 640_000];
    let mut updates = Vec::new();
    let mut rest = content;
    for size in SIZES.into_iter().cycle() {
        if rest.is_empty() && !updates.is_empty() {
            break;
        }
        let (update, behind) = rest.split_at(size.min(rest.len()));
        updates.push(update.to_vec());
        rest = behind;
    }
    updates
}

/// Three channels that are opened, used and backed up: channel monitors of a few dozen kilobytes
/// that grow, monitor updates of a few hundred bytes, and the channel manager every few steps.
/// Always the same bytes.
pub(crate) fn wallet_states() -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(253);
    let mut state = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes
    };
    let mut lengths = StdRng::seed_from_u64(1);
    let mut monitors = [0; 3];
    let mut updates = Vec::new();
    for payment in 0..40 {
        let channel: usize = lengths.random_range(0..3);
        if monitors[channel] == 0 {
            monitors[channel] = 24_000;
            updates.push(state(monitors[channel]));
        }
        // LDK writes about five monitor updates per payment; a wallet stores them together.
        let update = lengths.random_range(350..2_200);
        monitors[channel] += update;
        updates.push(state(update));
        if payment % 8 == 7 {
            updates.push(state(9_000 + lengths.random_range(0..3_000)));
        }
        if payment % 20 == 19 {
            updates.push(state(monitors[channel]));
        }
    }
    updates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_updates_of_a_file_make_up_the_file() {
        for len in [0, 1, 700, 701, 1 << 20] {
            let content: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let updates = cut(&content);
            assert!(!updates.is_empty());
            assert_eq!(updates.concat(), content);
        }
    }

    #[test]
    fn the_wallet_states_are_always_the_same_and_of_many_sizes() {
        let states = wallet_states();
        assert_eq!(states, wallet_states());
        assert!(states.iter().any(|state| state.len() > 20_000));
        assert!(states.iter().any(|state| state.len() < 1_000));
    }
}

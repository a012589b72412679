//! The moments at which the storage nodes are asked.
//!
//! Each has a connection, a node id and a way of its own. Asked at the same instant they would still be tied together by
//! the clock alone; so one is asked at once, another one each time, and the others a little later.

use std::time::Duration;

use larder_recovery::quorum::Pause;
use rand::random_range;

/// The longest pause, in milliseconds.
const LONGEST: u64 = 30;

/// The same for deletes, which nobody waits for.
const LONGEST_DELETE: u64 = 1_000;

/// A pause for each of so many.
pub(crate) fn pauses(providers: usize) -> Vec<Pause> {
    drawn(providers, LONGEST)
}

/// A pause for a delete with each of so many.
pub(crate) fn delete_pauses(providers: usize) -> Vec<Pause> {
    drawn(providers, LONGEST_DELETE)
}

fn drawn(providers: usize, longest: u64) -> Vec<Pause> {
    let first = match providers {
        0 => return Vec::new(),
        _ => random_range(0..providers),
    };
    let pauses = (0..providers).map(|at| -> Pause {
        match at == first {
            true => Box::pin(async {}),
            false => {
                let milliseconds = random_range(1..=longest);
                Box::pin(tokio::time::sleep(Duration::from_millis(milliseconds)))
            }
        }
    });
    pauses.collect()
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn one_is_asked_at_once_and_not_always_the_same() {
        assert!(pauses(0).is_empty());
        let mut first = [0; 3];
        for _ in 0..200 {
            let mut cx = Context::from_waker(Waker::noop());
            let mut all = pauses(3);
            let ready: Vec<usize> = (0..3)
                .filter(|at| all[*at].as_mut().poll(&mut cx).is_ready())
                .collect();
            assert_eq!(ready.len(), 1);
            first[ready[0]] += 1;
        }
        assert!(first.iter().all(|times| *times > 0), "{first:?}");
    }
}

//! The timer: each epoch is entered when the one before is over.

use std::sync::Weak;
use std::time::Duration;

use larder_store::StoreError;

use crate::NodeError;
use crate::desk::Desk;

/// How long the end of an epoch is waited for at once: a machine that slept, or whose clock was
/// set, notices by then.
const NAP: Duration = Duration::from_secs(60 * 60);

/// How soon an epoch that could not be entered is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// The same on a full disk, which it takes a person to mend.
const RETRY_WHEN_FULL: Duration = Duration::from_secs(10 * 60);

/// Enters each epoch when it is due, for as long as the desk is there.
pub(crate) async fn keep_epochs(desk: Weak<Desk>) {
    let Some(mut terms) = desk.upgrade().map(|desk| desk.watch_terms()) else {
        return;
    };
    loop {
        let Some(desk) = desk.upgrade() else { return };
        let Some(left) = terms.borrow_and_update().left(desk.clock.now()) else {
            return;
        };
        let left = Duration::from_secs(left);
        let nap = if left.is_zero() {
            let entered = tokio::task::spawn_blocking(move || desk.enter_if_due()).await;
            match entered {
                Ok(Ok(())) => Duration::ZERO,
                Ok(Err(error)) => {
                    tracing::error!("the next epoch was not entered: {error}");
                    retry_after(&error)
                }
                Err(_) => RETRY,
            }
        } else {
            drop(desk);
            left.min(NAP)
        };
        // Whoever enters an epoch by hand wakes us, and so does the end of the node.
        if let Ok(Err(_)) = tokio::time::timeout(nap, terms.changed()).await {
            return;
        }
    }
}

fn retry_after(error: &NodeError) -> Duration {
    match error {
        NodeError::Store(StoreError::NoRoom { .. }) => RETRY_WHEN_FULL,
        _ => RETRY,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::clock::test::At;
    use crate::folder::open_folder;
    use crate::node::sale;
    use crate::{Config, Identity};

    /// The time of the runtime, which a test lets run when nothing else does.
    struct Runtime(Instant);

    impl Clock for Runtime {
        fn now(&self) -> u64 {
            1_800_000_000 + self.0.elapsed().as_secs()
        }
    }

    #[test]
    fn an_epoch_that_a_clock_ran_ahead_to_is_over_when_the_clock_is_put_right() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        let week = u64::from(config.offer.epoch_seconds);
        let open = |now| {
            let (engine, identity) = open_folder(&config, Identity::load_or_create).unwrap();
            let sale = sale(&config, &identity);
            let clock = Arc::new(At(now));
            Desk::open(engine, identity, sale, config.breakglass, clock).unwrap()
        };
        let now = 1_800_000_000;
        let entered = |desk: &Desk| {
            desk.enter_if_due().unwrap();
            desk.terms().ordinal
        };
        assert_eq!(entered(&open(now + 2 * week)), 1);
        // Ahead, but by no more than an epoch: the next one is waited for.
        assert_eq!(entered(&open(now + week)), 1);
        assert_eq!(entered(&open(now + week - 1)), 2);
        // The new one began by the present clock.
        assert_eq!(entered(&open(now + week)), 2);
        assert_eq!(entered(&open(now + 2 * week - 1)), 3);
    }

    #[test]
    fn a_full_disk_is_not_tried_again_every_minute() {
        let full = NodeError::Store(StoreError::NoRoom { missing: 1 });
        assert!(retry_after(&full) >= Duration::from_secs(600));
        assert_eq!(retry_after(&NodeError::Stopped), RETRY);
    }

    #[tokio::test(start_paused = true)]
    async fn each_epoch_is_entered_when_the_one_before_is_over_and_not_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        let (engine, identity) = open_folder(&config, Identity::load_or_create).unwrap();
        let sale = sale(&config, &identity);
        let start = Instant::now();
        let clock = Arc::new(Runtime(start));
        let desk = Desk::open(engine, identity, sale, config.breakglass, clock).unwrap();
        let keeping = tokio::spawn(keep_epochs(Arc::downgrade(&desk)));
        let mut terms = desk.watch_terms();
        let week = Duration::from_secs(config.offer.epoch_seconds.into());
        for number in 1_800_000_001..1_800_000_004 {
            let before = Instant::now();
            terms.changed().await.unwrap();
            assert_eq!(terms.borrow_and_update().epoch, number);
            let lasted = before.elapsed();
            assert!(lasted >= week && lasted < week + NAP, "{lasted:?}");
        }
        // One that was entered by hand lasts as long as any other.
        tokio::time::sleep(week / 2).await;
        desk.enter_next_epoch().unwrap();
        let before = Instant::now();
        assert_eq!(terms.borrow_and_update().epoch, 1_800_000_004);
        terms.changed().await.unwrap();
        assert!(before.elapsed() >= week);
        drop((desk, terms));
        // With the desk it ends.
        keeping.await.unwrap();
    }
}

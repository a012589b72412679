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
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;
    use crate::Config;
    use crate::clock::Clock;
    use crate::folder::{Missing, open_folder};
    use crate::node::{open_desk, sale};

    /// The time of the runtime, which a test lets run when nothing else does.
    struct Runtime(Instant);

    impl Clock for Runtime {
        fn now(&self) -> u64 {
            1_800_000_000 + self.0.elapsed().as_secs()
        }

        fn running(&self) -> Duration {
            self.0.elapsed()
        }
    }

    /// A node that is started again and again, on a machine whose clock is set by hand.
    struct Machine {
        _folder: tempfile::TempDir,
        config: Config,
        /// The clock, and how long the machine has run.
        time: Arc<Mutex<(u64, u64)>>,
    }

    struct ByHand(Arc<Mutex<(u64, u64)>>);

    impl Clock for ByHand {
        fn now(&self) -> u64 {
            self.0.lock().unwrap().0
        }

        fn running(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }
    }

    impl Machine {
        fn at(now: u64) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut config = Config::load(None, Some(folder.path()), []).unwrap();
            config.free_space_floor = 0;
            Machine {
                _folder: folder,
                config,
                time: Arc::new(Mutex::new((now, 0))),
            }
        }

        fn start(&self) -> Result<Arc<Desk>, NodeError> {
            self.start_with(Missing::Both)
        }

        fn start_with(&self, missing: Missing) -> Result<Arc<Desk>, NodeError> {
            let (engine, identity) = open_folder(&self.config, missing)?;
            let clock = Arc::new(ByHand(self.time.clone()));
            open_desk(&self.config, engine, identity, clock)
        }

        /// Restarts with the clock at this time, as after a power cut. Which epoch it is then.
        fn booted_at(&self, now: u64) -> u32 {
            *self.time.lock().unwrap() = (now, 0);
            entered(&self.start().unwrap())
        }

        fn pass(&self, seconds: u64) {
            let mut time = self.time.lock().unwrap();
            *time = (time.0 + seconds, time.1 + seconds);
        }

        fn week(&self) -> u64 {
            self.config.offer.epoch_seconds.into()
        }
    }

    /// The timer's turn: which epoch it is after it, counted from the first.
    fn entered(desk: &Desk) -> u32 {
        desk.enter_if_due().unwrap();
        desk.sweep().unwrap();
        desk.terms().ordinal
    }

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 60 * 60;

    #[test]
    fn boots_with_a_clock_that_is_wrong_enter_nothing_however_many() {
        let machine = Machine::at(NOW);
        let week = machine.week();
        assert_eq!(machine.booted_at(NOW), 1);
        for boot in 1..6 {
            let now = NOW + boot * 3_600;
            // No clock of its own; then it hears what time it is. Or a battery that fails.
            for wrong in [0, 5, NOW - 40 * DAY, now + 40 * DAY, now + week + DAY] {
                assert_eq!(machine.booted_at(wrong), 1, "{boot}: {wrong}");
                assert_eq!(
                    machine.booted_at(now),
                    1,
                    "{boot}: right again after {wrong}"
                );
                // The same without a restart between.
                *machine.time.lock().unwrap() = (wrong, 0);
                let desk = machine.start().unwrap();
                assert_eq!(entered(&desk), 1);
                machine.pass(60);
                machine.time.lock().unwrap().0 = now;
                assert_eq!(entered(&desk), 1, "{boot}: set right after {wrong}");
            }
        }
        // And each epoch that is due is entered, once.
        assert_eq!(machine.booted_at(NOW + week), 2);
        assert_eq!(machine.booted_at(NOW + week + 1), 2);
    }

    #[test]
    fn a_node_whose_clock_never_comes_right_enters_its_epochs_by_the_time_that_it_runs() {
        let machine = Machine::at(NOW);
        let week = machine.week();
        assert_eq!(machine.booted_at(NOW), 1);
        assert_eq!(machine.booted_at(5), 1);
        let desk = machine.start().unwrap();
        for epoch in 1..5 {
            machine.pass(week - 1);
            assert_eq!(entered(&desk), epoch);
            machine.pass(1);
            assert_eq!(entered(&desk), epoch + 1);
        }
    }

    #[test]
    fn a_node_that_was_off_for_long_enters_one_epoch_after_a_day_in_which_its_clock_went_on() {
        let machine = Machine::at(NOW);
        let week = machine.week();
        assert_eq!(machine.booted_at(NOW), 1);
        let now = NOW + 10 * week;
        assert_eq!(machine.booted_at(now), 1);
        let desk = machine.start().unwrap();
        machine.pass(DAY - 1);
        assert_eq!(entered(&desk), 1);
        machine.pass(1);
        assert_eq!(entered(&desk), 2);
        machine.pass(week - 1);
        assert_eq!(entered(&desk), 2);
        drop(desk);
        // Or at once, if the operator vouches for it.
        assert_eq!(machine.booted_at(now + 9 * week), 2);
        let (engine, identity) = open_folder(&machine.config, Missing::Both).unwrap();
        let sale = sale(&machine.config, &identity);
        let vouched = Arc::new(Vouched(now + 9 * week));
        let desk = Desk::open(engine, identity, sale, machine.config.breakglass, vouched);
        assert_eq!(entered(&desk.unwrap()), 3);
        assert_eq!(machine.booted_at(now + 9 * week), 3);
    }

    #[test]
    fn a_node_that_is_restarted_twice_a_day_comes_to_believe_its_clock_too() {
        let machine = Machine::at(NOW);
        let week = machine.week();
        assert_eq!(machine.booted_at(NOW), 1);
        let back = NOW + 10 * week;
        let mut entered_on = Vec::new();
        for boot in 0..10 {
            *machine.time.lock().unwrap() = (back + boot * DAY / 2, 0);
            let desk = machine.start().unwrap();
            // Killed shortly before the next one; each hour it notes what it knows.
            for _ in 0..11 {
                machine.pass(3_600);
                if entered(&desk) == 2 {
                    entered_on.push(boot);
                }
            }
        }
        assert_eq!(entered_on.first(), Some(&2));
        let believed = machine.start().unwrap().clock.now();
        assert_eq!(believed, machine.time.lock().unwrap().0);
    }

    struct Vouched(u64);

    impl Clock for Vouched {
        fn now(&self) -> u64 {
            self.0
        }

        fn running(&self) -> Duration {
            Duration::ZERO
        }

        fn is_vouched_for(&self) -> bool {
            true
        }
    }

    #[test]
    fn an_epoch_that_a_clock_ran_ahead_to_lasts_from_when_the_clock_that_was_put_right_is_believed()
    {
        // Nothing was remembered when it began, so the clock was believed.
        let machine = Machine::at(NOW);
        let week = machine.week();
        assert_eq!(machine.booted_at(NOW + 3 * week), 1);
        assert_eq!(machine.booted_at(NOW), 1);
        let desk = machine.start().unwrap();
        machine.pass(DAY - 1);
        assert_eq!(entered(&desk), 1);
        machine.pass(1);
        assert_eq!(entered(&desk), 1);
        machine.pass(week / 2);
        drop(desk);
        // A restart does not begin it anew.
        let desk = machine.start().unwrap();
        machine.pass(week - week / 2 - 1);
        assert_eq!(entered(&desk), 1);
        machine.pass(1);
        assert_eq!(entered(&desk), 2);
        machine.pass(week - 1);
        assert_eq!(entered(&desk), 2);
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_steady_day_costs_one_epoch_and_not_another_when_it_is_put_right()
    {
        for wrong in [NOW + 300 * DAY, NOW - 300 * DAY] {
            let machine = Machine::at(NOW);
            let desk = machine.start().unwrap();
            let mut passed = 0;
            let mut at = |clock: u64, days: u64| {
                machine.time.lock().unwrap().0 = clock + passed;
                for _ in 0..24 * days {
                    machine.pass(3_600);
                    entered(&desk);
                }
                passed += days * DAY;
                (desk.terms().ordinal, desk.clock.now() == clock + passed)
            };
            let (_, believed) = at(wrong, 2);
            assert!(believed);
            let (ordinal, believed) = at(NOW, 2);
            assert!(believed);
            assert_eq!(ordinal, 2, "{wrong}");
        }
    }

    #[test]
    fn a_first_start_with_a_clock_that_cannot_be_right_is_refused_and_enters_no_last_epoch() {
        let machine = Machine::at(5);
        // Never set; and what others are without their battery.
        for wrong in [5, 4_080_000_000, 4_400_000_000, u64::MAX] {
            machine.time.lock().unwrap().0 = wrong;
            assert!(
                matches!(machine.start(), Err(NodeError::Clock(_))),
                "{wrong}"
            );
        }
        machine.time.lock().unwrap().0 = NOW;
        assert_eq!(machine.start().unwrap().terms().epoch, NOW as u32);
    }

    #[test]
    fn a_new_store_beside_its_seed_goes_on_after_the_epoch_that_was_published_whatever_the_clock_says()
     {
        // Ahead at the first start; or behind at the next one.
        for (first, next) in [(NOW + 40 * 365 * DAY, NOW), (NOW, NOW - 300 * DAY)] {
            let machine = Machine::at(first);
            let published = machine.start().unwrap().terms().epoch;
            std::fs::remove_dir_all(machine.config.store_path()).unwrap();
            *machine.time.lock().unwrap() = (next, 0);
            let desk = machine.start_with(Missing::Store).unwrap();
            assert_eq!(desk.terms().epoch, published + 2);
            drop(desk);
            assert_eq!(machine.start().unwrap().terms().epoch, published + 2);
        }
    }

    #[test]
    fn damaged_words_of_the_terms_stop_no_store_that_knows_its_epochs_and_every_new_one() {
        let machine = Machine::at(NOW);
        let published = machine.start().unwrap().terms().epoch;
        let terms = machine.config.data_dir.join("terms");
        let sound = std::fs::read(&terms).unwrap();
        std::fs::write(&terms, &sound[..9]).unwrap();
        assert_eq!(machine.start().unwrap().terms().epoch, published);
        assert_eq!(std::fs::read(&terms).unwrap(), sound);
        for damaged in [&[0xff; 70], &sound[..9], &[]] {
            std::fs::write(&terms, damaged).unwrap();
            let _ = std::fs::remove_dir_all(machine.config.store_path());
            let refused = machine.start_with(Missing::Store).map(drop);
            assert!(
                matches!(refused, Err(NodeError::File { .. })),
                "{damaged:?}"
            );
        }
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
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
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

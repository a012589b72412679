//! The timer: breakglass cells that are gone are removed from the disk, too; and the store is told what time it is,
//! by which the next start judges its clock.
//!
//! From its deadline on nobody gets a cell, whether or not it was removed: this is only so that
//! its bytes do not stay.

use std::sync::Weak;
use std::time::Duration;

use crate::NodeError;
use crate::desk::Desk;

/// How long the bytes of a cell stay after its deadline, at most, while the node runs.
const PERIOD: Duration = Duration::from_secs(60 * 60);

/// Removes what is gone, at once and then every hour, for as long as the desk is there.
pub(crate) async fn keep_sweeping(desk: Weak<Desk>) {
    let Some(mut end) = desk.upgrade().map(|desk| desk.watch_terms()) else {
        return;
    };
    loop {
        let Some(desk) = desk.upgrade() else { return };
        match tokio::task::spawn_blocking(move || desk.sweep()).await {
            Ok(Ok(())) => {}
            // Those who commit tell of a store that has stopped.
            Ok(Err(error)) => tracing::error!("the hourly sweep of the store failed: {error}"),
            Err(_) => tracing::error!("removing opened cells has panicked: please report it"),
        }
        let next = tokio::time::Instant::now() + PERIOD;
        // An epoch that is entered meanwhile is not what is waited for; the desk's end is.
        while let Ok(changed) = tokio::time::timeout_at(next, end.changed()).await {
            if changed.is_err() {
                return;
            }
        }
    }
}

impl Desk {
    /// Notes the time, and removes the cells that are gone by now.
    pub(crate) fn sweep(&self) -> Result<(), NodeError> {
        self.note_time()?;
        while self.drop_cells()? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use larder_protocol::{CELL_BYTES, Cell, Key};
    use larder_store::{Change, Effect, Engine};
    use secp256k1::{PublicKey, SECP256K1, SecretKey};
    use tokio::time::Instant;

    use super::*;
    use crate::clock::Clock;
    use crate::folder::{Missing, open_folder};
    use crate::{Breakglass, Config};

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

    fn key(number: u8) -> Key {
        let secret = SecretKey::from_slice(&[number; 32]).unwrap();
        PublicKey::from_secret_key(SECP256K1, &secret).into()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_is_removed_at_the_start_and_within_the_hour_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(folder.path()), []).unwrap();
        config.free_space_floor = 0;
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        let clock = Arc::new(Runtime(Instant::now()));
        let now = clock.now();
        // One is gone already, one will be in a quarter of an hour; one nobody has opened.
        for (number, deadline) in [(1, Some(now)), (2, Some(now + 900)), (3, None)] {
            let put = Change::PutCell {
                key: key(number),
                sequence: 0,
                cell: Box::new(Cell([number; CELL_BYTES])),
                now: 0,
            };
            engine.commit(vec![Effect::unpaid(put)]).unwrap();
            if let Some(deadline) = deadline {
                let doom = Change::DoomCell {
                    key: key(number),
                    deadline,
                    now: 0,
                };
                engine.commit(vec![Effect::unpaid(doom)]).unwrap();
            }
        }
        let stored = || engine.usage().unwrap().cells;
        let breakglass = Breakglass::default();
        let desk = Desk::open(engine.clone(), identity, None, breakglass, clock).unwrap();
        assert_eq!(stored(), 3);
        let sweeping = tokio::spawn(keep_sweeping(Arc::downgrade(&desk)));
        let swept = |left| {
            let engine = engine.clone();
            async move {
                while engine.usage().unwrap().cells > left {
                    tokio::task::yield_now().await;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let start = Instant::now();
        swept(2).await;
        assert!(start.elapsed() < Duration::from_secs(600));
        swept(1).await;
        let took = start.elapsed();
        assert!(
            took >= Duration::from_secs(900) && took < 2 * PERIOD,
            "{took:?}"
        );
        tokio::time::sleep(3 * PERIOD).await;
        assert_eq!(stored(), 1);
        drop(desk);
        // With the desk it ends.
        sweeping.await.unwrap();
    }
}

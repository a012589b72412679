//! Group commit: one thread turns whatever is in flight into the next batch.
//!
//! While a batch waits for the disk, the next one gathers; so the more there is to do, the
//! more effects share one wait. An effect that comes alone is committed at once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::{Effect, Engine, Outcome, StoreError};

/// Hears what became of an effect, on the committer's thread; it must neither block nor
/// panic. The error is shared by all effects of the batch that failed.
pub type Done = Box<dyn FnOnce(Result<Outcome, Arc<StoreError>>) + Send>;

/// The committer's queue is full, and the effect was not taken: its `Done` is never called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many effects are waiting to be committed")]
pub struct Busy;

/// What bounds a committer's memory, in effects of at most one blob each.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Effects that may wait for the next batch.
    pub queue: usize,
    /// Effects in one batch.
    pub batch: usize,
}

impl Default for Limits {
    /// 1,024 waiting (16 MiB), 256 in a batch.
    fn default() -> Self {
        Limits {
            queue: 1024,
            batch: 256,
        }
    }
}

struct Job {
    effect: Effect,
    done: Done,
}

/// The thread that commits.
///
/// Dropping it commits what was taken and waits for that.
pub struct Committer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the system has no thread left.
    pub fn start(engine: Arc<dyn Engine>, limits: Limits) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(limits.queue);
        let thread = std::thread::Builder::new()
            .name("larder-commit".to_owned())
            .spawn(move || run(&*engine, &receiver, limits.batch))
            .map_err(StoreError::io("start the committer's thread"))?;
        Ok(Committer {
            jobs: Some(sender),
            thread: Some(thread),
        })
    }

    /// Takes an effect into the next batch; `done` is called when it is durable, or was
    /// found to have nothing to do, or has failed.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full; it never blocks.
    pub fn submit(&self, effect: Effect, done: Done) -> Result<(), Busy> {
        let jobs = self.jobs.as_ref().ok_or(Busy)?;
        jobs.try_send(Job { effect, done })
            .map_err(|refused| match refused {
                TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
            })
    }

    /// Commits what was taken, and ends the thread.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Without a sender the thread drains the queue and ends.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, was reported when it happened.
            let _ = thread.join();
        }
    }
}

fn run(engine: &dyn Engine, jobs: &Receiver<Job>, batch: usize) {
    while let Ok(first) = jobs.recv() {
        let (effects, waiting): (Vec<Effect>, Vec<Done>) = std::iter::once(first)
            .chain(jobs.try_iter().take(batch.saturating_sub(1)))
            .map(|job| (job.effect, job.done))
            .unzip();
        match engine.commit(effects) {
            Ok(outcomes) => {
                for (done, outcome) in waiting.into_iter().zip(outcomes) {
                    done(Ok(outcome));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for done in waiting {
                    done(Err(Arc::clone(&error)));
                }
            }
        }
    }
}

//! How far a restore has come.
//!
//! [`Watched`] registers tell a listener what was read through them. Give them to a [`Log`](super::Log) or a
//! [`Map`](super::map::Map) in place of the registers they watch:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use larder_recovery::log::{Registers, map::Map, progress::Watched};
//! # use rand::rngs::StdRng;
//! # type Done = Result<(), larder_recovery::RecoveryError>;
//! # async fn example(registers: Arc<dyn Registers>, mut rng: StdRng) -> Done {
//! let watched = Watched::new(registers, |progress| println!("{progress:?}"));
//! let map = Map::open(Arc::new(watched), &mut rng, None).await?;
//! # Ok(()) }
//! ```
//!
//! How long the snapshot is stands in the anchor, which is found first. How many entries follow
//! it nobody knows before they are read; roll-ups keep them few.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::Manifest;
use super::register::{Answer, Look, Put, Registers};
use crate::seal::Contents;
use crate::{Lane, Purpose, Removed, Slot};

/// What was read, in blobs. Only ever grows, but for the snapshot when another device rolls up meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Of the snapshot.
    pub snapshot: u64,
    /// How many the snapshot has; `None` until the anchor is found, and before the first roll-up, when there is none.
    pub snapshot_of: Option<u64>,
    /// Entries and seals behind the snapshot.
    pub entries: u64,
    /// Of records that are too large for an entry, and of values.
    pub chunks: u64,
}

/// Registers that tell a listener what is read.
pub struct Watched {
    registers: Arc<dyn Registers>,
    seen: Mutex<Seen>,
}

struct Seen {
    progress: Progress,
    /// The newest anchor found, and where its snapshot is.
    anchor: (u64, Option<Lane>),
    listener: Box<dyn FnMut(Progress) + Send>,
}

impl Watched {
    /// Has `listener` called after every blob. It must not use the registers.
    pub fn new(
        registers: Arc<dyn Registers>,
        listener: impl FnMut(Progress) + Send + 'static,
    ) -> Self {
        Watched {
            registers,
            seen: Mutex::new(Seen {
                progress: Progress::default(),
                anchor: (0, None),
                listener: Box::new(listener),
            }),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, slot: Slot, contents: &Contents) {
        let progress = &mut self.progress;
        match slot.purpose {
            Purpose::Anchor => {
                let manifest = Manifest::of_anchor(contents);
                let (newest, snapshot) = &mut self.anchor;
                let Some(manifest) = manifest.filter(|_| slot.index > *newest) else {
                    return;
                };
                (*newest, *snapshot) = (slot.index, Some(Lane(manifest.snapshot.entropy)));
                progress.snapshot = 0;
                progress.snapshot_of = Some(manifest.snapshot.count());
            }
            Purpose::Chunk if Some(slot.lane) == self.anchor.1 => progress.snapshot += 1,
            Purpose::Chunk => progress.chunks += 1,
            _ => progress.entries += 1,
        }
        (self.listener)(self.progress);
    }
}

impl Registers for Watched {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        self.registers.insert(slot, contents)
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            let look = self.registers.lookup(slot).await;
            if let Ok(Look::Found(contents)) = &look {
                self.seen().take(slot, contents);
            }
            look
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.registers.delete(slot)
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        self.registers.erase(slot, contents)
    }
}

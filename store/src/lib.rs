//! Storage engines behind one trait; [`SledEngine`] is the default.
//!
//! # What an engine promises
//!
//! * **Insert if absent, delete with a tombstone, look-up.** A key that was deleted can
//!   never be inserted again while its tombstone lives.
//! * **A breakglass cell only goes forward,** to higher sequences. Once opened it is gone at its
//!   deadline, whoever asks, and whether or not the store was open then.
//! * **A change and what pays for it are one.** An [`Effect`] may bring a ledger's entry
//!   along: both become durable, or neither, and a pair or a claim is used once.
//! * **Durable before acknowledged.** When [`Engine::commit`] returns, every effect of the
//!   batch survives `kill -9` and a power cut; what has not been made durable yet is not
//!   shown to readers either. A batch is there as a whole or not at all.
//! * **Corruption is reported, never served.** A blob is checked against its SHA-256 on
//!   every read, an index against its tallies on every opening.
//! * **Bounded memory,** whatever the number of blobs: one bit per slot and a cache of the
//!   size that was asked for.
//! * **A bounded disk.** What an epoch leaves behind, rows and tombstones, is forgotten as a
//!   whole, and [`Engine::enter`] gives its room back.
//!
//! Engines block; [`Committer`] is the thread on which commits run, and turns whatever is
//! in flight into the next batch. Every engine passes the tests of the `suite` module
//! (feature `suite`).
//!
//! # How it fails
//!
//! Every error is a [`StoreError`], written for the operator. After an error in a commit
//! an engine acknowledges nothing until it is opened anew; look-ups go on. An epoch that
//! could not be entered leaves the one before in force.
//!
//! The byte-level format is `docs/store-format.md`.

mod books;
#[cfg(test)]
mod cell_secrecy;
mod cells;
mod claims;
mod committer;
#[cfg(test)]
mod cut_disk;
mod database;
mod engine;
mod epochs;
mod error;
#[cfg(test)]
mod false_cache;
mod folder;
mod free_slots;
mod in_flight;
mod in_use;
mod index;
mod judge;
mod ledger_record;
#[cfg(test)]
mod many_epochs;
mod medium;
mod notes;
mod options;
mod overlay;
#[cfg(test)]
mod power_cut;
mod presence;
mod record;
#[cfg(test)]
mod refusing_disk;
mod rewrite;
mod room;
mod room_to_open;
mod sled_engine;
mod slot_file;
mod table;
mod verify;
mod view;

#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use cells::StoredCell;
pub use committer::{Busy, Committer, Done, Limits};
pub use engine::{Change, Effect, Engine, OpenedClaim, Outcome, Payment, Reading, Stat, Usage};
pub use epochs::{Enter, Epochs};
pub use error::{Place, StoreError};
pub use notes::{DoubtedClock, Notes};
pub use options::Options;
pub use presence::{Presence, presence};
pub use sled_engine::SledEngine;
pub use verify::{Findings, verify};

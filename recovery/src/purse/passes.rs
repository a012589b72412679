//! The [passes](larder_protocol::pass) that a purse knows, and which of them it shows.
//!
//! They come with answers to what was paid for, and count if the newest terms commit to both: any other could be
//! a mark that only this client has. Those that do not count are passed over, because nobody need be at fault: an
//! epoch may have begun while the answer was under way. They are written down, once an epoch, or a client that has
//! started again would be known by the pass that it lacks. A purse that has none works as well, but for a flood.

use larder_protocol::record::Tariff;
use larder_protocol::{Pass, Reply};

use super::Inner;
use super::book::Book;
use super::event::Event;
use super::journal::JournalError;

/// The passes of an epoch and of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Passes {
    pub(super) epoch: u32,
    pub(super) both: [Pass; 2],
}

impl Passes {
    /// That of this epoch, if it is one of the two.
    pub(super) fn of(&self, epoch: u32) -> Option<Pass> {
        let after = epoch.checked_sub(self.epoch)?;
        self.both.get(usize::try_from(after).ok()?).copied()
    }

    /// Whether these are the ones that everybody is promised.
    fn are_as_published(&self, tariff: &Tariff) -> bool {
        Some(self.both.map(|pass| pass.commitment())) == tariff.passes
    }
}

impl Book {
    /// What a paid request may be shown with now.
    pub(super) fn pass(&self) -> Option<Pass> {
        self.passes?.of(self.now()?.record.epoch)
    }
}

impl Inner {
    /// Writes down the passes that an answer brings, if they are new.
    pub(super) fn learn_passes(&mut self, reply: &Reply) -> Result<(), JournalError> {
        let (Some(both), Some(terms)) = (&reply.extension.passes, self.book.now()) else {
            return Ok(());
        };
        let passes = Passes {
            epoch: terms.record.epoch,
            both: **both,
        };
        if self.book.passes == Some(passes) || !passes.are_as_published(&terms.tariff) {
            return Ok(());
        }
        self.record(Event::Passes(passes))
    }
}

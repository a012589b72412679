//! The [passes](larder_protocol::pass) that a purse knows, and which of them it shows.
//!
//! They come with every answer to what has a price and with every purchase, so that what is paid for with the tokens of
//! one is not known by having none; as long as the epoch lasts in which that was paid. They count
//! if the newest terms commit to both: any other could be a mark that only this client has. An answer of the
//! present epoch that lacks them does not count itself: a storage node that gave them to one client only would
//! know it by what it shows, and only those who were given none can tell. In a later epoch nothing is missed.
//!
//! They are shown with all that a session sends but its questions for the terms and the opening of a cell. They
//! are written down, once an epoch, or a client that has started again would be known by the pass that it lacks. A
//! purse that has none works as well, but for a flood.

use larder_protocol::record::Tariff;
use larder_protocol::{Op, Pass, Record, Reply};

use super::event::Event;
use super::journal::JournalError;
use super::lease::Lease;
use super::rules::price;
use super::{Inner, Purse};

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
}

impl Purse {
    /// What a request may be shown with under these terms, the newest.
    pub(crate) fn pass(&self, now: &Record) -> Option<Pass> {
        now.tariff.as_ref()?.passes?;
        self.lock().book.passes?.of(now.epoch)
    }

    /// Whether an answer lacks the passes that everybody is promised with it, as far as the newest terms say.
    pub(crate) fn misses_passes(&self, lease: &Lease<'_>, reply: &Reply) -> bool {
        let inner = self.lock();
        let (Some(asked), Some(terms)) = (inner.book.asked(lease.id), inner.book.now()) else {
            return false;
        };
        // What was performed was so in the epoch that it was built for, and no other.
        let promised = reply.replacement.is_some()
            && !inner.is_renewed(lease)
            && asked.epoch == terms.credentials.current()
            && brings_passes(&terms.tariff, asked.request.call.op());
        promised && terms.tariff.passes.is_some() && published(reply, &terms.tariff).is_none()
    }
}

/// Whether something is paid for this. A reissue costs nothing, however often it is made.
fn brings_passes(tariff: &Tariff, op: Op) -> bool {
    op == Op::Purchase || price(tariff, op) > 0
}

/// The passes in an answer, if they are the ones that everybody is promised.
fn published(reply: &Reply, tariff: &Tariff) -> Option<[Pass; 2]> {
    let both = reply.extension.passes.as_deref().copied()?;
    (Some(both.map(|pass| pass.commitment())) == tariff.passes).then_some(both)
}

impl Inner {
    /// Writes down the passes that an answer brings, if they are new.
    pub(super) fn learn_passes(&mut self, reply: &Reply) -> Result<(), JournalError> {
        let Some(terms) = self.book.now() else {
            return Ok(());
        };
        let (epoch, both) = (terms.record.epoch, published(reply, &terms.tariff));
        match both.map(|both| Passes { epoch, both }) {
            Some(passes) if self.book.passes != Some(passes) => self.record(Event::Passes(passes)),
            _ => Ok(()),
        }
    }
}

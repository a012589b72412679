//! Which epoch follows which: the only place where epochs are entered.
//!
//! It promises that what is published for an epoch was durable before anybody could see it, and
//! stays the same for as long as the epoch lasts, whatever the configuration says by then; and
//! that an epoch which was closed stays closed.
//!
//! | when | epoch entered | closed |
//! | --- | --- | --- |
//! | a store without any | the unix time, or the next but one after that which was published last, if that is later | all earlier ones |
//! | an epoch ends | the next | what is older than the earlier ones whose credentials its record says the next one takes |
//! | `larderd restore` | the unix time, or the next but one of the store or of what was published, if that is later | all earlier ones |
//!
//! An epoch lasts a minute at least, so the time in seconds is later than any epoch that was
//! entered before a loss, even by a store of which nothing is left: one that begins anew beside
//! a seed that was kept takes nothing that the lost one has issued or taken. Where the clock ran ahead before, or is
//! behind now, that is not so; then what was published ([`published`](crate::published)) tells.

use std::sync::Arc;

use larder_credentials::Epoch;
use larder_credentials::ledger::Floor;
use larder_store::{Change, Effect, Engine, Enter, Epochs};

use crate::NodeError;
use crate::believed::could_be;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::offer::Offer;
use crate::terms::{Terms, published, record_for};

/// Who enters epochs.
pub(crate) struct Succession {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) identity: Identity,
    /// What is asked from the next epoch on; nothing on a node that serves for free.
    pub(crate) offer: Option<Offer>,
    /// Seconds from the opening of a breakglass cell to its deletion, from the next epoch on.
    pub(crate) breakglass_seconds: u32,
    pub(crate) clock: Arc<dyn Clock>,
    /// How far the epochs had come by what lies beside the store, which may be new or from a backup.
    pub(crate) passed: Option<Epoch>,
}

impl Succession {
    /// The terms that hold now, as the store knows them; of the first epoch if there was none.
    pub(crate) fn present(&self) -> Result<Terms, NodeError> {
        let stored = self.engine.epochs()?;
        let Some(offer) = &self.offer else {
            // Ages go on being counted from where payment left them.
            let ordinal = stored.map_or(0, |epochs| epochs.ordinal);
            let seconds = self.breakglass_seconds;
            return Ok(Terms::unpaid(&self.identity, ordinal, seconds));
        };
        match stored {
            Some(epochs) => Terms::of_epoch(&self.identity, &epochs),
            None => self.close_all(offer),
        }
    }

    /// Enters the next epoch. A node that serves for free has none.
    pub(crate) fn next(&self) -> Result<Terms, NodeError> {
        let (Some(offer), Some(epochs)) = (&self.offer, self.engine.epochs()?) else {
            return self.present();
        };
        let next = after(epochs.floor.current)?;
        let oldest = next.oldest_live(self.promised(&epochs).unwrap_or(offer.earlier_epochs));
        self.enter(offer, next, oldest, epochs.ordinal)
    }

    /// Has the present epoch count from now on.
    pub(crate) fn date(&self, now: u64) -> Result<Terms, NodeError> {
        let dated = Change::DateEpoch { since: now };
        self.engine.commit(vec![Effect::unpaid(dated)])?;
        self.present()
    }

    /// Enters an epoch later than any before, those included that this store has forgotten, and
    /// closes all of them.
    pub(crate) fn close_all(&self, offer: &Offer) -> Result<Terms, NodeError> {
        let stored = self.engine.epochs()?;
        let (reached, ordinal) = match &stored {
            Some(Epochs { floor, ordinal, .. }) => (floor.current, *ordinal),
            None => (Epoch(0), 0),
        };
        let now = self.clock.now();
        could_be(now)?;
        let time = u32::try_from(now).unwrap_or(u32::MAX);
        // Number 0 is for free service.
        let reached = reached.max(self.passed.unwrap_or(Epoch(0)));
        // The very next one is held to what the last one promised, and here that is broken.
        let next = after(after(reached)?)?.max(Epoch(time));
        self.enter(offer, next, next, ordinal)
    }

    /// How many earlier epochs the next one takes credentials of, as clients were told; whatever is configured since then holds
    /// one epoch later.
    fn promised(&self, epochs: &Epochs) -> Option<u32> {
        let record = published(epochs, &self.identity.server_key())?;
        record.tariff.map(|tariff| tariff.next_takes.into())
    }

    fn enter(
        &self,
        offer: &Offer,
        current: Epoch,
        oldest: Epoch,
        ordinal: u32,
    ) -> Result<Terms, NodeError> {
        let stored = self.engine.epochs()?;
        // What was closed stays closed, whatever this configuration accepts.
        let closed = stored.as_ref().map(|epochs| epochs.floor.oldest);
        let oldest = closed.map_or(oldest, |closed| closed.max(oldest));
        let floor = Floor { oldest, current };
        let promised = stored.as_ref().and_then(|epochs| self.promised(epochs));
        let earlier = promised.map_or(offer.earlier_epochs, |earlier| {
            earlier.max(offer.earlier_epochs)
        });
        let seconds = self.breakglass_seconds;
        let record = record_for(&self.identity, offer, seconds, stored.as_ref(), floor);
        let next = Enter {
            floor,
            since: self.clock.now(),
            terms: record.encode(),
            // A tombstone outlives the credentials of the epoch in which it was made.
            tombstones_before: (ordinal + 1).saturating_sub(earlier),
        };
        match self.engine.enter(next)? {
            Ok(epochs) => Terms::of_epoch(&self.identity, &epochs),
            Err(past) => Err(NodeError::Past(past)),
        }
    }
}

/// The epoch after this one.
fn after(epoch: Epoch) -> Result<Epoch, NodeError> {
    let next = epoch.0.checked_add(1);
    next.map(Epoch).ok_or(NodeError::LastEpoch)
}

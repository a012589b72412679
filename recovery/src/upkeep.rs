//! What a purse needs now and then, whether anything is stored or not.

use crate::purse::{Move, Purse};
use crate::{Provider, RecoveryError};

/// What an upkeep has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Requests from before a crash or an error that were settled.
    pub settled: u64,
    /// Pairs that were moved from an older epoch into the current one.
    pub reissued: u64,
    /// Times that credentials were gathered, because no two sufficed for an insert.
    pub gathered: u64,
    /// Pairs that were exchanged ahead of need, because a page lists them.
    pub prepared: u64,
    /// Pairs that are due to be moved and wait for their turn.
    pub waiting: u64,
    /// When to call again for the next pair, in unix seconds. A new epoch may make it sooner.
    pub next: Option<u64>,
}

impl Provider {
    /// Sends again what a crash left in flight, moves credentials of older epochs before they
    /// expire, and has credentials ready that pay as they are. Call it at every start, and when
    /// [`next`](Upkeep::next) has come while running; `now` is in unix seconds.
    ///
    /// Each pair is moved at a random time of its own in the first quarter of an epoch, as this
    /// client sees it, and a call moves one at most: two that come together are one wallet's. Pairs that
    /// are due already wait for later calls. What the next epoch refuses, as the terms say, would be lost with it, so
    /// all of that is moved at once. So a call in each epoch suffices to lose nothing, and as many calls in an
    /// epoch as there are pairs suffice for none to be moved beside another. A purse that is not
    /// kept up for as many epochs as a storage node accepts loses its tokens.
    ///
    /// One exchange at most is made as well, when no pair was moved: credentials are gathered when no two suffice for
    /// an insert, or [taken off a page](crate::breakglass) ahead of need.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`], and those of any operation; calling it again is safe. All that
    /// can be done is done, even when a request from before cannot be settled.
    pub async fn upkeep(&self, now: u64) -> Result<Upkeep, RecoveryError> {
        self.refresh().await?;
        self.tend(now).await
    }

    /// The same under the terms as of the last answer, for whoever has just connected: when
    /// nothing is due and the terms are known, nothing is sent.
    ///
    /// # Errors
    /// As [`Provider::upkeep`].
    pub async fn tend(&self, now: u64) -> Result<Upkeep, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        self.compare_terms().await?;
        let mut done = Upkeep::default();
        let settled = self.keep_from_loss(purse, now, true, &mut done).await?;
        if done.reissued == 0 {
            if let Some(mut lease) = purse.tidy(self.nonce())? {
                done.gathered += u64::from(self.prepare(purse, &mut lease).await?);
            } else if let Some(mut lease) = purse.ahead(self.nonce())? {
                done.prepared += u64::from(self.prepare(purse, &mut lease).await?);
            }
        }
        settled.map(|()| done)
    }

    /// Only what cannot wait: what a crash left in flight, and what would be lost with the next epoch. For whoever has
    /// come to do something else, and [tends](Provider::tend) to the rest when that is done.
    ///
    /// # Errors
    /// As [`Provider::upkeep`].
    pub async fn resume(&self, now: u64) -> Result<Upkeep, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        let mut done = Upkeep::default();
        let settled = self.keep_from_loss(purse, now, false, &mut done).await?;
        settled.map(|()| done)
    }

    /// Takes back what another copy of the purse has made of what this one held, for whoever knows that the other one
    /// is not used any more. Each credential is followed to what it became, with exchanges only and a fee for each that is
    /// left, which ties to each other all that the other copy did with them.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`], and those of any operation; calling it again goes on with it.
    pub async fn take_back(&self) -> Result<(), RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        if purse.holdings().elsewhere.is_none() {
            return Ok(());
        }
        while let Some(mut lease) = purse.take_back(self.nonce())? {
            self.prepare(purse, &mut lease).await?;
        }
        Ok(())
    }

    /// Settles what is in flight and moves pairs: those that expire next, and one that is due if one `may` be moved
    /// that has time. What could not be settled keeps none from being moved; it is the inner error.
    async fn keep_from_loss(
        &self,
        purse: &Purse,
        now: u64,
        mut may: bool,
        done: &mut Upkeep,
    ) -> Result<Result<(), RecoveryError>, RecoveryError> {
        // One that cannot be settled must not keep the others from being moved in time.
        let mut failed = None;
        for mut lease in purse.orphans() {
            match self.drive(purse, &mut lease).await {
                Ok(_) => done.settled += 1,
                Err(unreachable @ RecoveryError::Unreachable(_)) => return Err(unreachable),
                Err(error) => failed = Some(error),
            }
        }
        loop {
            // Which may be another epoch than a moment ago.
            purse.see(now)?;
            let mut lease = match purse.reissue(now, self.nonce(), may)? {
                Move::Now(lease) => lease,
                Move::Later(next, waiting) => {
                    (done.next, done.waiting) = (next, waiting);
                    break;
                }
            };
            let moved = self.prepare(purse, &mut lease).await?;
            done.reissued += u64::from(moved);
            may &= !moved;
        }
        Ok(failed.map_or(Ok(()), Err))
    }
}

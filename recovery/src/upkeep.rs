//! What a purse needs now and then, whether anything is stored or not.

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
    /// When the next pair is to be moved, in unix seconds. A new epoch may make it sooner.
    pub next: Option<u64>,
}

impl Provider {
    /// Sends again what a crash left in flight, moves credentials of older epochs before they
    /// expire, and gathers them when no two suffice for an insert. Call it at every start, and some
    /// times an epoch while running; `now` is in unix seconds.
    ///
    /// Each pair is moved at a random time of its own in the first quarter of an epoch, as this
    /// client sees it, so that pairs of a client that calls this again when
    /// [`next`](Upkeep::next) has come do not come in one burst. What is due at one call is
    /// moved in one go: whoever calls it once an epoch shows how many pairs it has. Credentials of the
    /// oldest epoch that is accepted are moved at once. A purse that is not
    /// kept up for as many epochs as a storage node accepts loses its tokens.
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
            let mut lease = match purse.reissue(now, self.nonce())? {
                Ok(lease) => lease,
                Err(next) => {
                    done.next = next;
                    break;
                }
            };
            done.reissued += u64::from(self.prepare(purse, &mut lease).await?);
        }
        while let Some(mut lease) = purse.tidy(self.nonce())? {
            done.gathered += u64::from(self.prepare(purse, &mut lease).await?);
        }
        failed.map_or(Ok(done), Err)
    }
}

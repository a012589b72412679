//! Staying restorable: the reserve, the page and the cell, once an epoch.
//!
//! When each is written is in [`due`](super::due).
//!
//! The reserve pays for twice what a restore takes, at least; when the tokens do not suffice, for once.

use larder_protocol::{Address, Blob, Record};

use super::TIMES;
use super::calls::PutCell;
use super::cell::{self, Contents};
use super::page::{self, Page};
use crate::log::Point;
use crate::log::map::Map;
use crate::purse::{Aside, Fate, Held, Purse, Written};
use crate::{Provider, RecoveryError, Written as Stored};

/// Look-ups in front of and behind what a restore reads: the search for the newest anchor, and the
/// window that runs ahead of the end.
const AROUND: u64 = 64 + 32;

/// Fees that a restore may need besides, for taking the reserve and gathering.
const FEES: u64 = 4;

/// A reserve may hold so many times what it has to before a smaller one takes its place.
const LARGE: u64 = 4;

/// Sequences, or numbers of pages, that are tried when others of this wallet are there.
const TRIES: usize = 16;

/// What a restore would have to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// The newest anchor of the log; 0 for none.
    pub anchor: u64,
    /// Look-ups that it takes, about.
    pub lookups: u64,
    /// How far the history goes; a restore refuses less. The default where that is not known.
    pub point: Point,
    /// All providers of the data, so that any of them leads to the others.
    pub providers: Vec<Address>,
}

impl Extent {
    /// Of a map that is stored with these providers.
    #[must_use]
    pub fn of(map: &Map, providers: Vec<Address>) -> Self {
        Extent {
            point: map.log().point(),
            ..Extent::of_blobs(map.log().generation(), map.blobs(), providers)
        }
    }

    /// The same of a map of so many blobs, as of this anchor, which need not be open. It does not say how far the
    /// history goes.
    #[must_use]
    pub fn of_blobs(anchor: u64, blobs: u64, providers: Vec<Address>) -> Self {
        Extent {
            anchor,
            lookups: blobs.saturating_add(AROUND),
            point: Point::default(),
            providers,
        }
    }

    /// What reading it once costs under these terms, in tokens.
    fn cost(&self, record: &Record) -> u64 {
        let prices = record.tariff.as_ref().map(|tariff| &tariff.prices);
        prices.map_or(0, |prices| {
            let reading = self.lookups.saturating_mul(prices.lookup);
            reading.saturating_add(prices.transfer.saturating_mul(FEES))
        })
    }
}

/// Whether the wallet could be restored from its root key alone, if everything were lost now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restorable {
    /// How often the reserve in the cell pays for a restore at the present size.
    pub times: u64,
    /// Epochs that may begin before the reserve expires, or what its page lists, if no other cell is
    /// written; `None` when the reserve has expired, or no cell was written yet.
    pub epochs: Option<u32>,
}

impl Restorable {
    /// Whether it could.
    #[must_use]
    pub fn is_now(&self) -> bool {
        self.times > 0 && self.epochs.is_some()
    }
}

/// What staying restorable took, and when it takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How it stands.
    pub restorable: Restorable,
    /// What was written at this call.
    pub wrote: Option<Wrote>,
    /// Tokens that are missing for a reserve, in a purchase of at least two pairs; 0 if none are.
    pub missing: u64,
    /// When to call again, in unix seconds. A new epoch may make it sooner.
    pub next: u64,
}

/// What a call has written; one thing at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// Old pages were deleted.
    Drop,
    /// A page.
    Page,
    /// The cell.
    Cell,
}

impl Provider {
    /// Whether the wallet could be restored. Costs nothing, and asks nobody.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`].
    pub fn restorable(&self, extent: &Extent) -> Result<Restorable, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        let written = purse.with_cells(|cells| cells.written);
        let written = written.filter(|written| written.tokens > 0);
        let epochs = written.and_then(|written| purse.lasts(&written));
        let cost = extent.cost(&self.record()).max(1);
        let tokens = written.filter(|_| epochs.is_some()).map_or(0, |w| w.tokens);
        Ok(Restorable {
            times: tokens / cost,
            epochs,
        })
    }

    /// Does what is due for the wallet to be restorable, at most one thing at a time, and
    /// [keeps the purse up](Provider::upkeep) in front of it. Call it at every start and when
    /// [`next`](Standing::next) has come; `now` is in unix seconds.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`]; [`RecoveryError::OutOfTokens`] when not even the cell can be
    /// paid for; and those of any operation. Calling it again is safe.
    pub async fn stay_restorable(
        &self,
        now: u64,
        extent: &Extent,
    ) -> Result<Standing, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        let upkeep = self.upkeep(now).await?;
        // Of a killed process, or of an answer that was lost: it is paid for.
        if let Some((number, blob)) = purse.begun_page() {
            self.store_page(purse, number, blob).await?;
        }
        purse.look_over_page(extent.cost(&self.record()))?;
        let mut standing = Standing {
            restorable: self.restorable(extent)?,
            wrote: None,
            missing: 0,
            next: u64::MAX,
        };
        let epoch = u64::from(self.record().epoch_seconds);
        for due in self.due(purse, now)? {
            if due.at > now {
                standing.next = due.at.min(standing.next);
                break;
            }
            let patience = purse.epoch_seen().unwrap_or(now) + epoch / 2;
            let moves_on = due.what == Wrote::Page && upkeep.waiting > 0 && !due.overdue;
            if moves_on && now < patience {
                standing.next = patience;
                break;
            }
            match self.write(purse, due.what, extent).await {
                Ok(0) => {
                    standing.wrote = Some(due.what);
                    standing.restorable = self.restorable(extent)?;
                    let next = self.due(purse, now)?.first().map(|due| due.at);
                    standing.next = next.unwrap_or(u64::MAX);
                    break;
                }
                Ok(missing) => standing.missing = missing,
                // The cell is worth more than all others, and may still be paid for.
                Err(RecoveryError::OutOfTokens { .. }) if due.what != Wrote::Cell => {}
                Err(error) => return Err(error),
            }
            // What could not be done waits for tokens.
            standing.next = now + epoch / 32 + 1;
        }
        let epoch_end = purse.epoch_seen().unwrap_or(now) + epoch;
        standing.next = standing.next.min(epoch_end.max(now + 1));
        standing.next = upkeep
            .next
            .map_or(standing.next, |at| at.min(standing.next));
        Ok(standing)
    }

    async fn write(
        &self,
        purse: &Purse,
        what: Wrote,
        extent: &Extent,
    ) -> Result<u64, RecoveryError> {
        if what == Wrote::Drop {
            return self.drop_pages(purse).await.map(|()| 0);
        }
        let reserve = match self.set_aside(purse, what, extent).await? {
            Ok(reserve) => reserve,
            Err(missing) => return Ok(missing),
        };
        match what {
            Wrote::Cell => self.write_cell(purse, reserve, extent).await?,
            // Not what becomes the reserve, which is in the cell. Without one no cell names the page.
            _ => {
                while let Some(mut lease) = purse.move_listed(self.nonce())? {
                    self.prepare(purse, &mut lease).await?;
                }
                self.write_page(purse, extent).await?;
                while let Some(mut lease) = purse.ahead(self.nonce())? {
                    self.prepare(purse, &mut lease).await?;
                }
            }
        }
        Ok(0)
    }

    /// The reserve, or how many tokens are missing for one.
    async fn set_aside(
        &self,
        purse: &Purse,
        what: Wrote,
        extent: &Extent,
    ) -> Result<Result<[Held; 2], u64>, RecoveryError> {
        let once = extent.cost(&self.record());
        // What the newest page left out for the next cell is in that: in neither it would not be found.
        let left_out = what == Wrote::Cell && purse.with_cells(|cells| cells.next_page().is_some());
        let mut missing = 0;
        for times in (1..=TIMES).rev() {
            let tokens = once.saturating_mul(times);
            let enough = match left_out {
                true => once..=u64::MAX,
                false => tokens..=tokens.saturating_mul(LARGE),
            };
            loop {
                match purse.set_aside(tokens, &enough, self.nonce())? {
                    Aside::Pair(reserve) => return Ok(Ok(*reserve)),
                    Aside::Exchange(mut lease) => drop(self.prepare(purse, &mut lease).await?),
                    Aside::Short(tokens) => {
                        missing = missing.max(tokens);
                        break;
                    }
                }
            }
        }
        Ok(Err(missing))
    }

    async fn write_cell(
        &self,
        purse: &Purse,
        reserve: [Held; 2],
        extent: &Extent,
    ) -> Result<(), RecoveryError> {
        let (page, written) = purse.with_cells(|cells| (cells.newest_page(), cells.written));
        let epoch = reserve[0].epoch;
        let first = u64::from(epoch.0) << 16;
        let mut sequence = written.map_or(first, |written| first.max(written.sequence + 1));
        let tokens = reserve.iter().map(|held| held.amount).sum();
        let contents = Contents {
            reserve,
            anchor: extent.anchor,
            page: page.unwrap_or(0),
        };
        let schedule = purse.schedule();
        let secret = schedule.secret(&cell::slot());
        purse.begun(contents.page)?;
        // Of the epoch that holds by then, which may have begun since the reserve was set aside.
        let is_possible = |current: u64| {
            let epochs = purse.epochs();
            epochs.is_some_and(|(now, _)| current >> 16 <= u64::from(now.0))
        };
        for _ in 0..TRIES {
            let sealed = cell::seal(schedule, sequence, &contents);
            match self.put_cell(secret.keypair(), sequence, sealed).await? {
                PutCell::Stored => {
                    return purse.written(Written {
                        sequence,
                        epoch,
                        tokens,
                        page: contents.page,
                    });
                }
                // Another device of this wallet, or this one before it lost its journal.
                PutCell::Stale(current) if is_possible(current) => {
                    sequence = current + 1;
                }
                PutCell::Stale(_) => break,
            }
        }
        Err(RecoveryError::Misbehaved(
            "it holds a cell of a sequence that no device can have written",
        ))
    }

    async fn write_page(&self, purse: &Purse, extent: &Extent) -> Result<(), RecoveryError> {
        let Some((epoch, _)) = purse.epochs() else {
            return Ok(());
        };
        let page = Page {
            point: extent.point,
            lookups: u32::try_from(extent.lookups).unwrap_or(u32::MAX),
            providers: extent.providers.clone(),
            credentials: purse.list()?,
        };
        let last = purse.with_cells(|cells| cells.last_page());
        let first = (u64::from(epoch.0) << 16).max(last) + 1;
        for number in (first..).take(TRIES) {
            let blob = page.seal(purse.schedule(), number);
            purse.page(number, blob.hash(), Fate::Begun)?;
            if self.store_page(purse, number, blob).await? {
                return Ok(());
            }
        }
        Err(RecoveryError::Misbehaved(
            "it holds pages of numbers that no device can have written",
        ))
    }

    /// Stores a page that is begun. Says no when another one is, or was, in its place: of another device, or
    /// of this one before it lost its journal.
    async fn store_page(
        &self,
        purse: &Purse,
        number: u64,
        blob: Blob,
    ) -> Result<bool, RecoveryError> {
        let (key, hash) = (purse.schedule().key(&page::slot(number)), blob.hash());
        let is_stored = match self.insert(key, blob).await? {
            Stored::New | Stored::Already => true,
            Stored::Occupied(_) | Stored::Tombstoned => false,
        };
        let fate = if is_stored {
            Fate::Stored
        } else {
            Fate::Deleted
        };
        purse.page(number, hash, fate)?;
        Ok(is_stored)
    }

    async fn drop_pages(&self, purse: &Purse) -> Result<(), RecoveryError> {
        let schedule = purse.schedule();
        for (number, hash) in purse.with_cells(|cells| cells.old_pages()) {
            let secret = schedule.secret(&page::slot(number));
            match self.delete(secret.keypair(), hash).await {
                // Another one is there, which is not this device's to delete.
                Ok(_) | Err(RecoveryError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            purse.page(number, hash, Fate::Deleted)?;
        }
        Ok(())
    }
}

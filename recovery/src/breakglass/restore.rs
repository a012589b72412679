//! From the root key alone to a map that can be read: tokens first, then the data.
//!
//! ```text
//! Cell ─▶ Tokens ─▶ Page ─▶ Tokens ─▶ Anchor ─▶ Snapshot ─▶ Log ─▶ Ready
//!  free    the       one     those     4 look-ups  what a     what came
//!          reserve   look-up it lists  with a hint roll-up    behind it
//!                                                  wrote
//! ```
//!
//! It can be killed at any moment. What was opened, taken and exchanged is in the purse's journal, and
//! what was read is in a journal of its own, from before it counts as paid: begun again with both, it
//! goes on where it was, and pays for nothing twice.
//!
//! How it fails, beside what any operation may come to: [`RecoveryError::NoCell`],
//! [`RecoveryError::ReserveExpired`] and [`RecoveryError::ReserveTaken`] say that tokens have to be
//! bought; [`RecoveryError::OutOfTokens`] how many are missing, about. Buy them with the same provider
//! and call the same again: it keeps what it has.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use larder_protocol::Address;
use rand::CryptoRng;

use super::cell;
use super::kept::Kept;
use super::page::{self, Page};
use crate::forgery::{FORGED, Read};
use crate::log::map::Map;
use crate::log::progress::{self, Watched};
use crate::log::{Log, OneProvider, Registers};
use crate::purse::journal::Journal;
use crate::purse::{Fate, Purse, Restoring};
use crate::{Provider, RecoveryError, RootKey};

/// What a restore is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Opening the cell.
    Cell,
    /// Taking what it holds, or what the page lists.
    Tokens,
    /// Reading the page.
    Page,
    /// Looking for the newest anchor.
    Anchor,
    /// Reading the snapshot, or a value in chunks.
    Snapshot,
    /// Reading the log behind it.
    Log,
    /// All is there.
    Ready,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub stage: Stage,
    /// Blobs read so far, those from before a crash included.
    pub blobs: u64,
    /// Look-ups it takes in all, about, as of the last page; not known before that was read.
    pub expected: Option<u64>,
    /// What was read of the log since the map was asked for.
    pub read: progress::Progress,
}

type Listener = Arc<Mutex<Box<dyn FnMut(Progress) + Send>>>;

/// A restore from one provider. What is with others too is read from all of them, each with a restore of
/// its own for the tokens.
pub struct Restore {
    root: RootKey,
    provider: Arc<Provider>,
    walk: bool,
    listener: Listener,
}

impl Restore {
    /// Begins, or goes on. `kept` is where it keeps what it has read: an empty journal at first, and the
    /// same one after a crash. The provider needs a purse, which is new or was that of this restore before.
    ///
    /// # Errors
    /// [`RecoveryError::Journal`].
    pub fn begin(
        root: &RootKey,
        provider: Arc<Provider>,
        kept: impl Journal + 'static,
    ) -> Result<Self, RecoveryError> {
        provider.set_kept(Some(Kept::open(Box::new(kept))?));
        Ok(Restore {
            root: root.clone(),
            provider,
            walk: false,
            listener: Arc::new(Mutex::new(Box::new(|_| {}))),
        })
    }

    /// Follows tokens through the operations of the wallet that was lost, to find all of them. It ties
    /// those operations to each other and to this restore, for the storage node to see.
    #[must_use]
    pub fn walking(self) -> Self {
        Restore { walk: true, ..self }
    }

    /// Has `listener` called at every stage and after every blob.
    #[must_use]
    pub fn on_progress(self, listener: impl FnMut(Progress) + Send + 'static) -> Self {
        let listener: Listener = Arc::new(Mutex::new(Box::new(listener)));
        Restore { listener, ..self }
    }

    /// Takes the tokens that are there. Does nothing where they were taken, or none are asked for.
    ///
    /// # Errors
    /// As above. When tokens were bought, it goes on with those.
    pub async fn tokens(&self) -> Result<(), RecoveryError> {
        if self.provider.record().tariff.is_none() {
            return Ok(());
        }
        let purse = self.purse()?;
        self.provider.compare_terms().await?;
        for mut lease in purse.orphans() {
            drop(self.provider.drive(purse, &mut lease).await?);
        }
        let restoring = match purse.restoring() {
            Some(restoring) if restoring.opened.walk >= self.walk => restoring,
            // A purse that has a cell of its own has lost nothing.
            None if purse.with_cells(|cells| cells.written.is_some()) => return Ok(()),
            _ => match self.open(purse).await {
                // What was bought since does as well.
                Err(RecoveryError::NoCell) if has_tokens(purse) => return Ok(()),
                opened => opened?,
            },
        };
        self.redeem(purse).await?;
        if restoring.page.is_none() {
            self.suffices(purse, &restoring)?;
            self.page(purse, restoring.opened.page).await?;
            self.redeem(purse).await?;
        }
        Ok(())
    }

    /// Reads the map. Take it over to write, then [finish](Restore::finish).
    ///
    /// # Errors
    /// As above, and those of [`check`](Restore::check). Whoever believes the storage node even so opens the map by itself.
    pub async fn map(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Result<Map, RecoveryError> {
        let registers = OneProvider::new(&self.root, self.provider.clone());
        let map = Map::open(self.watch(Arc::new(registers)), rng, self.hint()).await;
        let map = map.map_err(|error| self.in_all(error, 0))?;
        match self.check(map.log()) {
            Ok(_) => Ok(map),
            Err(error) => {
                self.doubt()?;
                Err(error)
            }
        }
    }

    /// Checks a log against what the cell and its page say of how far it went when they were written; returns how
    /// many commits the page vouches for, 0 without one. A storage node that would show less has to show an older cell, too. For a map with
    /// several providers, of which one may know more than another; [`map`](Restore::map) has done so.
    ///
    /// # Errors
    /// [`RecoveryError::OlderState`] or [`RecoveryError::OtherHistory`].
    pub fn check(&self, log: &Log) -> Result<u64, RecoveryError> {
        let hint = self
            .provider
            .purse()
            .and_then(|purse| purse.with_cells(|cells| cells.hint));
        let (shown, seen) = (log.generation(), hint.map_or(0, |(_, anchor)| anchor));
        if shown < seen {
            return Err(RecoveryError::OlderState {
                of: "roll-ups",
                shown,
                seen,
            });
        }
        let point = self
            .reporter()
            .page()
            .map(|page| page.point)
            .unwrap_or_default();
        log.passes(&point)?;
        Ok(point.records)
    }

    /// Has what the storage node said not to be there asked for again by the next try, as a witness has seen more.
    /// [`map`](Restore::map) does so by itself.
    ///
    /// # Errors
    /// [`RecoveryError::Journal`].
    pub fn doubt(&self) -> Result<(), RecoveryError> {
        let doubted = self.provider.with_kept(Kept::doubt_absences);
        Ok(doubted.unwrap_or(Ok(()))?)
    }

    /// Whether the cell names a page that the storage node does not give: tokens are missing then, and what the page
    /// would have vouched for. Another device may have deleted it since.
    #[must_use]
    pub fn lacks_page(&self) -> bool {
        let restoring = self.provider.purse().and_then(Purse::restoring);
        restoring.is_some_and(|restoring| {
            restoring.opened.page != 0 && matches!(restoring.page, Some(None))
        })
    }

    /// Registers whose blobs count as progress, for a map with several providers.
    #[must_use]
    pub fn watch(&self, registers: Arc<dyn Registers>) -> Arc<dyn Registers> {
        let reporter = self.reporter();
        let watched = Watched::new(registers, move |read| {
            let progress = reporter.progress(Stage::of(&read));
            reporter.hear(Progress { read, ..progress });
        });
        Arc::new(watched)
    }

    /// The newest anchor as of the cell, or 0 when there was none. One that is older than any token can be is none: the storage node
    /// may have forgotten what was deleted since.
    #[must_use]
    pub fn hint(&self) -> Option<u64> {
        let purse = self.provider.purse()?;
        let (epoch, anchor) = purse.with_cells(|cells| cells.hint)?;
        let (_, oldest) = purse.epochs()?;
        (epoch >= oldest).then_some(anchor)
    }

    /// Where the data is besides, as of the page.
    #[must_use]
    pub fn providers(&self) -> Vec<Address> {
        self.reporter()
            .page()
            .map_or(Vec::new(), |page| page.providers)
    }

    /// All is there, and the wallet has it: nothing is kept any more.
    ///
    /// # Errors
    /// [`RecoveryError::Journal`].
    pub fn finish(self) -> Result<(), RecoveryError> {
        let ready = self.reporter().progress(Stage::Ready);
        if let Some(purse) = self.provider.purse()
            && purse.restoring().is_some()
        {
            purse.restored()?;
        }
        self.provider.set_kept(None);
        self.reporter().hear(ready);
        Ok(())
    }

    fn purse(&self) -> Result<&Purse, RecoveryError> {
        self.provider.purse().ok_or(RecoveryError::NoPurse)
    }

    /// Opens the cell and takes the reserve.
    async fn open(&self, purse: &Purse) -> Result<Restoring, RecoveryError> {
        self.reporter().report(Stage::Cell);
        let schedule = purse.schedule();
        let secret = schedule.secret(&cell::slot());
        let opened = self.provider.open_cell(secret.keypair()).await?;
        let opened = opened.ok_or(RecoveryError::NoCell)?;
        let contents = cell::open(schedule, opened.sequence, &opened.cell);
        let contents = contents.ok_or(RecoveryError::Misbehaved(
            "it gives a cell that was not written with this root key",
        ))?;
        purse.opened(&opened, &contents, self.walk)?;
        purse.restoring().ok_or(RecoveryError::NoCell)
    }

    /// Makes what was found the purse's own, whatever it was reissued to since.
    async fn redeem(&self, purse: &Purse) -> Result<(), RecoveryError> {
        self.reporter().report(Stage::Tokens);
        while let Some(mut lease) = purse.redeem(self.provider.nonce())? {
            self.provider.prepare(purse, &mut lease).await?;
        }
        Ok(())
    }

    /// Whether there are any tokens to begin with, and if not, why. Later on they may have been spent.
    fn suffices(&self, purse: &Purse, restoring: &Restoring) -> Result<(), RecoveryError> {
        if has_tokens(purse) {
            return Ok(());
        }
        let (opened, oldest) = (&restoring.opened, purse.epochs().map(|(_, oldest)| oldest));
        let expired = oldest.map_or(0, |oldest| oldest.0.saturating_sub(opened.epoch.0));
        // The cell does not say how often it pays, which may be once.
        let needed = opened.tokens;
        Err(match expired {
            0 => RecoveryError::ReserveTaken { needed },
            epochs => RecoveryError::ReserveExpired { epochs, needed },
        })
    }

    /// Reads the page that the cell names.
    async fn page(&self, purse: &Purse, number: u64) -> Result<(), RecoveryError> {
        self.reporter().report(Stage::Page);
        if number == 0 {
            return purse.paged(None);
        }
        let schedule = purse.schedule();
        match self.provider.read(schedule, &page::slot(number)).await? {
            Read::Ours(contents, hash) => {
                let page = Page::of(&contents).ok_or(RecoveryError::Misbehaved(
                    "it gives something else of ours for a page",
                ))?;
                purse.page(number, hash, Fate::Stored)?;
                purse.paged(Some(page))
            }
            // Another device has gone on, or the storage node lost it: the data is worth more.
            Read::Absent | Read::Deleted => purse.paged(None),
            Read::Foreign => Err(FORGED),
        }
    }

    /// Has an error say how many tokens are missing for all of it, as far as is known: to whoever has read the
    /// map so many look-ups as its [extent](super::Extent) says, and otherwise what the page said. For those of values,
    /// and of a map with several providers; those of [`map`](Restore::map) do.
    #[must_use]
    pub fn in_all(&self, error: RecoveryError, lookups: u64) -> RecoveryError {
        let RecoveryError::OutOfTokens { needed, held } = error else {
            return error;
        };
        let Progress {
            blobs, expected, ..
        } = self.reporter().progress(Stage::Log);
        let price = self.provider.record().tariff.map_or(0, |t| t.prices.lookup);
        let left = expected.unwrap_or(0).max(lookups).saturating_sub(blobs);
        let needed = needed.max(left.saturating_mul(price));
        RecoveryError::OutOfTokens { needed, held }
    }

    fn reporter(&self) -> Reporter {
        Reporter {
            provider: self.provider.clone(),
            listener: self.listener.clone(),
        }
    }
}

/// Whether there are any that pay.
fn has_tokens(purse: &Purse) -> bool {
    let holdings = purse.holdings();
    holdings.tokens > holdings.reserve
}

/// Who knows how far a restore is.
struct Reporter {
    provider: Arc<Provider>,
    listener: Listener,
}

impl Reporter {
    fn page(&self) -> Option<Page> {
        let restoring = self.provider.purse()?.restoring()?;
        restoring.page.flatten().map(|page| *page)
    }

    fn progress(&self, stage: Stage) -> Progress {
        Progress {
            stage,
            blobs: self.provider.with_kept(|kept| kept.blobs()).unwrap_or(0),
            expected: self.page().map(|page| page.lookups.into()),
            read: progress::Progress::default(),
        }
    }

    fn report(&self, stage: Stage) {
        self.hear(self.progress(stage));
    }

    fn hear(&self, progress: Progress) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        listener(progress);
    }
}

impl Stage {
    /// What the blob belongs to that was read last.
    fn of(read: &progress::Progress) -> Self {
        match (read.entries + read.chunks, read.snapshot) {
            (0, 0) => Stage::Anchor,
            (0, _) => Stage::Snapshot,
            _ => Stage::Log,
        }
    }
}

impl fmt::Debug for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Restore(..)")
    }
}

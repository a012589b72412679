//! What each commit of a map changed, for whoever shows it.
//!
//! Records of the [log](super) carry it; a snapshot does not, so history begins at the newest anchor.

use std::sync::Arc;

use rand::CryptoRng;

use super::cursor::TORN;
use super::map::Map;
use super::state::Changes;
use super::{Log, News, Registers, Writer};
use crate::RecoveryError;

/// What one commit did to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: String,
    /// Bytes of its new value; `None` when it was deleted.
    pub size: Option<u64>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its number, as [`Map::commit`](super::map::Map::commit) returned it.
    pub number: u64,
    /// What it did.
    pub changes: Vec<Changed>,
}

/// The commits since the newest anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The generation that they are in.
    pub generation: u64,
    /// In order, without gaps.
    pub commits: Vec<Committed>,
    /// Who writes now; `None` when nobody ever did.
    pub last_writer: Option<Writer>,
}

impl Map {
    /// Opens the map as [`Map::open`] does, for the same, and says how it came to be what it is.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn open_with_history(
        registers: Arc<dyn Registers>,
        rng: &mut (impl CryptoRng + ?Sized),
        hint: Option<u64>,
    ) -> Result<(Self, History), RecoveryError> {
        let log = Log::open(registers, rng, hint).await?;
        let news = log.follow().await?;
        let history = History::of(&log, &news).ok_or(TORN)?;
        Ok((Map::of(log, news)?, history))
    }
}

impl History {
    fn of(log: &Log, news: &News) -> Option<Self> {
        let before = log.records() - news.records.len() as u64;
        let read = |(record, number): (&Vec<u8>, u64)| {
            let changes = Changes::read(record)?.changes.into_iter();
            let changed = changes.map(|change| Changed {
                size: change.value.as_ref().map(|value| value.size()),
                key: change.key,
            });
            let changes = changed.collect();
            Some(Committed { number, changes })
        };
        let commits = news.records.iter().zip(before + 1..).map(read);
        Some(History {
            generation: log.generation(),
            commits: commits.collect::<Option<_>>()?,
            last_writer: log.last_writer(),
        })
    }
}

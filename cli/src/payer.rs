//! Who pays: the purse beside a wallet, opened when its storage node asks for tokens.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_protocol::ServerKey;
use larder_recovery::{FolderJournal, Holdings, Purse, RootKey};

use crate::error::CliError;

/// Whose tokens they are, and the folder with the purse's journal.
pub(crate) struct Payer {
    pub(crate) root: RootKey,
    pub(crate) folder: PathBuf,
}

impl Payer {
    /// Opens the purse for this storage node; an empty one if there is none. Fails while another
    /// process has it open.
    pub(crate) fn open(&self, provider: &ServerKey) -> Result<Purse, CliError> {
        FolderJournal::open(&self.folder)
            .and_then(|journal| Purse::open(&self.root, provider, journal))
            .map_err(|source| CliError::Purse {
                path: self.folder.clone(),
                source,
            })
    }

    /// What the purse held when it was last used; `None` if there is none.
    pub(crate) fn last_held(&self, provider: &ServerKey) -> Result<Option<Holdings>, CliError> {
        match self.folder.exists() {
            true => Ok(Some(self.open(provider)?.holdings())),
            false => Ok(None),
        }
    }
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    #[cfg(feature = "bench")]
    if let Some(now) = crate::bench::now() {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

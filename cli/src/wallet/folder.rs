//! A wallet's folder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `root.key` | the root key, 64 hexadecimal digits, readable by its owner only: the one thing that cannot be restored. A folder without it is no wallet |
//! | `root.words` | the words behind it, if `larder init` drew them; readable by its owner only |
//! | `wallet.toml` | the storage nodes' addresses and the LSPs to reach them through |
//! | `known.json` | how far the map had come; `larder restore` makes it anew |
//! | `at-least` | checkpoints that a restore was told of and has not reached yet |
//! | `cache/` | what was read of it, sealed: what is not there is looked up again |
//! | `purse/` | per storage node that takes any, the tokens: the journal of [`larder_recovery::purse`] |
//! | `restoring/` | per storage node, what a restore that is not over has paid for |
//! | `receipts/` | per storage node, what it signed |
//! | `in-the-clear.json` | while `get -o` or `restore --to` writes: what may be left if it is killed, for the next command to remove |
//! | `lock` | keeps a second `larder` out |
//!
//! Every file but the journals is replaced whole, so whoever only reads needs no lock.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use larder_protocol::ServerKey;
use larder_recovery::RootKey;
use larder_recovery::log::cache::FolderStorage;
use zeroize::Zeroizing;

use super::{Known, Settings};
use crate::error::CliError;
use crate::evidence::Receipts;
use crate::output::Once;
use crate::payer::Payer;
use crate::{durable, in_the_clear, secret_file};

/// Where a wallet is, and how long it keeps trying to reach its storage nodes.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) patience: Duration,
    /// What the ways to all of them have to say.
    pub(crate) once: Once,
}

impl Folder {
    /// Makes a wallet. The root key comes last: before it is durable there is no wallet, and
    /// making one may be tried again.
    pub(crate) fn create(
        &self,
        root: &RootKey,
        words: Option<&str>,
        settings: &Settings,
        known: Option<&Known>,
    ) -> Result<(), CliError> {
        if self.root_key().exists() {
            return Err(self.is_taken());
        }
        // The words of a wallet whose root key is gone are all that is left of it.
        let are_ours = |kept: &str| {
            RootKey::from_words(kept).is_ok_and(|kept| *kept.reveal() == *root.reveal())
        };
        let kept = secret_file::read(&self.words_file())?;
        if kept.as_ref().is_some_and(|kept| !are_ours(kept)) {
            return Err(self.has_words());
        }
        let folder = &self.path;
        durable::make_folder(folder).map_err(CliError::file("create", folder))?;
        let parent = durable::folder_of(&self.path);
        durable::sync_folder(parent).map_err(CliError::file("write", parent))?;
        settings.save(&self.settings_file())?;
        if let Some(known) = known {
            known.save(&self.known_file())?;
        }
        if let Some(words) = words {
            secret_file::replace(&self.words_file(), words)?;
        }
        let path = self.root_key();
        secret_file::create(&path, &root.reveal()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => self.is_taken(),
            _ => CliError::file("write", &path)(error),
        })
    }

    pub(crate) fn root(&self) -> Result<RootKey, CliError> {
        let path = self.root_key();
        let text = secret_file::read(&path)?.ok_or_else(|| self.is_no_wallet())?;
        text.parse()
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
    }

    /// The words behind the root key; `None` where only the user has them, if there are any.
    pub(crate) fn words(&self) -> Result<Option<Zeroizing<String>>, CliError> {
        self.require_wallet()?;
        secret_file::read(&self.words_file())
    }

    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        self.require_wallet()?;
        Settings::load(&self.settings_file())
    }

    /// `None` until everything that the root key stored was seen.
    pub(crate) fn known(&self) -> Result<Option<Known>, CliError> {
        self.require_wallet()?;
        Known::load(&self.known_file())
    }

    /// The root key, and the purse for this storage node that goes with it.
    pub(crate) fn payer(&self, provider: &ServerKey) -> Result<Payer, CliError> {
        Ok(Payer {
            root: self.root()?,
            folder: self.path.join("purse").join(provider.to_string()),
        })
    }

    /// What this device knows of the registers.
    pub(crate) fn cache(&self, settings: &Settings) -> FolderStorage {
        let bytes = u64::from(settings.cache_mib) << 20;
        FolderStorage::new(self.path.join("cache"), bytes)
    }

    /// What a restore keeps that it has paid this storage node for; there until that is over.
    pub(crate) fn restoring(&self, provider: &ServerKey) -> PathBuf {
        self.path.join("restoring").join(provider.to_string())
    }

    /// What this storage node signed.
    pub(crate) fn receipts(&self, provider: &ServerKey) -> Result<Receipts, CliError> {
        let receipts = self.path.join("receipts");
        Receipts::load(receipts.join(format!("{provider}.json")))
    }

    /// Keeps others out for as long as the file is open.
    pub(crate) fn lock(&self) -> Result<File, CliError> {
        self.lock_if_free()?.ok_or_else(|| {
            CliError::Failed(format!("another larder is using {}", self.path.display()))
        })
    }

    /// The same; `None` while another process has the lock. What killed processes have left half-written is removed.
    pub(crate) fn lock_if_free(&self) -> Result<Option<File>, CliError> {
        self.require_wallet()?;
        let path = self.path.join("lock");
        let lock = File::create(&path).map_err(CliError::file("create", &path))?;
        match lock.try_lock() {
            Ok(()) => {
                in_the_clear::sweep(&self.path);
                durable::sweep(&self.path);
                durable::sweep(&self.path.join("receipts"));
                Ok(Some(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(CliError::file("lock", &path)(error)),
        }
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.path.join("root.key")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.path.join("wallet.toml")
    }

    pub(crate) fn known_file(&self) -> PathBuf {
        self.path.join("known.json")
    }

    pub(crate) fn at_least_file(&self) -> PathBuf {
        self.path.join("at-least")
    }

    fn words_file(&self) -> PathBuf {
        self.path.join("root.words")
    }

    fn require_wallet(&self) -> Result<(), CliError> {
        if self.path.join("index.json").exists() {
            return Err(CliError::Usage(format!(
                "{} was made by an earlier larder, which kept values in a layout that this one does \
                 not read: get them with that one, and make a new wallet with `larder init`",
                self.path.display()
            )));
        }
        match self.root_key().exists() {
            true => Ok(()),
            false => Err(self.is_no_wallet()),
        }
    }

    /// There are words and no root key.
    fn has_words(&self) -> CliError {
        let (folder, words) = (self.path.display(), self.words_file());
        let words = words.display();
        CliError::Usage(format!(
            "{folder} has the words of a wallet, and no root key: `larder restore --words {words}` makes it a wallet \
             again, with --provider and --lsp as before; for another one name another folder with --wallet"
        ))
    }

    fn is_no_wallet(&self) -> CliError {
        if self.words_file().exists() {
            return self.has_words();
        }
        CliError::Usage(format!(
            "{} is no wallet: make one with `larder init`, or name its folder with --wallet",
            self.path.display()
        ))
    }

    fn is_taken(&self) -> CliError {
        CliError::Usage(format!(
            "{} is a wallet already; name another folder with --wallet",
            self.path.display()
        ))
    }
}

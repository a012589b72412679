//! A wallet's folder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `root.key` | the root key, 64 hexadecimal digits, readable by its owner only: the one thing that cannot be restored. A folder without it is no wallet |
//! | `wallet.toml` | the storage node's address and the LSPs to reach it through |
//! | `index.json` | which names are at which counters; `larder restore` makes it anew |
//! | `purse/` | the tokens, if the storage node takes any: the journal of [`larder_recovery::purse`] |
//! | `lock` | keeps a second `larder` from writing |
//!
//! Every file but the purse is replaced whole, so whoever only reads needs no lock.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use larder_recovery::RootKey;

use super::{Index, Settings};
use crate::error::CliError;
use crate::payer::Payer;
use crate::{durable, secret_file};

/// Where a wallet is, and how long it keeps trying to reach its storage node.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) patience: Duration,
}

impl Folder {
    /// Makes a wallet. The root key comes last: before it is durable there is no wallet, and
    /// making one may be tried again.
    pub(crate) fn create(
        &self,
        root: &RootKey,
        settings: &Settings,
        index: &Index,
    ) -> Result<(), CliError> {
        let folder = &self.path;
        if self.root_key().exists() {
            return Err(self.is_taken());
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(CliError::file("create", folder))?;
        let parent = durable::folder_of(folder);
        durable::sync_folder(parent).map_err(CliError::file("write", parent))?;
        let path = folder.join("wallet.toml");
        durable::replace(&path, settings.to_toml().as_bytes())
            .map_err(CliError::file("write", &path))?;
        index.save(&self.index_file())?;
        let path = self.root_key();
        secret_file::create(&path, &root.reveal()).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => self.is_taken(),
            _ => CliError::file("write", &path)(error),
        })
    }

    fn root(&self) -> Result<RootKey, CliError> {
        let path = self.root_key();
        let text = secret_file::read(&path)?.ok_or_else(|| self.is_no_wallet())?;
        text.parse()
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
    }

    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        self.require_wallet()?;
        Settings::load(&self.path.join("wallet.toml"))
    }

    pub(crate) fn index(&self) -> Result<Index, CliError> {
        self.require_wallet()?;
        Index::load(&self.index_file())
    }

    /// The root key, and the purse that goes with it.
    pub(crate) fn payer(&self) -> Result<Payer, CliError> {
        Ok(Payer {
            root: self.root()?,
            folder: self.path.join("purse"),
        })
    }

    /// Keeps others from writing for as long as the file is open.
    pub(crate) fn lock(&self) -> Result<File, CliError> {
        self.lock_if_free()?.ok_or_else(|| {
            CliError::Failed(format!("another larder is using {}", self.path.display()))
        })
    }

    /// The same; `None` while another process has the lock.
    pub(crate) fn lock_if_free(&self) -> Result<Option<File>, CliError> {
        self.require_wallet()?;
        let path = self.path.join("lock");
        let lock = File::create(&path).map_err(CliError::file("create", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(CliError::file("lock", &path)(error)),
        }
    }

    pub(crate) fn root_key(&self) -> PathBuf {
        self.path.join("root.key")
    }

    pub(crate) fn index_file(&self) -> PathBuf {
        self.path.join("index.json")
    }

    fn require_wallet(&self) -> Result<(), CliError> {
        match self.root_key().exists() {
            true => Ok(()),
            false => Err(self.is_no_wallet()),
        }
    }

    fn is_no_wallet(&self) -> CliError {
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

//! A wallet's folder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `root.key` | the root key, 64 hexadecimal digits, readable by its owner only: the one thing that cannot be restored |
//! | `wallet.toml` | the storage node's address and the LSPs to reach it through |
//! | `index.json` | which names are at which counters; `larder restore` makes it anew |
//! | `lock` | keeps a second `larder` out |

mod index;
mod settings;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder_onion::{Circuits, CircuitsConfig};
use larder_recovery::{
    Lane, OnionTransport, Provider, Purpose, RecoveryError, RootKey, Sequence, Walk,
};
use zeroize::Zeroizing;

pub(crate) use index::{Entry, Index, check_name, pack, unpack};
pub(crate) use settings::Settings;

use crate::error::CliError;

/// Where a wallet is, and how long it keeps trying to reach its storage node.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) patience: Duration,
}

/// An open wallet folder; nobody else has it open.
pub(crate) struct Wallet {
    folder: PathBuf,
    patience: Duration,
    pub(crate) root: RootKey,
    pub(crate) settings: Settings,
    pub(crate) index: Index,
    _lock: File,
}

impl Wallet {
    /// Makes a wallet folder. The root key is durable before anything can be stored under it.
    pub(crate) fn create(
        folder: &Path,
        root: &RootKey,
        settings: Settings,
        index: Index,
    ) -> Result<(), CliError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(CliError::file("create", folder))?;
        let path = folder.join("root.key");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| match error.kind() {
                ErrorKind::AlreadyExists => CliError::Usage(format!(
                    "{} is a wallet already; name another folder with --wallet",
                    folder.display()
                )),
                _ => CliError::file("create", &path)(error),
            })?;
        let text = Zeroizing::new(format!("{}\n", *root.reveal()));
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(CliError::file("write", &path))?;
        write_durably(&folder.join("wallet.toml"), settings.to_toml().as_bytes())?;
        index.save(folder)
    }

    /// Opens a wallet folder.
    pub(crate) fn open(
        Folder {
            path: folder,
            patience,
        }: &Folder,
    ) -> Result<Self, CliError> {
        let path = folder.join("root.key");
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => CliError::Usage(format!(
                "{} is no wallet: make one with `larder init`, or name its folder with --wallet",
                folder.display()
            )),
            _ => CliError::file("read", &path)(error),
        })?);
        let root = text
            .parse()
            .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(CliError::file("create", &lock_path))?;
        lock.try_lock().map_err(|_| {
            CliError::Failed(format!("another larder is using {}", folder.display()))
        })?;
        let settings = Settings::load(&folder.join("wallet.toml"))?;
        let index = Index::load(folder)?;
        Ok(Wallet {
            folder: folder.to_owned(),
            patience: *patience,
            root,
            settings,
            index,
            _lock: lock,
        })
    }

    /// Writes the index down, durably.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        self.index.save(&self.folder)
    }

    /// Goes online: circuits to the LSPs, the provider's terms, the sequence where it stood.
    pub(crate) async fn connect(&self) -> Result<Online, CliError> {
        Online::connect(self).await
    }

    /// The sequence, where it stands as far as is known.
    fn sequence(&self, provider: &Arc<Provider>) -> Sequence {
        let (main, lane, position) = (Purpose::Main, Lane::default(), self.index.position());
        Sequence::resume(&self.root, provider.clone(), main, lane, position)
    }

    /// Enters everything that is in the sequence behind the index's position, other devices'
    /// writes and what a crash kept out of the index, and hands each value to `keep` before it
    /// is entered.
    pub(crate) async fn catch_up(
        &mut self,
        walk: &mut Walk,
        mut keep: impl FnMut(&Entry, &[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        while let Some(step) = walk.next().await? {
            if let Some((entry, content)) = self.index.judge(&step) {
                keep(&entry, content)?;
                self.index.enter(entry);
            }
            self.index.advance(walk.position());
            self.save()?;
        }
        self.index.complete();
        self.save()
    }
}

/// A wallet that is connected.
pub(crate) struct Online {
    circuits: Arc<Circuits>,
    pub(crate) transport: Arc<OnionTransport>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) sequence: Sequence,
}

impl Online {
    async fn connect(wallet: &Wallet) -> Result<Self, CliError> {
        let Settings {
            provider: address,
            lsps,
            relays,
        } = wallet.settings.clone();
        let config = CircuitsConfig {
            relays,
            deadline: wallet.patience,
            ..CircuitsConfig::new(lsps)
        };
        let circuits = Arc::new(Circuits::start(config)?);
        let transport = Arc::new(OnionTransport::new(circuits.clone(), &address));
        let provider = Arc::new(Provider::connect(address, transport.clone()).await?);
        let sequence = wallet.sequence(&provider);
        Ok(Online {
            circuits,
            transport,
            provider,
            sequence,
        })
    }

    /// Appends; when another device or an earlier crash was faster, enters what is there and
    /// appends behind it.
    pub(crate) async fn append(
        &mut self,
        wallet: &mut Wallet,
        value: &[u8],
    ) -> Result<u64, CliError> {
        loop {
            match self.sequence.append(value).await {
                Ok(counter) => return Ok(counter),
                Err(RecoveryError::Conflict { .. }) => {
                    let mut walk = Walk::new(wallet.sequence(&self.provider));
                    wallet.catch_up(&mut walk, |_, _| Ok(())).await?;
                    self.sequence = walk.finish();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Leaves the network.
    pub(crate) async fn close(self) {
        let Online {
            circuits,
            transport,
            provider,
            sequence,
        } = self;
        drop((transport, provider, sequence));
        if let Ok(circuits) = Arc::try_unwrap(circuits).map_err(drop) {
            circuits.shutdown().await;
        }
    }
}

/// Replaces a file: after a crash it is the old one or the new one, whole.
pub(crate) fn write_durably(path: &Path, contents: &[u8]) -> Result<(), CliError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(CliError::file("write", path))
}

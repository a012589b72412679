//! A wallet: its folder on this device, and its sequence at the storage node.
//!
//! Whatever walks or reads the sequence takes what it finds into the index, and finishes deletes
//! that were cut short, here or on another device.

mod folder;
mod index;
mod settings;
mod value;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use larder_recovery::{
    Found, Holdings, Lane, Position, Purpose, RecoveryError, Sequence, Step, Walk,
};

pub(crate) use folder::Folder;
pub(crate) use index::Index;
pub(crate) use settings::Settings;
pub(crate) use value::{HEADER_MAX, check_name, pack, unpack};

use crate::connection::Connection;
use crate::error::CliError;
use crate::payer::Payer;

/// After so many steps of a walk the index is saved: writing it all down takes longer the longer
/// it is.
const SAVE_EVERY: u64 = 64;

/// How often another device may be faster with an append before we give up.
const ROUNDS: u32 = 8;

/// An open wallet; nobody else writes to its folder.
pub(crate) struct Wallet {
    payer: Payer,
    settings: Settings,
    pub(crate) index: Index,
    index_file: PathBuf,
    patience: Duration,
    _lock: File,
}

impl Wallet {
    pub(crate) fn open(folder: &Folder) -> Result<Self, CliError> {
        let payer = folder.payer()?;
        let lock = folder.lock()?;
        Ok(Wallet {
            payer,
            settings: folder.settings()?,
            index: folder.index()?,
            index_file: folder.index_file(),
            patience: folder.patience,
            _lock: lock,
        })
    }

    /// Writes the index down, durably.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        self.index.save(&self.index_file)
    }

    /// Goes online; the storage node has answered when this returns, and the purse is in order.
    pub(crate) async fn connect(&self) -> Result<Connection, CliError> {
        let payer = Some(&self.payer);
        self.settings.connect(self.patience, payer).await
    }

    /// What the purse held when it was last used; `None` if there is none.
    pub(crate) fn last_held(&self) -> Result<Option<Holdings>, CliError> {
        self.payer.last_held(self.settings.provider.server_key())
    }

    /// Walks from where the index ends: other devices' writes, and what a crash kept out of it.
    pub(crate) async fn catch_up(&mut self, connection: &Connection) -> Result<(), CliError> {
        let mut walk = Walk::new(self.sequence(connection, self.index.position()));
        self.follow(connection, &mut walk, |_, _, _| ()).await
    }

    /// Follows a walk to its end, and hands counter, name and content of every value to `seen`.
    /// What was found before an error stays found.
    pub(crate) async fn follow(
        &mut self,
        connection: &Connection,
        walk: &mut Walk,
        seen: impl FnMut(u64, &str, &[u8]),
    ) -> Result<(), CliError> {
        let followed = self.follow_unsaved(connection, walk, seen).await;
        self.save()?;
        followed
    }

    async fn follow_unsaved(
        &mut self,
        connection: &Connection,
        walk: &mut Walk,
        mut seen: impl FnMut(u64, &str, &[u8]),
    ) -> Result<(), CliError> {
        let sequence = self.sequence(connection, Position::START);
        let mut steps = 0;
        while let Some(Step { counter, found }) = walk.next().await? {
            let found = settled(&sequence, counter, found).await?;
            if let Some((name, content)) = self.index.take_in(counter, &found) {
                seen(counter, name, content);
            }
            self.index.advance(walk.position());
            steps += 1;
            if steps % SAVE_EVERY == 0 {
                self.save()?;
            }
        }
        self.index.complete();
        Ok(())
    }

    /// Reads one value, or says why there is none, and takes it into the index.
    pub(crate) async fn read(
        &mut self,
        connection: &Connection,
        counter: u64,
    ) -> Result<Found, CliError> {
        let sequence = self.sequence(connection, Position::START);
        let found = sequence.read(counter).await?;
        let found = settled(&sequence, counter, found).await?;
        self.index.take_in(counter, &found);
        Ok(found)
    }

    /// Appends a value; when another device or an earlier crash was faster, takes in what is
    /// there and appends behind it.
    pub(crate) async fn append(
        &mut self,
        connection: &Connection,
        value: &[u8],
    ) -> Result<u64, CliError> {
        let mut rounds = 0;
        loop {
            let mut sequence = self.sequence(connection, self.index.position());
            match sequence.append(value).await {
                Ok(counter) => {
                    self.index.advance(sequence.position());
                    return Ok(counter);
                }
                Err(RecoveryError::Conflict { counter, .. }) if rounds < ROUNDS => {
                    rounds += 1;
                    self.catch_up(connection).await?;
                    if self.index.position().next <= counter {
                        return Err(CliError::Failed(format!(
                            "the storage node says that value {counter} is taken and that there \
                             is none: it misbehaves, ask its operator"
                        )));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deletes one value, durably; returns how many blobs that were.
    pub(crate) async fn delete(
        &mut self,
        connection: &Connection,
        counter: u64,
    ) -> Result<u64, CliError> {
        let sequence = self.sequence(connection, Position::START);
        let blobs = sequence.delete(counter).await?;
        self.index.forget(counter);
        self.save()?;
        Ok(blobs)
    }

    pub(crate) fn sequence(&self, connection: &Connection, from: Position) -> Sequence {
        let provider = connection.provider.clone();
        Sequence::resume(
            &self.payer.root,
            provider,
            Purpose::Main,
            Lane::default(),
            from,
        )
    }
}

/// Finishes a delete that was cut short: its owner wanted the value gone.
async fn settled(sequence: &Sequence, counter: u64, found: Found) -> Result<Found, RecoveryError> {
    match found {
        Found::HalfDeleted => {
            sequence.delete(counter).await?;
            Ok(Found::Deleted)
        }
        found => Ok(found),
    }
}

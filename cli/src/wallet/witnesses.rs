//! Who remembers how far the history went: a session that is shown less ends.
//!
//! | witness | where it is |
//! | --- | --- |
//! | this device | `known.json` |
//! | a checkpoint | on paper, or wherever it was kept; `larder restore --at-least` notes it in the file `at-least` |
//! | a cell and its page | at the storage node, which can give older ones: then it has to give an older cell as well |
//!
//! Without any, a storage node that is alone can show an older state and nobody notices.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use larder_recovery::log::Log;
use larder_recovery::{Checkpoint, RecoveryError};

use super::{Online, Restores, Wallet};
use crate::durable;
use crate::error::CliError;

/// Checkpoints that were named to this wallet, and hold until a session has passed them.
pub(crate) struct Witnesses {
    path: PathBuf,
    named: Vec<Checkpoint>,
}

impl Witnesses {
    pub(crate) fn load(path: PathBuf) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(CliError::file("read", &path)(error)),
        };
        let named = text.lines().map(|line| {
            line.parse()
                .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))
        });
        let named = named.collect::<Result<_, _>>()?;
        Ok(Witnesses { path, named })
    }

    /// Notes these, durably: no session is satisfied with less from now on, whatever becomes of this one.
    pub(crate) fn note(&mut self, checkpoints: &[Checkpoint]) -> Result<(), CliError> {
        for checkpoint in checkpoints {
            if !self.named.contains(checkpoint) {
                self.named.push(*checkpoint);
            }
        }
        let lines: Vec<String> = self
            .named
            .iter()
            .map(|named| format!("{named}\n"))
            .collect();
        let written = durable::replace(&self.path, lines.concat().as_bytes());
        written.map_err(CliError::file("write", &self.path))
    }

    /// Takes back what was noted. From here on the device itself remembers more; or the user believes what is shown.
    pub(crate) fn forget(&mut self) -> Result<(), CliError> {
        self.named.clear();
        remove(&self.path).map_err(CliError::file("remove", &self.path))
    }

    /// Refuses a log that any witness has seen further on; returns how many commits are vouched for, 0 by nobody.
    pub(crate) fn check(
        wallet: &Wallet,
        online: &Online,
        restores: Option<&Restores>,
        log: &Log,
    ) -> Result<u64, CliError> {
        let seen = |error| older(error, online);
        let known = wallet.known.as_ref();
        let mut vouched = 0;
        if let Some(known) = known {
            log.reaches(known.records).map_err(seen)?;
            log.passes(&known.point()).map_err(seen)?;
            vouched = known.records;
        }
        for checkpoint in &wallet.witnesses.named {
            checkpoint.check(&wallet.root, log).map_err(seen)?;
            vouched = vouched.max(checkpoint.records());
        }
        if let Some(restores) = restores {
            vouched = vouched.max(restores.check(log).map_err(seen)?);
        }
        Ok(vouched)
    }
}

/// Says who shows it.
pub(crate) fn older(error: RecoveryError, online: &Online) -> CliError {
    match error {
        RecoveryError::OlderState { .. } | RecoveryError::OtherHistory { .. } => {
            let numbered = online.members.iter().zip(1..);
            let there = numbered.filter(|(member, _)| member.connected.is_ok());
            let by: Vec<String> = there
                .map(|(_, number): (_, u32)| number.to_string())
                .collect();
            CliError::Older {
                error,
                by: by.join(", "),
            }
        }
        error => error.into(),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What to know of a wallet that has one storage node.
pub(crate) const ALONE: &str = "with one storage node a restore after total loss can be shown an older state and nobody \
     notices, but for what a checkpoint vouches for: write one down now and then (`larder status` shows it, `larder restore \
     --at-least` takes it), or better have three storage nodes (`larder providers add`)";

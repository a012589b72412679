//! What a device remembers of the map from one command to the next.
//!
//! All of it can be learned again, with `larder restore`. As long as it is there it is a hint for where the
//! newest anchor is, and the measure by which a storage node is caught that shows an older state.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use larder_protocol::Address;
use larder_recovery::breakglass::Extent;
use larder_recovery::log::Writer;
use larder_recovery::log::map::Map;
use serde::{Deserialize, Serialize};

use super::online::Online;
use crate::connection::Connection;
use crate::durable;
use crate::error::CliError;
use crate::payer::now;

/// `known.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    generation: u64,
    /// Commits that were there.
    pub(crate) records: u64,
    /// The epoch of every storage node then, by server key.
    epochs: BTreeMap<String, u32>,
    /// The generation whose garbage this device has seen deleted.
    tidied: Option<u64>,
    /// What this device last signed with.
    writer: Option<String>,
    /// Sessions that may have left chunks behind: those that were killed, and the present one.
    #[serde(default)]
    writing: Vec<Writing>,
    /// What was stored, for `larder status`.
    pub(crate) values: u64,
    pub(crate) bytes: u64,
    /// Blobs that the map consisted of.
    #[serde(default)]
    blobs: u64,
    /// When the root key was drawn here, in unix seconds; nothing was stored with it before.
    #[serde(default)]
    drawn_at: Option<u64>,
}

/// A session that began to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Writing {
    session: String,
    /// Bytes of its value.
    len: u64,
}

impl Known {
    /// With a root key that was drawn this moment.
    pub(crate) fn of_new_root() -> Self {
        Known {
            drawn_at: Some(now()),
            ..Known::default()
        }
    }

    /// `None` when nothing is known.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>, CliError> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::file("read", path)(error)),
        };
        let known = serde_json::from_slice(&text).map_err(|error| {
            CliError::Failed(format!(
                "{} is damaged ({error}): delete it and run `larder restore`",
                path.display()
            ))
        })?;
        Ok(Some(known))
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| CliError::Failed(format!("cannot write what is known: {error}")))?;
        durable::replace(path, &text).map_err(CliError::file("write", path))
    }

    /// Where to look for the newest anchor first: storage nodes must not have forgotten deletes since.
    pub(crate) fn hint(&self, online: &Online) -> Option<u64> {
        let mut there = online.connected();
        let fresh = |connection: &Connection| {
            let record = connection.provider.record();
            let then = self
                .epochs
                .get(&connection.provider.server_key().to_string());
            match self.epochs.is_empty() {
                true => self.is_new(now(), record.epoch_seconds),
                false => then == Some(&record.epoch),
            }
        };
        there.all(fresh).then_some(self.generation)
    }

    /// Whether the root key was drawn here within an epoch: another device may have used it since, but no
    /// delete of that is forgotten.
    fn is_new(&self, now: u64, epoch_seconds: u32) -> bool {
        let age = self.drawn_at.and_then(|then| now.checked_sub(then));
        age.is_some_and(|age| epoch_seconds == 0 || age < epoch_seconds.into())
    }

    /// What a restore would have to find, as of the last session.
    pub(crate) fn extent(&self, providers: &[Address]) -> Extent {
        Extent::of_blobs(self.generation, self.blobs, providers.to_vec())
    }

    /// Takes in what a session has learned.
    pub(crate) fn learn(&mut self, map: &Map, online: &Online) {
        let log = map.log();
        self.blobs = map.slots().len() as u64;
        self.generation = log.generation();
        self.records = log.records();
        for connection in online.connected() {
            let server = connection.provider.server_key().to_string();
            self.epochs
                .insert(server, connection.provider.record().epoch);
        }
    }

    pub(crate) fn is_tidy(&self, generation: u64) -> bool {
        self.tidied == Some(generation)
    }

    pub(crate) fn tidied(&mut self, generation: u64) {
        self.tidied = Some(generation);
    }

    pub(crate) fn wrote_as(&mut self, writer: Writer) {
        self.writer = Some(hex::encode(writer.0));
    }

    /// Notes, before it stores anything, a session that is about to write so many bytes.
    pub(crate) fn begin(&mut self, session: Writer, len: u64) {
        let session = hex::encode(session.0);
        self.writing.push(Writing { session, len });
    }

    /// The sessions before this one that did not end, and what they were about to write, in bytes.
    pub(crate) fn killed(&self, present: Writer) -> Vec<(Writer, u64)> {
        let read = |writing: &Writing| {
            let session = hex::decode(&writing.session).ok()?.try_into().ok()?;
            Some((Writer(session), writing.len))
        };
        let mut killed: Vec<_> = self.writing.iter().filter_map(read).collect();
        killed.retain(|(session, _)| *session != present);
        killed
    }

    /// Nothing is left behind any more.
    pub(crate) fn ended(&mut self) {
        self.writing.clear();
    }

    /// Whether a session of this device signs like this.
    pub(crate) fn is_ours(&self, writer: Writer) -> bool {
        self.writer == Some(hex::encode(writer.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_is_no_anchor_yet_is_known_for_an_epoch_where_the_root_key_was_drawn() {
        assert!(!Known::default().is_new(now(), 100));
        let drawn = Known {
            drawn_at: Some(1_000),
            ..Known::default()
        };
        assert!(drawn.is_new(1_000, 100) && drawn.is_new(1_099, 100));
        assert!(!drawn.is_new(1_100, 100) && !drawn.is_new(999, 100));
        // Its epochs do not change, so it forgets no delete.
        assert!(drawn.is_new(1_000_000, 0));
    }

    #[test]
    fn what_is_known_reads_back_and_what_is_not_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.json");
        assert_eq!(Known::load(&path).unwrap(), None);
        let mut known = Known::default();
        known.wrote_as(Writer([7; 16]));
        known.tidied(3);
        known.begin(Writer([5; 16]), 7);
        known.begin(Writer([6; 16]), 8);
        known.save(&path).unwrap();
        let read = Known::load(&path).unwrap().unwrap();
        assert_eq!(read, known);
        assert!(read.is_ours(Writer([7; 16])) && !read.is_ours(Writer([8; 16])));
        assert_eq!(read.killed(Writer([6; 16])), [(Writer([5; 16]), 7)]);
        assert!(read.is_tidy(3) && !read.is_tidy(4));
        std::fs::write(&path, "{").unwrap();
        assert!(Known::load(&path).is_err());
    }
}

//! What a device remembers of the map from one command to the next.
//!
//! All of it can be learned again, with `larder restore`. As long as it is there it is a hint for where the
//! newest anchor is, and the measure by which a storage node is caught that shows an older state.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use larder_protocol::{Address, ServerKey};
use larder_recovery::breakglass::Extent;
use larder_recovery::log::map::Map;
use larder_recovery::log::unfinished::Unfinished;
use larder_recovery::log::{Due, Point, Writer};
use larder_recovery::{Checkpoint, RootKey};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::online::Online;
use crate::connection::Connection;
use crate::durable;
use crate::error::CliError;
use crate::payer::now;

/// Deletes that a purse has to suffice for before any are repeated.
const REPEATED: u64 = 8;

/// Notes of what sessions are about to store.
const NOTES: usize = 64;

/// `known.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    generation: u64,
    /// Commits that were there.
    pub(crate) records: u64,
    /// Where in the history that was, in hexadecimal digits.
    #[serde(default)]
    point: Option<String>,
    /// The epoch of every storage node then, by server key.
    epochs: BTreeMap<String, u32>,
    /// What is still to be deleted: [`larder_recovery::log::Due`] in hexadecimal digits.
    #[serde(default)]
    left: String,
    /// Storage nodes that have missed some of those deletes, by server key.
    #[serde(default)]
    owed: BTreeSet<String>,
    /// The version of the list of storage nodes whose addresses this device goes by.
    #[serde(default)]
    pub(crate) list: u64,
    /// What this device last signed with.
    writer: Option<String>,
    /// What sessions may have left behind, those that were killed and the present one:
    /// [`larder_recovery::log::unfinished`] in hexadecimal digits.
    #[serde(default)]
    unfinished: Vec<String>,
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
            // It remembers a delete for as long as the tokens of that epoch pay.
            let issuers = record.tariff.as_ref().map_or(0, |t| t.issuers.len());
            let remembers = |then: &u32| {
                let age = record.epoch.checked_sub(*then);
                age.is_some_and(|age| age == 0 || (age as usize) < issuers)
            };
            match self.epochs.is_empty() {
                true => self.is_new(now(), record.epoch_seconds),
                false => then.is_some_and(remembers),
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
        Extent {
            point: self.point(),
            ..Extent::of_blobs(self.generation, self.blobs, providers.to_vec())
        }
    }

    /// How far this device has seen the history go; the very beginning where it has not noted that.
    pub(crate) fn point(&self) -> Point {
        let digits = self.point.as_ref();
        let bytes = digits.and_then(|digits| hex::decode(digits).ok());
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(Point::default(), Point::from_bytes)
    }

    /// The same, to be written down; `None` while there is nothing to miss.
    pub(crate) fn checkpoint(&self, root: &RootKey) -> Option<Checkpoint> {
        let point = self.point();
        (point.records() > 0).then(|| Checkpoint::new(root, &point))
    }

    /// Takes in what a session has learned.
    pub(crate) fn learn(&mut self, map: &Map, online: &Online) {
        let log = map.log();
        self.blobs = map.blobs();
        self.generation = log.generation();
        self.records = log.records();
        self.point = Some(hex::encode(log.point().to_bytes()));
        for connection in online.connected() {
            let server = connection.provider.server_key().to_string();
            let epoch = connection.provider.record().epoch;
            self.epochs.insert(server, epoch);
        }
    }

    /// Whether the last session was in this generation.
    pub(crate) fn is_at(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// What is still to be deleted, if that is known.
    pub(crate) fn left(&self) -> Option<Due> {
        let bytes = hex::decode(&self.left).ok()?;
        Due::from_bytes(&bytes, &mut StdRng::from_os_rng())
    }

    /// Whether deletes wait: one of these has missed some, and does not answer now either, or cannot be paid.
    pub(crate) fn waits(&self, online: &Online) -> bool {
        let owed = |server: &ServerKey| self.owed.contains(&server.to_string());
        let mut members = online.members.iter();
        members.any(|member| {
            let there = member.connected.as_ref();
            owed(member.address.server_key())
                && !there.is_ok_and(|there| there.can_pay_deletes(REPEATED))
        })
    }

    /// A session has deleted a part, and leaves this; `missed` are those that did not acknowledge some of it, of those that
    /// it asked at all.
    pub(crate) fn leave(&mut self, left: &Due, missed: Option<Vec<ServerKey>>) {
        self.left = hex::encode(left.to_bytes());
        if let Some(missed) = missed {
            self.owed = missed.iter().map(ToString::to_string).collect();
        }
    }

    /// What sessions may have left behind is in what is still to be deleted.
    pub(crate) fn found_unfinished(&mut self) {
        self.unfinished.clear();
    }

    pub(crate) fn wrote_as(&mut self, writer: Writer) {
        self.writer = Some(hex::encode(writer.0));
    }

    /// Notes what a session is about to store, before it does. Of many notes the newest are kept: what an older one
    /// may have left behind costs its storage.
    pub(crate) fn begin(&mut self, unfinished: Unfinished) {
        self.unfinished.push(hex::encode(unfinished.to_bytes()));
        let forgotten = self.unfinished.len().saturating_sub(NOTES);
        self.unfinished.drain(..forgotten);
    }

    /// What the sessions before this one left behind that did not end.
    pub(crate) fn left_by_others(&self, present: Writer) -> Vec<Unfinished> {
        let notes = self.unfinished.iter();
        let mut left: Vec<_> = notes.filter_map(|digits| read_note(digits)).collect();
        left.retain(|unfinished| unfinished.session() != present);
        left
    }

    /// Nothing is known but what was left behind, and by whom deletes were missed, which nobody else could tell. What was
    /// still to be deleted may count again, if the storage nodes show less than they did.
    pub(crate) fn take_unfinished(&mut self, forgotten: Known) {
        self.unfinished.extend(forgotten.unfinished);
        self.owed.extend(forgotten.owed);
    }

    /// Whether a session of this device signs like this.
    pub(crate) fn is_ours(&self, writer: Writer) -> bool {
        self.writer == Some(hex::encode(writer.0))
    }
}

fn read_note(digits: &str) -> Option<Unfinished> {
    Unfinished::from_bytes(&hex::decode(digits).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(session: u8) -> Unfinished {
        let numbers = [0, 0, 0, 0, 0, 0, 0, 9].repeat(3);
        let bytes = [[session; 16].as_slice(), &numbers].concat();
        Unfinished::from_bytes(&bytes).unwrap()
    }

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
    fn what_sessions_left_behind_stays_noted_until_a_later_one_has_found_it() {
        let (killed, present) = (unfinished(5), unfinished(6));
        let mut known = Known::default();
        known.begin(killed);
        known.begin(present);
        assert_eq!(known.left_by_others(present.session()), [killed]);
        known.found_unfinished();
        assert_eq!(known.left_by_others(Writer([7; 16])), []);
    }

    #[test]
    fn of_notes_without_end_the_newest_are_kept() {
        let mut known = Known::default();
        (0..100).map(unfinished).for_each(|note| known.begin(note));
        let left = known.left_by_others(Writer([200; 16]));
        assert_eq!(left, (36..100).map(unfinished).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_known_reads_back_and_what_is_not_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known.json");
        assert_eq!(Known::load(&path).unwrap(), None);
        let mut known = Known::default();
        known.wrote_as(Writer([7; 16]));
        known.begin(unfinished(5));
        known.begin(unfinished(6));
        known.save(&path).unwrap();
        let read = Known::load(&path).unwrap().unwrap();
        assert_eq!(read, known);
        assert!(read.is_ours(Writer([7; 16])) && !read.is_ours(Writer([8; 16])));
        assert_eq!(read.left_by_others(Writer([6; 16])), [unfinished(5)]);
        assert!(read.left().is_none());
        std::fs::write(&path, "{").unwrap();
        assert!(Known::load(&path).is_err());
    }
}

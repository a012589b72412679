//! Which names are at which counters: what walks and reads find, remembered.
//!
//! The index is a cache: losing it costs a walk, and what it lacks after a crash is found by the
//! next walk or where the next append wanted to go.

use std::collections::BTreeMap;
use std::path::Path;

use larder_protocol::BlobHash;
use larder_recovery::Position;
use larder_recovery::walk::Found;
use serde::{Deserialize, Serialize};

use super::value::unpack;
use crate::durable;
use crate::error::CliError;

/// What is known of one stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) bytes: u64,
}

/// `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Index {
    next: u64,
    previous: String,
    /// False from `init --root-file` until a restore has walked to the end.
    complete: bool,
    /// By counter.
    entries: BTreeMap<u64, Entry>,
    /// Values that are there and could not be read, with the reason.
    damaged: BTreeMap<u64, String>,
}

impl Index {
    /// Of a wallet whose root key is new.
    pub(crate) fn empty() -> Self {
        Index {
            next: 0,
            previous: hex::encode(Position::START.previous.0),
            complete: true,
            entries: BTreeMap::new(),
            damaged: BTreeMap::new(),
        }
    }

    /// Of a wallet whose root key has a past that is not known yet.
    pub(crate) fn unknown() -> Self {
        Index {
            complete: false,
            ..Index::empty()
        }
    }

    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Index::unknown());
            }
            Err(error) => return Err(CliError::file("read", path)(error)),
        };
        serde_json::from_str(&text).map_err(|error| {
            CliError::Failed(format!(
                "{} is damaged ({error}): delete it and run `larder restore`",
                path.display()
            ))
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| CliError::Failed(format!("cannot write the index: {error}")))?;
        durable::replace(path, &text).map_err(CliError::file("write", path))
    }

    /// Where the sequence goes on, as far as is known.
    pub(crate) fn position(&self) -> Position {
        let mut previous = [0; 32];
        // A hash that does not read is one that is not known.
        let _ = hex::decode_to_slice(&self.previous, &mut previous);
        Position {
            next: self.next,
            previous: BlobHash(previous),
        }
    }

    pub(crate) fn advance(&mut self, position: Position) {
        self.next = position.next;
        self.previous = hex::encode(position.previous.0);
    }

    /// Refuses to go on before everything that was ever stored is known.
    pub(crate) fn require_complete(&self) -> Result<(), CliError> {
        match self.complete {
            true => Ok(()),
            false => Err(CliError::Usage(
                "what this root key stored is not known yet: run `larder restore` first".to_owned(),
            )),
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// Takes in what was found at a counter. Returns name and content of a value.
    pub(crate) fn take_in<'a>(
        &mut self,
        counter: u64,
        found: &'a Found,
    ) -> Option<(&'a str, &'a [u8])> {
        let reason = match found {
            Found::Value(value) => match unpack(value) {
                Some((name, content)) => {
                    self.enter(counter, name, content.len() as u64);
                    return Some((name, content));
                }
                None => "it was not stored with this tool",
            },
            Found::Deleted => {
                self.forget(counter);
                return None;
            }
            Found::HalfDeleted => "its delete was cut short",
            Found::Lost | Found::Absent => "the storage node lost it, or part of it",
            Found::Foreign => "the storage node gave bytes that are not ours",
        };
        // What is known of it stays: the value is missed, not gone.
        self.damaged.insert(counter, reason.to_owned());
        None
    }

    pub(crate) fn enter(&mut self, counter: u64, name: &str, bytes: u64) {
        self.forget(counter);
        let name = name.to_owned();
        self.entries.insert(counter, Entry { name, bytes });
    }

    pub(crate) fn forget(&mut self, counter: u64) {
        self.entries.remove(&counter);
        self.damaged.remove(&counter);
    }

    /// The newest value under each name, by name.
    pub(crate) fn newest(&self) -> BTreeMap<&str, (u64, &Entry)> {
        // A later counter replaces an earlier one.
        self.entries
            .iter()
            .map(|(counter, entry)| (entry.name.as_str(), (*counter, entry)))
            .collect()
    }

    /// All counters under a name, oldest first.
    pub(crate) fn counters(&self, name: &str) -> Vec<u64> {
        let under = self.entries.iter().filter(|(_, entry)| entry.name == name);
        under.map(|(counter, _)| *counter).collect()
    }

    pub(crate) fn damaged(&self) -> &BTreeMap<u64, String> {
        &self.damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::value::pack;

    fn value(name: &str, len: usize) -> Found {
        Found::Value(pack(name, &vec![0; len][..]).unwrap())
    }

    #[test]
    fn the_newest_value_of_a_name_counts_in_whatever_order_they_are_found() {
        let mut index = Index::empty();
        for counter in [3, 1, 2] {
            let found = value("name", counter as usize);
            assert!(index.take_in(counter, &found).is_some());
        }
        assert_eq!(index.newest().len(), 1);
        assert_eq!(index.newest()["name"].0, 3);
        assert_eq!(index.newest()["name"].1.bytes, 3);
        assert_eq!(index.counters("name"), [1, 2, 3]);
        index.take_in(3, &Found::Deleted);
        assert_eq!(index.newest()["name"].0, 2);
    }

    #[test]
    fn damage_is_remembered_once_and_until_the_value_reads_well_or_is_deleted() {
        for cure in [Found::Deleted, value("name", 1)] {
            let mut index = Index::empty();
            for found in [
                Found::Lost,
                Found::HalfDeleted,
                Found::Foreign,
                Found::Value(vec![]),
            ] {
                assert!(index.take_in(4, &found).is_none());
                assert_eq!(index.damaged().len(), 1);
            }
            index.take_in(5, &cure);
            assert_eq!(index.damaged().len(), 1);
            index.take_in(4, &cure);
            assert!(index.damaged().is_empty());
        }
    }

    #[test]
    fn an_index_reads_back_and_a_missing_one_asks_for_a_restore() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        assert!(Index::load(&path).unwrap().require_complete().is_err());
        let position = Position {
            next: 7,
            previous: BlobHash([5; 32]),
        };
        let mut index = Index::empty();
        index.advance(position);
        index.enter(6, "name", 1);
        index.take_in(5, &Found::Lost);
        index.save(&path).unwrap();
        let read = Index::load(&path).unwrap();
        assert_eq!(read, index);
        assert_eq!(read.position(), position);
        std::fs::write(&path, "{").unwrap();
        assert!(Index::load(&path).is_err());
    }
}

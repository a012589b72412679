//! Which names are at which counters: what a walk finds, remembered.
//!
//! A value of the sequence is
//!
//! | bytes | field |
//! | --- | --- |
//! | 2 | length of the name, `n`, big-endian |
//! | n | name, UTF-8 |
//! | rest | content |
//!
//! The index is a cache: losing it costs a walk, and what it lacks after a crash is found where
//! the next append wanted to go.

use std::path::Path;

use larder_protocol::BlobHash;
use larder_recovery::Position;
use larder_recovery::walk::{Found, Step};
use serde::{Deserialize, Serialize};

use super::write_durably;
use crate::error::CliError;

/// The longest name, bytes: what common file systems take.
const NAME_MAX: usize = 255;

/// One stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) counter: u64,
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
    entries: Vec<Entry>,
    /// Values that are there and could not be read, with the reason.
    #[serde(default)]
    damaged: Vec<(u64, String)>,
}

impl Index {
    /// Of a wallet whose root key is new.
    pub(crate) fn empty() -> Self {
        let previous = hex::encode(Position::START.previous.0);
        Index {
            next: 0,
            previous,
            complete: true,
            entries: Vec::new(),
            damaged: Vec::new(),
        }
    }

    /// Of a wallet whose root key has a past that is not known yet.
    pub(crate) fn unknown() -> Self {
        Index {
            complete: false,
            ..Index::empty()
        }
    }

    pub(crate) fn load(folder: &Path) -> Result<Self, CliError> {
        let path = folder.join("index.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Index::unknown());
            }
            Err(error) => return Err(CliError::file("read", &path)(error)),
        };
        serde_json::from_str(&text).map_err(|error| {
            CliError::Failed(format!(
                "{} is damaged ({error}): delete it and run `larder restore`",
                path.display()
            ))
        })
    }

    pub(crate) fn save(&self, folder: &Path) -> Result<(), CliError> {
        let text = serde_json::to_vec(self)
            .map_err(|error| CliError::Failed(format!("cannot write the index: {error}")))?;
        write_durably(&folder.join("index.json"), &text)
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

    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }

    /// What a step of a walk adds; remembers values that are there and cannot be read.
    pub(crate) fn judge<'a>(&mut self, step: &'a Step) -> Option<(Entry, &'a [u8])> {
        let reason = match &step.found {
            Found::Value(value) => match unpack(value) {
                Some((name, content)) => {
                    let entry = Entry {
                        counter: step.counter,
                        name: name.to_owned(),
                        bytes: content.len() as u64,
                    };
                    return Some((entry, content));
                }
                None => "it was not stored with this tool",
            },
            Found::Absent | Found::Deleted => return None,
            Found::HalfDeleted => "its delete was cut short",
            Found::Lost => "the storage node lost part of it",
            Found::Foreign => "the storage node gave bytes that are not ours",
        };
        self.damaged.retain(|(counter, _)| *counter != step.counter);
        self.damaged.push((step.counter, reason.to_owned()));
        None
    }

    pub(crate) fn enter(&mut self, entry: Entry) {
        self.entries.retain(|old| old.counter != entry.counter);
        self.entries.push(entry);
    }

    pub(crate) fn forget(&mut self, counter: u64) {
        self.entries.retain(|entry| entry.counter != counter);
        self.damaged.retain(|(damaged, _)| *damaged != counter);
    }

    /// The newest value under each name, by name.
    pub(crate) fn newest(&self) -> Vec<&Entry> {
        let mut newest: Vec<&Entry> = Vec::new();
        for entry in &self.entries {
            match newest.iter_mut().find(|known| known.name == entry.name) {
                Some(known) if known.counter < entry.counter => *known = entry,
                Some(_) => {}
                None => newest.push(entry),
            }
        }
        newest.sort_by(|a, b| a.name.cmp(&b.name));
        newest
    }

    /// All counters under a name, oldest first.
    pub(crate) fn counters(&self, name: &str) -> Vec<u64> {
        let mut counters: Vec<u64> = self
            .entries
            .iter()
            .filter(|entry| entry.name == name)
            .map(|entry| entry.counter)
            .collect();
        counters.sort_unstable();
        counters
    }

    pub(crate) fn damaged(&self) -> &[(u64, String)] {
        &self.damaged
    }
}

/// Names become file names when everything is restored into a folder.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let fits = (1..=NAME_MAX).contains(&name.len())
        && !name.contains(['/', '\0'])
        && name != "."
        && name != "..";
    match fits {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "a name has 1 to {NAME_MAX} bytes, no `/`, and is neither `.` nor `..`"
        ))),
    }
}

/// A value of the sequence.
pub(crate) fn pack(name: &str, content: &[u8]) -> Vec<u8> {
    debug_assert!(name.len() <= NAME_MAX);
    let mut value = Vec::with_capacity(2 + name.len() + content.len());
    value.extend_from_slice(&(name.len() as u16).to_be_bytes());
    value.extend_from_slice(name.as_bytes());
    value.extend_from_slice(content);
    value
}

/// Name and content of a value, if this tool wrote it.
pub(crate) fn unpack(value: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = value.split_first_chunk()?;
    let (name, content) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
    let name = std::str::from_utf8(name).ok()?;
    check_name(name).is_ok().then_some((name, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(counter: u64, found: Found) -> Step {
        Step { counter, found }
    }

    #[test]
    fn a_value_unpacks_to_what_was_packed_and_other_bytes_do_not() {
        assert_eq!(unpack(&pack("ä", b"content")), Some(("ä", &b"content"[..])));
        assert_eq!(unpack(&pack("name", b"")), Some(("name", &b""[..])));
        for bytes in [
            &b""[..],
            &[0],
            &[0, 5, 1],
            &[0, 1, 0xff],
            &pack("a/b", b""),
            &pack("..", b""),
        ] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_newest_value_of_a_name_counts_in_whatever_order_they_are_found() {
        let mut index = Index::empty();
        for counter in [3, 1, 2] {
            let found = Found::Value(pack("name", &vec![0; counter as usize]));
            let step = step(counter, found);
            let (entry, _) = index.judge(&step).unwrap();
            index.enter(entry);
        }
        assert_eq!(index.newest().len(), 1);
        assert_eq!((index.newest()[0].counter, index.newest()[0].bytes), (3, 3));
        assert_eq!(index.counters("name"), [1, 2, 3]);
        index.forget(3);
        assert_eq!(index.newest()[0].counter, 2);
    }

    #[test]
    fn what_cannot_be_read_is_remembered_once_and_forgotten_with_its_delete() {
        let mut index = Index::empty();
        for found in [
            Found::Lost,
            Found::HalfDeleted,
            Found::Foreign,
            Found::Value(vec![]),
        ] {
            assert!(index.judge(&step(4, found)).is_none());
            assert_eq!(index.damaged().len(), 1);
        }
        assert!(index.judge(&step(5, Found::Deleted)).is_none());
        index.forget(4);
        assert!(index.damaged().is_empty());
    }

    #[test]
    fn an_index_reads_back_and_a_missing_one_asks_for_a_restore() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Index::load(folder.path())
                .unwrap()
                .require_complete()
                .is_err()
        );
        let mut index = Index::empty();
        index.advance(Position {
            next: 7,
            previous: BlobHash([5; 32]),
        });
        index.enter(Entry {
            counter: 6,
            name: "name".to_owned(),
            bytes: 1,
        });
        index.save(folder.path()).unwrap();
        let read = Index::load(folder.path()).unwrap();
        assert_eq!(read, index);
        assert_eq!(
            read.position(),
            Position {
                next: 7,
                previous: BlobHash([5; 32])
            }
        );
        std::fs::write(folder.path().join("index.json"), "{").unwrap();
        assert!(Index::load(folder.path()).is_err());
    }
}

//! What the map's commits add up to; every device comes to the same from the same records.
//!
//! Versions are counted per key, from 1, one up with every put and every delete, and go on where
//! they were when a deleted key comes back. The versions of the last 4,096 deleted keys are kept. When an older one is
//! forgotten, `floor` rises to its version, and a key that is not known begins above `floor`: so
//! no key ever has one version twice, however much was forgotten.
//!
//! A commit, as a record (integers big-endian):
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | global version: 0 left alone, 1 counts on, 2 restarts |
//! | per write: 1 | 0 put, 1 put in chunks, 2 delete; plus 4 when its version restarts |
//! | 2 + n | key |
//! | 4 + n, 72 or 0 | value, chunks, or nothing |
//!
//! A state, in a snapshot: commits, global, floor and serial, 8 bytes each; then per item
//! version 8, serial 8, and a write as above, a delete for a key that is remembered only.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::commit::{Commit, Count, Expect};
use super::entry::{Chunks, NUMBER_MAX, take};

/// Deleted keys whose version is remembered.
pub(crate) const REMEMBERED: usize = 4_096;

/// A value, as the state holds it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Here(Arc<[u8]>),
    InChunks(Chunks),
}

impl Value {
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::Here(bytes) => bytes.len() as u64,
            Value::InChunks(chunks) => chunks.bytes(),
        }
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) version: u64,
    /// When it was created, or deleted, in writes since the very beginning.
    pub(crate) serial: u64,
    pub(crate) value: Option<Value>,
}

/// A write whose condition was met.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) count: Count,
    pub(crate) value: Option<Value>,
}

/// A commit whose conditions were met.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) global: Option<Count>,
    pub(crate) changes: Vec<Change>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) commits: u64,
    pub(crate) global: u64,
    floor: u64,
    serial: u64,
    pub(crate) items: BTreeMap<String, Item>,
    /// The keys that are remembered only, by serial.
    deleted: BTreeMap<u64, String>,
}

impl Expect {
    fn is_met(self, version: u64, exists: bool) -> bool {
        match self {
            Expect::Any => true,
            Expect::Absent => !exists,
            Expect::Present => exists,
            Expect::Version(expected) => expected == version,
        }
    }
}

impl State {
    /// The version of a key, 0 when it is not known, and whether it has a value.
    pub(crate) fn version(&self, key: &str) -> (u64, bool) {
        let item = self.items.get(key);
        item.map_or((0, false), |item| (item.version, item.value.is_some()))
    }

    /// Keys with this prefix that have a value, from here on.
    pub(crate) fn behind(
        &self,
        from: Bound<&str>,
        prefix: &str,
    ) -> impl Iterator<Item = (&String, &Item)> {
        let range = self.items.range::<str, _>((from, Bound::Unbounded));
        range
            .take_while(move |(key, _)| key.starts_with(prefix))
            .filter(|(_, item)| item.value.is_some())
    }

    /// Which conditions of a commit are not met: keys, and whether the global version is one.
    pub(crate) fn conflicts(&self, commit: &Commit) -> (Vec<String>, bool) {
        let unmet = commit.writes.iter().filter(|write| {
            let (version, exists) = self.version(&write.key);
            !write.expect.is_met(version, exists)
        });
        let global = commit
            .global
            .is_some_and(|(expect, _)| !expect.is_met(self.global, self.global != 0));
        (unmet.map(|write| write.key.clone()).collect(), global)
    }

    /// Applies a commit and returns the chunks that nothing names any more.
    pub(crate) fn apply(&mut self, changes: &Changes) -> Vec<Chunks> {
        self.commits += 1;
        match changes.global {
            Some(Count::On) => self.global += 1,
            Some(Count::Restart) => self.global = 1,
            None => {}
        }
        let dead = changes
            .changes
            .iter()
            .filter_map(|change| self.change(change));
        dead.collect()
    }

    fn change(&mut self, change: &Change) -> Option<Chunks> {
        let before = self.items.get(&change.key);
        let existed = before.is_some_and(|item| item.value.is_some());
        if change.value.is_none() && !existed {
            return None;
        }
        let before = self.items.remove(&change.key);
        self.serial += 1;
        let version = match (&before, change.count) {
            (_, Count::Restart) => 1,
            (Some(item), Count::On) => item.version + 1,
            (None, Count::On) => self.floor + 1,
        };
        if let Some(item) = &before
            && !existed
        {
            self.deleted.remove(&item.serial);
        }
        let serial = match &before {
            Some(item) if existed && change.value.is_some() => item.serial,
            _ => self.serial,
        };
        let value = change.value.clone();
        if value.is_some() || change.count == Count::On {
            if value.is_none() {
                self.deleted.insert(serial, change.key.clone());
            }
            let item = Item {
                version,
                serial,
                value,
            };
            self.items.insert(change.key.clone(), item);
        }
        if self.deleted.len() > REMEMBERED
            && let Some((_, forgotten)) = self.deleted.pop_first()
            && let Some(item) = self.items.remove(&forgotten)
        {
            self.floor = self.floor.max(item.version);
        }
        match before.and_then(|item| item.value) {
            Some(Value::InChunks(chunks)) => Some(chunks),
            _ => None,
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for number in [self.commits, self.global, self.floor, self.serial] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for (key, item) in &self.items {
            out.extend_from_slice(&item.version.to_be_bytes());
            out.extend_from_slice(&item.serial.to_be_bytes());
            write(&mut out, key, Count::On, item.value.as_ref());
        }
        out
    }

    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mut state = State {
            commits: number(bytes)?,
            global: number(bytes)?,
            floor: number(bytes)?,
            serial: number(bytes)?,
            ..State::default()
        };
        while !bytes.is_empty() {
            let (version, serial) = (number(bytes)?, number(bytes)?);
            let Change { key, count, value } = read(bytes)?;
            let last = state.items.last_key_value();
            if count != Count::On || last.is_some_and(|(last, _)| *last >= key) {
                return None;
            }
            if value.is_none() {
                state.deleted.insert(serial, key.clone());
            }
            let item = Item {
                version,
                serial,
                value,
            };
            state.items.insert(key, item);
        }
        Some(state)
    }
}

impl Changes {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = vec![match self.global {
            None => 0,
            Some(Count::On) => 1,
            Some(Count::Restart) => 2,
        }];
        for change in &self.changes {
            write(&mut out, &change.key, change.count, change.value.as_ref());
        }
        out
    }

    pub(crate) fn read(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let global = match take(bytes)? {
            [0] => None,
            [1] => Some(Count::On),
            [2] => Some(Count::Restart),
            _ => return None,
        };
        let mut changes = Vec::new();
        while !bytes.is_empty() {
            changes.push(read(bytes)?);
        }
        Some(Changes { global, changes })
    }
}

const RESTART: u8 = 4;

fn write(out: &mut Vec<u8>, key: &str, count: Count, value: Option<&Value>) {
    let tag = match value {
        Some(Value::Here(_)) => 0,
        Some(Value::InChunks(_)) => 1,
        None => 2,
    };
    out.push(if count == Count::Restart {
        tag | RESTART
    } else {
        tag
    });
    out.extend_from_slice(&(key.len() as u16).to_be_bytes());
    out.extend_from_slice(key.as_bytes());
    match value {
        Some(Value::Here(value)) => {
            out.extend_from_slice(&(value.len() as u32).to_be_bytes());
            out.extend_from_slice(value);
        }
        Some(Value::InChunks(chunks)) => chunks.write(out),
        None => {}
    }
}

fn read(bytes: &mut &[u8]) -> Option<Change> {
    let [tag] = take(bytes)?;
    let len = usize::from(u16::from_be_bytes(take(bytes)?));
    let key = split(bytes, len)?;
    let value = match tag & !RESTART {
        0 => {
            let len = u32::from_be_bytes(take(bytes)?) as usize;
            Some(Value::Here(split(bytes, len)?.into()))
        }
        1 => Some(Value::InChunks(Chunks::read(bytes)?)),
        2 => None,
        _ => return None,
    };
    Some(Change {
        key: String::from_utf8(key.to_vec()).ok()?,
        count: if tag & RESTART == 0 {
            Count::On
        } else {
            Count::Restart
        },
        value,
    })
}

/// A number that can count on.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(take(bytes)?);
    (number <= NUMBER_MAX).then_some(number)
}

fn split<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (first, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(first)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;

    use super::*;

    proptest::proptest! {
        #[test]
        fn bytes_are_a_commit_in_one_form_only_or_none(
            bytes in vec(0u8..8, 0..300),
            short in vec((0u8..8, 0u8..4), 0..6),
        ) {
            if let Some(changes) = Changes::read(&bytes) {
                assert_eq!(changes.write(), bytes);
            }
            // Made to look like writes of small values under short keys.
            let mut bytes = vec![1];
            for (tag, len) in short {
                bytes.extend([tag, 0, len]);
                bytes.extend(vec![b'k'; len.into()]);
                if tag & 3 == 0 {
                    bytes.extend([0, 0, 0, 2, 7, 7]);
                }
            }
            if let Some(changes) = Changes::read(&bytes) {
                assert_eq!(changes.write(), bytes);
            }
        }

        #[test]
        fn a_state_reads_back_and_goes_on_the_same(
            changes in vec((0u8..9, 0u8..3, proptest::bool::ANY), 0..60),
        ) {
            let (mut state, mut restored) = (State::default(), State::default());
            for (key, value, restart) in changes {
                let change = Change {
                    key: format!("k{key}"),
                    count: if restart { Count::Restart } else { Count::On },
                    value: (value > 0).then(|| Value::Here([value].into())),
                };
                let commit = Changes { global: Some(change.count), changes: vec![change] };
                state.apply(&commit);
                restored.apply(&commit);
                restored = State::read(&restored.write()).expect("it was written");
                assert!(restored == state);
            }
            let mut bytes = state.write();
            bytes.pop();
            assert!(State::read(&bytes).is_none_or(|cut| state.items.len() > cut.items.len()));
        }
    }
}

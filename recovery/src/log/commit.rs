//! What is asked of the [map](super::map), and what it answers.

use std::fmt;

use crate::RecoveryError;

/// The longest key, in bytes.
pub const KEY_MAX: usize = 1_024;

/// A condition on a version. A key that never was has version 0; a deleted one keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No condition.
    Any,
    /// It has no value.
    Absent,
    /// It has a value.
    Present,
    /// It has this version.
    Version(u64),
}

/// How the version goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// One up.
    On,
    /// It is 1 again, or forgotten with a delete, as VSS has it: a version may come twice.
    Restart,
}

/// What becomes of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// At most [`KEY_MAX`] bytes.
    pub key: String,
    /// Its condition.
    pub expect: Expect,
    /// The value, or `None` to delete it.
    pub value: Option<Vec<u8>>,
    /// How its version goes on.
    pub count: Count,
}

impl Write {
    /// Puts a value.
    #[must_use]
    pub fn put(key: impl Into<String>, expect: Expect, value: impl Into<Vec<u8>>) -> Self {
        Write {
            key: key.into(),
            expect,
            value: Some(value.into()),
            count: Count::On,
        }
    }

    /// Deletes a key; where there is none, nothing happens.
    #[must_use]
    pub fn delete(key: impl Into<String>, expect: Expect) -> Self {
        Write {
            key: key.into(),
            expect,
            value: None,
            count: Count::On,
        }
    }

    /// Has its version restart.
    #[must_use]
    pub fn restarting(self) -> Self {
        Write {
            count: Count::Restart,
            ..self
        }
    }
}

/// Writes that are stored together or not at all. No key twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// One per key.
    pub writes: Vec<Write>,
    /// Condition on the global version, and how it goes on; `None` leaves it alone.
    pub global: Option<(Expect, Count)>,
}

impl Commit {
    /// These writes, without a global version.
    #[must_use]
    pub fn of(writes: impl Into<Vec<Write>>) -> Self {
        Commit {
            writes: writes.into(),
            global: None,
        }
    }
}

/// What a key has.
#[derive(Clone, PartialEq, Eq)]
pub struct Current {
    /// The key.
    pub key: String,
    /// Its version: 0 when it never was.
    pub version: u64,
    /// Its value; `None` when it has none, or none any more.
    pub value: Option<Vec<u8>>,
}

/// A key in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: String,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub size: u64,
    /// Rises with every key that is created.
    pub created: u64,
}

/// Why a commit was not stored.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Conditions were not met; nothing was written.
    #[error("{} keys have other versions than expected", .items.len())]
    Conflict {
        /// What every key has whose condition was not met.
        items: Vec<Current>,
        /// The global version when that was one of them.
        global: Option<u64>,
    },
    /// A key is there twice.
    #[error("a commit names a key twice")]
    Repeated,
    /// Whether it was stored is known once the map was read on, except that after
    /// [`RecoveryError::TooLong`] and [`RecoveryError::Following`] it was not. After
    /// [`RecoveryError::Unreachable`] it may still be on its way: see [`Map::flush`](super::map::Map::flush).
    #[error(transparent)]
    Failed(#[from] RecoveryError),
}

/// Another device's values have no place in a log.
impl fmt::Debug for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

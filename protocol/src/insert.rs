//! `Insert`: add a blob; refused if the key exists or is tombstoned.
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |
//! | 16,433 | blob |

use crate::wire::Reader;
use crate::{Blob, DecodeError, Key};

/// Parameters of an insert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// Where the blob goes.
    pub key: Key,
    /// What goes there.
    pub blob: Blob,
}

impl Insert {
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(self.blob.as_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Insert {
            key: reader.key()?,
            blob: reader.blob()?,
        })
    }
}

//! `Lookup`: return the blob or a signed "absent".
//!
//! | bytes | field |
//! | --- | --- |
//! | 33 | key |

use crate::wire::Reader;
use crate::{DecodeError, Key};

/// Parameters of a lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Where to look.
    pub key: Key,
}

impl Lookup {
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.key.as_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Lookup { key: reader.key()? })
    }
}

//! The TLV stream after the fixed fields of a body (BOLT 1 rules).
//!
//! | bytes | field |
//! | --- | --- |
//! | 1, 3, 5 or 9 | type, `BigSize`, strictly ascending |
//! | 1, 3, 5 or 9 | length, `BigSize` |
//! | length | value |
//!
//! Unknown odd types are skipped, unknown even types are refused. These are known:
//!
//! | type | value |
//! | --- | --- |
//! | 101 | reserved for an opaque per-hop token, should relays ever charge for onion messages |
//! | 103 | the [passes](crate::pass) of two epochs, 64 bytes; in replies |

use std::fmt;

use crate::wire::Reader;
use crate::{DecodeError, Pass};

/// Reserved for an opaque per-hop token, should relays ever charge for onion messages.
pub const HOP_TOKEN: u64 = 101;

/// The passes of the epoch that holds and of the next one.
pub const PASSES: u64 = 103;

/// What this version understands of a TLV stream.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Extension {
    /// The value of [`HOP_TOKEN`], opaque.
    pub hop_token: Option<Vec<u8>>,
    /// The value of [`PASSES`], which only a storage node says.
    pub passes: Option<Box<[Pass; 2]>>,
}

/// Prints nothing of it: a token has no place in a log.
impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extension(..)")
    }
}

impl Extension {
    /// Appends the stream.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        if let Some(token) = &self.hop_token {
            put_tlv(to, HOP_TOKEN, token);
        }
        if let Some(passes) = &self.passes {
            put_tlv(
                to,
                PASSES,
                passes.map(|pass| *pass.as_bytes()).as_flattened(),
            );
        }
    }

    /// Reads the stream to its end.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut extension = Extension::default();
        read_stream(reader, |kind, value| {
            match kind {
                HOP_TOKEN => extension.hop_token = Some(value.to_vec()),
                PASSES => extension.passes = Some(Box::new(passes(value)?)),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(extension)
    }
}

fn passes(value: &[u8]) -> Result<[Pass; 2], DecodeError> {
    match value.as_chunks() {
        ([now, next], []) => Ok([Pass::from_bytes(*now), Pass::from_bytes(*next)]),
        _ => Err(DecodeError::Extension("two passes are 64 bytes")),
    }
}

/// Reads a stream to its end. `known` takes each entry and says whether it knew the type.
pub(crate) fn read_stream<'a>(
    reader: &mut Reader<'a>,
    mut known: impl FnMut(u64, &'a [u8]) -> Result<bool, DecodeError>,
) -> Result<(), DecodeError> {
    let mut last = None;
    while !reader.is_empty() {
        let kind = bigsize(reader)?;
        if last.is_some_and(|last| kind <= last) {
            return Err(DecodeError::Extension("types do not ascend"));
        }
        last = Some(kind);
        let len = usize::try_from(bigsize(reader)?)
            .map_err(|_| DecodeError::Truncated("an extension"))?;
        let value = reader.take(len, "an extension")?;
        if !known(kind, value)? && kind % 2 == 0 {
            return Err(DecodeError::Extension("an even type is unknown"));
        }
    }
    Ok(())
}

/// Appends one entry. The caller keeps types ascending.
pub(crate) fn put_tlv(to: &mut Vec<u8>, kind: u64, value: &[u8]) {
    put_bigsize(to, kind);
    put_bigsize(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn put_bigsize(to: &mut Vec<u8>, number: u64) {
    match number {
        0..0xfd => to.push(number as u8),
        0xfd..=0xffff => {
            to.push(0xfd);
            to.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            to.push(0xfe);
            to.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            to.push(0xff);
            to.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn bigsize(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    const WHAT: &str = "an extension";
    let (number, least) = match reader.u8(WHAT)? {
        0xff => (reader.u64(WHAT)?, 0x1_0000_0000),
        0xfe => (u64::from(reader.u32(WHAT)?), 0x1_0000),
        0xfd => (u64::from(reader.u16(WHAT)?), 0xfd),
        small => (u64::from(small), 0),
    };
    if number < least {
        return Err(DecodeError::Extension(
            "a number is not in its shortest form",
        ));
    }
    Ok(number)
}

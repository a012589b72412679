//! The contents of one custom onion message, request or reply.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 1 | version, 1 |
//! | 1 | 2 | length of the body, `n` |
//! | 3 | n | body |
//! | 3 + n | rest | padding, all zero |
//!
//! **Size class.** Onion packets come in two sizes on the wire: 1,366 bytes with 1,300 for
//! the hops, and 32,834 with 32,768 (BOLT 4). Contents of 1,301 bytes or more can never be
//! in the small one, so padding to that length already makes every packet big, whatever the
//! route; the onion itself pads the rest. A receiver cannot see the packet any more, only
//! these contents, so their length *is* the class: what might have come in a small packet
//! counts as small. That errs towards the rule that matters: a reply is never of a larger
//! class than its request, so that a storage node cannot amplify traffic.

use crate::wire::Reader;
use crate::{DecodeError, VERSION};

/// Bytes in front of the body.
const HEADER_LEN: usize = 3;

/// Contents of at least this many bytes never fit a small onion packet (1,300 bytes of hop
/// payloads, BOLT 4).
pub const BIG_LEN: usize = 1_301;

/// No contents are longer: what a big onion packet with one hop and no reply path has room
/// for (`onion.md`).
pub const MAX_LEN: usize = 32_707;

/// The longest contents that a small onion packet is sure to carry over a blinded path of
/// up to five hops.
pub const SMALL_MAX_LEN: usize = 500;

/// Which of the two onion packets some contents travel in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    /// 1,366 bytes on the wire. Only by a client's choice (`compact`).
    Small,
    /// 32,834 bytes on the wire, the default for everything.
    Big,
}

impl SizeClass {
    /// The class that contents of this length are taken to have come in.
    #[must_use]
    pub fn of(contents: &[u8]) -> Self {
        if contents.len() < BIG_LEN {
            SizeClass::Small
        } else {
            SizeClass::Big
        }
    }
}

/// Wraps a body and pads it to its class. `None` if the body is too long for the class.
#[must_use]
pub fn wrap(body: &[u8], class: SizeClass) -> Option<Vec<u8>> {
    let len = HEADER_LEN + body.len();
    let padded = match class {
        SizeClass::Small if len <= SMALL_MAX_LEN => len,
        SizeClass::Big if len <= MAX_LEN => len.max(BIG_LEN),
        _ => return None,
    };
    let mut contents = Vec::with_capacity(padded);
    contents.push(VERSION);
    contents.extend_from_slice(&(body.len() as u16).to_be_bytes());
    contents.extend_from_slice(body);
    contents.resize(padded, 0);
    Some(contents)
}

/// Takes the body out.
///
/// # Errors
/// [`DecodeError::UnsupportedVersion`] before anything else is looked at; `Truncated` when the
/// length field promises more than there is; `Padding` when what follows the body is not zero.
pub fn unwrap(contents: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(contents);
    let version = reader.u8("the version")?;
    if version != VERSION {
        return Err(DecodeError::UnsupportedVersion(version));
    }
    let body = reader.prefixed("the body")?;
    if reader.rest().iter().any(|&byte| byte != 0) {
        return Err(DecodeError::Padding);
    }
    Ok(body)
}

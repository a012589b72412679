//! Text that people copy: bech32m (BIP 350) with a prefix of its own for every kind.
//!
//! The checksum detects every wrong character; a single one is also located. Upper case reads
//! as well, for QR codes.

use std::fmt;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};

use crate::DecodeError;

/// The letters of bech32.
const CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Beyond this bech32m no longer promises to find errors.
const MAX_CHARACTERS: usize = 1_023;

/// Text that is not what it was offered as. Whoever copied it can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Not even the beginning fits.
    #[error("{what} begins with `{prefix}1`")]
    WrongPrefix {
        /// What was asked for.
        what: &'static str,
        /// Its human-readable prefix.
        prefix: &'static str,
    },
    /// Longer than any text of this kind.
    #[error("{what} has at most {MAX_CHARACTERS} characters: this is something else")]
    TooLong {
        /// What was asked for.
        what: &'static str,
    },
    /// One character does not belong to the alphabet of bech32.
    #[error("character {position}, `{found}`, cannot be in it: copy it again")]
    Character {
        /// Counted from 1.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// Exactly one character is wrong, and this is where.
    #[error("character {position}, `{found}`, is wrong: compare it with the original")]
    Typo {
        /// Counted from 1.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// The checksum does not hold, and not because of one character alone.
    #[error("more than one character is wrong or missing: copy it again")]
    Checksum,
    /// The checksum holds, but not the contents. Whoever made the text is at fault.
    #[error("it is damaged where it was made: {0}")]
    Contents(#[from] DecodeError),
}

/// Writes contents as text.
///
/// # Errors
/// Those of the formatter.
pub fn write(f: &mut fmt::Formatter<'_>, prefix: &str, contents: &[u8]) -> fmt::Result {
    let hrp = Hrp::parse(prefix).map_err(|_| fmt::Error)?;
    bech32::encode_to_fmt::<Bech32m, _>(f, hrp, contents).map_err(|_| fmt::Error)
}

/// The contents of a text with this prefix; `what` is what an error calls it. Blanks around it do not matter.
///
/// # Errors
/// [`InvalidText`], which says what to look at.
pub fn read(text: &str, what: &'static str, prefix: &'static str) -> Result<Vec<u8>, InvalidText> {
    let text = text.trim();
    if text.chars().count() > MAX_CHARACTERS {
        return Err(InvalidText::TooLong { what });
    }
    let prefix_len = prefix.len() + 1;
    let data = match text.split_at_checked(prefix_len) {
        Some((head, data)) if head.eq_ignore_ascii_case(&format!("{prefix}1")) => data,
        _ => return Err(InvalidText::WrongPrefix { what, prefix }),
    };
    for (at, found) in data.chars().enumerate() {
        if !CHARSET.contains(found.to_ascii_lowercase()) {
            return Err(InvalidText::Character {
                position: prefix_len + at + 1,
                found,
            });
        }
    }
    if let Some((at, found)) = odd_case(text) {
        return Err(InvalidText::Typo {
            position: at + 1,
            found,
        });
    }
    let contents = checked(text).ok_or_else(|| locate(text, prefix_len))?;
    // The last letter holds bits beyond the last byte: they could carry a mark.
    let hrp = Hrp::parse(prefix).ok();
    let again = hrp.and_then(|hrp| bech32::encode::<Bech32m>(hrp, &contents).ok());
    if again.is_none_or(|again| !again.eq_ignore_ascii_case(text)) {
        return Err(DecodeError::Padding.into());
    }
    Ok(contents)
}

/// The first letter of the rarer case, if there are both. Upper case is for QR codes; mixed case is
/// a damaged copy (BIP 173).
fn odd_case(text: &str) -> Option<(usize, char)> {
    let upper = text.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = text.bytes().filter(u8::is_ascii_lowercase).count();
    let rarer = if upper <= lower {
        char::is_ascii_uppercase
    } else {
        char::is_ascii_lowercase
    };
    text.chars().enumerate().find(|(_, letter)| rarer(letter))
}

/// The bytes behind a string whose checksum holds.
fn checked(text: &str) -> Option<Vec<u8>> {
    let parsed = CheckedHrpstring::new::<Bech32m>(text).ok()?;
    Some(parsed.byte_iter().collect())
}

/// Finds the one wrong character by trying every other letter everywhere. The code tells all
/// strings of up to 1,023 characters that differ in one place apart, so there is at most one.
fn locate(text: &str, prefix_len: usize) -> InvalidText {
    let upper = text.chars().any(|letter| letter.is_ascii_uppercase());
    let mut attempt = text.as_bytes().to_vec();
    for at in prefix_len..attempt.len() {
        let found = attempt[at];
        for letter in CHARSET.bytes() {
            attempt[at] = if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            if std::str::from_utf8(&attempt).is_ok_and(|text| checked(text).is_some()) {
                return InvalidText::Typo {
                    position: at + 1,
                    found: char::from(found),
                };
            }
        }
        attempt[at] = found;
    }
    InvalidText::Checksum
}

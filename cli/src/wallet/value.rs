//! What one value of the sequence is: a name and the content under it.
//!
//! | bytes | field |
//! | --- | --- |
//! | 2 | length of the name, `n`, big-endian |
//! | n | name, UTF-8 |
//! | rest | content |

use std::io::{self, Read};

use larder_recovery::value::VALUE_MAX;

use crate::error::CliError;

/// The longest name, bytes: what common file systems take.
const NAME_MAX: usize = 255;

/// The most bytes that a name adds to its content.
pub(crate) const HEADER_MAX: u64 = 2 + NAME_MAX as u64;

/// Names become file names when everything is restored into a folder, and are shown on
/// terminals.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let fits = (1..=NAME_MAX).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c.is_control())
        && name != "."
        && name != "..";
    match fits {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "a name has 1 to {NAME_MAX} bytes, no `/` and no control characters, and is neither \
             `.` nor `..`"
        ))),
    }
}

/// Reads content into a value, once: it may be large. Errors with
/// [`io::ErrorKind::FileTooLarge`] as soon as it is too long.
pub(crate) fn pack(name: &str, content: impl Read) -> io::Result<Vec<u8>> {
    pack_within(VALUE_MAX, name, content)
}

fn pack_within(max: u64, name: &str, content: impl Read) -> io::Result<Vec<u8>> {
    debug_assert!(name.len() <= NAME_MAX);
    let mut value = Vec::with_capacity(2 + name.len());
    value.extend_from_slice(&(name.len() as u16).to_be_bytes());
    value.extend_from_slice(name.as_bytes());
    let room = max.saturating_sub(value.len() as u64);
    let read = content.take(room + 1).read_to_end(&mut value)?;
    match read as u64 <= room {
        true => Ok(value),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a value has at most {max} bytes"),
        )),
    }
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

    #[test]
    fn a_value_unpacks_to_what_was_packed_and_other_bytes_do_not() {
        let packed = |name: &str, content: &[u8]| pack(name, content).unwrap();
        assert_eq!(
            unpack(&packed("ä", b"content")),
            Some(("ä", &b"content"[..]))
        );
        assert_eq!(unpack(&packed("name", b"")), Some(("name", &b""[..])));
        for bytes in [
            &b""[..],
            &[0],
            &[0, 5, 1],
            &[0, 1, 0xff],
            &packed("a/b", b""),
            &packed("..", b""),
            &packed("\u{1b}[2J", b""),
        ] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn too_long_a_content_is_refused_while_it_is_read() {
        let endless = io::repeat(7);
        let refused = pack_within(100, "name", endless).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(pack_within(100, "name", &[7; 94][..]).unwrap().len(), 100);
        assert!(pack_within(100, "name", &[7; 95][..]).is_err());
    }
}

//! Which names a value may have.

use crate::error::CliError;

/// The longest name, bytes: what common file systems take.
const NAME_MAX: usize = 255;

/// Names become file names when everything is restored into a folder, and are shown on
/// terminals.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.contains(|c: char| c == '/' || c.is_control())
        && name != "."
        && name != ".."
}

/// Refuses what is no name.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(CliError::Usage(format!(
            "a name has 1 to {NAME_MAX} bytes, no `/` and no control characters, and is neither \
             `.` nor `..`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_can_be_called_or_a_terminal_obeys_is_no_name() {
        for name in ["a", "ä.db", "...", &"n".repeat(NAME_MAX)] {
            assert!(is_name(name), "{name:?}");
        }
        let long = "n".repeat(NAME_MAX + 1);
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "\u{1b}[2J",
            "a\nb",
            "\0providers",
            &long,
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}

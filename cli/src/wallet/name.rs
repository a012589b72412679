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

/// Whether somebody who reads a name would not see this character, or would see others in another order. What scripts and
/// emoji need among them, joiners and variants, is taken, and shown all the same.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

fn is_needed(character: char) -> bool {
    matches!(character, '\u{200c}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// A name for people: what nobody would see in it, or a terminal would obey, is written as a number.
pub(crate) fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        match character.is_control() || is_unseen(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Refuses what is no name.
pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let mut unseen = name.chars().filter(|c| is_unseen(*c) && !is_needed(*c));
    if let Some(character) = unseen.next() {
        return Err(CliError::Usage(format!(
            "`{}` has a character in it that nobody sees, {}: take it out, so that no other name looks the same",
            shown(name),
            character.escape_unicode()
        )));
    }
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
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_nobody_sees_is_refused_in_new_names_and_shown_in_old_ones() {
        for (name, expected) in [
            ("a\u{202e}txt.exe", r"a\u{202e}txt.exe"),
            ("a\u{200b}b", r"a\u{200b}b"),
            ("\u{feff}a", r"\u{feff}a"),
            ("a\u{e0041}", r"a\u{e0041}"),
            ("a\u{2066}b\u{2069}", r"a\u{2066}b\u{2069}"),
        ] {
            let refused = check_name(name).unwrap_err().to_string();
            assert!(
                refused.contains(expected) && !refused.contains(name),
                "{refused}"
            );
            assert_eq!(shown(name), expected);
            // Stored by an earlier version, it is there.
            assert!(is_name(name), "{name:?}");
        }
        for (name, expected) in [
            ("👩\u{200d}🚀.txt", r"👩\u{200d}🚀.txt"),
            ("❤\u{fe0f}", r"❤\u{fe0f}"),
            (
                "naïve \"quoted\" \\ größe\u{3000}名",
                "naïve \"quoted\" \\ größe\u{3000}名",
            ),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert!(check_name(name).is_ok(), "{name:?}");
            assert_eq!(shown(name), expected);
        }
        assert_eq!(shown("\u{1b}[2J"), r"\u{1b}[2J");
    }
}

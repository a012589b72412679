//! Words as people keep them: on paper, in a note, in a file of another system.
//!
//! | given | taken as |
//! | --- | --- |
//! | any white space, commas and other punctuation, list marks, quotes | what separates words |
//! | `1. word`, `2) word`, `3word` | numbered words; if all are, the numbers say the order |
//! | `ABANDON`, full-width letters | `abandon` |
//! | four letters or more that one word begins with | that word |
//! | characters that nobody sees: a byte-order mark, zero-width spaces, marks of direction | nothing; or what separates words, if they are good only so |
//! | UTF-8, or UTF-16 of either order, with a mark or without | text |
//!
//! Whatever else there is is named, by its place. The checksum of the words stands behind all of this: what is
//! taken wrongly is refused by it fifteen times out of sixteen for 12 words, 255 times out of 256 for 24.

use bip39::{Language, Mnemonic};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

use super::InvalidWords;

/// How many words there can be, the largest first.
const COUNTS: [usize; 5] = [24, 21, 18, 15, 12];

/// So many letters tell the words of the English list from one another.
const ENOUGH: usize = 4;

/// Bytes that hold every word of the list, so that none is left behind where it grew.
const ROOM: usize = 32;

/// One word as it was given, with the number before it.
struct Given {
    number: Option<usize>,
    word: Zeroizing<String>,
}

/// What characters that nobody sees are taken as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unseen {
    Nothing,
    Separators,
}

/// What the last character belonged to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Separator,
    Number,
    Word,
}

/// Text from the bytes of a file.
///
/// # Errors
/// [`InvalidWords::Encoding`], with the first byte that is no text.
pub fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, InvalidWords> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, 2, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, 2, u16::from_be_bytes),
        // Without a mark: of a letter of ours one half is zero.
        [first, 0, ..] if *first != 0 => utf16(bytes, 0, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf16(bytes, 0, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Zeroizing::new(
                text.trim_start_matches('\u{feff}').to_owned(),
            )),
            Err(error) => Err(InvalidWords::Encoding(error.valid_up_to() + 1)),
        },
    }
}

fn utf16(
    bytes: &[u8],
    before: usize,
    unit: fn([u8; 2]) -> u16,
) -> Result<Zeroizing<String>, InvalidWords> {
    let (pairs, rest) = bytes.as_chunks();
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    let mut at = before + 1;
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| InvalidWords::Encoding(at))?;
        at += 2 * character.len_utf16();
        text.push(character);
    }
    match rest.is_empty() {
        true => Ok(text),
        false => Err(InvalidWords::Encoding(at)),
    }
}

/// How many words a text has so far, whatever words they are.
#[must_use]
pub fn count(text: &str) -> usize {
    match scan(text, Unseen::Nothing) {
        Ok(given) => given.iter().filter(|given| !given.word.is_empty()).count(),
        Err(_) => text.split_whitespace().count(),
    }
}

/// The words in a text, if they belong together.
pub(super) fn read(text: &str) -> Result<Mnemonic, InvalidWords> {
    take(text, Unseen::Nothing).or_else(|error| match text.contains(is_unseen) {
        true => take(text, Unseen::Separators).map_err(|_| error),
        false => Err(error),
    })
}

fn take(text: &str, unseen: Unseen) -> Result<Mnemonic, InvalidWords> {
    let given = ordered(scan(text, unseen)?)?;
    let words: Vec<Option<&str>> = given.iter().map(|given| english(&given.word)).collect();
    let known: Vec<&str> = words.iter().map_while(|word| *word).collect();
    let is_count = COUNTS.contains(&given.len());
    let Some(unknown) = given.get(known.len()) else {
        return match is_count {
            true => mnemonic(&known).ok_or(InvalidWords::Checksum),
            false => Err(complete(&known, given.len()).unwrap_or(InvalidWords::Count(known.len()))),
        };
    };
    if let Some(language) = other_language(&given) {
        return Err(InvalidWords::Language(language));
    }
    // In words of a good number one is misspelt, unless those before it are complete.
    if (!is_count || COUNTS.contains(&known.len()))
        && let Some(complete) = complete(&known, given.len())
    {
        return Err(complete);
    }
    let position = known.len() + 1;
    // As it is typed, in one piece.
    let foreign = unknown.word.nfc().find(|character| !character.is_ascii());
    Err(match foreign {
        Some(character) => InvalidWords::Character {
            position,
            character,
        },
        None => InvalidWords::Unknown {
            position,
            word: match unknown.number.filter(|_| unknown.word.is_empty()) {
                Some(number) => number.to_string(),
                None => unknown.word.to_string(),
            },
        },
    })
}

/// That words are complete before `all` of them are over.
fn complete(known: &[&str], all: usize) -> Option<InvalidWords> {
    let mut counts = COUNTS.into_iter().filter(|words| *words < all);
    let words = counts.find(|words| known.get(..*words).and_then(mnemonic).is_some())?;
    Some(InvalidWords::Passphrase { words })
}

/// Words of the list, if their number and their checksum are good.
fn mnemonic(words: &[&str]) -> Option<Mnemonic> {
    let words = Zeroizing::new(words.join(" "));
    Mnemonic::parse_in_normalized(Language::English, &words).ok()
}

/// The word of the list that this is, or that begins with this and no other does.
fn english(word: &str) -> Option<&'static str> {
    let list = Language::English.word_list();
    let next = list.get(list.partition_point(|known| *known < word))?;
    let is_it = *next == word || (word.len() >= ENOUGH && next.starts_with(word));
    is_it.then_some(next)
}

/// The language that most words are of, if that is another one.
fn other_language(given: &[Given]) -> Option<&'static str> {
    let words_of = |language: Language| {
        let known = given
            .iter()
            .filter(|given| language.find_word(&given.word).is_some());
        known.count()
    };
    let ours = given.iter().filter(|given| english(&given.word).is_some());
    let ours = ours.count();
    let others = Language::ALL
        .iter()
        .filter(|language| **language != Language::English);
    let language = others.max_by_key(|language| words_of(**language))?;
    let theirs = words_of(*language);
    (theirs > ours && 2 * theirs > given.len()).then_some(match language {
        Language::English => "English",
        Language::SimplifiedChinese | Language::TraditionalChinese => "Chinese",
        Language::Czech => "Czech",
        Language::French => "French",
        Language::Italian => "Italian",
        Language::Japanese => "Japanese",
        Language::Korean => "Korean",
        Language::Portuguese => "Portuguese",
        Language::Spanish => "Spanish",
    })
}

/// Words and the numbers before them, in the form that lists have: decomposed, and in small letters.
fn scan(text: &str, unseen: Unseen) -> Result<Vec<Given>, InvalidWords> {
    let mut given: Vec<Given> = Vec::new();
    let mut last = Last::Separator;
    for character in text.nfkd().flat_map(char::to_lowercase) {
        last = if is_unseen(character) {
            match unseen {
                Unseen::Nothing => last,
                Unseen::Separators => Last::Separator,
            }
        } else if let Some(digit) = character.to_digit(10) {
            number(&mut given, last, digit as usize);
            Last::Number
        } else if character.is_alphabetic() || is_combining_mark(character) {
            letter(&mut given, last, character);
            // Chinese words have one character, and may stand close together.
            match is_ideograph(character) {
                true => Last::Separator,
                false => Last::Word,
            }
        } else if separates(character) {
            Last::Separator
        } else {
            let position = given.iter().filter(|given| !given.word.is_empty()).count();
            return Err(InvalidWords::Character {
                position,
                character,
            });
        };
    }
    Ok(given)
}

fn number(given: &mut Vec<Given>, last: Last, digit: usize) {
    let before = match last {
        Last::Number => given.pop().and_then(|given| given.number),
        Last::Separator | Last::Word => None,
    };
    let number = before.unwrap_or(0).saturating_mul(10).saturating_add(digit);
    given.push(Given {
        number: Some(number),
        word: Zeroizing::new(String::with_capacity(ROOM)),
    });
}

fn letter(given: &mut Vec<Given>, last: Last, letter: char) {
    match given.last_mut() {
        Some(given) if given.word.is_empty() || (last == Last::Word && !is_ideograph(letter)) => {
            given.word.push(letter);
        }
        _ => {
            let mut word = Zeroizing::new(String::with_capacity(ROOM));
            word.push(letter);
            given.push(Given { number: None, word });
        }
    }
}

/// In the order that the numbers say, if every word has one: a table read row by row may have its columns mixed.
fn ordered(mut given: Vec<Given>) -> Result<Vec<Given>, InvalidWords> {
    if given.iter().any(|given| given.number.is_none()) {
        return Ok(given);
    }
    given.sort_by_key(|given| given.number);
    let mut numbers = (1..).zip(&given);
    match numbers.find(|(number, given)| given.number != Some(*number)) {
        Some((number, _)) => Err(InvalidWords::Numbers { number }),
        None => Ok(given),
    }
}

/// Characters without a mark of their own.
fn is_unseen(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
    )
}

fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// White space, punctuation, and what frames a table.
fn separates(character: char) -> bool {
    character.is_whitespace()
        || character.is_ascii_punctuation()
        || matches!(
            character,
            '\u{a1}'..='\u{bf}'
                | '\u{2010}'..='\u{2027}'
                | '\u{2030}'..='\u{205e}'
                | '\u{2190}'..='\u{21ff}'
                | '\u{2500}'..='\u{25ff}'
                | '\u{3001}'..='\u{3003}'
                | '\u{3008}'..='\u{301f}'
                | '\u{30fb}'
        )
}

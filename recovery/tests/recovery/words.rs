//! The root key as words.

use bip39::{Language, Mnemonic};
use larder_recovery::RootKey;
use larder_recovery::words::{Count, InvalidWords, count, decode, generate};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Words whose seed is published with BIP 39, and the root key: computed from the definitions of BIP 39
/// and BIP 32 with another program.
const VECTORS: [(&str, &str); 2] = [
    (
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
        "bd1edf2e5736a40c86596e2166d92c760de6c38758b0a2ffc47c5b2cf3478a4e",
    ),
    (
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
         abandon art",
        "93ba693c646a0b65b68dd63c7444a43159040d71b431dd73cc2846704943bd1e",
    ),
];

/// The seed of the first, as published.
const SEED: &str = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                    9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";

fn root(words: &str) -> String {
    let root = RootKey::from_words(words).expect("good words");
    root.reveal().to_string()
}

#[test]
fn the_published_words_are_the_published_root_keys() {
    for (words, expected) in VECTORS {
        assert_eq!(root(words), expected);
    }
    let seed = hex::decode(SEED).expect("hexadecimal");
    assert_eq!(*RootKey::from_seed(&seed).reveal(), VECTORS[0].1);
}

#[test]
fn capitals_and_white_space_change_nothing() {
    let (words, expected) = VECTORS[0];
    let shouted = format!("\n {}\t", words.to_uppercase().replace(' ', "  "));
    assert_eq!(root(&shouted), expected);
}

#[test]
fn words_that_are_drawn_are_words_and_others_each_time() {
    let mut rng = StdRng::seed_from_u64(1);
    for (count, words) in [(Count::Twelve, 12), (Count::TwentyFour, 24)] {
        let (one, other) = (generate(&mut rng, count), generate(&mut rng, count));
        assert_eq!(one.split(' ').count(), words);
        assert_ne!(root(&one), root(&other));
    }
}

#[test]
fn a_bad_word_is_named_with_its_place() {
    let good: Vec<&str> = VECTORS[0].0.split(' ').collect();
    for at in 0..good.len() {
        let mut words = good.clone();
        words[at] = "abandom";
        let error = RootKey::from_words(&words.join(" ")).expect_err("no word");
        let unknown = InvalidWords::Unknown {
            position: at + 1,
            word: "abandom".to_owned(),
        };
        assert_eq!(error, unknown);
        assert!(
            error
                .to_string()
                .contains(&format!("word {}, \"abandom\"", at + 1))
        );
        assert!(!format!("{error:?}").contains("abandom"));
    }
}

#[test]
fn a_word_too_few_too_many_or_in_anothers_place_is_refused() {
    let words = VECTORS[0].0;
    let error = |words: &str| RootKey::from_words(words).expect_err("no root key");
    assert_eq!(error(""), InvalidWords::Count(0));
    assert_eq!(error(&words[8..]), InvalidWords::Count(11));
    assert_eq!(error(&format!("abandon {words}")), InvalidWords::Count(13));
    assert_eq!(
        error(&words.replace("about", "abandon")),
        InvalidWords::Checksum
    );
    assert_eq!(
        error(&format!("about {}", &words[..words.len() - 6])),
        InvalidWords::Checksum
    );
}

/// Words that differ from one another, so that their order counts; and their root key, by the plain way.
const TWELVE: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

fn listed(line: impl Fn(usize, &str) -> String) -> String {
    let words = TWELVE.split(' ').zip(1..);
    let lines: Vec<String> = words.map(|(word, number)| line(number, word)).collect();
    lines.concat()
}

#[test]
fn words_are_taken_as_people_keep_them() {
    let expected = root(TWELVE);
    // A table of two columns, read row by row.
    let words: Vec<&str> = TWELVE.split(' ').collect();
    let rows = (0..6).map(|row| {
        let other = row + 6;
        let (left, right) = (words[row], words[other]);
        format!("{:>2}. {left:<10} {:>2}. {right}\n", row + 1, other + 1)
    });
    let table: String = rows.collect();
    for text in [
        listed(|number, word| format!("{number}. {word}\n")),
        listed(|number, word| format!("{number:>4}) {word:<10}")),
        listed(|number, word| format!("{number}{word}")),
        listed(|number, word| format!("{number}.{word},")),
        listed(|_, word| format!("{word}, ")),
        listed(|_, word| format!("- {word}\r\n")),
        listed(|_, word| format!("\u{2022}\u{a0}{word}\u{2028}")),
        listed(|_, word| format!("\"{word}\", ")),
        listed(|_, word| format!("{}\t", word.get(..4).unwrap_or(word))),
        listed(|_, word| format!("{} ", word.get(..5).unwrap_or(word).to_uppercase())),
        // Full width, as some input methods type.
        listed(|_, word| {
            let wide = |letter| char::from_u32(u32::from(letter) + 0xfee0).expect("a letter");
            format!("{}\u{3000}", word.chars().map(wide).collect::<String>())
        }),
        format!("[{}]", listed(|_, word| format!("'{word}';"))),
        format!("\u{feff}{TWELVE}\u{200b}"),
        // Within words, around them, and in place of white space.
        TWELVE
            .replace("win", "wi\u{200b}n")
            .replace("saus", "sau\u{ad}s"),
        TWELVE.replace(' ', " \u{200b}\u{202a}"),
        TWELVE.replace(' ', "\u{200b}"),
        table,
    ] {
        let read = RootKey::from_words(&text).map(|root| root.reveal().to_string());
        assert_eq!(read.as_ref(), Ok(&expected), "{text:?}");
        assert_eq!(
            *decode(text.as_bytes()).expect("text"),
            *text.trim_start_matches('\u{feff}')
        );
    }
}

#[test]
fn files_of_other_systems_are_read() {
    let numbered = listed(|number, word| format!("{number}. {word}\r\n"));
    let units = || numbered.encode_utf16();
    let little: Vec<u8> = units().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = units().flat_map(u16::to_be_bytes).collect();
    let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
    for bytes in [
        marked(&[0xff, 0xfe], &little),
        marked(&[0xfe, 0xff], &big),
        little.clone(),
        big,
        marked(&[0xef, 0xbb, 0xbf], numbered.as_bytes()),
    ] {
        assert_eq!(*decode(&bytes).expect("text"), numbered);
        assert_eq!(root(&decode(&bytes).expect("text")), root(TWELVE));
    }
    let at = |bytes: &[u8]| decode(bytes).expect_err("no text");
    assert_eq!(at(b"legal \xe9"), InvalidWords::Encoding(7));
    assert_eq!(
        at(&little[..little.len() - 1]),
        InvalidWords::Encoding(little.len() - 1)
    );
    // Half a pair of units.
    assert_eq!(
        at(&[0xff, 0xfe, b'a', 0, 0, 0xd8, b'a', 0]),
        InvalidWords::Encoding(5)
    );
    assert_eq!(*decode(&[]).expect("text"), "");
}

#[test]
fn numbers_that_are_no_order_are_named() {
    let error = |text: &str| RootKey::from_words(text).expect_err("no root key");
    let without_seven =
        listed(|number, word| format!("{} {word} ", number + usize::from(number > 6)));
    assert_eq!(error(&without_seven), InvalidWords::Numbers { number: 7 });
    let twice = listed(|number, word| format!("{} {word} ", number.min(11)));
    assert_eq!(error(&twice), InvalidWords::Numbers { number: 12 });
    let huge = listed(|number, word| format!("{number}99999999999999999999 {word} "));
    assert_eq!(error(&huge), InvalidWords::Numbers { number: 1 });
}

#[test]
fn a_character_that_no_word_has_is_named_with_its_place() {
    let error = |text: &str| RootKey::from_words(text).expect_err("no root key");
    // The Cyrillic letter looks the same.
    let looks_alike = TWELVE.replacen("year", "ye\u{430}r", 1);
    let accented = TWELVE.replacen("year", "ye\u{e1}r", 1);
    let broken = TWELVE.replacen("year ", "year\u{fffd} ", 1);
    let binary = TWELVE.replacen("year ", "year\u{1b}[ ", 1);
    for (text, character) in [
        (&looks_alike, '\u{430}'),
        (&accented, '\u{e1}'),
        (&broken, '\u{fffd}'),
        (&binary, '\u{1b}'),
    ] {
        let position = 4;
        assert_eq!(
            error(text),
            InvalidWords::Character {
                position,
                character
            }
        );
    }
    assert!(
        error(&looks_alike)
            .to_string()
            .contains("word 4 is a character that no word has, U+0430")
    );
}

#[test]
fn words_of_every_other_language_are_told_to_be_that() {
    for language in Language::ALL {
        for (entropy, separator) in [(vec![7; 16], " "), (vec![0x5a; 32], "\u{3000}")] {
            let words = Mnemonic::from_entropy_in(*language, &entropy).expect("a length");
            let words = words.to_string().replace(' ', separator);
            // As keyboards type it, too.
            let composed: String =
                unicode_normalization::UnicodeNormalization::nfc(words.as_str()).collect();
            for text in [words, composed] {
                let read = RootKey::from_words(&text);
                let expected = match language {
                    Language::English => {
                        assert!(read.is_ok(), "{text}");
                        continue;
                    }
                    Language::SimplifiedChinese | Language::TraditionalChinese => {
                        "Chinese".to_owned()
                    }
                    language => format!("{language:?}"),
                };
                let error = read.expect_err("another list");
                assert!(
                    matches!(&error, InvalidWords::Language(told) if *told == expected),
                    "{error:?}: {text}"
                );
                assert!(error.to_string().contains(&expected));
            }
        }
    }
    let close = Mnemonic::from_entropy_in(Language::SimplifiedChinese, &[9; 16]).expect("a length");
    let close = close.to_string().replace(' ', "");
    let error = RootKey::from_words(&close).expect_err("another list");
    assert_eq!(error, InvalidWords::Language("Chinese"));
}

#[test]
fn a_passphrase_behind_the_words_is_told_to_be_left_out() {
    let long = VECTORS[1].0;
    for (words, complete) in [(TWELVE, 12), (long, 24)] {
        for passphrase in [
            "TREZOR",
            "hunter2",
            "1234",
            "abandon",
            "correct horse battery staple",
            "gl\u{fc}ck",
        ] {
            let error = RootKey::from_words(&format!("{words} {passphrase}"));
            let expected = InvalidWords::Passphrase { words: complete };
            assert_eq!(
                error.expect_err("more than words"),
                expected,
                "{passphrase}"
            );
        }
    }
    // Numbered words, and something without a number.
    let text = format!(
        "{} passphrase: TREZOR",
        listed(|number, word| format!("{number}. {word} "))
    );
    let error = RootKey::from_words(&text).expect_err("more than words");
    assert_eq!(error, InvalidWords::Passphrase { words: 12 });
}

#[test]
fn words_are_counted_while_they_are_typed() {
    let mut typed = String::new();
    for (words, line) in [
        (4, "1. legal 2. winner 3. thank 4. year\n"),
        (7, "wave, sausage, worth\n"),
        (8, "5.\nuseful"),
    ] {
        typed.push_str(line);
        assert_eq!(count(&typed), words, "{typed}");
    }
    assert_eq!(count(" \n"), 0);
    assert_eq!(count("one \u{1b} two"), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_given_is_taken_or_refused(text in "\\PC*", bytes: Vec<u8>, noise in "[a-z0-9 .,\\u{200b}\\u{301}]{0,200}") {
        for text in [text, noise] {
            prop_assert!(RootKey::from_words(&text).is_err());
            prop_assert!(count(&text) <= text.len());
        }
        if let Ok(text) = decode(&bytes) {
            prop_assert!(RootKey::from_words(&text).is_err());
        }
    }

    #[test]
    fn words_that_are_drawn_are_read_back_from_a_sheet_in_any_order(seed: u64, long: bool, cut in 4..9usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        let words = generate(&mut rng, if long { Count::TwentyFour } else { Count::Twelve });
        let mut lines: Vec<String> = words
            .split(' ')
            .zip(1..)
            .map(|(word, number)| format!("{number}: {}\n", word.get(..cut).unwrap_or(word)))
            .collect();
        lines.sort();
        prop_assert_eq!(root(&lines.concat()), root(&words));
    }
}

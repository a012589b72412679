//! `larder1…` says what is wrong with it.

use crate::messages;
use larder_protocol::{Address, InvalidText, NodeId};

fn address() -> String {
    let relay = NodeId::from(messages::keypair(4).public_key());
    let node = NodeId::from(messages::keypair(3).public_key());
    Address::new(messages::server_key(1), node, vec![relay]).to_string()
}

fn error(text: &str) -> InvalidText {
    text.parse::<Address>().expect_err("damaged")
}

#[test]
fn any_one_wrong_character_is_located() {
    let good = address();
    for at in "larder1".len()..good.len() {
        let mut letters: Vec<char> = good.chars().collect();
        letters[at] = if letters[at] == 'q' { 'p' } else { 'q' };
        let found = letters[at];
        let damaged: String = letters.into_iter().collect();
        assert_eq!(
            error(&damaged),
            InvalidText::Typo {
                position: at + 1,
                found
            }
        );
    }
}

#[test]
fn a_character_outside_the_alphabet_is_located() {
    let mut letters: Vec<char> = address().chars().collect();
    letters[20] = 'b';
    let damaged: String = letters.iter().collect();
    assert_eq!(
        error(&damaged),
        InvalidText::Character {
            position: 21,
            found: 'b'
        }
    );
    letters[20] = 'é';
    let damaged: String = letters.iter().collect();
    assert_eq!(
        error(&damaged),
        InvalidText::Character {
            position: 21,
            found: 'é'
        }
    );
}

#[test]
fn two_wrong_characters_a_missing_one_and_other_things_are_told_apart() {
    let good = address();
    let mut letters: Vec<char> = good.chars().collect();
    letters.swap(10, 30);
    letters.swap(50, 51);
    let damaged: String = letters.into_iter().collect();
    assert_eq!(error(&damaged), InvalidText::Checksum);
    assert_eq!(error(&good[..good.len() - 1]), InvalidText::Checksum);
    for text in ["lnbc1qqqq", "", "larderv1qqqq"] {
        assert!(matches!(error(text), InvalidText::WrongPrefix { .. }));
    }
    assert!(matches!(
        error(&"larder1q".repeat(200)),
        InvalidText::TooLong { .. }
    ));
}

#[test]
fn an_address_keeps_fifteen_introductions_at_most() {
    let node = |number| NodeId::from(messages::keypair(number).public_key());
    let address = Address::new(
        messages::server_key(1),
        node(1),
        (1..40).map(node).collect(),
    );
    assert_eq!(address.introductions().len(), 15);
    assert_eq!(address.to_string().parse(), Ok(address));
}

#[test]
fn blanks_around_an_address_do_not_matter_and_one_letter_of_the_other_case_is_located() {
    let good = address();
    assert_eq!(
        format!(" {good}\n")
            .parse::<Address>()
            .map(|read| read.to_string()),
        Ok(good.clone())
    );
    let at = good
        .rfind(|letter: char| letter.is_ascii_lowercase())
        .expect("letters");
    let mut mixed = good.clone();
    mixed.replace_range(at..=at, &good[at..=at].to_uppercase());
    let found = mixed[at..].chars().next().expect("a letter");
    assert_eq!(
        error(&mixed),
        InvalidText::Typo {
            position: at + 1,
            found
        }
    );
}

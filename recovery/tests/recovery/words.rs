//! The root key as words.

use larder_recovery::RootKey;
use larder_recovery::words::{Count, InvalidWords, generate};
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
    assert_eq!(error(&format!("{words} about")), InvalidWords::Count(13));
    assert_eq!(
        error(&words.replace("about", "abandon")),
        InvalidWords::Checksum
    );
    assert_eq!(
        error(&format!("about {}", &words[..words.len() - 6])),
        InvalidWords::Checksum
    );
}

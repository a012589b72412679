//! The root key as 12 or 24 words (BIP 39).
//!
//! ```text
//! seed = PBKDF2-HMAC-SHA512(words, "mnemonic", 2,048 rounds)          BIP 39, no passphrase
//! root = private key of m/1280459858'                                 BIP 32, one hardened step
//! ```
//!
//! The number of the step is `LRDR` in ASCII. So the words may be those of a wallet that has other uses
//! for them: no key that the wallet shows, and no child of one, leads to the root key or back.
//!
//! Words are those of the English list, in the many ways in which people keep them (`recovery/src/words/reading.rs`). 15, 18
//! and 21 words are taken as well, because wallets exist that give as many. A passphrase is not: it would open another
//! wallet without a word.

mod reading;

use std::fmt;

use bip39::Mnemonic;
use bitcoin::Network;
use bitcoin::bip32::{ChildNumber, Xpriv};
use rand::CryptoRng;
use secp256k1::SECP256K1;
use zeroize::{Zeroize, Zeroizing};

use crate::RootKey;

pub use reading::{count, decode};

/// The one hardened step from the seed: `LRDR`.
const STEP: u32 = u32::from_be_bytes(*b"LRDR");

/// How many words are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// 128 bits of entropy, which is what most wallets draw.
    Twelve,
    /// 256 bits.
    TwentyFour,
}

/// Words that are no root key: look at them again where they were written down.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWords {
    /// A word is missing or too many.
    #[error(
        "there are {0} words, and there have to be 12 or 24, or 15, 18 or 21 of another wallet: one was \
         missed, or is there twice"
    )]
    Count(usize),
    /// A word that no list has: misread, or misspelt.
    #[error("word {position}, \"{word}\", is none of the 2,048 there are: look at it again")]
    Unknown {
        /// Which one, from 1.
        position: usize,
        /// What was given.
        word: String,
    },
    /// All of them are words, and they do not belong together like this.
    #[error(
        "the words are known, but not in this order: one is in another's place, or another word"
    )]
    Checksum,
    /// Words of another list.
    #[error(
        "these are {0} words, and only those of the English list are taken: `larder init` shows no others, so they \
         belong to another wallet"
    )]
    Language(&'static str),
    /// More follows behind words that are complete.
    #[error(
        "the first {words} words are complete, and more follows. If that is a passphrase, leave it out: none is taken. \
         If not, look at word {} again", .words + 1
    )]
    Passphrase {
        /// How many are complete.
        words: usize,
    },
    /// A character that no word has and that separates none, as one that only looks like a letter.
    #[error(
        "in or behind word {position} is a character that no word has, U+{:04X}: type that word anew",
        u32::from(*.character)
    )]
    Character {
        /// Which word, from 1; 0 before the first.
        position: usize,
        /// The character.
        character: char,
    },
    /// The words are numbered, and not all numbers are there once.
    #[error("the words are numbered, and number {number} is missing or another one is there twice")]
    Numbers {
        /// The first that is missing.
        number: usize,
    },
    /// Bytes that are no text.
    #[error(
        "from byte {0} on it is no text, neither UTF-8 nor UTF-16: save it as plain text, or type the words"
    )]
    Encoding(usize),
}

/// Which word it is, and not what it is: all others may be right.
impl fmt::Debug for InvalidWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidWords::Count(count) => write!(f, "Count({count})"),
            InvalidWords::Unknown { position, .. } => write!(f, "Unknown({position})"),
            InvalidWords::Checksum => f.write_str("Checksum"),
            InvalidWords::Language(language) => write!(f, "Language({language})"),
            InvalidWords::Passphrase { words } => write!(f, "Passphrase({words})"),
            InvalidWords::Character { position, .. } => write!(f, "Character({position})"),
            InvalidWords::Numbers { number } => write!(f, "Numbers({number})"),
            InvalidWords::Encoding(at) => write!(f, "Encoding({at})"),
        }
    }
}

/// Draws words, to be written down on paper.
#[must_use]
pub fn generate(rng: &mut impl CryptoRng, count: Count) -> Zeroizing<String> {
    let mut entropy = Zeroizing::new([0; 32]);
    rng.fill_bytes(entropy.as_mut_slice());
    let entropy = match count {
        Count::Twelve => &entropy[..16],
        Count::TwentyFour => &entropy[..],
    };
    #[expect(clippy::expect_used, reason = "BIP 39 has 16 and 32 bytes of entropy")]
    let words = Mnemonic::from_entropy(entropy).expect("one of its lengths");
    Zeroizing::new(words.to_string())
}

impl RootKey {
    /// The root key behind words.
    ///
    /// # Errors
    /// [`InvalidWords`], with the first word that is wrong.
    pub fn from_words(words: &str) -> Result<Self, InvalidWords> {
        let words = reading::read(words)?;
        let seed = Zeroizing::new(words.to_seed_normalized(""));
        Ok(RootKey::from_seed(seed.as_slice()))
    }

    /// The root key of a wallet with this seed, as BIP 39 has it; 64 bytes, or what else BIP 32
    /// begins with.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Self {
        let step = ChildNumber::Hardened { index: STEP };
        #[expect(
            clippy::expect_used,
            reason = "BIP 32 fails for one seed in 2^127; nobody has drawn one"
        )]
        let mut child = Xpriv::new_master(Network::Bitcoin, seed)
            .and_then(|mut master| {
                let child = master.derive_priv(SECP256K1, &[step]);
                master.private_key.non_secure_erase();
                child
            })
            .expect("a seed that leads to keys");
        let mut bytes = child.private_key.secret_bytes();
        child.private_key.non_secure_erase();
        let root = RootKey::from_bytes(bytes);
        bytes.zeroize();
        root
    }
}

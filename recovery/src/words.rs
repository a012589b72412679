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
//! Words are those of the English list, in any case and with any white space between them. 15, 18
//! and 21 words are taken as well, because wallets exist that give as many.

use std::fmt;

use bip39::{Error, Language, Mnemonic};
use bitcoin::Network;
use bitcoin::bip32::{ChildNumber, Xpriv};
use rand::CryptoRng;
use secp256k1::SECP256K1;
use zeroize::{Zeroize, Zeroizing};

use crate::RootKey;

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
}

/// Which word it is, and not what it is: all others may be right.
impl fmt::Debug for InvalidWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidWords::Count(count) => write!(f, "Count({count})"),
            InvalidWords::Unknown { position, .. } => write!(f, "Unknown({position})"),
            InvalidWords::Checksum => f.write_str("Checksum"),
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
        let lower = Zeroizing::new(words.to_lowercase());
        let words = Mnemonic::parse_in_normalized(Language::English, &lower);
        let words = words.map_err(|error| invalid(&lower, &error))?;
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

fn invalid(words: &str, error: &Error) -> InvalidWords {
    match *error {
        Error::BadWordCount(count) => InvalidWords::Count(count),
        Error::UnknownWord(at) => InvalidWords::Unknown {
            position: at + 1,
            word: words
                .split_whitespace()
                .nth(at)
                .unwrap_or_default()
                .to_owned(),
        },
        _ => InvalidWords::Checksum,
    }
}

//! A checkpoint: how far the history went, short enough for paper.
//!
//! Who has only the root key believes what the storage nodes show, and one that is alone can show an older state. A
//! checkpoint that was written down beside the words, or kept with anybody at all, sets a lower bound:
//! [`Checkpoint::check`] refuses a log that is shorter, or that is another one.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 5 | records, big-endian |
//! | 4 | mark: whether a history passes this point |
//! | 4 | seal: whether the checkpoint was made with this root key |
//!
//! ```text
//! key  = HMAC-SHA256(root, "larder/checkpoint/1")
//! mark = HMAC-SHA256(key, "mark" ‖ records 8 ‖ chain 16)[..4]
//! seal = HMAC-SHA256(key, "seal" ‖ records 8 ‖ mark)[..4]
//! ```
//!
//! The chain is that of [`log::point`](crate::log::point). As text it is bech32m with the prefix `larderc`, 37 characters, of which a wrong one is
//! named; blanks and hyphens, as for reading it out, do not matter.
//!
//! # Whoever keeps it
//!
//! learns how many commits there were, and nothing else: two checkpoints of one wallet have nothing in common. It can
//! give back an old one, which then vouches for less, or none. One that it made up is told from one of the wallet's
//! but once in 2^32, so it gets no storage node blamed. That makes any place do, such as the storage that a channel's peers
//! keep for each other, which is encrypted besides.
//!
//! # What it does not prove
//!
//! That what is shown is the newest state: what came behind the checkpoint may be missing. Where the log was rolled up
//! since, only the number is compared ([`Vouched::Number`]).

use std::fmt;
use std::str::FromStr;

use larder_protocol::text::{self, InvalidText};
use zeroize::Zeroizing;

use crate::log::{Log, Point, take};
use crate::schedule::hmac_sha256;
use crate::{RecoveryError, RootKey};

/// The human-readable prefix.
const PREFIX: &str = "larderc";

const VERSION: u8 = 1;

/// So many records, marked with the root key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    records: u64,
    mark: [u8; 4],
    seal: [u8; 4],
}

/// What a checkpoint says of a history that passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// It is the one that the checkpoint was made of, and goes on from there.
    History,
    /// It is as long at least. The point is before the last roll-up, so there is nothing left to compare.
    Number,
}

/// Text that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheckpoint {
    /// It was not copied right.
    #[error(transparent)]
    Text(#[from] InvalidText),
    /// Whoever made it was not this program.
    #[error("it is not a checkpoint that this larder reads: it may be of a newer one")]
    Contents,
}

impl Checkpoint {
    /// Bytes of one.
    pub const LEN: usize = 14;

    /// Of this point. A number that does not fit is the highest that does: more records than a log can hold.
    #[must_use]
    pub fn new(root: &RootKey, point: &Point) -> Self {
        let records = point.records.min((1 << 40) - 1);
        let key = key(root);
        let mark = mark(&key, records, point);
        Checkpoint {
            records,
            mark,
            seal: seal(&key, records, mark),
        }
    }

    /// How many records there were.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Checks that a log is at least as long as the one this was made of, and the same as far as can be seen.
    ///
    /// # Errors
    /// [`RecoveryError::ForeignCheckpoint`], [`RecoveryError::OlderState`] or [`RecoveryError::OtherHistory`].
    pub fn check(&self, root: &RootKey, log: &Log) -> Result<Vouched, RecoveryError> {
        self.belongs_to(root)?;
        let key = key(root);
        let is_same = |chain| {
            let records = self.records;
            mark(&key, records, &Point { records, chain }) == self.mark
        };
        Ok(match log.compare(self.records, is_same)? {
            true => Vouched::History,
            false => Vouched::Number,
        })
    }

    /// Checks that it was made with this root key.
    ///
    /// # Errors
    /// [`RecoveryError::ForeignCheckpoint`].
    pub fn belongs_to(&self, root: &RootKey) -> Result<(), RecoveryError> {
        match seal(&key(root), self.records, self.mark) == self.seal {
            true => Ok(()),
            false => Err(RecoveryError::ForeignCheckpoint),
        }
    }

    /// The bytes, for whatever keeps them.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Checkpoint::LEN] {
        let mut bytes = [0; Checkpoint::LEN];
        bytes[0] = VERSION;
        bytes[1..6].copy_from_slice(&self.records.to_be_bytes()[3..]);
        bytes[6..10].copy_from_slice(&self.mark);
        bytes[10..].copy_from_slice(&self.seal);
        bytes
    }

    /// Reads the bytes; `None` when they are no checkpoint.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let [VERSION] = take(bytes)? else {
            return None;
        };
        let [a, b, c, d, e] = take(bytes)?;
        let checkpoint = Checkpoint {
            records: u64::from_be_bytes([0, 0, 0, a, b, c, d, e]),
            mark: take(bytes)?,
            seal: take(bytes)?,
        };
        bytes.is_empty().then_some(checkpoint)
    }
}

fn key(root: &RootKey) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac_sha256(root.as_bytes(), &[b"larder/checkpoint/1"]))
}

fn mark(key: &[u8; 32], records: u64, point: &Point) -> [u8; 4] {
    first(hmac_sha256(
        key,
        &[b"mark", &records.to_be_bytes(), &point.chain.0],
    ))
}

fn seal(key: &[u8; 32], records: u64, mark: [u8; 4]) -> [u8; 4] {
    first(hmac_sha256(key, &[b"seal", &records.to_be_bytes(), &mark]))
}

fn first([a, b, c, d, ..]: [u8; 32]) -> [u8; 4] {
    [a, b, c, d]
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(f, PREFIX, &self.to_bytes())
    }
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(written: &str) -> Result<Self, InvalidCheckpoint> {
        let is_between = |letter: &char| letter.is_whitespace() || *letter == '-';
        let together: String = written
            .chars()
            .filter(|letter| !is_between(letter))
            .collect();
        let bytes = text::read(&together, "a checkpoint", PREFIX)?;
        Checkpoint::from_bytes(&bytes).ok_or(InvalidCheckpoint::Contents)
    }
}

/// How often a wallet wrote is its own matter.
impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkpoint(..)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/checkpoint.json");

    fn root(byte: u8) -> RootKey {
        RootKey::from_bytes([byte; 32])
    }

    fn point() -> Point {
        let mut bytes = [0x22; 24];
        bytes[..8].copy_from_slice(&1_234_567u64.to_be_bytes());
        Point::from_bytes(bytes)
    }

    #[test]
    fn the_published_vector_is_what_is_written_down() {
        let checkpoint = Checkpoint::new(&root(0x11), &point());
        let built = json!({
            "root": hex::encode([0x11; 32]),
            "records": point().records(),
            "chain": hex::encode(&point().to_bytes()[8..]),
            "bytes": hex::encode(checkpoint.to_bytes()),
            "text": checkpoint.to_string(),
        });
        if std::env::var_os("LARDER_BLESS").is_some() {
            std::fs::write(FILE, serde_json::to_string_pretty(&built).unwrap() + "\n").unwrap();
        }
        let text = std::fs::read_to_string(FILE).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), built);
    }

    #[test]
    fn it_reads_back_however_it_was_grouped_and_a_slip_of_the_pen_is_named() {
        let checkpoint = Checkpoint::new(&root(1), &point());
        let text = checkpoint.to_string();
        assert_eq!(text.len(), 37);
        assert_eq!(text.parse(), Ok(checkpoint));
        let upper = text.to_uppercase();
        let (head, tail) = upper.split_at(17);
        assert_eq!(format!(" {head} -\n{tail}\n").parse(), Ok(checkpoint));
        for at in PREFIX.len() + 1..text.len() {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'q' { b'p' } else { b'q' };
            let found = char::from(wrong[at]);
            let wrong = String::from_utf8(wrong).unwrap();
            let position = at + 1;
            let slip = InvalidText::Typo { position, found };
            assert_eq!(wrong.parse::<Checkpoint>(), Err(slip.into()));
        }
        let short = &text[..text.len() - 1];
        assert!(short.parse::<Checkpoint>().is_err());
    }

    #[test]
    fn every_changed_bit_and_every_other_root_is_foreign() {
        let checkpoint = Checkpoint::new(&root(1), &point());
        assert_eq!(checkpoint.belongs_to(&root(1)), Ok(()));
        assert!(checkpoint.belongs_to(&root(2)).is_err());
        for bit in 8..8 * Checkpoint::LEN {
            let mut changed = checkpoint.to_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = Checkpoint::from_bytes(&changed).unwrap();
            assert_eq!(
                changed.belongs_to(&root(1)),
                Err(RecoveryError::ForeignCheckpoint)
            );
        }
        let bytes = checkpoint.to_bytes();
        assert_eq!(Checkpoint::from_bytes(&bytes), Some(checkpoint));
        assert_eq!(Checkpoint::from_bytes(&bytes[1..]), None);
        assert_eq!(Checkpoint::from_bytes(&[2; Checkpoint::LEN]), None);
        assert_eq!(Checkpoint::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }

    #[test]
    fn two_of_one_wallet_have_nothing_in_common_but_the_version_and_the_number() {
        let (one, mut later) = (point(), point());
        later.records += 1;
        let [one, later] = [one, later].map(|point| Checkpoint::new(&root(1), &point).to_bytes());
        assert_ne!(one[6..10], later[6..10]);
        assert_ne!(one[10..], later[10..]);
    }
}

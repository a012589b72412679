//! `larder1…`: the one string a client needs to find a storage node.
//!
//! Bech32m (BIP 350) with the prefix `larder` over a TLV stream (BOLT 1 rules):
//!
//! | type | bytes | value |
//! | --- | --- | --- |
//! | 2 | 33 | server key |
//! | 4 | 33 | node id |
//! | 6 | 33 n | ids of nodes that the storage node keeps a connection to, best first; absent when there are none |
//!
//! The checksum detects every wrong character; a single one is also located.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};

use crate::extension::{put_tlv, read_stream};
use crate::wire::Reader;
use crate::{DecodeError, NodeId, ServerKey};

const SERVER_KEY: u64 = 2;
const NODE_ID: u64 = 4;
const INTRODUCTIONS: u64 = 6;

/// The human-readable prefix.
pub const PREFIX: &str = "larder";

/// The letters of bech32.
const CHARSET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Beyond this bech32m no longer promises to find errors.
const MAX_CHARACTERS: usize = 1_023;

/// Introduction nodes that fit an address of [`MAX_CHARACTERS`].
const MAX_INTRODUCTIONS: usize = 15;

/// Where a storage node is found, and the key that proves it is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    server_key: ServerKey,
    node_id: NodeId,
    introductions: Vec<NodeId>,
}

/// A string that is no address. Whoever copied it can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Not even the beginning fits.
    #[error("an address of a storage node begins with `larder1`")]
    WrongPrefix,
    /// Longer than any address.
    #[error("an address has at most {MAX_CHARACTERS} characters: this is something else")]
    TooLong,
    /// One character does not belong to the alphabet of bech32.
    #[error("character {position}, `{found}`, cannot be in an address: copy it again")]
    Character {
        /// Counted from 1.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// Exactly one character is wrong, and this is where.
    #[error("character {position}, `{found}`, is wrong: compare it with the original")]
    Typo {
        /// Counted from 1.
        position: usize,
        /// What stands there.
        found: char,
    },
    /// The checksum does not hold, and not because of one character alone.
    #[error("more than one character is wrong or missing: copy the address again")]
    Checksum,
    /// The checksum holds, but the contents are no address. Whoever made it is at fault.
    #[error("the address is damaged where it was made: {0}")]
    Contents(#[from] DecodeError),
}

impl Address {
    /// Puts an address together. Of the introductions, the first 15 are kept.
    #[must_use]
    pub fn new(server_key: ServerKey, node_id: NodeId, mut introductions: Vec<NodeId>) -> Self {
        introductions.truncate(MAX_INTRODUCTIONS);
        Address {
            server_key,
            node_id,
            introductions,
        }
    }

    /// The key that signs the parameter record.
    #[must_use]
    pub fn server_key(&self) -> &ServerKey {
        &self.server_key
    }

    /// The storage node's Lightning node id.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Nodes that the storage node keeps a connection to, best first.
    #[must_use]
    pub fn introductions(&self) -> &[NodeId] {
        &self.introductions
    }

    fn contents(&self) -> Vec<u8> {
        let mut to = Vec::new();
        put_tlv(&mut to, SERVER_KEY, self.server_key.as_bytes());
        put_tlv(&mut to, NODE_ID, self.node_id.as_bytes());
        if !self.introductions.is_empty() {
            let ids: Vec<u8> = self
                .introductions
                .iter()
                .flat_map(|id| *id.as_bytes())
                .collect();
            put_tlv(&mut to, INTRODUCTIONS, &ids);
        }
        to
    }

    fn from_contents(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut server_key, mut node_id, mut introductions) = (None, None, Vec::new());
        read_stream(&mut Reader::new(bytes), |kind, value| {
            match kind {
                SERVER_KEY => server_key = Some(ServerKey::from_slice(value)?),
                NODE_ID => node_id = Some(NodeId::from_slice(value)?),
                INTRODUCTIONS => {
                    if value.is_empty() || value.len() > NodeId::LEN * MAX_INTRODUCTIONS {
                        return Err(DecodeError::Inconsistent("1 to 15 introductions fit"));
                    }
                    introductions = value
                        .chunks(NodeId::LEN)
                        .map(NodeId::from_slice)
                        .collect::<Result<_, _>>()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Address {
            server_key: server_key.ok_or(DecodeError::Truncated("the server key"))?,
            node_id: node_id.ok_or(DecodeError::Truncated("the node id"))?,
            introductions,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hrp = Hrp::parse(PREFIX).map_err(|_| fmt::Error)?;
        bech32::encode_to_fmt::<Bech32m, _>(f, hrp, &self.contents()).map_err(|_| fmt::Error)
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if text.chars().count() > MAX_CHARACTERS {
            return Err(InvalidAddress::TooLong);
        }
        let prefix_len = PREFIX.len() + 1;
        let data = match text.get(..prefix_len) {
            Some(head) if head.eq_ignore_ascii_case("larder1") => &text[prefix_len..],
            _ => return Err(InvalidAddress::WrongPrefix),
        };
        for (at, found) in data.chars().enumerate() {
            if !CHARSET.contains(found.to_ascii_lowercase()) {
                return Err(InvalidAddress::Character {
                    position: prefix_len + at + 1,
                    found,
                });
            }
        }
        if let Some((at, found)) = odd_case(text) {
            return Err(InvalidAddress::Typo {
                position: at + 1,
                found,
            });
        }
        match checked(text) {
            Some(contents) => Ok(Address::from_contents(&contents)?),
            None => Err(locate(text, prefix_len)),
        }
    }
}

/// The first letter of the rarer case, if there are both. Upper case is for QR codes; mixed case is
/// a damaged copy (BIP 173).
fn odd_case(text: &str) -> Option<(usize, char)> {
    let upper = text.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = text.bytes().filter(u8::is_ascii_lowercase).count();
    let rarer = if upper <= lower {
        char::is_ascii_uppercase
    } else {
        char::is_ascii_lowercase
    };
    text.chars().enumerate().find(|(_, letter)| rarer(letter))
}

/// The bytes behind a string whose checksum holds.
fn checked(text: &str) -> Option<Vec<u8>> {
    let parsed = CheckedHrpstring::new::<Bech32m>(text).ok()?;
    Some(parsed.byte_iter().collect())
}

/// Finds the one wrong character by trying every other letter everywhere. The code tells all
/// strings of up to 1,023 characters that differ in one place apart, so there is at most one.
fn locate(text: &str, prefix_len: usize) -> InvalidAddress {
    let upper = text.chars().any(|letter| letter.is_ascii_uppercase());
    let mut attempt = text.as_bytes().to_vec();
    for at in prefix_len..attempt.len() {
        let found = attempt[at];
        for letter in CHARSET.bytes() {
            attempt[at] = if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            };
            if std::str::from_utf8(&attempt).is_ok_and(|text| checked(text).is_some()) {
                return InvalidAddress::Typo {
                    position: at + 1,
                    found: char::from(found),
                };
            }
        }
        attempt[at] = found;
    }
    InvalidAddress::Checksum
}

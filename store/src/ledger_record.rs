//! The ledger's values in sled, laid out like all others ([`record`](crate::record)).
//!
//! | record | tree | key | fields |
//! | --- | --- | --- | --- |
//! | [`Replacement::Row`] | `rows/EEEEEEEE` (credential epoch, hex) | a row's first reference 32 | 0, row 578 |
//! | [`Replacement::SameAs`] | the same | its second reference 32 | 1, first reference 32 |
//! | [`OpenedClaim`] | `claims` | tag 32 | payment 32, amount u64, paid u8, consumed u8, expires u64 |
//! | [`Tags`] | `payments` | payment 32 | list of tags 32 |
//! | [`Canary`] | `ledger` | `supply` | outstanding u128, halted u8 |
//! | [`Epochs`] | `ledger` | `epochs` | oldest u32, current u32, ordinal u32, since u64, list of bytes: the terms |
//! | [`Owner`](crate::notes::Owner) | `ledger` | `server` | the node's public server key 33 |
//! | [`Latest`](crate::notes::Latest) | `ledger` | `latest` | Unix seconds u64 |
//! | [`DoubtedClock`](crate::DoubtedClock) | `ledger` | `doubts` | the clock u64, seconds for which it was steady u64 |

use bincode::{Decode, Encode};
use larder_credentials::ledger::{Claim, Floor, Supply};
use larder_credentials::{ClaimTag, Epoch, ROW_BYTES, Reference, Row};

use crate::record::{Stored, damaged, decode_fields, encode_fields};
use crate::{Epochs, OpenedClaim, StoreError};

/// Where the ledger's single values are; of one length, as a tally wants keys to be.
pub(crate) const SUPPLY: &[u8] = b"supply";
pub(crate) const EPOCHS: &[u8] = b"epochs";
pub(crate) const SERVER: &[u8] = b"server";
pub(crate) const LATEST: &[u8] = b"latest";
pub(crate) const DOUBTS: &[u8] = b"doubts";

/// What is stored under a reference: a row is written once, under its first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replacement {
    Row(Box<Row>),
    SameAs(Reference),
}

impl Stored for Replacement {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Replacement::Row(row) => encode_fields(1, &(0_u8, row.encode())),
            Replacement::SameAs(first) => encode_fields(1, &(1_u8, first.0)),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        match bytes.get(1) {
            Some(0) => {
                let (_, row): (u8, [u8; ROW_BYTES]) = decode_fields(1, bytes)?;
                let row = Row::decode(&row).map_err(|_| damaged("a row that no ledger wrote"))?;
                Ok(Replacement::Row(Box::new(row)))
            }
            Some(1) => {
                let (_, first): (u8, [u8; 32]) = decode_fields(1, bytes)?;
                Ok(Replacement::SameAs(Reference(first)))
            }
            _ => Err(damaged("a row of an unknown kind")),
        }
    }
}

type ClaimFields = ([u8; 32], u64, bool, bool, u64);

impl Stored for OpenedClaim {
    fn to_bytes(&self) -> Vec<u8> {
        let OpenedClaim { claim, expires } = self;
        let fields: ClaimFields = (
            claim.payment,
            claim.amount,
            claim.paid,
            claim.consumed,
            *expires,
        );
        encode_fields(1, &fields)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let (payment, amount, paid, consumed, expires): ClaimFields = decode_fields(1, bytes)?;
        let claim = Claim {
            payment,
            amount,
            paid,
            consumed,
        };
        Ok(OpenedClaim { claim, expires })
    }
}

/// The tags that a payment opened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tags(Vec<[u8; 32]>);

impl Tags {
    /// More do not fit a value.
    pub(crate) const MOST: usize = 128;

    pub(crate) fn new(tags: &[ClaimTag]) -> Self {
        Tags(tags.iter().map(|tag| tag.0).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = ClaimTag> {
        self.0.iter().copied().map(ClaimTag)
    }
}

/// [`Supply`], as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Canary {
    outstanding: u128,
    halted: bool,
}

impl From<Supply> for Canary {
    fn from(
        Supply {
            outstanding,
            halted,
        }: Supply,
    ) -> Self {
        Canary {
            outstanding,
            halted,
        }
    }
}

impl From<Canary> for Supply {
    fn from(
        Canary {
            outstanding,
            halted,
        }: Canary,
    ) -> Self {
        Supply {
            outstanding,
            halted,
        }
    }
}

type EpochFields = (u32, u32, u32, u64, Vec<u8>);

impl Stored for Epochs {
    fn to_bytes(&self) -> Vec<u8> {
        let fields: EpochFields = (
            self.floor.oldest.0,
            self.floor.current.0,
            self.ordinal,
            self.since,
            self.terms.clone(),
        );
        encode_fields(1, &fields)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, StoreError> {
        let (oldest, current, ordinal, since, terms): EpochFields = decode_fields(1, bytes)?;
        let floor = Floor {
            oldest: Epoch(oldest),
            current: Epoch(current),
        };
        Ok(Epochs {
            floor,
            ordinal,
            since,
            terms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Enter;

    #[test]
    fn the_ledgers_values_are_laid_out_as_documented() {
        let claim = OpenedClaim {
            claim: Claim {
                payment: [3; 32],
                amount: 0x0102,
                paid: true,
                consumed: false,
            },
            expires: 0x0304,
        };
        let bytes = claim.to_bytes();
        assert_eq!(bytes.len(), 1 + 32 + 8 + 1 + 1 + 8);
        assert_eq!(bytes[33..45], [2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 4, 3][..]);
        assert_eq!(OpenedClaim::from_bytes(&bytes).unwrap(), claim);

        let same = Replacement::SameAs(Reference([5; 32]));
        assert_eq!(same.to_bytes()[..3], [1, 1, 5]);
        assert_eq!(Replacement::from_bytes(&same.to_bytes()).unwrap(), same);

        let supply = Canary {
            outstanding: 7,
            halted: true,
        };
        assert_eq!(supply.to_bytes().len(), 1 + 16 + 1);
        assert_eq!(Canary::from_bytes(&supply.to_bytes()).unwrap(), supply);
    }

    #[test]
    fn the_longest_terms_and_the_most_tags_fit_a_value() {
        let epochs = Epochs {
            floor: Floor {
                oldest: Epoch(1),
                current: Epoch(2),
            },
            ordinal: 3,
            since: 4,
            terms: vec![5; Enter::MAX_TERMS],
        };
        assert_eq!(Epochs::from_bytes(&epochs.to_bytes()).unwrap(), epochs);
        let tags = Tags::new(&[ClaimTag([6; 32]); Tags::MOST]);
        assert_eq!(Tags::from_bytes(&tags.to_bytes()).unwrap(), tags);
    }
}

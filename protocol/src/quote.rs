//! `Quote`: how to pay for tokens, and whether that has happened. Free; asking again with the
//! same claims is answered again, so a client asks until it is paid.
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | tokens of each claim |
//! | 1 | number of claims, `n`, 1 to 16 |
//! | 32 n | claim tags, no two alike |
//! | 2 | length of the voucher, `v`, at most 64; 0 when there is none |
//! | v | voucher |
//!
//! One payment opens all the claims of a quote. Each is claimed by a `Purchase` of its own and
//! yields one pair of credentials, and so one more operation that can be under way at a time.
//!
//! The answer:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | 1 when the claims are paid, else 0 |
//! | 8 | when the quote expires, unix seconds |
//! | 2 | length of the payment request, `r`, at most 4,096; 0 when nothing is to be paid |
//! | r | payment request, visible ASCII: an invoice or an offer |

use std::collections::BTreeSet;
use std::fmt;

use larder_credentials::ClaimTag;

use crate::DecodeError;
use crate::wire::{Reader, put_prefixed};

/// Parameters of a quote.
#[derive(Clone, PartialEq, Eq)]
pub struct Quote {
    /// Tokens of each claim: a denomination that the record lists.
    pub tokens: u64,
    /// The claims to open, 1 to [`Quote::MAX_TAGS`], no two alike.
    pub tags: Vec<ClaimTag>,
    /// What pays for them at once: the bytes of a [`Voucher`](crate::Voucher), 1 to
    /// [`Quote::MAX_VOUCHER_LEN`] of them.
    pub voucher: Option<Vec<u8>>,
}

impl Quote {
    /// Claims that one payment opens, at most.
    pub const MAX_TAGS: usize = 16;

    /// Bytes of a voucher, at most.
    pub const MAX_VOUCHER_LEN: usize = 64;

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        debug_assert!((1..=Quote::MAX_TAGS).contains(&self.tags.len()));
        to.extend_from_slice(&self.tokens.to_be_bytes());
        to.push(self.tags.len() as u8);
        to.extend(self.tags.iter().flat_map(|tag| tag.0));
        put_prefixed(to, self.voucher.as_deref().unwrap_or_default());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tokens = reader.u64("the quote")?;
        let count = usize::from(reader.u8("the quote")?);
        if !(1..=Quote::MAX_TAGS).contains(&count) {
            return Err(DecodeError::Inconsistent("a quote is for 1 to 16 claims"));
        }
        let tags = (0..count)
            .map(|_| reader.array("the claim tags").map(ClaimTag))
            .collect::<Result<Vec<_>, _>>()?;
        if BTreeSet::from_iter(&tags).len() < count {
            return Err(DecodeError::Inconsistent("no two claim tags are alike"));
        }
        let voucher = reader.prefixed("the voucher")?;
        if voucher.len() > Quote::MAX_VOUCHER_LEN {
            return Err(DecodeError::Inconsistent("a voucher is 64 bytes at most"));
        }
        Ok(Quote {
            tokens,
            tags,
            voucher: (!voucher.is_empty()).then(|| voucher.to_vec()),
        })
    }
}

/// A voucher is worth its tokens to whoever reads it, and a claim names its client.
impl fmt::Debug for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quote(..)")
    }
}

/// The answer to a quote.
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted {
    /// Whether the claims are paid, so that a `Purchase` of each succeeds.
    pub paid: bool,
    /// When claims that are not paid, or not taken, are forgotten: unix seconds.
    pub expires: u64,
    /// What the client's wallet pays: an invoice or an offer, [`Quoted::MAX_REQUEST_LEN`]
    /// characters of visible ASCII at most; empty when nothing is to be paid.
    pub request: String,
}

impl Quoted {
    /// Bytes of a payment request, at most.
    pub const MAX_REQUEST_LEN: usize = 4_096;

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        debug_assert!(self.request.len() <= Quoted::MAX_REQUEST_LEN);
        to.push(self.paid.into());
        to.extend_from_slice(&self.expires.to_be_bytes());
        put_prefixed(to, self.request.as_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let paid = match reader.u8("the quote")? {
            0 => false,
            1 => true,
            code => {
                return Err(DecodeError::UnknownCode {
                    what: "whether it is paid",
                    code,
                });
            }
        };
        let expires = reader.u64("the quote")?;
        let request = reader.prefixed("the payment request")?;
        if request.len() > Quoted::MAX_REQUEST_LEN {
            return Err(DecodeError::Inconsistent(
                "a payment request is 4,096 bytes at most",
            ));
        }
        // It is shown to a person: nothing in it may steer a terminal or look like something else.
        if !request.iter().all(u8::is_ascii_graphic) {
            return Err(DecodeError::Inconsistent(
                "a payment request is visible ASCII",
            ));
        }
        Ok(Quoted {
            paid,
            expires,
            request: request.iter().copied().map(char::from).collect(),
        })
    }
}

/// An invoice names a payment.
impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quoted")
            .field("paid", &self.paid)
            .finish_non_exhaustive()
    }
}

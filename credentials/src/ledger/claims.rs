//! Claims: payments that may be turned into credentials once (§7, §11).
//!
//! Handing out invoices and watching them is the service's business. Unpaid claims expire
//! there, and there their number is limited.

use std::fmt;

use super::{Ledger, LedgerError, Reads, Storage, Tariff, Transaction, Writes};
use crate::error::Refusal;
use crate::operation::ClaimTag;

/// What is known of a claim (§7, §11). `Debug` prints neither the payment nor the amount.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The payment, as the service names it; 32 bytes.
    pub payment: [u8; 32],
    /// Tokens bought.
    pub amount: u64,
    /// Whether the exact amount has been received.
    pub paid: bool,
    /// Whether credentials were issued for it. Stays for as long as the payment is known.
    pub consumed: bool,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("paid", &self.paid)
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}

impl<S: Storage, T: Tariff> Ledger<S, T> {
    /// Remembers a claim before its invoice is handed out.
    ///
    /// # Errors
    ///
    /// [`Refusal::AlreadyClaimed`] if the tag is in use, [`Refusal::UnknownOperation`] for
    /// an amount no purchase can have; storage.
    pub fn open_claim(
        &self,
        tag: &ClaimTag,
        payment: [u8; 32],
        amount: u64,
    ) -> Result<(), LedgerError<S::Error>> {
        let largest = u128::from(self.issuer().record().service().range().largest()) * 2;
        if amount == 0 || i64::try_from(amount).is_err() || u128::from(amount) > largest {
            return Err(Refusal::UnknownOperation.into());
        }
        self.with_claim(tag, |known| match known {
            Some(_) => Err(Refusal::AlreadyClaimed),
            None => Ok(Some(Claim {
                payment,
                amount,
                paid: false,
                consumed: false,
            })),
        })
    }

    /// The exact amount has arrived. Doing it twice changes nothing.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownClaim`]; storage.
    pub fn mark_paid(&self, tag: &ClaimTag) -> Result<(), LedgerError<S::Error>> {
        self.with_claim(tag, |known| match known {
            Some(claim) => Ok(Some(Claim {
                paid: true,
                ..claim
            })),
            None => Err(Refusal::UnknownClaim),
        })
    }

    /// Forgets a claim whose invoice expired. A paid one stays.
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownClaim`] if there is no unpaid claim of this tag; storage.
    pub fn drop_unpaid(&self, tag: &ClaimTag) -> Result<(), LedgerError<S::Error>> {
        self.with_claim(tag, |known| match known {
            Some(Claim { paid: false, .. }) => Ok(None),
            _ => Err(Refusal::UnknownClaim),
        })
    }

    /// Forgets a consumed claim together with the record of its payment, which must not be
    /// credited to this tag again (§7).
    ///
    /// # Errors
    ///
    /// [`Refusal::UnknownClaim`] if there is no consumed claim of this tag; storage.
    pub fn drop_consumed(&self, tag: &ClaimTag) -> Result<(), LedgerError<S::Error>> {
        self.with_claim(tag, |known| match known {
            Some(Claim { consumed: true, .. }) => Ok(None),
            _ => Err(Refusal::UnknownClaim),
        })
    }

    fn with_claim(
        &self,
        tag: &ClaimTag,
        change: impl FnOnce(Option<Claim>) -> Result<Option<Claim>, Refusal>,
    ) -> Result<(), LedgerError<S::Error>> {
        let mut transaction = self.begin()?;
        let known = transaction.claim(tag).map_err(LedgerError::Storage)?;
        match change(known)? {
            Some(claim) => transaction.put_claim(tag, claim),
            None => transaction.drop_claim(tag),
        }
        .and_then(|()| transaction.commit())
        .map_err(LedgerError::Storage)
    }
}

/// The cost of a purchase against this claim: negative, because tokens are given.
pub(super) fn price(claim: Option<Claim>) -> Result<i64, Refusal> {
    match claim {
        None => Err(Refusal::UnknownClaim),
        Some(claim) if claim.consumed => Err(Refusal::AlreadyClaimed),
        Some(claim) if !claim.paid => Err(Refusal::NotPaid),
        Some(claim) => i64::try_from(claim.amount)
            .map(|amount| -amount)
            .map_err(|_| Refusal::UnknownClaim),
    }
}

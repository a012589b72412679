//! Claims and the payments that open them.
//!
//! | a payment | how it ends |
//! | --- | --- |
//! | not paid | forgotten a day after it expired when an epoch is entered; earlier, once it expired, for others that need the room, the oldest first |
//! | paid | kept until all its claims are used |
//! | used | kept until it had expired when the epoch before began, too, **and** the rows of its purchases are gone: so a voucher cannot be used again while it is valid, also after a clock that ran ahead was put right, nor a purchase be answered wrongly |
//!
//! A payment that was made in time may be reported late: hence the day.
//!
//! Claims that wait for their payment cost nothing to open, so their number is bounded, and
//! with it what is kept of them in memory.

use std::collections::{BTreeMap, HashSet};

use larder_credentials::ledger::Claim;
use larder_credentials::{ClaimTag, Reference, References, Row};

use crate::ledger_record::Tags;
use crate::overlay::Overlay;
use crate::record::damaged;
use crate::table::Table;
use crate::view::View;
use crate::{OpenedClaim, Outcome, Payment, StoreError};

/// For how long after its expiry an unpaid claim is kept for a late report, in seconds.
pub(crate) const GRACE: u64 = 24 * 60 * 60;

/// The claims that wait for their payment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unpaid {
    /// Expiry and payment -> number of its claims.
    payments: BTreeMap<(u64, [u8; 32]), usize>,
    claims: usize,
}

impl Unpaid {
    /// Takes one claim in, unless it is paid.
    pub(crate) fn add(&mut self, claim: &OpenedClaim) {
        if !claim.claim.paid {
            let payment = (claim.expires, claim.claim.payment);
            *self.payments.entry(payment).or_default() += 1;
            self.claims += 1;
        }
    }

    /// Leaves the claims of a payment out.
    fn remove(&mut self, expires: u64, payment: [u8; 32]) {
        let claims = self.payments.remove(&(expires, payment));
        self.claims -= claims.unwrap_or_default();
    }

    /// The payment that expired first, if it has by now.
    fn expired(&self, now: u64) -> Option<[u8; 32]> {
        let ((expires, payment), _) = self.payments.first_key_value()?;
        (*expires < now).then_some(*payment)
    }
}

/// Why a payment's claims cannot be opened; `None` when they can be, or are open already.
pub(crate) fn refuse_to_open(
    overlay: &mut Overlay<'_>,
    unpaid: &mut Unpaid,
    most: usize,
    payment: &Payment,
    now: u64,
) -> Result<Option<Outcome>, StoreError> {
    let Payment { tags, .. } = payment;
    if let Some(opened) = overlay.payment(&payment.id)? {
        let same = opened == Tags::new(tags) && amount(overlay, &opened)? == payment.amount;
        return Ok((!same).then_some(Outcome::PaymentUsed));
    }
    if tags.len() > Tags::MOST {
        return Ok(Some(Outcome::TooManyClaims));
    }
    let mut distinct = HashSet::new();
    for tag in tags {
        let used = overlay.claim(tag)?.is_some() || purchase(overlay, tag)?.is_some();
        if used || !distinct.insert(tag) {
            return Ok(Some(Outcome::TagUsed));
        }
    }
    if payment.paid {
        return Ok(None);
    }
    while unpaid.claims + tags.len() > most {
        let Some(expired) = unpaid.expired(now) else {
            return Ok(Some(Outcome::TooManyClaims));
        };
        drop_unpaid(overlay, unpaid, &expired)?;
    }
    Ok(None)
}

/// Opens claims that were not refused.
pub(crate) fn open(
    overlay: &mut Overlay<'_>,
    unpaid: &mut Unpaid,
    payment: &Payment,
) -> Result<(), StoreError> {
    if overlay.payment(&payment.id)?.is_some() {
        return Ok(());
    }
    overlay.put(Table::Payments, &payment.id, &Tags::new(&payment.tags))?;
    for tag in &payment.tags {
        let claim = OpenedClaim {
            claim: Claim {
                payment: payment.id,
                amount: payment.amount,
                paid: payment.paid,
                consumed: false,
            },
            expires: payment.expires,
        };
        unpaid.add(&claim);
        overlay.put(Table::Claims, &tag.0, &claim)?;
    }
    Ok(())
}

/// Notes on every claim of a payment that it has arrived.
pub(crate) fn mark_paid(
    overlay: &mut Overlay<'_>,
    unpaid: &mut Unpaid,
    payment: &[u8; 32],
) -> Result<(), StoreError> {
    let Some(tags) = overlay.payment(payment)? else {
        return Ok(());
    };
    for (tag, mut opened) in claims(overlay, &tags)? {
        unpaid.remove(opened.expires, *payment);
        opened.claim.paid = true;
        overlay.put(Table::Claims, &tag.0, &opened)?;
    }
    Ok(())
}

/// Forgets unpaid claims that expired a [`GRACE`] ago.
pub(crate) fn drop_expired(
    overlay: &mut Overlay<'_>,
    unpaid: &mut Unpaid,
    now: u64,
) -> Result<(), StoreError> {
    while let Some(payment) = unpaid.expired(now.saturating_sub(GRACE)) {
        drop_unpaid(overlay, unpaid, &payment)?;
    }
    Ok(())
}

/// Forgets a payment that did not arrive, and its claims.
fn drop_unpaid(
    overlay: &mut Overlay<'_>,
    unpaid: &mut Unpaid,
    payment: &[u8; 32],
) -> Result<(), StoreError> {
    let tags = overlay.payment(payment)?;
    let tags = tags.ok_or_else(|| damaged("a claim names a payment that is not there"))?;
    for (tag, opened) in claims(overlay, &tags)? {
        unpaid.remove(opened.expires, *payment);
        overlay.remove(Table::Claims, &tag.0)?;
    }
    overlay.remove(Table::Payments, payment)
}

/// Forgets a payment whose claims are all used, once it expired by `now` and their rows are of
/// epochs before `oldest`.
pub(crate) fn drop_used(
    overlay: &mut Overlay<'_>,
    payment: &[u8; 32],
    now: u64,
    oldest: u32,
) -> Result<(), StoreError> {
    let Some(tags) = overlay.payment(payment)? else {
        return Ok(());
    };
    let claims = claims(overlay, &tags)?;
    for (tag, opened) in &claims {
        let row = purchase(overlay, tag)?;
        let live = row.is_some_and(|row| row.out_epoch().0 >= oldest);
        if !opened.claim.consumed || opened.expires >= now || live {
            return Ok(());
        }
    }
    for (tag, _) in claims {
        overlay.remove(Table::Claims, &tag.0)?;
    }
    overlay.remove(Table::Payments, payment)
}

/// The row of the purchase against a claim. One that a pair with this serial left behind is none:
/// whoever asks for a tag must not learn what was spent.
fn purchase(overlay: &Overlay<'_>, tag: &ClaimTag) -> Result<Option<Row>, StoreError> {
    let row = overlay.row(&Reference(tag.0))?;
    Ok(row.filter(|row| matches!(row.references(), References::Claim(_))))
}

/// Tokens of each claim.
fn amount(overlay: &Overlay<'_>, tags: &Tags) -> Result<u64, StoreError> {
    let claims = claims(overlay, tags)?;
    Ok(claims.first().map_or(0, |(_, opened)| opened.claim.amount))
}

fn claims(overlay: &Overlay<'_>, tags: &Tags) -> Result<Vec<(ClaimTag, OpenedClaim)>, StoreError> {
    tags.iter()
        .map(|tag| match overlay.claim(&tag)? {
            Some(opened) => Ok((tag, opened)),
            None => Err(damaged("a payment names a claim that is not there")),
        })
        .collect()
}

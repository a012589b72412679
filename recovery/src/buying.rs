//! Buying tokens: claims are written down, quoted, paid for, and collected.
//!
//! A purchase opens up to sixteen claims with one payment. Each claim yields one pair of credentials,
//! and so one more operation that can be under way at once. The claims are in the journal before anybody
//! hears of them, and their secrets follow from the root key: a crash at any moment loses
//! nothing that was paid for. [`Provider::collect`] takes a purchase on from wherever it was.

use std::fmt;

use futures_util::future::join_all;
use larder_protocol::{Call, Done, Quote, Quoted, Refusal, Voucher};

use crate::paying::{Conclusion, exchanged};
use crate::purse::{Next, Order, Purse};
use crate::{Provider, RecoveryError};

/// What pays for tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// A payment with any Lightning wallet, as the storage node asks for it.
    Lightning,
    /// A voucher over exactly as many tokens.
    Voucher(Voucher),
}

/// Which purchase of a purse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PurchaseId(u64);

/// A purchase, as of the last answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Which one.
    pub id: PurchaseId,
    /// Tokens in all.
    pub tokens: u64,
    /// Pairs they come in.
    pub pairs: u8,
    /// What pays for them.
    pub means: Means,
    /// How far it is.
    pub stage: Stage,
}

/// How far a purchase is.
#[derive(Clone, PartialEq, Eq)]
pub enum Stage {
    /// The storage node was not reached yet.
    Begun,
    /// To be paid.
    Unpaid {
        /// What a Lightning wallet pays: an invoice or an offer.
        request: String,
        /// When it expires, in unix seconds.
        expires: u64,
    },
    /// Paid, and not all of it collected.
    Paid,
    /// The tokens are in the purse.
    Collected,
}

impl Provider {
    /// Buys tokens. A voucher, or a storage node that asks for nothing, is collected at once;
    /// otherwise show the payment request and [collect](Provider::collect) until it is paid. With
    /// the voucher of a purchase that was cut short, that one is taken on.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`]; [`RecoveryError::NotSold`] with what is; `Refused(BadVoucher)`
    /// and `Refused(VoucherUsed)`, after which the purchase is over; and those of any operation,
    /// after which [`Provider::purchases`] has it and [`Provider::collect`] goes on. That is so
    /// after `Refused(NotOffered)` too: what is not sold today may have been paid for yesterday.
    pub async fn buy(&self, tokens: u64, means: Means) -> Result<Purchase, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        self.compare_terms().await?;
        let voucher = match &means {
            Means::Voucher(voucher) if voucher.tokens != tokens => {
                return Err(RecoveryError::Refused(Refusal::BadVoucher));
            }
            Means::Voucher(voucher) => Some(voucher.encode()),
            Means::Lightning => None,
        };
        let tariff = self.record().tariff;
        let denominations = tariff.map(|tariff| tariff.denominations);
        let denominations = denominations.unwrap_or_default();
        let Some((claims, each)) = divide(tokens, &denominations) else {
            return Err(RecoveryError::NotSold {
                tokens,
                denominations,
            });
        };
        let mut orders = purse.orders().into_iter();
        let begun = orders.find(|(_, order)| voucher.is_some() && order.voucher == voucher);
        let order = match begun {
            Some((order, _)) => order,
            None => purse.order(claims, each, voucher, self.nonce())?,
        };
        let stage = Stage::Begun;
        let begun = Purchase {
            id: PurchaseId(order),
            tokens,
            pairs: claims,
            means,
            stage,
        };
        self.go_on(purse, begun).await
    }

    /// Takes a purchase on: asks whether it is paid, and collects its tokens if so. Nothing is
    /// lost by asking again, at any time and after any error.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`]; `Refused(UnknownClaim)` when it was not paid in time: by the
    /// latest time that an [upkeep](Provider::upkeep) was told, the purchase is over; `Refused(AlreadyClaimed)`
    /// when a claim was collected by another copy of this purse, which has its tokens, and all
    /// others were by this one: then nothing is lost by [giving up](Provider::give_up); and those
    /// of any operation.
    pub async fn collect(&self, purchase: &Purchase) -> Result<Purchase, RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        self.compare_terms().await?;
        self.go_on(purse, purchase.clone()).await
    }

    /// Purchases that are not collected, the oldest first; those from before a crash too.
    #[must_use]
    pub fn purchases(&self) -> Vec<Purchase> {
        let orders = self.purse.as_ref().map(Purse::orders).unwrap_or_default();
        orders
            .into_iter()
            .map(|(id, order)| Purchase {
                id: PurchaseId(id),
                tokens: order.each.saturating_mul(order.claims.into()),
                pairs: order.claims,
                means: means(&order),
                stage: stage(&order),
            })
            .collect()
    }

    /// Gives up a purchase. What was paid for it is lost.
    ///
    /// # Errors
    /// [`RecoveryError::NoPurse`], [`RecoveryError::Journal`].
    pub fn give_up(&self, purchase: &Purchase) -> Result<(), RecoveryError> {
        let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
        purse.close(purchase.id.0)
    }

    async fn go_on(&self, purse: &Purse, purchase: Purchase) -> Result<Purchase, RecoveryError> {
        let PurchaseId(mut order) = purchase.id;
        let stage = loop {
            let Some(known) = purse.order_at(order) else {
                break Stage::Collected;
            };
            if known.is_paid() {
                let claims = known.open();
                let claims = claims.map(|which| self.claim(purse, order, which));
                all(join_all(claims).await)?;
                continue;
            }
            match self.quote(purse, order, &known).await {
                Ok(Quoted { paid: true, .. }) => {}
                Ok(quoted) => {
                    break Stage::Unpaid {
                        request: quoted.request,
                        expires: quoted.expires,
                    };
                }
                // The journal is younger than the root key: these claims had been used. Once
                // they were quoted they are ours, and somebody may have paid.
                Err(RecoveryError::Refused(Refusal::AlreadyClaimed)) if known.quoted.is_none() => {
                    let nonce = self.nonce();
                    let next = purse.order(known.claims, known.each, known.voucher, nonce)?;
                    purse.close(order)?;
                    order = next;
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Purchase {
            id: PurchaseId(order),
            stage,
            ..purchase
        })
    }

    /// Asks how to pay, or whether it is paid.
    async fn quote(
        &self,
        purse: &Purse,
        order: u64,
        known: &Order,
    ) -> Result<Quoted, RecoveryError> {
        let claims = (0..known.claims).map(|which| order.saturating_add(which.into()));
        let quote = Quote {
            tokens: known.each,
            tags: claims.map(|index| purse.claim(index).tag()).collect(),
            voucher: known.voucher.clone(),
        };
        match self.perform(Call::Quote(quote), None).await?.0 {
            Ok(Done::Quoted(quoted)) => {
                purse.quoted(order, &quoted)?;
                Ok(quoted)
            }
            Ok(_) => Err(RecoveryError::Misbehaved("it answers another operation")),
            Err(refusal) => {
                let over = match refusal {
                    // These will never be another answer.
                    Refusal::BadVoucher | Refusal::VoucherUsed => true,
                    // Nobody can have paid what was never quoted; a voucher may have been taken.
                    Refusal::NotOffered => known.quoted.is_none() && known.voucher.is_none(),
                    // Its invoice is too old to be paid, if anybody has seen one.
                    Refusal::UnknownClaim => purse.is_past(known),
                    _ => false,
                };
                if over {
                    purse.close(order)?;
                }
                Err(RecoveryError::Refused(refusal))
            }
        }
    }

    /// Collects one claim that is paid.
    async fn claim(&self, purse: &Purse, order: u64, which: u8) -> Result<(), RecoveryError> {
        let mut lease = loop {
            match purse.collect(order, which, self.nonce())? {
                Some(Next::Send(lease, _)) => break lease,
                Some(Next::Wait(exchanges)) => self.lend_a_hand(purse, exchanges).await?,
                None => return Ok(()),
            }
        };
        loop {
            let reply = self.exchange(&mut lease).await?;
            self.insist_on_passes(purse, &lease, &reply).await?;
            match self.conclude(purse, &mut lease, &reply).await? {
                Conclusion::Performed => return exchanged(&reply.outcome),
                Conclusion::Renewed => {}
                // It was given up meanwhile.
                Conclusion::Again if purse.order_at(order).is_none() => return Ok(()),
                Conclusion::Again => {
                    return Err(RecoveryError::Misbehaved("it shows what nobody presented"));
                }
                // It stays open whatever this says: it was paid for.
                Conclusion::Refused(refusal) => return Err(RecoveryError::Refused(refusal)),
            }
        }
    }
}

/// As many claims of one denomination as one payment opens, so that as many operations as
/// possible can be under way at once.
fn divide(tokens: u64, denominations: &[u64]) -> Option<(u8, u64)> {
    (1..=Quote::MAX_TAGS as u8)
        .rev()
        .filter(|&claims| tokens > 0 && tokens.is_multiple_of(claims.into()))
        .map(|claims| (claims, tokens / u64::from(claims)))
        .find(|(_, each)| denominations.contains(each))
}

/// Whether all claims were collected. That some were by another copy of the purse is said last: then
/// nothing is left to collect.
fn all(claims: Vec<Result<(), RecoveryError>>) -> Result<(), RecoveryError> {
    let lost = RecoveryError::Refused(Refusal::AlreadyClaimed);
    let mut failed = claims.into_iter().filter_map(Result::err);
    match failed.next() {
        Some(error) if error == lost => Err(failed.find(|error| *error != lost).unwrap_or(lost)),
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn means(order: &Order) -> Means {
    let voucher = order.voucher.as_deref().map(Voucher::decode);
    voucher
        .and_then(Result::ok)
        .map_or(Means::Lightning, Means::Voucher)
}

fn stage(order: &Order) -> Stage {
    match &order.quoted {
        None => Stage::Begun,
        Some(quoted) if quoted.paid => Stage::Paid,
        Some(quoted) => Stage::Unpaid {
            request: quoted.request.clone(),
            expires: quoted.expires,
        },
    }
}

/// An invoice names a payment.
impl fmt::Debug for Purchase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purchase")
            .field("tokens", &self.tokens)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// An invoice names a payment.
impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Begun => "Begun",
            Stage::Unpaid { .. } => "Unpaid(..)",
            Stage::Paid => "Paid",
            Stage::Collected => "Collected",
        })
    }
}

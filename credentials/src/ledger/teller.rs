//! All that is done for a request before its transaction: checks, proofs, issuance.
//!
//! A teller reads, and writes nothing; it can be shared by all threads of a server. It holds for
//! one epoch and is replaced as a whole at the boundary.
//!
//! | stage | what it costs |
//! | --- | --- |
//! | [`Teller::admit`]: layout, replay, epochs, price | microseconds |
//! | [`Teller::verify`]: proofs, of many requests at once | most of the work |
//! | [`Teller::prepare`]: issuance | about a fifth of a verification |
//! | [`Entry::apply`]: under the lock | a few look-ups |

use super::entry::{Entry, check_floor, seen};
use super::{Admitted, LedgerError, Outcome, Reads, Tariff, Verified, claims};
use crate::error::Refusal;
use crate::issuer::Issuer;
use crate::operation::{OpCode, References};
use crate::reply::Reply;
use crate::request::Request;
use crate::row::Row;

/// An issuer and a price list.
#[derive(Debug)]
pub struct Teller<T> {
    issuer: Issuer,
    tariff: T,
}

/// Why no entry was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotPrepared {
    /// Tell the client; see the variant for whose fault it is.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The service's fault, tell the operator: it gave back more tokens than its tariff
    /// allows.
    #[error("{adjust} tokens were given back, the tariff allows {largest}")]
    AdjustTooLarge {
        /// What performing the operation gave back, in tokens.
        adjust: u64,
        /// What [`Tariff::largest_adjust`] allows, in tokens.
        largest: u64,
    },
}

impl<T: Tariff> Teller<T> {
    /// A teller for the current epoch of this issuer.
    pub fn new(issuer: Issuer, tariff: T) -> Self {
        Teller { issuer, tariff }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The price list.
    pub fn tariff(&self) -> &T {
        &self.tariff
    }

    /// Puts another issuer in the place of the former one.
    pub(super) fn replace_issuer(&mut self, issuer: Issuer) {
        self.issuer = issuer;
    }

    /// Steps 1 to 4 of §7.
    ///
    /// # Errors
    ///
    /// A refusal that costs microseconds, or storage.
    pub fn admit<R: Reads>(
        &self,
        core: &[u8],
        reads: &mut R,
    ) -> Result<Admitted, LedgerError<R::Error>> {
        let service = self.issuer.record().service();
        let request = Request::decode(service, core).map_err(Refusal::from)?;
        self.admit_decoded(request, reads)
    }

    /// [`Self::admit`] for a service that had to look into the core first: one whose requests
    /// carry more than the core compares the two, or a retry could ask for something else.
    ///
    /// # Errors
    ///
    /// Those of [`Self::admit`].
    pub fn admit_decoded<R: Reads>(
        &self,
        request: Request,
        reads: &mut R,
    ) -> Result<Admitted, LedgerError<R::Error>> {
        match seen(reads, request.references(), request.core_hash())
            .map_err(LedgerError::Storage)?
        {
            Some(reply @ Reply::Performed { .. }) => return Ok(Admitted::Answered(reply)),
            Some(Reply::NotPerformed(_)) if request.in_epoch().is_none() => {
                return Err(Refusal::AlreadyClaimed.into());
            }
            // Spent or not, the terms come first: otherwise a stranger who knows a serial could
            // learn by a wrong price or a garbled proof which of the two it is. Whether the
            // sender possesses the pair, the proof will show.
            Some(Reply::NotPerformed(_)) | None => self.check_terms(reads, &request)?,
        }
        Ok(Admitted::Unverified(Box::new(request)))
    }

    /// Step 5 of §7, for many requests at once: one result a request, in order. One bad
    /// request spoils nothing for the others.
    pub fn verify(&self, requests: Vec<Box<Request>>) -> Vec<Result<Verified, Refusal>> {
        let results = match requests.as_slice() {
            [single] => vec![self.issuer.verify(single)],
            many => {
                let many: Vec<&Request> = many.iter().map(AsRef::as_ref).collect();
                self.issuer.verify_batch(&many)
            }
        };
        let pairs = results.into_iter().zip(requests);
        pairs
            .map(|(result, request)| result.map(|()| Verified(request)))
            .collect()
    }

    /// What the storage has to say to a verified request before anything is done for it: the
    /// rows of a pair that is spent, or nothing.
    ///
    /// # Errors
    ///
    /// A refusal that consumed nothing, or storage.
    pub fn recall<R: Reads>(
        &self,
        Verified(request): &Verified,
        reads: &mut R,
    ) -> Result<Option<Reply>, LedgerError<R::Error>> {
        let known = seen(reads, request.references(), request.core_hash());
        match known.map_err(LedgerError::Storage)? {
            Some(Reply::NotPerformed(_)) if request.in_epoch().is_none() => {
                Err(Refusal::AlreadyClaimed.into())
            }
            Some(reply) => Ok(Some(reply)),
            None => self.check_terms(reads, request).map(|()| None),
        }
    }

    /// Issues for a request that ends like this. What was issued may be shown to nobody until
    /// the entry is applied and durable.
    ///
    /// # Errors
    ///
    /// [`NotPrepared`]; nothing was consumed. An operation of this crate has
    /// [`Outcome::DONE`] and gives nothing back.
    pub fn prepare(
        &self,
        Verified(request): &Verified,
        Outcome { status, adjust }: Outcome,
    ) -> Result<Entry, NotPrepared> {
        let largest = match request.op().code() {
            OpCode::FIRST_OF_SERVICE.. => {
                (self.tariff).largest_adjust(request.op(), request.parameters())
            }
            _ => 0,
        };
        if adjust > largest {
            return Err(NotPrepared::AdjustTooLarge { adjust, largest });
        }
        let issuance = self.issuer.issue(request, status, adjust)?;
        Ok(Entry::new(request, Row::new(request, status, issuance)))
    }

    /// Step 4 of §7: not halted, epochs live, price right, claim paid.
    fn check_terms<R: Reads>(
        &self,
        reads: &mut R,
        request: &Request,
    ) -> Result<(), LedgerError<R::Error>> {
        if reads.supply().map_err(LedgerError::Storage)?.halted {
            return Err(Refusal::Halted.into());
        }
        check_floor(reads, request.in_epoch(), self.issuer.current())
            .map_err(LedgerError::Storage)??;
        self.issuer.check_epochs(request)?;
        let price = match request.references() {
            References::Claim(tag) => {
                let claim = reads.claim(tag).map_err(LedgerError::Storage)?;
                claims::price(claim)?
            }
            References::Serials(_) => self.price(request)?,
        };
        if request.cost() == price {
            Ok(())
        } else {
            Err(Refusal::WrongPrice { price }.into())
        }
    }

    fn price(&self, request: &Request) -> Result<i64, Refusal> {
        if request.op() == OpCode::REISSUE {
            // Free, and bounded because it consumes credentials of an old epoch.
            let old = request.in_epoch() < Some(self.issuer.current());
            return if old {
                Ok(0)
            } else {
                Err(Refusal::UnknownOperation)
            };
        }
        self.tariff
            .price(request.op(), request.parameters())
            .and_then(|price| i64::try_from(price.get()).ok())
            .ok_or(Refusal::UnknownOperation)
    }
}

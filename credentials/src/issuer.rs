//! The issuer's live keys, and the verification of requests: singly or many at once.

use std::collections::BTreeMap;
use std::fmt;

use crate::epoch::Epoch;
use crate::error::Refusal;
use crate::issuance::{Issuance, IssuanceContext};
use crate::issuer_key::{IssuerKey, MasterSecret};
use crate::operation::Status;
use crate::parameters::{Parameters, Record};
use crate::range_proof::RangeBatch;
use crate::range_verifier::RangeProof;
use crate::relation::Statement;
use crate::request::{Request, spend_tag};
use crate::service::Service;
use crate::statement;

/// The keys an issuer accepts and the one it issues with. Replaced as a whole at the
/// boundary of an epoch.
pub struct Issuer {
    record: Record,
    oldest: Epoch,
    keys: BTreeMap<Epoch, IssuerKey>,
}

impl Issuer {
    /// The issuer in epoch `current`, accepting inputs of `earlier` epochs before it, the
    /// number `N` of §2.
    #[must_use]
    pub fn new(master: &MasterSecret, service: Service, current: Epoch, earlier: u32) -> Self {
        let oldest = current.oldest_live(earlier);
        let keys: BTreeMap<_, _> = (oldest.0..=current.0)
            .map(Epoch)
            .map(|epoch| (epoch, IssuerKey::derive(master, &service, epoch)))
            .collect();
        let live = keys.values().map(|key| key.parameters().clone());
        let Ok(record) = Record::new(service, current, live) else {
            unreachable!("the range of epochs ends with the current one")
        };
        Issuer {
            record,
            oldest,
            keys,
        }
    }

    /// Accepts no credentials of older epochs any more, and forgets their keys: what a stored
    /// [`Floor`](crate::ledger::Floor) says outdoes the window of [`Self::new`].
    pub fn close_before(&mut self, oldest: Epoch) {
        self.oldest = self.oldest.max(oldest);
        self.keys.retain(|epoch, _| *epoch >= oldest);
        self.record.close_before(oldest);
    }

    /// What is published, identical for all clients (§2, §9.2).
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The epoch in which credentials are issued (§7.1).
    #[must_use]
    pub fn current(&self) -> Epoch {
        self.record.current()
    }

    /// The oldest epoch whose credentials are accepted (§7.1).
    #[must_use]
    pub fn oldest(&self) -> Epoch {
        self.oldest
    }

    /// The key that issues (§2).
    #[must_use]
    pub fn current_key(&self) -> &IssuerKey {
        &self.keys[&self.current()]
    }

    /// Issues on the outputs of a request. Only the ledger may: it has made sure that the
    /// proofs hold, that the inputs were not spent and that a purchase is paid.
    pub(crate) fn issue(
        &self,
        request: &Request,
        status: Status,
        adjust: u64,
    ) -> Result<Issuance, Refusal> {
        self.check_service(request)?;
        self.check_epochs(request)?;
        let context = IssuanceContext::of(request, status);
        self.current_key()
            .issue(&context, request.outputs()?, adjust)
    }

    /// A request that was decoded for another service is bound to that one's id and width.
    fn check_service(&self, request: &Request) -> Result<(), Refusal> {
        if request.service() == self.record.service() {
            Ok(())
        } else {
            Err(Refusal::BadProof)
        }
    }

    fn wrong_epoch(&self) -> Refusal {
        Refusal::WrongEpoch {
            current: self.current(),
            oldest: self.oldest,
        }
    }

    fn parameters(&self, epoch: Epoch) -> Result<&Parameters, Refusal> {
        let parameters = self.record.parameters(epoch);
        parameters.map_err(|_| self.wrong_epoch())
    }

    /// Whether the request's inputs are live and its outputs belong to the current epoch.
    ///
    /// # Errors
    ///
    /// [`Refusal::WrongEpoch`].
    pub fn check_epochs(&self, request: &Request) -> Result<(), Refusal> {
        let live = self.oldest..=self.current();
        let inputs_live = request.in_epoch().is_none_or(|epoch| live.contains(&epoch));
        if inputs_live && request.out_epoch() == self.current() {
            Ok(())
        } else {
            Err(self.wrong_epoch())
        }
    }

    /// Checks all proofs of one request: that the inputs carry MACs of this issuer, that
    /// inputs, cost and outputs balance, that both outputs are in range (§7 step 5).
    ///
    /// # Errors
    ///
    /// [`Refusal::BadProof`], [`Refusal::Malformed`] for a bad point or scalar,
    /// [`Refusal::WrongEpoch`] when a key is needed that is no longer live.
    pub fn verify(&self, request: &Request) -> Result<(), Refusal> {
        let mut ranges = RangeBatch::new(self.record.service().range());
        self.verify_all_but_range(request, &mut ranges)?;
        if ranges.verify(0..1) {
            Ok(())
        } else {
            Err(Refusal::BadProof)
        }
    }

    /// Checks many requests, with one multiscalar multiplication for all range proofs.
    /// One bad request spoils nothing for the others: Σ-proofs are checked singly, and a
    /// failing batch of range proofs is halved until the bad ones are found.
    ///
    /// Returns one result a request, in order; the errors are those of [`Self::verify`].
    #[must_use]
    pub fn verify_batch(&self, requests: &[&Request]) -> Vec<Result<(), Refusal>> {
        let mut ranges = RangeBatch::new(self.record.service().range());
        let mut results: Vec<_> = requests
            .iter()
            .map(|request| self.verify_all_but_range(request, &mut ranges))
            .collect();
        let good_so_far: Vec<usize> = (0..results.len())
            .filter(|place| results[*place].is_ok())
            .collect();
        for bad in ranges.find_bad(0..ranges.len()) {
            results[good_so_far[bad]] = Err(Refusal::BadProof);
        }
        results
    }

    /// Everything but the range proof, which is added to `ranges` if all else is good.
    fn verify_all_but_range(
        &self,
        request: &Request,
        ranges: &mut RangeBatch,
    ) -> Result<(), Refusal> {
        self.check_service(request)?;
        let width = self.record.service().range();
        let range_proof = RangeProof::decode(width, &request.range_proof)?;
        let (statement, context) = self.statement(request)?;
        statement
            .verify(&spend_tag(&context, &request.range_proof), &request.proof)
            .map_err(|_| Refusal::BadProof)?;
        ranges.push(&context, request.outputs()?, range_proof);
        Ok(())
    }

    /// What a request states, and the context its proofs are bound to.
    pub(crate) fn statement(&self, request: &Request) -> Result<(Statement<'_>, Vec<u8>), Refusal> {
        let head = &request.head;
        let service = self.record.service();
        let outputs = request.outputs()?;
        let output = self.parameters(head.out_epoch)?;
        let Some([first, second]) = &head.presentations else {
            let statement = statement::purchase(outputs, head.cost);
            return Ok((statement, head.context(service, None, output)));
        };
        let key = self.keys.get(&head.in_epoch).ok_or(self.wrong_epoch())?;
        let presented = [key.present(first)?, key.present(second)?];
        let shape = key.parameters().spend();
        let statement = statement::spend(shape, presented, outputs, head.cost);
        Ok((
            statement,
            head.context(service, Some(key.parameters()), output),
        ))
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Issuer").field(&self.current()).finish()
    }
}

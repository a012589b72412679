//! The stages after the cheap one: proofs, the operation, the commit, the answer.

use std::sync::Arc;

use larder_credentials::Epoch;
use larder_credentials::ledger::{Declined, NotPrepared, Verified};
use larder_protocol::{Call, Refusal};
use larder_store::{Change, Effect, Outcome, StoreError};

use crate::admit::wire;
use crate::desk::Desk;
use crate::step::{Caller, Judged, Paid, Pending, Returned, Step, Unverified};
use crate::{breakglass, delete, exchange, insert, lookup};

impl Desk {
    /// Checks the proofs of several requests at once; one step each, in their order.
    pub(crate) fn verify(&self, batch: Vec<Unverified>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(batch.len());
        let mut batch = batch.into_iter().peekable();
        while let Some(first) = batch.next() {
            let terms = first.caller.terms.clone();
            let Some(teller) = &terms.teller else {
                // Nobody is asked to pay on a node without.
                steps.push(first.caller.refuse(Refusal::Internal));
                continue;
            };
            // Those of one epoch are one batch.
            let mut cores = vec![first.core];
            let mut asked = vec![(first.caller, first.call)];
            while let Some(next) = batch.next_if(|next| Arc::ptr_eq(&next.caller.terms, &terms)) {
                cores.push(next.core);
                asked.push((next.caller, next.call));
            }
            self.tally.batches.one();
            let verified = self.tally.verifying.with(|| teller.verify(cores));
            for ((caller, call), verified) in asked.into_iter().zip(verified) {
                self.tally.verified.one();
                steps.push(match verified {
                    Ok(payment) => Step::Perform(Box::new(Paid {
                        caller,
                        call,
                        payment,
                    })),
                    Err(declined) => self.decline(&caller, wire(declined)),
                });
            }
        }
        steps
    }

    /// Performs an operation whose payment is good, unless the pair was spent meanwhile.
    pub(crate) fn perform(&self, paid: Paid) -> Step {
        let Paid {
            caller,
            call,
            payment,
        } = paid;
        let terms = caller.terms.clone();
        let recalled = match &terms.teller {
            Some(teller) => teller.recall(&payment, &mut &*self.engine),
            None => Ok(None),
        };
        match recalled {
            Ok(None) => self.judge(caller, call, Some(payment)),
            // Proofs hold for one epoch only, so it was in this one.
            Ok(Some(replacement)) => {
                self.replay(&caller, &call.into(), replacement, Epoch(terms.epoch))
            }
            Err(error) => self.fail(&caller, error),
        }
    }

    /// Looks into an operation: what it would change, and what it answers.
    pub(crate) fn judge(&self, caller: Caller, call: Call, payment: Option<Verified>) -> Step {
        let (engine, terms) = (&*self.engine, &*caller.terms);
        let judged = match call {
            Call::Insert(insert) => insert::judge(engine, terms, insert),
            Call::Delete(delete) => delete::judge(engine, terms, delete),
            Call::Lookup(lookup) => lookup::judge(engine, lookup),
            Call::BreakglassPut(put) => breakglass::judge(engine, terms, put, self.clock.now()),
            Call::Transfer | Call::Reissue | Call::Purchase => Ok(exchange::judge()),
            // Answered before.
            Call::Info | Call::Quote(_) | Call::BreakglassOpen(_) => {
                return caller.refuse(Refusal::Internal);
            }
        };
        match judged {
            Ok(judged) => self.settle_with(caller, payment, judged),
            Err(error) => caller.refuse(self.broken(&error)),
        }
    }

    /// Issues what the payment turns into, so that all of it can be committed as one.
    fn settle_with(&self, caller: Caller, payment: Option<Verified>, judged: Judged) -> Step {
        let Judged { change, verdict } = judged;
        let (effect, replacement) = match (&payment, &caller.terms.teller) {
            (Some(payment), Some(teller)) => {
                let outcome = verdict.ledger_outcome(caller.subject.op);
                let entry = match teller.prepare(payment, outcome) {
                    Ok(entry) => entry,
                    Err(NotPrepared::Refused(declined)) => {
                        return self.decline(&caller, wire(declined));
                    }
                    Err(error @ NotPrepared::AdjustTooLarge { .. }) => {
                        tracing::error!("the ledger: {error}: please report it");
                        return caller.refuse(Refusal::Internal);
                    }
                };
                let replacement = entry.reply().encode();
                (Effect::paid(change, entry), Some(replacement))
            }
            _ if matches!(change, Change::None) => {
                return caller.answer(verdict.outcome, verdict.stored, None);
            }
            _ => (Effect::unpaid(change), None),
        };
        let pending = Pending {
            caller,
            payment,
            verdict,
            replacement,
        };
        Step::Commit(Box::new(effect), Box::new(pending))
    }

    /// What follows from the outcome of a commit. When something came between, the operation is
    /// settled anew as what it has become: there is one such turn at most, because that changes
    /// nothing under its key.
    pub(crate) fn conclude(
        &self,
        pending: Pending,
        outcome: Result<Outcome, Arc<StoreError>>,
    ) -> Step {
        let Pending {
            caller,
            payment,
            verdict,
            replacement,
        } = pending;
        let overtaken = match outcome {
            Err(error) => {
                self.failure.tell(&error);
                return caller.refuse(Refusal::Internal);
            }
            Ok(
                done @ (Outcome::Settled
                | Outcome::Inserted
                | Outcome::Removed
                | Outcome::Opened
                | Outcome::CellStored),
            ) => {
                if matches!(done, Outcome::Inserted | Outcome::Removed) {
                    self.fullness.forget();
                }
                let epoch = Epoch(caller.terms.epoch);
                let returned = replacement.map(|row| Returned { row, epoch });
                return caller.answer(verdict.outcome, verdict.stored, returned);
            }
            Ok(Outcome::Declined(declined)) => match *declined {
                Declined::Seen(replacement) => {
                    let epoch = Epoch(caller.terms.epoch);
                    return self.replay(&caller, &verdict.again, replacement, epoch);
                }
                Declined::Refused(declined) => return self.decline(&caller, wire(declined)),
            },
            Ok(Outcome::CellDoomed(cell)) => return self.opened_cell(&caller, *cell),
            Ok(Outcome::Full) => {
                self.fullness.note(self.clock.now());
                return caller.refuse(Refusal::StoreFull);
            }
            Ok(Outcome::PaymentUsed) => return caller.refuse(Refusal::VoucherUsed),
            Ok(Outcome::TagUsed) => return caller.refuse(Refusal::AlreadyClaimed),
            Ok(Outcome::TooManyClaims) => return caller.refuse(Refusal::Busy),
            Ok(Outcome::Paid) => return caller.answer(verdict.outcome, None, None),
            Ok(Outcome::UnknownPayment) => return caller.refuse(Refusal::UnknownClaim),
            Ok(Outcome::AlreadyExists(blob_hash)) => Refusal::AlreadyExists { blob_hash },
            Ok(Outcome::HashMismatch(blob_hash)) => Refusal::BadSignature { blob_hash },
            Ok(Outcome::Absent) => Refusal::Absent,
            Ok(Outcome::Deleted) => Refusal::Deleted,
            Ok(Outcome::StaleSequence(current)) => Refusal::StaleSequence { current },
            // No request asks for it.
            Ok(Outcome::CellsDropped(_) | Outcome::OwnedByAnother) => {
                return caller.refuse(Refusal::Internal);
            }
        };
        let judged = verdict.overtaken(overtaken, &caller.terms, caller.subject.op);
        self.settle_with(caller, payment, judged)
    }
}

//! The cheap stage: parse, size class, payment, cheapest first. What a stranger sends for free
//! costs no more than this; an open costs a signature check, too, and is one of so many in a
//! second.

use larder_credentials::ledger::{Admitted, LedgerError, Teller};
use larder_credentials::{Epoch, Refusal as Declined, Reply as Replacement, Request as Core};
use larder_protocol::{
    Call, DecodeError, Done, Op, Payment, Refusal, Request, SizeClass, envelope,
};
use larder_store::StoreError;

use crate::desk::Desk;
use crate::replay;
use crate::step::{Again, Caller, Returned, Step, Unverified};
use crate::tariff::PriceList;
use crate::terms::refusal;

impl Desk {
    /// What comes first for the contents of a message.
    pub(crate) fn receive(&self, contents: &[u8]) -> Step {
        let class = SizeClass::of(contents);
        let body = envelope::unwrap(contents);
        // By its first byte: reading a request costs more than dropping it may.
        if body.is_ok_and(|body| Op::BreakglassOpen.begins(body))
            && !self.opens.take(self.clock.now())
        {
            self.tally.opens_unread.one();
            return Step::Drop;
        }
        let request = match body.and_then(Request::decode) {
            Ok(request) => request,
            Err(error) => {
                self.tally.malformed.one();
                let why = match error {
                    DecodeError::UnsupportedVersion(_) => Refusal::UnsupportedVersion,
                    _ => Refusal::Malformed,
                };
                return Step::Answer(refusal(why, class));
            }
        };
        let terms = self.terms();
        let caller = Caller {
            subject: request.subject(),
            class,
            terms: terms.clone(),
        };
        let op = request.call.op();
        match (request.call, request.payment, &terms.teller) {
            (Call::Info, Payment::None, _) => {
                self.tally.asked(op);
                let record = Box::new(terms.signed_record.clone());
                caller.answer(Ok(Done::Info(record)), None, None)
            }
            (Call::Quote(quote), Payment::None, Some(teller)) => {
                self.tally.asked(op);
                self.quote(caller, teller, &quote)
            }
            // Who sells nothing has nothing to quote and nothing to exchange.
            (Call::Quote(_) | Call::Transfer | Call::Reissue | Call::Purchase, _, None) => {
                caller.refuse(Refusal::NotOffered)
            }
            (Call::BreakglassOpen(open), Payment::None, _) => {
                self.tally.asked(op);
                self.open_cell(caller, &open)
            }
            // What is free cannot be paid for.
            (Call::Info | Call::Quote(_) | Call::BreakglassOpen(_), Payment::Credentials(_), _)
            | (_, Payment::Credentials(_), None) => caller.refuse(Refusal::WrongPrice { price: 0 }),
            // Refused whether or not the blob exists: the class must not tell.
            (Call::Lookup(_), ..) if class == SizeClass::Small => {
                caller.refuse(Refusal::WrongSizeClass)
            }
            (call, Payment::None, None) => {
                self.tally.asked(op);
                self.judge(caller, call, None)
            }
            (_, Payment::None, Some(teller)) => {
                self.tally.unpaid.one();
                let price = teller.tariff().price(op);
                caller.refuse(Refusal::WrongPrice { price })
            }
            (call, Payment::Credentials(core), Some(teller)) => {
                self.tally.asked(op);
                self.admit(caller, teller, call, &core)
            }
        }
    }

    /// Whether the payment is worth checking. It has to be for this very call: a core that paid
    /// for another one pays nothing here, not even as a retry.
    fn admit(&self, caller: Caller, teller: &Teller<PriceList>, call: Call, core: &[u8]) -> Step {
        let core = match Core::decode(teller.issuer().record().service(), core) {
            Ok(core) => core,
            Err(_) => return self.decline(&caller, Refusal::Malformed),
        };
        if Some(core.op()) != call.op().paid_as() {
            return self.decline(&caller, Refusal::BadProof);
        }
        let bound = match call.op() {
            Op::Insert | Op::Delete | Op::Lookup | Op::BreakglassPut => {
                Some(core.parameters().to_vec())
            }
            // The core says all.
            _ => None,
        };
        let epoch = core.out_epoch();
        let admitted = match teller.admit_decoded(core, &mut &*self.engine) {
            Ok(admitted) => admitted,
            Err(error) => return self.fail(&caller, error),
        };
        // Last, because a digest of a whole blob is the dearest of the cheap checks.
        if bound.is_some_and(|bound| bound != call.digest()) {
            return self.decline(&caller, Refusal::BadProof);
        }
        match admitted {
            Admitted::Answered(replacement) => {
                self.replay(&caller, &call.into(), replacement, epoch)
            }
            // Whether or not its key is taken: nobody learns that for nothing.
            Admitted::Unverified(_)
                if call.op() == Op::Insert && self.fullness.at(self.clock.now()) =>
            {
                caller.refuse(Refusal::StoreFull)
            }
            Admitted::Unverified(core) => Step::Verify(Box::new(Unverified { caller, call, core })),
        }
    }

    /// What the ledger has to say of a payment that was made before, in this epoch.
    pub(crate) fn replay(
        &self,
        caller: &Caller,
        again: &Again,
        replacement: Replacement,
        epoch: Epoch,
    ) -> Step {
        let row = replacement.encode();
        if let Replacement::NotPerformed(_) = replacement {
            return self.decline(caller, Refusal::AlreadySpent { row });
        }
        self.tally.replayed.one();
        match replay::answer(&*self.engine, &caller.terms, again, self.clock.now()) {
            Ok((outcome, stored)) => caller.answer(outcome, stored, Some(Returned { row, epoch })),
            Err(error) => caller.refuse(self.broken(&error)),
        }
    }

    /// The payment was not taken.
    pub(crate) fn decline(&self, caller: &Caller, refusal: Refusal) -> Step {
        self.tally.refused(&refusal);
        if refusal == Refusal::Halted {
            self.alarm();
        }
        caller.refuse(refusal)
    }

    /// The ledger gave no answer.
    pub(crate) fn fail(&self, caller: &Caller, error: LedgerError<StoreError>) -> Step {
        match error {
            LedgerError::Refused(declined) => self.decline(caller, wire(declined)),
            LedgerError::Storage(error) => caller.refuse(self.broken(&error)),
            LedgerError::AdjustTooLarge { .. } => caller.refuse(Refusal::Internal),
        }
    }
}

/// A refusal of the ledger, as it travels.
pub(crate) fn wire(declined: Declined) -> Refusal {
    match declined {
        Declined::Malformed(_) => Refusal::Malformed,
        Declined::UnknownOperation => Refusal::NotOffered,
        Declined::WrongPrice { price } => Refusal::WrongPrice {
            // Of a purchase it is what the claim is worth, given instead of taken.
            price: price.unsigned_abs(),
        },
        Declined::WrongEpoch { current, oldest } => Refusal::WrongEpoch {
            current: current.0,
            oldest: oldest.0,
        },
        Declined::BadProof => Refusal::BadProof,
        Declined::UnknownClaim => Refusal::UnknownClaim,
        Declined::NotPaid => Refusal::NotPaid,
        Declined::AlreadyClaimed => Refusal::AlreadyClaimed,
        Declined::Halted => Refusal::Halted,
        // This version of the ledger knows no other.
        _ => Refusal::Internal,
    }
}

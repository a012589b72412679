//! A request between two stages, and what an operation comes to.

use std::sync::Arc;

use larder_credentials::ledger::{Outcome, Verified};
use larder_credentials::{Epoch, Request as Core, Status};
use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{
    BlobHash, BreakglassPut, Call, Done, Key, Op, Refusal, Reply, SizeClass, Subject,
};
use larder_store::{Change, Effect};

use crate::terms::Terms;

/// What comes next for a request.
pub(crate) enum Step {
    /// It is over: these are the contents of the answer.
    Answer(Vec<u8>),
    /// It is over: it gets no answer, and its sender may try again.
    Drop,
    /// Its proofs are to be checked, best with others at once.
    Verify(Box<Unverified>),
    /// Its payment is good: it is to be performed.
    Perform(Box<Paid>),
    /// What it does is to become durable.
    Commit(Box<Effect>, Box<Pending>),
}

impl Step {
    /// Whether it is to become durable and nobody has paid for that, where others do.
    pub(crate) fn is_a_favour(&self) -> bool {
        match self {
            Step::Commit(_, pending) => {
                let Caller { subject, terms, .. } = &pending.caller;
                terms.teller.is_some() && subject.op.paid_as().is_none()
            }
            _ => false,
        }
    }
}

/// Who waits for an answer, and under which terms the request was taken.
pub(crate) struct Caller {
    pub(crate) subject: Subject,
    pub(crate) class: SizeClass,
    pub(crate) terms: Arc<Terms>,
}

impl Caller {
    /// The answer, with what the payment turned into.
    pub(crate) fn answer(
        &self,
        outcome: Result<Done, Refusal>,
        stored: Option<BlobHash>,
        returned: Option<Returned>,
    ) -> Step {
        let (subject, class) = (&self.subject, self.class);
        Step::Answer(self.terms.reply(subject, outcome, stored, returned, class))
    }

    /// Nothing was done, nothing was paid.
    pub(crate) fn refuse(&self, refusal: Refusal) -> Step {
        self.answer(Err(refusal), None, None)
    }
}

/// What a payment turned into.
pub(crate) struct Returned {
    /// The credentials' reply.
    pub(crate) row: Vec<u8>,
    /// The epoch in which the payment was made; this may be the answer to a retry.
    pub(crate) epoch: Epoch,
}

/// A request whose proofs have yet to be checked.
pub(crate) struct Unverified {
    pub(crate) caller: Caller,
    pub(crate) call: Call,
    pub(crate) core: Box<Core>,
}

/// A request whose proofs hold.
pub(crate) struct Paid {
    pub(crate) caller: Caller,
    pub(crate) call: Call,
    pub(crate) payment: Verified,
}

/// A request that waits for the disk.
pub(crate) struct Pending {
    pub(crate) caller: Caller,
    pub(crate) payment: Option<Verified>,
    pub(crate) verdict: Verdict,
    /// What the payment turns into.
    pub(crate) replacement: Option<Vec<u8>>,
}

/// What an operation comes to, as of what is durable now.
pub(crate) struct Judged {
    /// What it changes; that is judged again when it is committed.
    pub(crate) change: Change,
    /// The answer, if nothing has come between.
    pub(crate) verdict: Verdict,
}

/// The answer to an operation that could be looked into, which is what is paid for.
pub(crate) struct Verdict {
    pub(crate) outcome: Result<Done, Refusal>,
    /// The hash of the blob that an insert or a delete was about, or of the cell that was put.
    pub(crate) stored: Option<BlobHash>,
    /// Tokens that go back.
    pub(crate) adjust: u64,
    /// What a retry asks, when the first try has been performed.
    pub(crate) again: Again,
}

impl Verdict {
    /// The same operation, which something that came between has spoilt.
    pub(crate) fn overtaken(self, refusal: Refusal, terms: &Terms, op: Op) -> Judged {
        Judged {
            change: Change::None,
            verdict: Verdict {
                outcome: Err(refusal),
                adjust: back_if_refused(terms, op),
                ..self
            },
        }
    }

    /// What the ledger is told of it. Whatever a look-up finds it is done.
    pub(crate) fn ledger_outcome(&self, op: Op) -> Outcome {
        let status = match (&self.outcome, op) {
            (Err(_), Op::Insert | Op::Delete | Op::BreakglassPut) => {
                Status(Reply::code(&self.outcome))
            }
            _ => Status::DONE,
        };
        let adjust = self.adjust;
        Outcome { status, adjust }
    }
}

/// What comes back of the payment for an operation that was looked into and could not be done.
pub(crate) fn back_if_refused(terms: &Terms, op: Op) -> u64 {
    let teller = terms.teller.as_ref();
    teller.map_or(0, |teller| teller.tariff().back_if_refused(op))
}

/// As much of a call as its retry needs: everything but the blob.
pub(crate) enum Again {
    Insert {
        key: Key,
        blob_hash: BlobHash,
    },
    Delete(Delete),
    Lookup(Lookup),
    BreakglassPut(Box<BreakglassPut>),
    Exchange,
    /// What is not paid is not replayed: it is asked anew.
    Nothing,
}

impl From<Call> for Again {
    fn from(call: Call) -> Self {
        match call {
            Call::Insert(Insert { key, blob }) => Again::Insert {
                key,
                blob_hash: blob.hash(),
            },
            Call::Delete(delete) => Again::Delete(delete),
            Call::Lookup(lookup) => Again::Lookup(lookup),
            Call::BreakglassPut(put) => Again::BreakglassPut(put),
            Call::Transfer | Call::Reissue | Call::Purchase => Again::Exchange,
            Call::Info | Call::Quote(_) | Call::BreakglassOpen(_) => Again::Nothing,
        }
    }
}

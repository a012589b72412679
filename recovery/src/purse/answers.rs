//! Judging the answer to a paid request, and writing down what became of its inputs.

use larder_credentials::{AdjustRule, Fault, HolderError, Row, Settled, Status};
use larder_protocol::{Call, Done, Refusal, Reply};

use super::event::Event;
use super::held::Held;
use super::lease::Lease;
use super::rules::published;
use super::{Inner, Purse};
use crate::RecoveryError;

/// What an answer means for its request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was performed: the outcome counts.
    Performed,
    /// It was not performed, and its pair was spent before: do it again, with another.
    Overtaken,
    /// It was refused.
    Refused(Refusal),
    /// It was built again meanwhile: this answer is about nothing that is shown now.
    Renewed,
}

impl Purse {
    /// Judges the answer to a request and writes down what became of its inputs.
    ///
    /// `heard`: whoever made the call is waiting for this answer. When it cannot be written down, the request
    /// stays in flight: sent again it is answered again.
    pub(crate) fn settle(
        &self,
        lease: &Lease<'_>,
        reply: &Reply,
        heard: bool,
    ) -> Result<Verdict, RecoveryError> {
        let mut inner = self.lock();
        inner.learn_passes(reply)?;
        if inner.is_renewed(lease) {
            return Ok(Verdict::Renewed);
        }
        if !inner.book.sent.contains_key(&lease.id) {
            return inner.settle_kept(lease, reply, heard);
        }
        let id = lease.id;
        match (&reply.outcome, &reply.replacement) {
            (Err(Refusal::AlreadySpent { row }), _) => {
                let reply = decode(row)?;
                inner.heal(self, id, reply)?;
                Ok(Verdict::Overtaken)
            }
            (_, Some(replacement)) => {
                let reply = decode(replacement)?;
                inner.accept(self, id, reply)?;
                if heard {
                    inner.hear(id);
                }
                Ok(Verdict::Performed)
            }
            // Whether it was performed, or a copy of it will be, is not known: only the same request
            // finds out.
            (Err(refusal @ (Refusal::Internal | Refusal::Busy)), None) => {
                Ok(Verdict::Refused(refusal.clone()))
            }
            (Err(refusal), None) if !consumes(refusal) => {
                inner.release(id)?;
                Ok(Verdict::Refused(refusal.clone()))
            }
            _ => Err(RecoveryError::Misbehaved(
                "it keeps the tokens that are left of a payment",
            )),
        }
    }
}

impl Inner {
    /// The request was refused untouched: its inputs are free.
    pub(super) fn release(&mut self, id: u64) -> Result<(), RecoveryError> {
        self.record(Event::Released { id })?;
        self.built.remove(&id);
        Ok(())
    }

    /// The caller of a kept request is about to have its answer. That is written down with a later
    /// request: the process may die before the caller knows.
    fn hear(&mut self, id: u64) {
        if self.book.kept.contains_key(&id) {
            self.heard.insert(id);
        }
    }

    /// The request was performed: its pair is replaced.
    fn accept(
        &mut self,
        purse: &Purse,
        id: u64,
        reply: larder_credentials::Reply,
    ) -> Result<(), RecoveryError> {
        let (built, terms) = self.take_built(purse, id)?;
        let (status, adjust) = match &reply {
            larder_credentials::Reply::Performed { status, issuance } => {
                (*status, issuance.adjust())
            }
            larder_credentials::Reply::NotPerformed(_) => (Status::DONE, 0),
        };
        if !published(&terms.tariff, built.request().op(), status, adjust) {
            self.built.insert(id, built);
            return Err(RecoveryError::Misbehaved(
                "it gives back other than what it published",
            ));
        }
        let rule = AdjustRule::Exactly(adjust);
        match built.accept(&purse.root, &terms.credentials, reply, rule) {
            Ok(Settled::Performed(replaced)) => {
                let pair = Held::of(&replaced.pair);
                let paid = self.paid_by(id, &pair);
                self.record(Event::Settled { id, pair })?;
                self.has_paid(paid);
                Ok(())
            }
            Ok(Settled::Overtaken { .. }) => Err(RecoveryError::Misbehaved(
                "it says that a payment was made before, and does the work",
            )),
            Err(rejected) => {
                self.built.insert(id, rejected.in_flight);
                Err(refuted(rejected.error))
            }
        }
    }

    /// The pair of the request was spent before: what replaced it takes its place, or is another copy's.
    fn heal(
        &mut self,
        purse: &Purse,
        id: u64,
        reply: larder_credentials::Reply,
    ) -> Result<(), RecoveryError> {
        let (built, terms) = self.take_built(purse, id)?;
        let rows = match built.accept(
            &purse.root,
            &terms.credentials,
            reply,
            AdjustRule::Exactly(0),
        ) {
            Ok(Settled::Overtaken { rows, .. }) => rows,
            Ok(Settled::Performed(_)) => {
                return Err(RecoveryError::Misbehaved(
                    "it says that a payment was made before, and shows that of now",
                ));
            }
            Err(rejected) => {
                self.built.insert(id, rejected.in_flight);
                return Err(refuted(rejected.error));
            }
        };
        let (mut spent, mut gained) = (Vec::new(), Vec::<Held>::new());
        let (elsewhere, parted) = (self.is_elsewhere(id), self.book.cells.has_parted());
        for row in &rows {
            spent.extend(row.references().iter());
            if let Some(pair) = self.open(purse, row)? {
                let followed = self.follow(id, row, pair, elsewhere)?;
                gained.extend(followed.into_iter().flatten());
            }
        }
        // One row may hold what another one has consumed, now or before.
        let cells = &self.book.cells;
        gained.retain(|held| !spent.contains(&held.serial) && !cells.is_walked(&held.serial));
        let before = self.ours();
        self.record(Event::Healed { id, spent, gained })?;
        if elsewhere {
            self.gone += before.saturating_sub(self.ours());
        }
        match elsewhere {
            true => self.noticed(parted),
            false => Ok(()),
        }
    }

    /// The pair in a row; none if it is not ours, or of an epoch that has ended.
    fn open(&self, purse: &Purse, row: &Row) -> Result<Option<[Held; 2]>, RecoveryError> {
        let terms = self.terms()?;
        let (op, status) = (row.op(), row.status());
        let adjust = row.issuance().adjust();
        let then = self.book.terms.get(&row.out_epoch().0);
        if then.is_some_and(|then| !published(&then.tariff, op, status, adjust)) {
            return Err(RecoveryError::Misbehaved(
                "it gave back other than what it published",
            ));
        }
        match row.open(&purse.root, &terms.credentials) {
            Ok(pair) => Ok(Some(Held::of(&pair))),
            Err(error) if error.fault() == Fault::Issuer => Err(refuted(error)),
            Err(_) => Ok(None),
        }
    }

    /// The answer to a request whose tokens are accounted for.
    fn settle_kept(
        &mut self,
        lease: &Lease<'_>,
        reply: &Reply,
        heard: bool,
    ) -> Result<Verdict, RecoveryError> {
        let (verdict, done) = match (&reply.outcome, &reply.replacement) {
            (outcome, Some(_)) if is_undone(&lease.request().call, outcome) => {
                (Verdict::Overtaken, true)
            }
            (_, Some(_)) => (Verdict::Performed, heard),
            // What it did is not remembered any more, as happens at the end of an epoch.
            (Err(Refusal::AlreadySpent { .. } | Refusal::WrongEpoch { .. }), None) => {
                (Verdict::Overtaken, true)
            }
            (Err(refusal), None) => (Verdict::Refused(refusal.clone()), false),
            (Ok(_), None) => {
                return Err(RecoveryError::Misbehaved(
                    "it forgot a payment that it remembers",
                ));
            }
        };
        if done {
            self.hear(lease.id);
        }
        Ok(verdict)
    }
}

fn decode(bytes: &[u8]) -> Result<larder_credentials::Reply, RecoveryError> {
    larder_credentials::Reply::decode(bytes)
        .map_err(|_| RecoveryError::Misbehaved("what replaces a payment cannot be read"))
}

/// An answer that its proof does not bear out.
fn refuted(error: HolderError) -> RecoveryError {
    RecoveryError::Misbehaved(match error {
        HolderError::BadIssuance => "it issues credentials under a key that it does not publish",
        HolderError::ChangedParameters => "it changed its keys within an epoch",
        HolderError::ForeignRow => "it shows another payment than the one it says was made",
        _ => "what replaces a payment does not hold",
    })
}

/// Whether a refusal is the outcome of an operation that was performed.
fn consumes(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::AlreadyExists { .. }
            | Refusal::Absent
            | Refusal::Deleted
            | Refusal::BadSignature { .. }
            | Refusal::StaleSequence { .. }
    )
}

/// Whether what a call did is not so any more: then the same call is to be performed again.
fn is_undone(call: &Call, now: &Result<Done, Refusal>) -> bool {
    matches!(
        (call, now),
        (Call::Insert(_), Err(Refusal::Absent))
            | (Call::Delete(_), Err(Refusal::AlreadyExists { .. }))
    )
}

/// Whether these are the terms that were refused, not the request.
pub(crate) fn is_stale(outcome: &Result<Done, Refusal>) -> bool {
    matches!(
        outcome,
        Err(Refusal::WrongEpoch { .. } | Refusal::WrongPrice { .. })
    )
}

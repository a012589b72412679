//! The terms of a storage node as a client sees them change, and how it makes sure that they are everybody's.
//!
//! They may change from one epoch to the next and not within one. What was published of keys stays
//! true: those of a live epoch never change, and those of the next are committed to one epoch
//! ahead, as the next pass is; and each record names those before it. Otherwise a storage node could give each client
//! keys, prices or a pass of its own, and know them again.
//!
//! *Nothing is paid by terms that were heard of once.* The client asks again, as somebody else and a drawn time later
//! ([`Transport::exchange_apart`](crate::Transport::exchange_apart)), and compares: a storage node that gives terms
//! of its own to each client does not know whom it has in front of it. Only then the purse learns
//! them, and it builds requests by those that it has learnt alone. Terms that an earlier session has learnt, or that
//! somebody else has told ([`Provider::expects`]), are compared as well.
//!
//! How it fails: [`Contradicted`](RecoveryError::Contradicted), with two signed records, which is proof for anyone. This
//! provider pays nothing more then, and its purse remembers why.

use std::sync::PoisonError;

use larder_protocol::{Call, Record, RecordHash, Request, SignedRecord};

use crate::contradiction::{self, Contradiction};
use crate::exchange::terms_in;
use crate::{Provider, Purse, RecoveryError};

/// How often an epoch may begin while terms are compared, before it is somebody's fault.
const PATIENCE: u32 = 4;

const WENT_BACK: &str = "it went back to an earlier epoch";

/// The newest terms, and those before them: an answer may have been under way while they changed.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) now: Record,
    /// The same as they were signed.
    pub(crate) signed: SignedRecord,
    hash: RecordHash,
    before: Option<(SignedRecord, Record, RecordHash)>,
    /// The newest with a tariff, if those of now have none: what was said of keys stays true.
    paid: Option<SignedRecord>,
    /// Whether they were heard of twice, by one who could not be known for the same.
    pub(crate) confirmed: bool,
}

impl Terms {
    pub(crate) fn new(signed: SignedRecord, record: Record) -> Self {
        Terms {
            hash: record.hash(),
            now: record,
            signed,
            before: None,
            paid: None,
            confirmed: false,
        }
    }

    pub(crate) fn with_hash(&self, hash: RecordHash) -> Option<&Record> {
        match &self.before {
            _ if self.hash == hash => Some(&self.now),
            Some((_, record, before)) if *before == hash => Some(record),
            _ => None,
        }
    }

    /// The same as they were signed.
    pub(crate) fn signed_with_hash(&self, hash: RecordHash) -> Option<&SignedRecord> {
        match &self.before {
            _ if self.hash == hash => Some(&self.signed),
            Some((signed, _, before)) if *before == hash => Some(signed),
            _ => None,
        }
    }

    /// Whether an epoch lies between the newest terms and those before them.
    pub(crate) fn skipped(&self, epoch: u32) -> bool {
        let before = self.before.as_ref().map(|(_, record, _)| record.epoch);
        before.is_some_and(|before| before < epoch) && epoch < self.now.epoch
    }

    /// Takes terms that are newer than those it knows, or older ones that an answer brought which was overtaken, and
    /// which change nothing.
    fn take(&mut self, signed: SignedRecord, record: Record) -> Result<(), Contradicts> {
        for known in self.paid.iter().chain([&self.signed]) {
            agrees(known, &signed, &record)?;
        }
        if record.epoch > self.now.epoch {
            let paid = self.now.tariff.is_some().then(|| self.signed.clone());
            let old = std::mem::replace(self, Terms::new(signed, record));
            self.before = Some((old.signed, old.now, old.hash));
            self.paid = paid.or(old.paid);
        }
        Ok(())
    }

    /// Follows on from terms that a purse has learnt; the same ones are confirmed by that.
    pub(crate) fn follow(
        &mut self,
        known: SignedRecord,
        purse: &Purse,
    ) -> Result<(), RecoveryError> {
        if let Err((what, proof)) = agrees(&known, &self.signed, &self.now) {
            purse.object(&proof)?;
            return Err(RecoveryError::Contradicted { what, proof });
        }
        let then = known.verified(&self.now.server_key);
        if self.now.tariff.is_some() && then.is_some_and(|then| then.epoch > self.now.epoch) {
            return Err(RecoveryError::Misbehaved(WENT_BACK));
        }
        self.confirmed = then == Some(&self.now);
        self.paid = Some(known);
        Ok(())
    }
}

/// What contradicts, and the proof.
type Contradicts = (&'static str, Box<Contradiction>);

/// Whether terms may be what everybody is told, when these are.
pub(crate) fn agrees(
    known: &SignedRecord,
    signed: &SignedRecord,
    record: &Record,
) -> Result<(), Contradicts> {
    // Both were verified when they came.
    let contradicts = known
        .verified(&record.server_key)
        .and_then(|known| contradiction::between(known, record));
    match contradicts {
        None => Ok(()),
        Some(what) => {
            let (one, other) = (known.clone(), signed.clone());
            Err((what, Box::new(Contradiction { one, other })))
        }
    }
}

/// What its proofs are checked with; none when nothing is to be paid.
pub(crate) fn keys(record: &Record) -> Result<Option<larder_credentials::Record>, RecoveryError> {
    record
        .credentials()
        .transpose()
        .map_err(|_| RecoveryError::Misbehaved("the keys in its terms are none"))
}

impl Provider {
    /// Compares the storage node's terms with those that it has signed before, for this device or another one. When they
    /// are the same, they are known to be everybody's.
    ///
    /// # Errors
    /// [`RecoveryError::Contradicted`]; [`RecoveryError::Misbehaved`] when it shows an earlier epoch than then, asked
    /// again too. What is not signed by it says nothing.
    pub async fn expects(&self, signed: &SignedRecord) -> Result<(), RecoveryError> {
        let Some(known) = signed.verified(self.server_key()).cloned() else {
            return Ok(());
        };
        if self.record().epoch < known.epoch && known.tariff.is_some() {
            self.ask().await?;
        }
        let compared = {
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            let agrees = agrees(signed, &terms.signed, &terms.now);
            terms.confirmed |= agrees.is_ok() && terms.now == known;
            agrees.map(|()| terms.now.tariff.is_some() && terms.now.epoch < known.epoch)
        };
        match compared {
            Ok(false) => Ok(()),
            Ok(true) => Err(RecoveryError::Misbehaved(WENT_BACK)),
            Err(contradicts) => Err(self.object(contradicts)),
        }
    }

    /// Fetches the terms again, which may change from one epoch to the next but not within one; the purse
    /// learns them once they are confirmed.
    ///
    /// # Errors
    /// As [`Provider::compare_terms`].
    pub async fn refresh(&self) -> Result<(), RecoveryError> {
        self.ask().await?;
        match &self.purse {
            Some(_) => self.compare_terms().await,
            None => Ok(()),
        }
    }

    /// Makes sure that the purse knows the terms that hold, and that they are everybody's, before anything is done
    /// that depends on them.
    ///
    /// # Errors
    /// [`RecoveryError::Contradicted`] when the storage node has signed two, now or before; and those of any operation.
    pub async fn compare_terms(&self) -> Result<(), RecoveryError> {
        let Some(purse) = &self.purse else {
            return Ok(());
        };
        purse.is_paying()?;
        for _ in 0..PATIENCE {
            let (signed, record, confirmed) = {
                let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
                (terms.signed.clone(), terms.now.clone(), terms.confirmed)
            };
            if record.tariff.is_none() {
                return Ok(());
            }
            if confirmed {
                return purse.learn(&signed, &record);
            }
            let answered = self.ask().await?;
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            terms.confirmed |= answered == record && terms.now == record;
        }
        Err(RecoveryError::Misbehaved(
            "it publishes other terms whenever it is asked",
        ))
    }

    /// Asks for the terms, as somebody whom the storage node does not know; what it answers.
    async fn ask(&self) -> Result<Record, RecoveryError> {
        let before = self.record();
        let request = Request::unpaid(self.nonce(), Call::Info);
        let (signed, record) = terms_in(self.send(&request).await?, self.server_key())?;
        if record.tariff.is_some() && record.epoch < before.epoch {
            return Err(RecoveryError::Misbehaved(WENT_BACK));
        }
        let taken = {
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            terms.take(signed, record.clone())
        };
        match taken {
            Ok(()) => Ok(record),
            Err(contradicts) => Err(self.object(contradicts)),
        }
    }

    /// Remembers why this storage node is paid nothing more.
    fn object(&self, (what, proof): Contradicts) -> RecoveryError {
        let written = match &self.purse {
            Some(purse) => purse.object(&proof),
            None => Ok(()),
        };
        match written {
            Ok(()) => RecoveryError::Contradicted { what, proof },
            Err(error) => error,
        }
    }
}

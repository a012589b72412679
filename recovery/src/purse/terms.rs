//! The terms by which a purse pays, epoch by epoch.

use larder_credentials::Epoch;
use larder_protocol::record::Tariff;
use larder_protocol::{Record, ServerKey, SignedRecord};

use super::Purse;
use super::event::Event;
use crate::RecoveryError;
use crate::contradiction::Contradiction;

/// The terms of one epoch.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(super) signed: SignedRecord,
    pub(crate) record: Record,
    pub(crate) tariff: Tariff,
    pub(crate) credentials: larder_credentials::Record,
}

impl Terms {
    /// `None` for terms that are not signed by this server, or without a tariff that is one.
    pub(super) fn new(signed: SignedRecord, server: &ServerKey) -> Option<Self> {
        let record = signed.verified(server)?.clone();
        Some(Terms {
            signed,
            tariff: record.tariff.clone()?,
            credentials: record.credentials()?.ok()?,
            record,
        })
    }

    /// The oldest epoch whose credentials are accepted.
    pub(crate) fn oldest(&self) -> Epoch {
        let mut live = self.credentials.live();
        live.next()
            .map_or(self.credentials.current(), |first| first.epoch())
    }

    /// The newest epoch whose credentials the next one refuses, which may begin at any time.
    pub(crate) fn ending(&self) -> Epoch {
        let current = self.credentials.current();
        current.oldest_live(self.tariff.next_takes.into())
    }
}

impl Purse {
    /// The newest terms it knows, for a provider to be compared with; none when it was told to begin anew.
    pub(crate) fn terms(&self) -> Option<SignedRecord> {
        let inner = self.lock();
        let known = inner.book.now().filter(|_| !inner.book.begins_anew);
        known.map(|terms| terms.signed.clone())
    }

    /// The proof that the storage node has signed two terms of which one cannot be everybody's. Nothing is paid then.
    #[must_use]
    pub fn contradiction(&self) -> Option<Contradiction> {
        self.lock().book.contradiction.as_deref().cloned()
    }

    /// Pays the storage node again in spite of a [contradiction](Purse::contradiction), which is forgotten, by whatever
    /// terms it shows from now on. For whoever has nowhere else to go: it may know him by all that he does.
    ///
    /// # Errors
    /// [`RecoveryError::Journal`].
    pub fn pardon(&self) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        if inner.book.contradiction.is_some() {
            inner.record(Event::Pardoned)?;
        }
        Ok(())
    }

    /// Refuses to go on when nothing is paid any more.
    pub(crate) fn is_paying(&self) -> Result<(), RecoveryError> {
        let inner = self.lock();
        let proof = inner.book.contradiction.clone();
        let what = proof
            .as_ref()
            .and_then(|proof| proof.convicts(&inner.book.server));
        match proof.zip(what) {
            Some((proof, what)) => Err(RecoveryError::Contradicted { what, proof }),
            None => Ok(()),
        }
    }

    /// Writes down that nothing is paid any more, and why.
    pub(crate) fn object(&self, proof: &Contradiction) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        if inner.book.contradiction.is_none() {
            inner.record(Event::Contradicted(Box::new(proof.clone())))?;
        }
        Ok(())
    }

    /// The epoch that holds.
    pub(crate) fn current(&self) -> Option<Epoch> {
        self.lock()
            .book
            .now()
            .map(|terms| terms.credentials.current())
    }

    /// Writes terms down that are newer than those it knows, and everybody's; credentials they do not accept any
    /// more are lost.
    pub(crate) fn learn(
        &self,
        signed: &SignedRecord,
        record: &Record,
    ) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        let known = inner.book.now();
        let newer =
            inner.book.begins_anew || known.is_none_or(|known| known.record.epoch < record.epoch);
        if newer && record.tariff.is_some() {
            inner.record(Event::Terms(Box::new(signed.clone())))?;
        }
        Ok(())
    }
}

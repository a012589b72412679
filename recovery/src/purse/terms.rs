//! The terms by which a purse pays, epoch by epoch.

use larder_credentials::Epoch;
use larder_protocol::record::Tariff;
use larder_protocol::{Record, ServerKey, SignedRecord};

use super::Purse;
use super::event::Event;
use crate::RecoveryError;

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
}

impl Purse {
    /// The newest terms it knows, for a provider to be compared with.
    pub(crate) fn terms(&self) -> Option<Record> {
        self.lock().book.now().map(|terms| terms.record.clone())
    }

    /// The epoch that holds.
    pub(crate) fn current(&self) -> Option<Epoch> {
        self.lock()
            .book
            .now()
            .map(|terms| terms.credentials.current())
    }

    /// Writes terms down that are newer than those it knows; credentials they do not accept any
    /// more are lost.
    pub(crate) fn learn(
        &self,
        signed: &SignedRecord,
        record: &Record,
    ) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        let newer = inner
            .book
            .now()
            .is_none_or(|now| now.record.epoch < record.epoch);
        if newer && record.tariff.is_some() {
            inner.record(Event::Terms(Box::new(signed.clone())))?;
        }
        Ok(())
    }
}

//! The proof of an answer: a receipt, checked against terms that are known or can be asked for.
//!
//! An answer whose receipt does not hold counts for nothing, and the storage node
//! [misbehaves](RecoveryError::Misbehaved). Nobody is at fault when two epochs began while it was under way: the
//! terms that it names were never seen, and asking again helps.

use std::sync::PoisonError;

use larder_protocol::receipt::Finding;
use larder_protocol::{BlobHash, Receipt, ReceiptKey, Reply, Request};

use crate::{Provider, RecoveryError, Unreachable};

/// What is called with the evidence of every answer.
pub(crate) type Keep = Box<dyn Fn(&Evidence) + Send + Sync>;

/// Proof, for anyone who knows the storage node's receipt key, of what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it found.
    pub finding: Finding,
    /// Its signature.
    pub receipt: Receipt,
}

impl Provider {
    /// Checks the proof of an answer that needs one.
    pub(crate) async fn evidence(
        &self,
        request: &Request,
        reply: &Reply,
        stored: Option<BlobHash>,
    ) -> Result<Option<Evidence>, RecoveryError> {
        let Some(finding) = Reply::finding(&request.subject(), &reply.outcome, stored) else {
            return Ok(None);
        };
        let receipt = reply
            .receipt
            .clone()
            .ok_or(RecoveryError::Misbehaved("it answers without a receipt"))?;
        let receipt_key = match self.receipt_key(&receipt) {
            Some(key) => key,
            None => {
                self.refresh().await?;
                let key = self.receipt_key(&receipt);
                key.ok_or_else(|| self.unknown_terms(&receipt))?
            }
        };
        if !receipt.proves(&receipt_key, &finding) {
            return Err(RecoveryError::Misbehaved(
                "its receipt does not prove its answer",
            ));
        }
        let evidence = Evidence { finding, receipt };
        if let Some(keep) = &self.on_evidence {
            keep(&evidence);
        }
        Ok(Some(evidence))
    }

    /// The key that signs receipts under the terms and in the epoch that this one names.
    fn receipt_key(&self, receipt: &Receipt) -> Option<ReceiptKey> {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        let record = terms.with_hash(receipt.record)?;
        (record.epoch == receipt.epoch).then_some(record.receipt_key)
    }

    /// Why terms that a receipt names are not known. An epoch that began and ended while the answer
    /// was under way was never seen: that answer proves nothing, and the next one will.
    fn unknown_terms(&self, receipt: &Receipt) -> RecoveryError {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        match terms.skipped(receipt.epoch) {
            true => RecoveryError::Unreachable(Unreachable {
                advice: "two epochs began while its answer was under way: ask again".to_owned(),
            }),
            false => RecoveryError::Misbehaved("its receipt names terms it does not publish"),
        }
    }
}

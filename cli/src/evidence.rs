//! The evidence that a wallet keeps: for every blob that a storage node has acknowledged the receipt, with the terms
//! that name the key it is signed with; and what convicts it.
//!
//! A file per storage node, all of it in hexadecimal digits, so that anyone can check it who knows
//! the storage node's address. It is written at the end of a command: one that is killed leaves
//! the receipts of that command out, and never a wrong one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use larder_protocol::receipt::Finding;
use larder_protocol::{
    BlobHash, Key, Nonce, Op, Receipt, ReceiptKey, RecordHash, ServerKey, SignedRecord,
};
use larder_recovery::conviction::{Conviction, Ledger};
use larder_recovery::{Evidence, Provider, RootKey};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::CliError;
use crate::forgeries::{self, Forgeries};
use crate::shown::Shown;

/// What is kept of one storage node.
pub(crate) struct Receipts {
    path: PathBuf,
    ledger: Arc<Ledger>,
    forgeries: Forgeries,
    /// Signed terms, by their hash.
    terms: BTreeMap<String, String>,
    /// What it was found to lack; some of it convicts.
    convictions: Vec<WrittenConviction>,
    pub(crate) shown: Shown,
}

/// What came of asking for all that a storage node has acknowledged.
#[derive(Clone, Copy)]
pub(crate) struct Audited {
    pub(crate) asked: usize,
    /// Of them, those that were deleted, by what it says.
    pub(crate) deleted: usize,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    terms: BTreeMap<String, String>,
    stored: Vec<WrittenEvidence>,
    convictions: Vec<WrittenConviction>,
    #[serde(default)]
    shown: Shown,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenEvidence {
    op: u8,
    key: String,
    outcome: u8,
    blob: Option<String>,
    nonce: String,
    epoch: u32,
    terms: String,
    signature: String,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenConviction {
    stored: WrittenEvidence,
    salt: String,
    missing: WrittenEvidence,
}

impl Receipts {
    /// What is in this file, or nothing.
    pub(crate) fn load(path: PathBuf) -> Result<Self, CliError> {
        let written = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(Written::default()),
            Err(error) => return Err(CliError::file("read", &path)(error)),
        };
        let damaged = || {
            CliError::Failed(format!(
                "{} is damaged: move it away; nothing but evidence is lost",
                path.display()
            ))
        };
        let written = written.ok_or_else(damaged)?;
        let ledger = Ledger::default();
        for evidence in &written.stored {
            ledger.take(&evidence.read().ok_or_else(damaged)?);
        }
        Ok(Receipts {
            ledger: Arc::new(ledger),
            forgeries: Forgeries::new(forgeries::beside(&path)),
            terms: written.terms,
            convictions: written.convictions,
            shown: written.shown,
            path,
        })
    }

    /// Has all kept here that the storage node signs from now on.
    pub(crate) fn watch(&self, provider: Provider) -> Provider {
        let (ledger, forgeries) = (self.ledger.clone(), self.forgeries.clone());
        provider
            .on_evidence(move |evidence| ledger.take(evidence))
            .on_forgery(move |forgery| forgeries.keep(forgery))
    }

    /// How many blobs it signed for, in places of this wallet, that the root key never wrote.
    pub(crate) fn forged(&self, root: &RootKey, server: &ServerKey) -> Result<usize, CliError> {
        self.forgeries.proven(root, server)
    }

    /// Keeps the terms by which the receipts of this session can be checked.
    pub(crate) fn note_terms(&mut self, provider: &Provider) {
        self.shown.note(provider);
        let signed = provider.signed_terms();
        if let Some(record) = signed.verified(provider.server_key()) {
            let hash = hex::encode(record.hash().0);
            self.terms.insert(hash, hex::encode(signed.encode()));
        }
    }

    /// How many blobs it has acknowledged that are not deleted.
    pub(crate) fn len(&self) -> usize {
        self.ledger.keys().len()
    }

    /// Those whose signature is good under terms that are signed with this key.
    pub(crate) fn proven(&self, server: &ServerKey) -> usize {
        let kept = self.ledger.keys().into_iter();
        let kept = kept.filter_map(|key| self.ledger.of(&key));
        kept.filter(|evidence| {
            let key = self.receipt_key(&evidence.receipt, server);
            key.is_some_and(|key| evidence.receipt.proves(&key, &evidence.finding))
        })
        .count()
    }

    /// How often what it signed later contradicts what it had signed, for anyone to check.
    pub(crate) fn convictions(&self, server: &ServerKey) -> usize {
        let convictions = self.convictions.iter();
        convictions
            .filter(|written| self.convicts(written, server))
            .count()
    }

    fn convicts(&self, written: &WrittenConviction, server: &ServerKey) -> bool {
        let convicts = || {
            let conviction = written.read()?;
            let then = self.receipt_key(&conviction.stored.receipt, server)?;
            let later = self.receipt_key(&conviction.missing.receipt, server)?;
            Some(conviction.convicts(&then, &later))
        };
        convicts().unwrap_or(false)
    }

    /// How many blobs it lacked when it was last asked without a proof of that: what says that they were
    /// stored is damaged, or was signed so long before that they may have been deleted since.
    pub(crate) fn missing(&self, server: &ServerKey) -> usize {
        let convictions = self.convictions.iter();
        let unproven = convictions.filter(|written| !self.convicts(written, server));
        // What was deleted since is not missed.
        let kept = |evidence: Evidence| self.ledger.of(&evidence.finding.key).is_some();
        unproven
            .filter(|written| written.stored.read().is_some_and(kept))
            .count()
    }

    /// Asks the storage node for all that it has acknowledged.
    pub(crate) async fn audit(&mut self, provider: &Provider) -> Result<Audited, CliError> {
        let keys = self.ledger.keys();
        for key in &keys {
            let found = self.ledger.audit(provider, key).await?;
            if found.is_some() {
                self.note_terms(provider);
            }
            self.judge(key, found.as_ref(), provider.server_key());
        }
        let gone = keys.iter().filter(|key| self.ledger.of(key).is_none());
        Ok(Audited {
            asked: keys.len(),
            deleted: gone.count(),
        })
    }

    /// One per blob. One that convicts stays: a later one may come too long after the receipt. One that does not is
    /// as of the last look.
    fn judge(&mut self, key: &Key, found: Option<&Conviction>, server: &ServerKey) {
        let key = hex::encode(key.as_bytes());
        let known = std::mem::take(&mut self.convictions).into_iter();
        let (of_it, others): (Vec<_>, Vec<_>) = known.partition(|known| known.stored.key == key);
        let convicts = of_it.into_iter().find(|known| self.convicts(known, server));
        self.convictions = others;
        let found = found.map(WrittenConviction::of);
        self.convictions.extend(convicts.or(found));
    }

    /// Writes it down, with the terms that are still spoken of.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        let kept = self.ledger.keys().into_iter();
        let kept = kept.filter_map(|key| self.ledger.of(&key));
        let mut written = Written {
            terms: self.terms.clone(),
            stored: kept
                .map(|evidence| WrittenEvidence::of(&evidence))
                .collect(),
            convictions: self.convictions.clone(),
            shown: self.shown.clone(),
        };
        let used: Vec<&String> = written
            .stored
            .iter()
            .chain(self.convictions.iter().map(|conviction| &conviction.stored))
            .chain(
                self.convictions
                    .iter()
                    .map(|conviction| &conviction.missing),
            )
            .map(|evidence| &evidence.terms)
            .collect();
        let used: std::collections::BTreeSet<&String> = used.into_iter().collect();
        written.terms.retain(|hash, _| used.contains(hash));
        let text = serde_json::to_vec(&written)
            .map_err(|error| CliError::Failed(format!("cannot write receipts: {error}")))?;
        durable::make_folder(durable::folder_of(&self.path))
            .and_then(|()| durable::replace(&self.path, &text))
            .map_err(CliError::file("write", &self.path))
    }

    fn receipt_key(&self, receipt: &Receipt, server: &ServerKey) -> Option<ReceiptKey> {
        let signed = self.terms.get(&hex::encode(receipt.record.0))?;
        let signed = SignedRecord::decode(&hex::decode(signed).ok()?).ok()?;
        let record = signed.verified(server)?;
        let same = record.hash() == receipt.record && record.epoch == receipt.epoch;
        same.then_some(record.receipt_key)
    }
}

impl WrittenEvidence {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        let Evidence { finding, receipt } = evidence;
        WrittenEvidence {
            op: finding.op as u8,
            key: hex::encode(finding.key.as_bytes()),
            outcome: finding.outcome,
            blob: finding.blob.map(|blob| hex::encode(blob.0)),
            nonce: hex::encode(finding.nonce.0),
            epoch: receipt.epoch,
            terms: hex::encode(receipt.record.0),
            signature: hex::encode(receipt.signature),
        }
    }

    pub(crate) fn read(&self) -> Option<Evidence> {
        let ops = [Op::Insert, Op::Delete, Op::Lookup];
        let finding = Finding {
            op: ops.into_iter().find(|op| *op as u8 == self.op)?,
            key: Key::from_slice(&hex::decode(&self.key).ok()?).ok()?,
            outcome: self.outcome,
            blob: match &self.blob {
                Some(blob) => Some(BlobHash(digits(blob)?)),
                None => None,
            },
            nonce: Nonce(digits(&self.nonce)?),
        };
        let receipt = Receipt {
            epoch: self.epoch,
            record: RecordHash(digits(&self.terms)?),
            signature: digits(&self.signature)?,
        };
        Some(Evidence { finding, receipt })
    }
}

impl WrittenConviction {
    fn of(conviction: &Conviction) -> Self {
        WrittenConviction {
            stored: WrittenEvidence::of(&conviction.stored),
            salt: hex::encode(conviction.salt),
            missing: WrittenEvidence::of(&conviction.missing),
        }
    }

    fn read(&self) -> Option<Conviction> {
        Some(Conviction {
            stored: self.stored.read()?,
            salt: digits(&self.salt)?,
            missing: self.missing.read()?,
        })
    }
}

pub(crate) fn digits<const N: usize>(text: &str) -> Option<[u8; N]> {
    hex::decode(text).ok()?.try_into().ok()
}

//! Blobs in places of this wallet that its root key never wrote, with what the storage node signed for them.
//!
//! One file each, written before the answer counts, so that a command that ends in an error leaves it too. What is
//! in it can be checked with the storage node's address (it signed for these bytes) and with the root key (they are not
//! the wallet's); a stranger, who has no root key, learns only the former.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use larder_protocol::{Blob, ServerKey, SignedRecord};
use larder_recovery::{Forgery, Lane, Purpose, RootKey, Schedule, Slot};
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::CliError;
use crate::evidence::{WrittenEvidence, digits};

/// So many of one storage node are enough, at 33 KB each.
const KEPT_MAX: usize = 16;

/// What one storage node forged.
#[derive(Clone)]
pub(crate) struct Forgeries {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    purpose: String,
    lane: String,
    generation: u64,
    index: u64,
    evidence: WrittenEvidence,
    terms: String,
    blob: String,
}

impl Forgeries {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Forgeries { folder }
    }

    /// Keeps one, unless there are enough. What cannot be written now is found again by the next command that asks:
    /// the answer counts for nothing either way.
    pub(crate) fn keep(&self, forgery: &Forgery) {
        let name = hex::encode(forgery.evidence.finding.key.as_bytes());
        let path = self.folder.join(format!("{name}.json"));
        let is_enough = self.files().is_ok_and(|files| files.len() >= KEPT_MAX);
        if is_enough || path.exists() {
            return;
        }
        if let Ok(text) = serde_json::to_vec(&Written::of(forgery)) {
            let folder = durable::make_folder(&self.folder);
            let _ = folder.and_then(|()| durable::replace(&path, &text));
        }
    }

    /// How many there are that this storage node signed and this root key never wrote.
    pub(crate) fn proven(&self, root: &RootKey, server: &ServerKey) -> Result<usize, CliError> {
        let schedule = Schedule::new(root.clone(), *server);
        let mut proven = 0;
        for path in self.files()? {
            let text = fs::read(&path).map_err(CliError::file("read", &path))?;
            let written: Option<Written> = serde_json::from_slice(&text).ok();
            let forgery = written.as_ref().and_then(Written::read);
            proven +=
                usize::from(forgery.is_some_and(|forgery| {
                    forgery.is_signed(server) && forgery.is_forged(&schedule)
                }));
        }
        Ok(proven)
    }

    fn files(&self) -> Result<Vec<PathBuf>, CliError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CliError::file("read", &self.folder)(error)),
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let is_json = |path: &PathBuf| path.extension() == Some("json".as_ref());
        Ok(paths.filter(is_json).take(KEPT_MAX).collect())
    }
}

impl Written {
    fn of(forgery: &Forgery) -> Self {
        Written {
            purpose: forgery.slot.purpose.name().to_owned(),
            lane: hex::encode(forgery.slot.lane.0),
            generation: forgery.slot.generation,
            index: forgery.slot.index,
            evidence: WrittenEvidence::of(&forgery.evidence),
            terms: hex::encode(forgery.terms.encode()),
            blob: hex::encode(forgery.blob.as_bytes()),
        }
    }

    fn read(&self) -> Option<Forgery> {
        let mut purposes = Purpose::ALL.into_iter();
        Some(Forgery {
            slot: Slot {
                purpose: purposes.find(|purpose| purpose.name() == self.purpose)?,
                lane: Lane(digits(&self.lane)?),
                generation: self.generation,
                index: self.index,
            },
            evidence: self.evidence.read()?,
            terms: SignedRecord::decode(&hex::decode(&self.terms).ok()?).ok()?,
            blob: Blob::try_from(hex::decode(&self.blob).ok()?).ok()?,
        })
    }
}

/// Where they are, beside the receipts of the same storage node.
pub(crate) fn beside(receipts: &Path) -> PathBuf {
    receipts.with_extension("forged")
}

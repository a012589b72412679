//! The terms that a storage node has shown this device, and the proof if it has shown two that contradict each other.
//!
//! The newest are compared with those that it shows in the next command, which asks as somebody else: a storage node
//! that gives each client terms of its own is found out by that. It is used no more then, until the user says so
//! by name (`larder receipts pardon`). It stays in the file with the receipts, in hexadecimal digits, for anyone to check.

use larder_protocol::{ServerKey, SignedRecord};
use larder_recovery::contradiction::Contradiction;
use larder_recovery::{Provider, Purse};
use serde::{Deserialize, Serialize};

use crate::error::CliError;

/// Signed records in hexadecimal digits.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    newest: Option<String>,
    /// What was known first, and what contradicts it.
    contradictions: Vec<[String; 2]>,
    /// How many of these the user goes on in spite of.
    pardoned: usize,
    /// Whether it is used whatever other devices were shown.
    #[serde(default)]
    trusted: bool,
}

impl Shown {
    /// Notes what a session was shown.
    pub(crate) fn note(&mut self, provider: &Provider) {
        self.newest = Some(hex::encode(provider.signed_terms().encode()));
        if let Some(proof) = provider.purse().and_then(Purse::contradiction) {
            self.object(&proof);
        }
    }

    /// What the next session is to be shown as well, or what follows on from it.
    pub(crate) fn newest(&self) -> Option<SignedRecord> {
        read(self.newest.as_ref()?)
    }

    /// Notes the proof.
    pub(crate) fn object(&mut self, proof: &Contradiction) {
        let written = [&proof.one, &proof.other].map(|record| hex::encode(record.encode()));
        if !self.contradictions.contains(&written) {
            self.contradictions.push(written);
        }
    }

    /// How often what it signed contradicts what it had signed, for anyone to check.
    pub(crate) fn contradictions(&self, server: &ServerKey) -> usize {
        let all = self.contradictions.iter();
        all.filter(|written| proof(written).is_some_and(|it| it.convicts(server).is_some()))
            .count()
    }

    /// Why the storage node is not used.
    pub(crate) fn objection(&self, server: &ServerKey) -> Option<CliError> {
        let open = self.contradictions.get(self.pardoned..)?;
        open.iter().find_map(|written| {
            let proof = proof(written)?;
            let what = proof.convicts(server)?;
            let proof = Box::new(proof);
            Some(CliError::Contradicted { what, proof })
        })
    }

    /// Whether the user goes on with it in spite of what it has signed.
    pub(crate) fn is_pardoned(&self) -> bool {
        self.trusted
    }

    /// Goes on with it, by what it shows from now on.
    pub(crate) fn pardon(&mut self) {
        self.pardoned = self.contradictions.len();
        self.trusted = true;
        self.newest = None;
    }
}

fn proof([one, other]: &[String; 2]) -> Option<Contradiction> {
    Some(Contradiction {
        one: read(one)?,
        other: read(other)?,
    })
}

fn read(digits: &str) -> Option<SignedRecord> {
    SignedRecord::decode(&hex::decode(digits).ok()?).ok()
}

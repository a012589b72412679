//! One storage node, as a client sees it: insert, delete, lookup, every answer proven.
//!
//! An answer counts only with a receipt that is valid for exactly this request: an "absent" that
//! is not signed is no absent. Doing an operation twice is safe: an insert of the same blob and a
//! second delete succeed.

use std::sync::{Arc, Mutex, PoisonError, RwLock};

use larder_protocol::delete::Delete;
use larder_protocol::insert::Insert;
use larder_protocol::lookup::Lookup;
use larder_protocol::{
    Address, Blob, BlobHash, Call, Done, Key, Nonce, Pass, Receipt, Record, Refusal, Reply,
    Request, ServerKey, SignedRecord,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use secp256k1::Keypair;

use crate::breakglass::Kept;
use crate::evidence::{Evidence, Keep};
use crate::exchange::{Shown, exchange, nonce, terms_in};
use crate::forgery::Accuse;
use crate::purse::journal::JournalError;
use crate::purse::{Purse, is_stale};
use crate::terms::Terms;
use crate::{RecoveryError, Transport};

/// A storage node whose terms are known and verified.
pub struct Provider {
    server_key: ServerKey,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) terms: RwLock<Terms>,
    rng: Mutex<StdRng>,
    compact: bool,
    pub(crate) on_evidence: Option<Keep>,
    pub(crate) on_forgery: Option<Accuse>,
    pub(crate) purse: Option<Purse>,
    /// Answers that a restore keeps.
    pub(crate) kept: Mutex<Option<Kept>>,
}

/// What an operation came to, and the proof of it.
pub(crate) type Outcome = (Result<Done, Refusal>, Option<Evidence>);

/// What an insert came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The blob is stored.
    New,
    /// This very blob was stored already: the reply of an earlier try was lost.
    Already,
    /// Another blob is stored there.
    Occupied(BlobHash),
    /// A blob was stored there and deleted; nothing can be stored there again.
    Tombstoned,
}

/// What a delete came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// The blob is gone.
    Now,
    /// It was gone already.
    Before,
    /// There never was one.
    NeverThere,
}

/// What a lookup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// The blob.
    Found(Blob),
    /// Nothing, signed by the storage node.
    Absent,
    /// It was deleted, signed by the storage node.
    Deleted,
}

impl Provider {
    /// Fetches the storage node's terms and checks that they are signed by the key in its
    /// address. Randomness comes from the operating system.
    ///
    /// # Errors
    /// [`RecoveryError::Unreachable`], or [`RecoveryError::Misbehaved`] when somebody else answers.
    pub async fn connect(
        address: Address,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, RecoveryError> {
        Provider::connect_with(address, transport, StdRng::from_os_rng()).await
    }

    /// [`Provider::connect`] with the caller's randomness: nonces come from it, so it must never
    /// repeat.
    ///
    /// # Errors
    /// As [`Provider::connect`].
    pub async fn connect_with(
        address: Address,
        transport: Arc<dyn Transport>,
        mut rng: StdRng,
    ) -> Result<Self, RecoveryError> {
        let server_key = *address.server_key();
        let request = Request::unpaid(nonce(&mut rng), Call::Info);
        // Before it nobody knows whether an epoch is over. A pass of an old one would tell since when the
        // wallet was away, so this shows none.
        let reply = exchange(&request, transport.as_ref(), false, Shown::With(None)).await?;
        let (signed, record) = terms_in(reply, &server_key)?;
        if record.node_id != address.node_id() {
            return Err(RecoveryError::Misbehaved("its terms name another node id"));
        }
        Ok(Provider {
            server_key,
            transport,
            terms: RwLock::new(Terms::new(signed, record)),
            rng: Mutex::new(rng),
            compact: false,
            on_evidence: None,
            on_forgery: None,
            purse: None,
            kept: Mutex::new(None),
        })
    }

    /// Pays with what is in this purse, which has to be one for this storage node.
    ///
    /// # Errors
    /// [`RecoveryError::Journal`], with [`JournalError::Foreign`] for the purse of another storage
    /// node, which stays as it is; [`RecoveryError::Contradicted`] when its terms contradict
    /// those that the purse remembers, or did before, and [`RecoveryError::Misbehaved`] when they are of an earlier
    /// epoch.
    pub fn with_purse(self, purse: Purse) -> Result<Self, RecoveryError> {
        if !purse.is_for(&self.server_key) {
            return Err(JournalError::Foreign.into());
        }
        purse.is_paying()?;
        if let Some(known) = purse.terms() {
            let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
            terms.follow(known, &purse)?;
        }
        Ok(Provider {
            purse: Some(purse),
            ..self
        })
    }

    /// The purse that pays.
    #[must_use]
    pub fn purse(&self) -> Option<&Purse> {
        self.purse.as_ref()
    }

    /// Has `keep` called with the evidence of every answer, before it counts. A wallet that keeps
    /// what was acknowledged can convict a storage node that lost it.
    #[must_use]
    pub fn on_evidence(self, keep: impl Fn(&Evidence) + Send + Sync + 'static) -> Self {
        Provider {
            on_evidence: Some(Box::new(keep)),
            ..self
        }
    }

    /// Sends small operations in small onion messages, which cost less bandwidth and let every
    /// relay tell them from the others. By default all are of one size.
    #[must_use]
    pub fn compact(self) -> Self {
        Provider {
            compact: true,
            ..self
        }
    }

    /// The key that goes into every derivation for this provider.
    #[must_use]
    pub fn server_key(&self) -> &ServerKey {
        &self.server_key
    }

    /// Its terms, as of the last answer.
    #[must_use]
    pub fn record(&self) -> Record {
        self.terms
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .now
            .clone()
    }

    /// The same as it signed them: with them anyone can check its receipts.
    #[must_use]
    pub fn signed_terms(&self) -> SignedRecord {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        terms.signed.clone()
    }

    /// The terms that a receipt names, which may be those of the epoch before.
    pub(crate) fn terms_of(&self, receipt: &Receipt) -> SignedRecord {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        let named = terms.signed_with_hash(receipt.record);
        named.unwrap_or(&terms.signed).clone()
    }

    /// Stores a blob, durably, unless there is or was one under this key.
    ///
    /// # Errors
    /// [`RecoveryError`]; after `Unreachable` or `Refused(Busy)` the blob may be stored or not, now or
    /// later: insert it again.
    pub async fn insert(&self, key: Key, blob: Blob) -> Result<Written, RecoveryError> {
        let hash = blob.hash();
        let call = Call::Insert(Insert { key, blob });
        match self.perform(call, Some(hash)).await?.0 {
            Ok(Done::Inserted) => Ok(Written::New),
            Err(Refusal::AlreadyExists { blob_hash }) if blob_hash == hash => Ok(Written::Already),
            Err(Refusal::AlreadyExists { blob_hash }) => Ok(Written::Occupied(blob_hash)),
            Err(Refusal::Deleted) => Ok(Written::Tombstoned),
            other => Err(unexpected(other)),
        }
    }

    /// Reads the blob under a key.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn lookup(&self, key: Key) -> Result<Looked, RecoveryError> {
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        Ok(self.find(key).await?.0)
    }

    /// Asks for the blob under a key, with the proof of the answer.
    pub(crate) async fn find(&self, key: Key) -> Result<(Looked, Option<Evidence>), RecoveryError> {
        let (outcome, evidence) = self.perform(Call::Lookup(Lookup { key }), None).await?;
        Ok((looked(outcome)?, evidence))
    }

    /// Deletes the blob with this hash under the keypair's point.
    ///
    /// # Errors
    /// [`RecoveryError`]; `Refused(BadSignature)` with the hash of the blob that is stored there.
    pub async fn delete(
        &self,
        keypair: &Keypair,
        blob: BlobHash,
    ) -> Result<Removed, RecoveryError> {
        let call = Call::Delete(Delete::sign(keypair, &self.server_key, blob));
        match self.perform(call, Some(blob)).await?.0 {
            Ok(Done::Removed) => Ok(Removed::Now),
            Err(Refusal::Deleted) => Ok(Removed::Before),
            Err(Refusal::Absent) => Ok(Removed::NeverThere),
            Err(Refusal::BadSignature { blob_hash }) if blob_hash == blob => Err(
                RecoveryError::Misbehaved("it refuses a delete that is signed as it should be"),
            ),
            other => Err(unexpected(other)),
        }
    }

    /// Performs a call and checks its receipt; the evidence is there for every outcome that says
    /// something about a key. `stored` is the hash that an `Inserted` or `Removed` has to be about.
    /// The purse pays if the storage node's terms ask for tokens.
    ///
    /// # Errors
    /// [`RecoveryError::Unreachable`], or [`RecoveryError::Misbehaved`] when the answer is none;
    /// [`RecoveryError::NoPurse`], [`RecoveryError::OutOfTokens`], [`RecoveryError::Journal`].
    pub async fn perform(
        &self,
        call: Call,
        stored: Option<BlobHash>,
    ) -> Result<Outcome, RecoveryError> {
        self.perform_with(call, stored, None).await
    }

    /// Reads the blob under a key, with a nonce that proves when it was asked for. It must never have
    /// been used before.
    ///
    /// # Errors
    /// As [`Provider::lookup`].
    pub async fn challenge(
        &self,
        key: Key,
        nonce: Nonce,
    ) -> Result<(Looked, Evidence), RecoveryError> {
        let call = Call::Lookup(Lookup { key });
        let (outcome, evidence) = self.perform_with(call, None, Some(nonce)).await?;
        let looked = looked(outcome)?;
        match evidence {
            Some(evidence) => Ok((looked, evidence)),
            None => Err(RecoveryError::Misbehaved("it answers without a receipt")),
        }
    }

    pub(crate) async fn perform_with(
        &self,
        call: Call,
        stored: Option<BlobHash>,
        nonce: Option<Nonce>,
    ) -> Result<Outcome, RecoveryError> {
        let paid = call.op().paid_as().is_some();
        if paid && self.asks_for_tokens() {
            let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
            return self.pay(purse, &call, stored, nonce).await;
        }
        let request = Request::unpaid(nonce.unwrap_or_else(|| self.nonce()), call);
        let reply = self.send(&request).await?;
        if is_stale(&reply.outcome) {
            // What was free may cost something in a new epoch.
            self.refresh().await?;
            if paid && self.asks_for_tokens() {
                let purse = self.purse.as_ref().ok_or(RecoveryError::NoPurse)?;
                return self.pay(purse, &request.call, stored, nonce).await;
            }
        }
        let evidence = self.evidence(&request, &reply, stored).await?;
        Ok((reply.outcome, evidence))
    }

    /// Whether the terms that hold have a price list.
    fn asks_for_tokens(&self) -> bool {
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        terms.now.tariff.is_some()
    }

    /// Sends a request that nothing is paid for and waits for its answer.
    pub(crate) async fn send(&self, request: &Request) -> Result<Reply, RecoveryError> {
        let shown = match request.call {
            Call::Info => Shown::Apart,
            _ => Shown::With(self.pass(&request.call)),
        };
        exchange(request, self.transport.as_ref(), self.compact, shown).await
    }

    /// What a call is shown with, paid or free: the relays in front of the storage node are not to tell these
    /// apart. An opening of a cell shows nothing: who opens one has lost every pass, or should seem to. Nor does a
    /// question for the terms: a storage node that has told somebody terms of his own must not know him when he asks
    /// again.
    pub(crate) fn pass(&self, call: &Call) -> Option<Pass> {
        let opens = matches!(call, Call::BreakglassOpen(_));
        let purse = self.purse.as_ref().filter(|_| !opens)?;
        let terms = self.terms.read().unwrap_or_else(PoisonError::into_inner);
        purse.pass(&terms.now)
    }

    /// A nonce that was never used.
    pub(crate) fn nonce(&self) -> Nonce {
        self.with_rng(nonce)
    }

    /// Draws from the provider's randomness; never across an await.
    fn with_rng<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the outcome of a look-up says.
fn looked(outcome: Result<Done, Refusal>) -> Result<Looked, RecoveryError> {
    match outcome {
        Ok(Done::Found(blob)) => Ok(Looked::Found(blob)),
        Err(Refusal::Absent) => Ok(Looked::Absent),
        Err(Refusal::Deleted) => Ok(Looked::Deleted),
        other => Err(unexpected(other)),
    }
}

/// A refusal that this operation can have, or an outcome that it cannot.
pub(crate) fn unexpected(outcome: Result<Done, Refusal>) -> RecoveryError {
    match outcome {
        Ok(_) => RecoveryError::Misbehaved("it answers another operation"),
        Err(refusal) => RecoveryError::Refused(refusal),
    }
}

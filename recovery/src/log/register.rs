//! Write-once registers at secret addresses: all that the log asks of a storage node.
//!
//! A register is empty, holds one [`Contents`] for good, or is deleted for good. Every operation is
//! atomic and may be repeated; when it fails, whether it took effect is not known.
//!
//! | | empty | holds the same | holds another | deleted |
//! | --- | --- | --- | --- | --- |
//! | insert | `New` | `Already` | `Occupied` | `Tombstoned` |
//! | lookup | `Absent` | `Found` | `Found` | `Deleted` |
//! | delete | `NeverThere` | `Now` | `Now` | `Before` |
//! | erase | `NeverThere` | `Now` | none | `Before` |
//!
//! That a deleted register stays deleted is what the log's fences stand on. A storage node remembers it for
//! as long as an insert that was paid before the delete could still arrive.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use larder_protocol::Refusal;

use crate::forgery::{FORGED, Read};
use crate::seal::{Contents, seal};
use crate::{Provider, RecoveryError, Removed, RootKey, Schedule, Slot, Written};

/// What is to come of an operation; [`Registers`] is used as a trait object.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, RecoveryError>> + Send + 'a>>;

/// The registers of one root key, with one provider or with several behind one face.
pub trait Registers: Send + Sync {
    /// Fills an empty register.
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put>;

    /// Reads a register.
    fn lookup(&self, slot: Slot) -> Answer<'_, Look>;

    /// Empties a register for good.
    fn delete(&self, slot: Slot) -> Answer<'_, Removed>;

    /// The same where these contents are known to be there: a storage node that is asked for no look-up first sees one
    /// request of the two. `None` when it holds others.
    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        let _ = contents;
        Box::pin(async move { self.delete(slot).await.map(Some) })
    }

    /// What a register holds as this device knows without asking; see [`Cached`](super::cache::Cached).
    fn kept(&self, slot: &Slot) -> Option<Contents> {
        let _ = slot;
        None
    }

    /// Reads a register at the storage node, whatever this device knows of it.
    fn ask(&self, slot: Slot) -> Answer<'_, Look> {
        self.lookup(slot)
    }

    /// Forgets all that this device knows: it does not fit what the storage node shows. Returns whether there is
    /// anything to forget it in.
    fn distrust(&self) -> bool {
        false
    }
}

/// What an insert came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It was empty and holds the contents now.
    New,
    /// It held these very contents: the reply of an earlier try was lost.
    Already,
    /// It holds others; look them up.
    Occupied,
    /// It was emptied for good.
    Tombstoned,
}

/// What a look-up came to.
#[derive(Clone, PartialEq, Eq)]
pub enum Look {
    /// What it holds.
    Found(Contents),
    /// It has always been empty.
    Absent,
    /// It was emptied for good.
    Deleted,
    /// It holds bytes that this root key never wrote there: the storage node's doing.
    Foreign,
}

/// The same registers without what this device knows of them: every look-up is one at the storage node.
pub(crate) struct Asking(pub(crate) Arc<dyn Registers>);

impl Registers for Asking {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        self.0.insert(slot, contents)
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.0.ask(slot)
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.0.delete(slot)
    }
}

/// Registers that are looked at and never changed: for who must leave no mark. What would change one ends with
/// [`RecoveryError::Following`], as when a roll-up lacks its anchor there.
pub struct ReadOnly(Arc<dyn Registers>);

impl ReadOnly {
    /// These.
    #[must_use]
    pub fn new(registers: Arc<dyn Registers>) -> Self {
        ReadOnly(registers)
    }
}

impl Registers for ReadOnly {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            match self.0.lookup(slot).await? {
                Look::Found(found) if found == *contents => Ok(Put::Already),
                Look::Found(_) => Ok(Put::Occupied),
                Look::Foreign => Err(FORGED),
                Look::Deleted => Ok(Put::Tombstoned),
                Look::Absent => Err(RecoveryError::Following),
            }
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.0.lookup(slot)
    }

    fn delete(&self, _: Slot) -> Answer<'_, Removed> {
        Box::pin(async { Err(RecoveryError::Following) })
    }
}

/// The registers that a root key has with one provider.
pub struct OneProvider {
    provider: Arc<Provider>,
    schedule: Schedule,
}

impl OneProvider {
    /// With this provider.
    #[must_use]
    pub fn new(root: &RootKey, provider: Arc<Provider>) -> Self {
        let schedule = Schedule::new(root.clone(), *provider.server_key());
        OneProvider { provider, schedule }
    }
}

impl Registers for OneProvider {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            // Sealing is deterministic: the same contents are the same blob.
            let blob = seal(&self.schedule, &slot, contents);
            let written = self.provider.insert(self.schedule.key(&slot), blob);
            Ok(match written.await? {
                Written::New => Put::New,
                Written::Already => Put::Already,
                Written::Occupied(_) => Put::Occupied,
                Written::Tombstoned => Put::Tombstoned,
            })
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            Ok(match self.provider.read(&self.schedule, &slot).await? {
                Read::Ours(contents, _) => Look::Found(contents),
                Read::Absent => Look::Absent,
                Read::Deleted => Look::Deleted,
                Read::Foreign => Look::Foreign,
            })
        })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            // The same contents are the same blob, and the signature covers its hash.
            let hash = seal(&self.schedule, &slot, contents).hash();
            let secret = self.schedule.secret(&slot);
            match self.provider.delete(secret.keypair(), hash).await {
                Err(RecoveryError::Refused(Refusal::BadSignature { .. })) => Ok(None),
                removed => removed.map(Some),
            }
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move {
            // The signature covers the hash of what is there.
            let hash = match self.provider.read(&self.schedule, &slot).await? {
                Read::Ours(_, hash) => hash,
                Read::Absent => return Ok(Removed::NeverThere),
                Read::Deleted => return Ok(Removed::Before),
                // Nothing is signed for what is not ours.
                Read::Foreign => return Err(FORGED),
            };
            let secret = self.schedule.secret(&slot);
            self.provider.delete(secret.keypair(), hash).await
        })
    }
}

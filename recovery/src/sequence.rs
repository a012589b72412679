//! The mission's plain layout: values by counter, one after the other.
//!
//! The head of value `n` is at the slot `(purpose, lane, generation 0, index n)`; how a value
//! becomes blobs is [`value`](crate::value)'s matter. A value is stored when its head is.
//! Appends go one after the other, so there are no holes: whoever holds the root walks the
//! counters from 0 and finds everything ([`walk`]). Deleted values leave
//! tombstones, which a walk steps over for as long as the storage node remembers them.
//!
//! Two devices with one root key cannot overwrite each other: the one that comes second gets a
//! [`RecoveryError::Conflict`] with what the first one wrote, and nothing of its own stays behind.
//!
//! Doing an append again after a failure or a crash repeats it byte for byte, with no journal: all
//! that it draws follows from the root, the counter and the value. A large value whose append is given
//! up for good leaves the chunks behind that got through.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use larder_protocol::{Blob, BlobHash};
use sha2::{Digest, Sha256};

use crate::forgery::{FORGED, Read};
use crate::seal::{BODY_MAX, Contents, Kind, seal};
use crate::value::{Cut, Head, VALUE_MAX, chunk_slot};
use crate::walk::{self, Found};
use crate::{
    Lane, Looked, Provider, Purpose, RecoveryError, Removed, RootKey, Schedule, Slot, Written,
};

/// Requests that one value keeps in flight; the transport paces below that as it has to.
const WINDOW: usize = 32;

/// How far a sequence goes. A wallet may keep it to go on without a walk; it is no secret, and
/// nothing is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The counter of the next value.
    pub next: u64,
    /// Hash of the head before it; zeros when it is not known.
    pub previous: BlobHash,
}

impl Position {
    /// The beginning.
    pub const START: Position = Position {
        next: 0,
        previous: BlobHash([0; 32]),
    };
}

/// A sequence of values with one provider.
pub struct Sequence {
    pub(crate) provider: Arc<Provider>,
    pub(crate) schedule: Schedule,
    pub(crate) position: Position,
    purpose: Purpose,
    lane: Lane,
}

impl Sequence {
    /// The main sequence, from its beginning: for a new wallet, or to [walk](crate::Walk).
    #[must_use]
    pub fn start(root: &RootKey, provider: Arc<Provider>) -> Self {
        Sequence::resume(
            root,
            provider,
            Purpose::Main,
            Lane::default(),
            Position::START,
        )
    }

    /// A sequence of any purpose and lane, from a position that the caller kept.
    #[must_use]
    pub fn resume(
        root: &RootKey,
        provider: Arc<Provider>,
        purpose: Purpose,
        lane: Lane,
        position: Position,
    ) -> Self {
        let schedule = Schedule::new(root.clone(), *provider.server_key());
        Sequence {
            provider,
            schedule,
            position,
            purpose,
            lane,
        }
    }

    /// How far it goes.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Stores a value and returns its counter once it is durable with the provider.
    ///
    /// Safe to do again after any error: if the first try got through after all, its counter is
    /// returned.
    ///
    /// # Errors
    /// [`RecoveryError::Conflict`] when another device wrote here first, and the others of
    /// [`RecoveryError`].
    pub async fn append(&mut self, value: &[u8]) -> Result<u64, RecoveryError> {
        if value.len() as u64 > VALUE_MAX {
            return Err(RecoveryError::TooLong {
                max: VALUE_MAX,
                got: value.len() as u64,
            });
        }
        let slot = self.slot(self.position.next);
        let (kind, body) = match value.len() {
            0..=BODY_MAX => (Kind::Whole, value.to_vec()),
            _ => {
                // A look before many blobs are sent in vain.
                match self.provider.lookup(self.schedule.key(&slot)).await? {
                    Looked::Absent => {}
                    Looked::Found(stored) => return self.resolve(value, stored.hash()).await,
                    Looked::Deleted => return Err(self.conflict(None)),
                }
                (Kind::Head, self.store_chunks(&slot, value).await?.encode())
            }
        };
        let head = self.seal(&slot, kind, self.position.previous, body);
        let hash = head.hash();
        match self.provider.insert(self.schedule.key(&slot), head).await? {
            Written::New | Written::Already => Ok(self.advance(hash)),
            Written::Tombstoned => {
                self.discard_chunks(&slot, value).await?;
                Err(self.conflict(None))
            }
            Written::Occupied(stored) => {
                let resolved = self.resolve(value, stored).await;
                if let Err(RecoveryError::Conflict { .. }) = resolved {
                    self.discard_chunks(&slot, value).await?;
                }
                resolved
            }
        }
    }

    /// Another blob is where this value was to go: ours under another `previous`, or another
    /// device's.
    async fn resolve(&mut self, value: &[u8], stored: BlobHash) -> Result<u64, RecoveryError> {
        let slot = self.slot(self.position.next);
        match self.provider.lookup(self.schedule.key(&slot)).await? {
            Looked::Found(blob) if blob.hash() == stored => {}
            Looked::Deleted => return Err(self.conflict(None)),
            Looked::Found(_) | Looked::Absent => {
                return Err(RecoveryError::Misbehaved(
                    "it lost or changed what it said it holds",
                ));
            }
        }
        match walk::read(&self.provider, &self.schedule, slot).await? {
            Found::Value(theirs) if theirs == value => Ok(self.advance(stored)),
            Found::Value(theirs) => Err(self.conflict(Some(theirs))),
            Found::Deleted | Found::HalfDeleted => Err(self.conflict(None)),
            Found::Foreign => Err(FORGED),
            Found::Absent | Found::Lost => Err(RecoveryError::Misbehaved(
                "it lost or changed what it said it holds",
            )),
        }
    }

    fn advance(&mut self, previous: BlobHash) -> u64 {
        let counter = self.position.next;
        self.position = Position {
            next: counter + 1,
            previous,
        };
        counter
    }

    fn conflict(&self, theirs: Option<Vec<u8>>) -> RecoveryError {
        RecoveryError::Conflict {
            counter: self.position.next,
            theirs,
        }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`RecoveryError`]; that there is no such value is a [`Found`], not an error.
    pub async fn read(&self, counter: u64) -> Result<Found, RecoveryError> {
        walk::read(&self.provider, &self.schedule, self.slot(counter)).await
    }

    /// Deletes one value: its chunks, then its head, so that a delete that was cut short can
    /// always be found and finished. Returns the number of blobs that it deleted.
    ///
    /// # Errors
    /// [`RecoveryError`]; doing it again is safe.
    pub async fn delete(&self, counter: u64) -> Result<u64, RecoveryError> {
        let slot = self.slot(counter);
        let read = self.provider.read(&self.schedule, &slot).await?;
        let head = match &read {
            Read::Ours(contents, _) if contents.kind == Kind::Head => {
                Head::decode(&contents.body).ok()
            }
            _ => None,
        };
        let mut deleted = 0;
        if let Some(head) = head {
            deleted += self.delete_chunks(head.entropy, head.cut.chunks()).await?;
        }
        Ok(deleted + self.delete_blob(&slot, read).await?)
    }

    async fn delete_chunks(&self, entropy: [u8; 32], count: u64) -> Result<u64, RecoveryError> {
        let mut deleted = 0;
        let mut chunks = stream::iter(0..count)
            .map(|index| async move {
                let slot = chunk_slot(entropy, index);
                // A look-up in front tells the hash that the signature has to cover.
                let read = self.provider.read(&self.schedule, &slot).await?;
                self.delete_blob(&slot, read).await
            })
            .buffer_unordered(WINDOW);
        while let Some(count) = chunks.try_next().await? {
            deleted += count;
        }
        Ok(deleted)
    }

    async fn delete_blob(&self, slot: &Slot, read: Read) -> Result<u64, RecoveryError> {
        let hash = match read {
            Read::Ours(_, hash) => hash,
            Read::Absent | Read::Deleted => return Ok(0),
            // Nothing is signed for what is not ours.
            Read::Foreign => return Err(FORGED),
        };
        let secret = self.schedule.secret(slot);
        match self.provider.delete(secret.keypair(), hash).await? {
            Removed::Now => Ok(1),
            Removed::Before => Ok(0),
            Removed::NeverThere => Err(RecoveryError::Misbehaved(
                "it says that a blob it gave was never there",
            )),
        }
    }

    /// Inserts all of a value that goes into chunks; the head may follow when this returns.
    async fn store_chunks(&self, slot: &Slot, value: &[u8]) -> Result<Head, RecoveryError> {
        let cut = Cut::of(value.len());
        let entropy = self.entropy(slot, value);
        let mut last_chunk = BlobHash([0; 32]);
        let inserts = (0..cut.chunks()).map(|index| {
            let slot = chunk_slot(entropy, index);
            let body = value[cut.chunk(index)].to_vec();
            let chunk = self.seal(&slot, Kind::Chunk, last_chunk, body);
            last_chunk = chunk.hash();
            self.provider.insert(self.schedule.key(&slot), chunk)
        });
        let mut inserts = stream::iter(inserts).buffer_unordered(WINDOW);
        while let Some(written) = inserts.try_next().await? {
            match written {
                Written::New | Written::Already => {}
                // Another device that came second to this very value took its chunks back.
                Written::Tombstoned => return Err(self.conflict(None)),
                Written::Occupied(_) => {
                    return Err(RecoveryError::Misbehaved(
                        "it holds a blob that nobody can make",
                    ));
                }
            }
        }
        drop(inserts);
        Ok(Head {
            entropy,
            cut,
            last_chunk,
            tail: value[cut.tail()].to_vec(),
        })
    }

    /// Takes the chunks of a value back that found its place taken.
    async fn discard_chunks(&self, slot: &Slot, value: &[u8]) -> Result<(), RecoveryError> {
        let chunks = Cut::of(value.len()).chunks();
        self.delete_chunks(self.entropy(slot, value), chunks)
            .await
            .map(drop)
    }

    fn entropy(&self, slot: &Slot, value: &[u8]) -> [u8; 32] {
        self.schedule.entropy(slot, &Sha256::digest(value).into())
    }

    fn seal(&self, slot: &Slot, kind: Kind, previous: BlobHash, body: Vec<u8>) -> Blob {
        seal(
            &self.schedule,
            slot,
            &Contents {
                kind,
                writer: [0; 16],
                previous,
                body,
            },
        )
    }

    /// Where the head of a value is.
    pub(crate) fn slot(&self, counter: u64) -> Slot {
        Slot {
            purpose: self.purpose,
            lane: self.lane,
            generation: 0,
            index: counter,
        }
    }
}

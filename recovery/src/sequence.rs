//! The mission's plain layout: values by counter, one after the other.
//!
//! The head of value `n` is at the slot `(purpose, lane, generation 0, index n)`; how a value
//! becomes blobs is [`value`](crate::value)'s matter. A value is stored when its head is.
//! Appends go one after the other, so there are no holes: whoever holds the root walks the
//! counters from 0 and finds everything ([`walk`](crate::walk)). Deleted values leave
//! tombstones, which a walk steps over for as long as the storage node remembers them.
//!
//! Two devices with one root key cannot overwrite each other: the one that comes second gets a
//! [`RecoveryError::Conflict`] with what the first one wrote, and has written nothing.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use larder_protocol::{Blob, BlobHash};
use rand::RngCore;
use rand::rngs::StdRng;

use crate::provider::split;
use crate::seal::{BODY_MAX, Contents, Kind, seal};
use crate::value::{Cut, Head, VALUE_MAX, chunk_slot};
use crate::walk::{Found, Reader};
use crate::{Lane, Looked, Provider, Purpose, RecoveryError, RootKey, Schedule, Slot, Written};

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
    writer: [u8; 16],
    rng: StdRng,
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
        let mut rng = provider.with_rng(split);
        let mut writer = [0; 16];
        rng.fill_bytes(&mut writer);
        Sequence {
            provider,
            schedule,
            position,
            purpose,
            lane,
            writer,
            rng,
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
        let (kind, body) = match value.len() {
            0..=BODY_MAX => (Kind::Whole, value.to_vec()),
            _ => (Kind::Head, self.store_chunks(value).await?.encode()),
        };
        let counter = self.position.next;
        let slot = self.slot(counter);
        let previous = self.position.previous;
        let head = self.seal(&slot, kind, previous, body);
        let mut hash = head.hash();
        match self.provider.insert(self.schedule.key(&slot), head).await? {
            Written::New | Written::Already => {}
            Written::Tombstoned => {
                return Err(RecoveryError::Conflict {
                    counter,
                    theirs: None,
                });
            }
            Written::Occupied(stored) => {
                let (theirs, _) = self.reader().read(counter).await?;
                match theirs {
                    // Ours, of a try whose outcome we never learnt.
                    Found::Value(theirs) if theirs == value => hash = stored,
                    Found::Value(theirs) => {
                        return Err(RecoveryError::Conflict {
                            counter,
                            theirs: Some(theirs),
                        });
                    }
                    _ => {
                        return Err(RecoveryError::Conflict {
                            counter,
                            theirs: None,
                        });
                    }
                }
            }
        }
        self.position = Position {
            next: counter + 1,
            previous: hash,
        };
        Ok(counter)
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`RecoveryError`]; that there is no such value is a [`Found`], not an error.
    pub async fn read(&self, counter: u64) -> Result<Found, RecoveryError> {
        Ok(self.reader().read(counter).await?.0)
    }

    /// Deletes one value: its chunks, then its head, so that a delete that was cut short can
    /// always be found and finished. Returns the number of blobs that it deleted.
    ///
    /// # Errors
    /// [`RecoveryError`]; doing it again is safe.
    pub async fn delete(&self, counter: u64) -> Result<u64, RecoveryError> {
        let slot = self.slot(counter);
        let Looked::Found(blob) = self.provider.lookup(self.schedule.key(&slot)).await? else {
            return Ok(0);
        };
        let contents = crate::seal::open(&self.schedule, &slot, &blob);
        let head = match contents {
            Ok(Contents {
                kind: Kind::Head,
                body,
                ..
            }) => Head::decode(&body).ok(),
            _ => None,
        };
        let mut deleted = 0;
        if let Some(head) = head {
            let mut chunks = stream::iter(0..head.cut.chunks())
                .map(|index| self.delete_chunk(chunk_slot(head.entropy, index)))
                .buffer_unordered(WINDOW);
            while let Some(count) = chunks.try_next().await? {
                deleted += count;
            }
        }
        self.provider
            .delete(&self.schedule.keypair(&slot), blob.hash())
            .await?;
        Ok(deleted + 1)
    }

    /// A lookup in front tells the hash that the signature has to cover.
    async fn delete_chunk(&self, slot: Slot) -> Result<u64, RecoveryError> {
        let keypair = self.schedule.keypair(&slot);
        match self.provider.lookup(keypair.public_key().into()).await? {
            Looked::Found(blob) => {
                self.provider.delete(&keypair, blob.hash()).await?;
                Ok(1)
            }
            Looked::Absent | Looked::Deleted => Ok(0),
        }
    }

    /// Inserts all of a value that goes into chunks; the head may follow when this returns.
    async fn store_chunks(&mut self, value: &[u8]) -> Result<Head, RecoveryError> {
        let cut = Cut::of(value.len());
        let mut entropy = [0; 32];
        self.rng.fill_bytes(&mut entropy);
        let provider = self.provider.clone();
        let mut last_chunk = BlobHash([0; 32]);
        let inserts = (0..cut.chunks()).map(|index| {
            let slot = chunk_slot(entropy, index);
            let body = value[cut.chunk(index)].to_vec();
            let chunk = self.seal(&slot, Kind::Chunk, last_chunk, body);
            last_chunk = chunk.hash();
            provider.insert(self.schedule.key(&slot), chunk)
        });
        let mut inserts = stream::iter(inserts).buffer_unordered(WINDOW);
        while let Some(written) = inserts.try_next().await? {
            if !matches!(written, Written::New | Written::Already) {
                return Err(RecoveryError::Misbehaved(
                    "it holds a blob under a key nobody knew",
                ));
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

    fn seal(&mut self, slot: &Slot, kind: Kind, previous: BlobHash, body: Vec<u8>) -> Blob {
        let contents = Contents {
            kind,
            writer: self.writer,
            previous,
            body,
        };
        seal(&self.schedule, slot, &contents, &mut self.rng)
    }

    fn slot(&self, counter: u64) -> Slot {
        Slot {
            purpose: self.purpose,
            lane: self.lane,
            generation: 0,
            index: counter,
        }
    }

    /// What reads values of this sequence, on its own.
    pub(crate) fn reader(&self) -> Reader {
        Reader::new(self.provider.clone(), self.schedule.clone(), self.slot(0))
    }
}

//! What this device knows of the registers: a cache, so that nothing is asked for twice.
//!
//! A storage node that is asked for the same keys by every command follows a wallet from command to command. But
//! registers are written once: what was read, or written and acknowledged, stays so. [`Cached`] keeps it, and asks for what
//! it does not have, which is what lies behind the end of the log.
//!
//! # What it promises
//!
//! * **It may be lost**, whole or in part, old, damaged, of another wallet, at any time: then it is as if it were not there.
//!   Nothing of it is believed that this root key has not sealed for this very register.
//! * **Only what is there is kept.** That a register is empty, or deleted, is asked for every time.
//! * **It stands above the [quorum](crate::quorum)**: what is kept was decided, and not one storage node's word.
//! * **It hides no rollback.** Before a device writes behind what it has only from here, the storage node has to show the
//!   last of it ([`Log::take_over`](super::Log::take_over)); each register names the one before, so the last vouches for all. One
//!   that shows less than is kept here gives an older state than it has acknowledged. Whoever only reads is shown what is
//!   kept, which is the newest that any storage node ever acknowledged to this device.
//!
//! What it does not promise: room for everything. When a [`Storage`] is full, chunks of values go first, and are looked up
//! again.
//!
//! An entry, as it is stored:
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | version, 1 |
//! | 12 | nonce |
//! | 49 + n | sealed (ChaCha20-Poly1305): kind 1, writer 16, previous 32, body |
//! | 16 | tag |
//!
//! ```text
//! cache key = HMAC-SHA256(root, "larder/cache/1")
//! name      = HMAC-SHA256(cache key, "name" ‖ slot), 16 bytes
//! key       = HMAC-SHA256(cache key, "entry" ‖ slot)
//! nonce     = HMAC-SHA256(key, "nonce" ‖ what is sealed), 12 bytes
//! ```
//!
//! A slot is its purpose, a zero, lane, generation and index. Another register has another key, so an entry that is moved
//! opens nowhere; and the nonce follows from what is sealed, so that no two contents share one.

mod folder;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag};
use larder_protocol::BlobHash;
use zeroize::Zeroizing;

use super::entry::take;
use super::register::{Answer, Look, Put, Registers};
use crate::schedule::hmac_sha256;
use crate::seal::{BODY_MAX, Contents, Kind};
use crate::{Purpose, Removed, RootKey, Slot};

pub use folder::FolderStorage;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const FIELDS_LEN: usize = 1 + 16 + 32;

/// The longest entry, in bytes.
pub const ENTRY_MAX: usize = 1 + NONCE_LEN + FIELDS_LEN + BODY_MAX + TAG_LEN;

/// Registers that are kept when the others are forgotten.
const RETAINED_MAX: usize = 1 << 20;

/// What an entry is stored under. It says nothing to anyone without the root key, but what it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// A piece of a large value, which is the first to go when room is short.
    pub is_chunk: bool,
    /// From the register's place.
    pub bytes: [u8; 16],
}

/// Where a cache keeps its entries. It need not be reliable: what cannot be read is not there, what cannot be written is
/// left out, and what comes back is checked.
pub trait Storage: Send + Sync {
    /// Reads an entry, if it is there and has at most [`ENTRY_MAX`] bytes.
    fn read(&self, name: &Name) -> Option<Vec<u8>>;

    /// Writes one, or leaves it out.
    fn write(&self, name: &Name, entry: &[u8]);

    /// Removes one.
    fn remove(&self, name: &Name);

    /// Removes all but these.
    fn retain(&self, keep: &dyn Fn(&Name) -> bool);
}

/// A storage in memory, without a bound.
#[derive(Default)]
pub struct MemoryStorage(Mutex<HashMap<Name, Vec<u8>>>);

impl MemoryStorage {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        MemoryStorage::default()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Name, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn read(&self, name: &Name) -> Option<Vec<u8>> {
        self.entries().get(name).cloned()
    }

    fn write(&self, name: &Name, entry: &[u8]) {
        self.entries().insert(*name, entry.to_vec());
    }

    fn remove(&self, name: &Name) {
        self.entries().remove(name);
    }

    fn retain(&self, keep: &dyn Fn(&Name) -> bool) {
        self.entries().retain(|name, _| keep(name));
    }
}

/// Registers, and what is known of them.
pub struct Cached {
    registers: Arc<dyn Registers>,
    storage: Arc<dyn Storage>,
    key: Zeroizing<[u8; 32]>,
}

impl Cached {
    /// Of this root key; the same storage for no other.
    #[must_use]
    pub fn new(root: &RootKey, registers: Arc<dyn Registers>, storage: Arc<dyn Storage>) -> Self {
        let key = Zeroizing::new(hmac_sha256(root.as_bytes(), &[b"larder/cache/1"]));
        Cached {
            registers,
            storage,
            key,
        }
    }

    /// Forgets everything but these registers, of very many the first million, as when a generation is over.
    pub fn retain(&self, slots: impl IntoIterator<Item = Slot>) {
        let slots = slots.into_iter().take(RETAINED_MAX);
        let names: HashSet<Name> = slots.map(|slot| self.name(&slot)).collect();
        self.storage.retain(&|name| names.contains(name));
    }

    fn keep(&self, slot: &Slot, contents: &Contents) {
        let name = self.name(slot);
        self.storage.write(&name, &self.seal(slot, contents));
    }

    fn name(&self, slot: &Slot) -> Name {
        let digest = hmac_sha256(&self.key, &[b"name", &place(slot)]);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Name {
            is_chunk: slot.purpose == Purpose::Chunk,
            bytes,
        }
    }

    fn entry_key(&self, slot: &Slot) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac_sha256(&self.key, &[b"entry", &place(slot)]))
    }

    fn seal(&self, slot: &Slot, contents: &Contents) -> Vec<u8> {
        let key = self.entry_key(slot);
        let mut inside = vec![contents.kind as u8];
        inside.extend_from_slice(&contents.writer);
        inside.extend_from_slice(&contents.previous.0);
        inside.extend_from_slice(&contents.body);
        let digest = hmac_sha256(&key, &[b"nonce", &inside]);
        let nonce = &digest[..NONCE_LEN];
        #[expect(clippy::expect_used, reason = "16 KiB are far below the AEAD's limit")]
        let tag = ChaCha20Poly1305::new((&*key).into())
            .encrypt_in_place_detached(Nonce::from_slice(nonce), &place(slot), &mut inside)
            .expect("short enough");
        [&[VERSION], nonce, &inside, tag.as_slice()].concat()
    }

    /// What this root key has sealed for this register, if that is it.
    fn open(&self, slot: &Slot, entry: &[u8]) -> Option<Contents> {
        let mut rest = entry;
        let [version] = take(&mut rest)?;
        let nonce: [u8; NONCE_LEN] = take(&mut rest)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LEN)?)?;
        if version != VERSION || entry.len() > ENTRY_MAX {
            return None;
        }
        let key = self.entry_key(slot);
        let mut inside = Zeroizing::new(sealed.to_vec());
        ChaCha20Poly1305::new((&*key).into())
            .decrypt_in_place_detached(
                Nonce::from_slice(&nonce),
                &place(slot),
                &mut inside,
                Tag::from_slice(tag),
            )
            .ok()?;
        let mut inside = &inside[..];
        let kind = match take(&mut inside)? {
            [3] => Kind::Chunk,
            [4] => Kind::Entry,
            [5] => Kind::Seal,
            [6] => Kind::Anchor,
            _ => return None,
        };
        Some(Contents {
            kind,
            writer: take(&mut inside)?,
            previous: BlobHash(take(&mut inside)?),
            body: inside.to_vec(),
        })
    }
}

fn place(slot: &Slot) -> Vec<u8> {
    let mut place = slot.purpose.name().as_bytes().to_vec();
    place.push(0);
    place.extend_from_slice(&slot.lane.0);
    place.extend_from_slice(&slot.generation.to_be_bytes());
    place.extend_from_slice(&slot.index.to_be_bytes());
    place
}

impl Registers for Cached {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            // An anchor follows from the seal before it: whoever comes by puts it there, unless it is known to be there.
            let is_anchor = slot.purpose == Purpose::Anchor;
            if is_anchor && self.kept(&slot).as_ref() == Some(contents) {
                return Ok(Put::Already);
            }
            let put = self.registers.insert(slot, contents).await?;
            if let Put::New | Put::Already = put {
                self.keep(&slot, contents);
            }
            Ok(put)
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            match self.kept(&slot) {
                Some(contents) => Ok(Look::Found(contents)),
                None => self.ask(slot).await,
            }
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move {
            let known = match self.kept(&slot) {
                Some(contents) => self.registers.erase(slot, &contents).await?,
                None => None,
            };
            let removed = match known {
                Some(removed) => removed,
                None => self.registers.delete(slot).await?,
            };
            self.storage.remove(&self.name(&slot));
            Ok(removed)
        })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            let removed = self.registers.erase(slot, contents).await?;
            if removed.is_some() {
                self.storage.remove(&self.name(&slot));
            }
            Ok(removed)
        })
    }

    fn kept(&self, slot: &Slot) -> Option<Contents> {
        let entry = self.storage.read(&self.name(slot))?;
        self.open(slot, &entry)
    }

    fn ask(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            let look = self.registers.ask(slot).await?;
            if let Look::Found(contents) = &look {
                self.keep(&slot, contents);
            }
            Ok(look)
        })
    }

    fn distrust(&self) -> bool {
        self.storage.retain(&|_| false);
        true
    }
}

//! A journal in a folder: one file that only grows, and is rewritten when it has grown too far.
//!
//! | file | what it is |
//! | --- | --- |
//! | `purse` | the journal |
//! | `purse.new` | a rewrite that a crash cut short; removed at the next start |
//! | `purse.lock` | locked while a process has the journal open |
//!
//! The journal:
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | `larderP1` |
//! | frames | one an entry |
//!
//! A frame:
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | length of the entry, `n`, big-endian |
//! | 4 | first bytes of `SHA-256(chain ‖ length)` |
//! | 16 | first bytes of `SHA-256(chain ‖ length ‖ entry)`: the chain of the next frame |
//! | n | entry |
//!
//! The first chain is 16 zero bytes. Because each frame is checked against all before it, none can
//! be missing, doubled or out of order.
//!
//! **Torn ends.** Only the last frame may be incomplete: its append never returned, so nobody
//! acted on it, and it is cut off when the journal is opened. The length has a check of its own, so
//! that a flipped bit in it cannot pass for a torn end and take sound frames with it. What is wrong
//! anywhere else is [`JournalError::Damaged`]. A bit that flips in the last entry looks like a
//! torn end too: what a purse forgets that way, it finds out again from the storage node.
//!
//! The file is the owner's alone (mode 600): it holds money.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::journal::{Entry, Journal, JournalError};

const MAGIC: &[u8; 8] = b"larderP1";
const HEADER_LEN: usize = 4 + 4 + 16;

type Chain = [u8; 16];

/// A journal in a folder of its own.
pub struct FolderJournal {
    folder: PathBuf,
    file: File,
    /// Bytes that are durable, and the chain of the next frame.
    len: u64,
    chain: Chain,
    /// A failed append left bytes behind that could not be cut off.
    broken: bool,
    lock: File,
}

impl FolderJournal {
    /// Opens the journal in a folder, which is made if need be. One process at a time.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let folder = folder.into();
        make(&folder)?;
        let lock = owned(&folder.join("purse.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        clear(&folder.join("purse.new"))?;
        if !folder.join("purse").exists() {
            write_new(&folder, &[])?;
            put_in_place(&folder)?;
        }
        let file = owned(&folder.join("purse"))?;
        Ok(FolderJournal {
            folder,
            file,
            len: 0,
            chain: Chain::default(),
            broken: true,
            lock,
        })
    }
}

impl Drop for FolderJournal {
    fn drop(&mut self) {
        // Closing the file would do, but for a child process that another thread is just starting:
        // until it runs its own program, it holds a copy of every open file.
        let _ = self.lock.unlock();
    }
}

impl Journal for FolderJournal {
    fn entries(&mut self) -> Result<Vec<Entry>, JournalError> {
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(self.folder.join("purse"))?.read_to_end(&mut bytes)?;
        let (entries, len, chain) = read(&bytes)?;
        if len < bytes.len() {
            self.file.set_len(len as u64)?;
            self.file.sync_all()?;
        }
        (self.len, self.chain, self.broken) = (len as u64, chain, false);
        Ok(entries)
    }

    fn append(&mut self, entry: &[u8]) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Io(
                "an earlier write failed: start again".to_owned(),
            ));
        }
        let (frame, chain) = frame(&self.chain, entry)?;
        // One write, so that a killed process leaves a prefix of the frame.
        let written = self
            .file
            .write_all(&frame)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let cut = self.file.set_len(self.len);
            self.broken = cut.and_then(|()| self.file.sync_all()).is_err();
            return Err(error.into());
        }
        self.len += frame.len() as u64;
        self.chain = chain;
        Ok(())
    }

    fn replace(&mut self, entries: &[Entry]) -> Result<(), JournalError> {
        // Where there is no room for the new journal, the old one goes on.
        let (len, chain) = write_new(&self.folder, entries)?;
        // From here on the handle must not go on with a file that may be gone.
        let sound = !std::mem::replace(&mut self.broken, true);
        put_in_place(&self.folder)?;
        self.file = owned(&self.folder.join("purse"))?;
        (self.len, self.chain, self.broken) = (len, chain, !sound);
        Ok(())
    }
}

/// Writes a new journal beside the old one.
fn write_new(folder: &Path, entries: &[Entry]) -> Result<(u64, Chain), JournalError> {
    let (mut bytes, mut chain) = (Zeroizing::new(MAGIC.to_vec()), Chain::default());
    for entry in entries {
        let (frame, next) = frame(&chain, entry)?;
        bytes.extend_from_slice(&frame);
        chain = next;
    }
    let new = folder.join("purse.new");
    clear(&new)?;
    let mut file = owned(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok((bytes.len() as u64, chain))
}

/// Puts the new journal in the place of the old one.
fn put_in_place(folder: &Path) -> Result<(), std::io::Error> {
    fs::rename(folder.join("purse.new"), folder.join("purse"))?;
    // The name has to be as durable as the contents.
    sync(folder)
}

/// Makes the names in a folder durable.
fn sync(folder: &Path) -> Result<(), std::io::Error> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

/// Makes a folder, and its name and those of its parents durable.
fn make(folder: &Path) -> Result<(), std::io::Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
        None => return fs::create_dir_all(folder),
    };
    make(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(parent)
}

/// Opens a file for appending that nobody but its owner may read.
fn owned(path: &Path) -> Result<File, std::io::Error> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.create(true).append(true).open(path)
}

/// Removes what a rewrite left that was cut short.
fn clear(new: &Path) -> Result<(), std::io::Error> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn frame(chain: &Chain, entry: &[u8]) -> Result<(Zeroizing<Vec<u8>>, Chain), JournalError> {
    let len = u32::try_from(entry.len())
        .map_err(|_| JournalError::Io("an entry of more than 4 GiB".to_owned()))?
        .to_be_bytes();
    let next = check(&[chain, &len, entry]);
    let mut frame = Zeroizing::new(Vec::with_capacity(HEADER_LEN + entry.len()));
    frame.extend_from_slice(&len);
    frame.extend_from_slice(&check::<4>(&[chain, &len]));
    frame.extend_from_slice(&next);
    frame.extend_from_slice(entry);
    Ok((frame, next))
}

fn check<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let mut check = [0; N];
    check.copy_from_slice(&hash.finalize()[..N]);
    check
}

/// The entries, how many bytes are sound, and the chain at their end.
fn read(bytes: &[u8]) -> Result<(Vec<Entry>, usize, Chain), JournalError> {
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or(JournalError::Damaged { at: 0 })?;
    let (mut entries, mut chain) = (Vec::new(), Chain::default());
    loop {
        let at = bytes.len() - rest.len();
        let torn = |entries| Ok((entries, at, chain));
        let damaged = Err(JournalError::Damaged { at: at as u64 });
        let Some((len, after)) = rest.split_first_chunk::<4>() else {
            return torn(entries);
        };
        let Some((len_check, after)) = after.split_first_chunk::<4>() else {
            return torn(entries);
        };
        if *len_check != check::<4>(&[&chain, len]) {
            // A file system may have made room for a write that a power cut undid.
            return match rest.iter().all(|&byte| byte == 0) {
                true => torn(entries),
                false => damaged,
            };
        }
        let n = u32::from_be_bytes(*len) as usize;
        let Some((next, after)) = after.split_first_chunk::<16>() else {
            return torn(entries);
        };
        let Some((entry, after)) = after.split_at_checked(n) else {
            return torn(entries);
        };
        if *next != check::<16>(&[&chain, len, entry]) {
            return match after.is_empty() {
                true => torn(entries),
                false => damaged,
            };
        }
        entries.push(Zeroizing::new(entry.to_vec()));
        (rest, chain) = (after, *next);
    }
}

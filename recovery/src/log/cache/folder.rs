//! A cache in a folder: one file an entry, named by 32 hexadecimal digits behind a `c` for a chunk and an `r` for any other
//! register.
//!
//! Nothing is synced: a file that a crash tears does not open, and is as good as none. When there is no room for a new
//! entry the oldest chunks go, then the oldest of the rest.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::{ENTRY_MAX, Name, Storage};

/// Files that are listed when the folder is opened; those beyond are removed.
const FILES_MAX: usize = 1 << 20;

/// A folder of its own for one root key's cache. One process at a time.
pub struct FolderStorage {
    folder: PathBuf,
    /// Bytes that the entries may take together.
    bytes_max: u64,
    /// What is there; `None` before it was looked at.
    listed: Mutex<Option<Listed>>,
}

#[derive(Default)]
struct Listed {
    /// Length, and a number that rises.
    files: HashMap<Name, (u64, u64)>,
    /// Chunks first, then by that number: in the order in which they go.
    order: BTreeSet<(bool, u64, Name)>,
    bytes: u64,
    next: u64,
}

impl FolderStorage {
    /// In this folder, which is made with the first entry. Its entries take up to `bytes_max` bytes; 0 keeps none.
    pub fn new(folder: impl Into<PathBuf>, bytes_max: u64) -> Self {
        FolderStorage {
            folder: folder.into(),
            bytes_max,
            listed: Mutex::new(None),
        }
    }

    fn path(&self, name: &Name) -> PathBuf {
        let letter = if name.is_chunk { 'c' } else { 'r' };
        let digits = hex::encode(name.bytes);
        self.folder.join(format!("{letter}{digits}"))
    }

    fn listed(&self) -> MutexGuard<'_, Option<Listed>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.is_none() {
            *listed = Some(list(&self.folder));
        }
        listed
    }

    /// Has a file go that is listed.
    fn drop_file(&self, listed: &mut Listed, name: &Name) {
        listed.forget(name);
        // One that stays is found again, and goes another time.
        let _ = fs::remove_file(self.path(name));
    }
}

/// What is in a folder, the oldest first. What is no entry is left alone.
fn list(folder: &Path) -> Listed {
    let mut found = Vec::new();
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = file.file_name();
        let Some(name) = name.to_str().and_then(read_name) else {
            continue;
        };
        let Ok(metadata) = file.metadata() else {
            continue;
        };
        if found.len() == FILES_MAX {
            let _ = fs::remove_file(file.path());
            continue;
        }
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        found.push((modified, name, metadata.len()));
    }
    found.sort_unstable();
    let mut listed = Listed::default();
    for (_, name, len) in found {
        listed.add(name, len);
    }
    listed
}

fn read_name(text: &str) -> Option<Name> {
    let (letter, digits) = text.split_at_checked(1)?;
    let is_chunk = match letter {
        "c" => true,
        "r" => false,
        _ => return None,
    };
    let mut bytes = [0; 16];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(Name { is_chunk, bytes })
}

impl Listed {
    fn add(&mut self, name: Name, len: u64) {
        self.forget(&name);
        self.next += 1;
        self.files.insert(name, (len, self.next));
        self.order.insert((!name.is_chunk, self.next, name));
        self.bytes += len;
    }

    fn forget(&mut self, name: &Name) {
        if let Some((len, number)) = self.files.remove(name) {
            self.order.remove(&(!name.is_chunk, number, *name));
            self.bytes -= len;
        }
    }
}

impl Storage for FolderStorage {
    fn read(&self, name: &Name) -> Option<Vec<u8>> {
        let file = fs::File::open(self.path(name)).ok()?;
        let mut entry = Vec::new();
        let most = ENTRY_MAX as u64 + 1;
        file.take(most).read_to_end(&mut entry).ok()?;
        (entry.len() <= ENTRY_MAX).then_some(entry)
    }

    fn write(&self, name: &Name, entry: &[u8]) {
        let len = entry.len() as u64;
        if len > self.bytes_max {
            return;
        }
        let mut guard = self.listed();
        let Some(listed) = guard.as_mut() else {
            return;
        };
        while listed.bytes + len > self.bytes_max
            && let Some((_, _, oldest)) = listed.order.first().copied()
        {
            self.drop_file(listed, &oldest);
        }
        let made = make(&self.folder).and_then(|()| fs::write(self.path(name), entry));
        match made {
            Ok(()) => listed.add(*name, len),
            // Half of it may be there.
            Err(_) => self.drop_file(listed, name),
        }
    }

    fn remove(&self, name: &Name) {
        if let Some(listed) = self.listed().as_mut() {
            self.drop_file(listed, name);
        }
    }

    fn retain(&self, keep: &dyn Fn(&Name) -> bool) {
        if let Some(listed) = self.listed().as_mut() {
            let names: Vec<Name> = listed.files.keys().copied().collect();
            for name in names.iter().filter(|name| !keep(name)) {
                self.drop_file(listed, name);
            }
        }
    }
}

/// For its owner only.
fn make(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(is_chunk: bool, byte: u8) -> Name {
        Name {
            is_chunk,
            bytes: [byte; 16],
        }
    }

    #[test]
    fn a_full_folder_lets_the_oldest_chunks_go_first_and_remembers_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("cache");
        let storage = FolderStorage::new(&at, 500);
        storage.write(&name(false, 0), &[0; 100]);
        for byte in 1..=4 {
            storage.write(&name(true, byte), &[byte; 100]);
        }
        // Written anew it is the youngest.
        storage.write(&name(true, 1), &[1; 100]);
        storage.write(&name(false, 9), &[9; 100]);
        let there = |storage: &FolderStorage, of: Name| storage.read(&of).is_some();
        assert!(!there(&storage, name(true, 2)) && there(&storage, name(true, 1)));
        assert!(there(&storage, name(false, 0)) && there(&storage, name(false, 9)));

        let storage = FolderStorage::new(&at, 500);
        for byte in 10..13 {
            storage.write(&name(true, byte), &[byte; 100]);
        }
        let chunks = (0..20).filter(|byte| there(&storage, name(true, *byte)));
        assert_eq!(chunks.count(), 3);
        assert!(there(&storage, name(false, 0)) && there(&storage, name(false, 9)));
        // No room for any.
        storage.write(&name(false, 20), &[0; 501]);
        assert!(!there(&storage, name(false, 20)));
        let none = FolderStorage::new(at.join("none"), 0);
        none.write(&name(false, 1), &[1]);
        assert!(!at.join("none").exists());
    }

    #[test]
    fn what_is_no_entry_is_left_alone_and_what_is_too_long_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = FolderStorage::new(folder.path(), u64::MAX);
        fs::write(folder.path().join("notes.txt"), "mine").expect("it is written");
        let long = name(false, 1);
        fs::write(storage.path(&long), vec![0; ENTRY_MAX + 1]).expect("it is written");
        assert_eq!(storage.read(&long), None);
        storage.retain(&|_| false);
        assert!(folder.path().join("notes.txt").exists() && !storage.path(&long).exists());
    }
}

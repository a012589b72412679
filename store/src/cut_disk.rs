//! The disk whose power is cut: a fake [`Medium`] that needs no privileges.
//!
//! sled opens and writes its file itself, but what makes a file durable passes through
//! `Medium::sync`, so the fake knows of both files what the platter holds: their content at
//! the last sync. A cut takes that, and of every 512-byte sector written since, the new
//! content or the old one, at random: a disk may reorder and tear whatever no flush has
//! fixed. What sled synced on its own (its snapshot, when it opened) counts as whole; of its
//! log it counts for nothing. A cut while a file is replaced leaves either content, one
//! while a folder is removed any part of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::medium::{Disk, Medium};

const SECTOR: usize = 512;

/// What the mark of a store says once the power has gone: that of a boot before.
pub(super) const ANOTHER_BOOT: &[u8] = b"0ac79bb8-1c9b-4d0f-a2c8-6c9f0d2f8b11\n";

/// A disk whose power fails at the step of a given number, and on which a sync of a file
/// may be a lie. Steps are syncs, replacements and removals.
pub(super) struct CutDisk {
    pub(super) folder: PathBuf,
    /// The file, by its name, whose syncs do nothing.
    lies_about: Option<&'static str>,
    state: Mutex<CutState>,
}

struct CutState {
    platter: HashMap<PathBuf, Vec<u8>>,
    steps_left: u32,
    random: StdRng,
    /// What a restart finds, once the power is gone.
    found: Option<TempDir>,
}

impl CutDisk {
    pub(super) fn new(
        folder: &Path,
        steps: u32,
        seed: u64,
        lies_about: Option<&'static str>,
    ) -> Arc<Self> {
        // What is there when the power comes on has reached the platter.
        let mut platter = HashMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let log = entry.unwrap().path().join("db");
            if let Ok(content) = fs::read(&log) {
                platter.insert(log, content);
            }
        }
        Arc::new(CutDisk {
            folder: folder.to_owned(),
            lies_about,
            state: Mutex::new(CutState {
                platter,
                steps_left: steps,
                random: StdRng::seed_from_u64(seed),
                found: None,
            }),
        })
    }

    /// The store's folder as the power cut left it.
    pub(super) fn restart(&self) -> TempDir {
        let mut state = self.state.lock().unwrap();
        state.found.take().expect("the power was cut")
    }

    /// Takes a step, unless there is no power any more. If it goes now, `half` is what is
    /// done of the step.
    fn step(
        &self,
        half: impl FnOnce(&mut StdRng) -> io::Result<()>,
    ) -> io::Result<MutexGuard<'_, CutState>> {
        let mut state = self.state.lock().unwrap();
        if state.found.is_some() {
            return Err(io::Error::other("there is no power"));
        }
        if state.steps_left == 0 {
            half(&mut state.random)?;
            self.cut(&mut state)?;
            return Err(io::Error::other("the power went"));
        }
        state.steps_left -= 1;
        Ok(state)
    }

    fn cut(&self, state: &mut CutState) -> io::Result<()> {
        let found = tempfile::tempdir()?;
        let CutState {
            platter, random, ..
        } = state;
        // How much of what was not synced reaches the platter: none, some, or all.
        let arrives = [0.0, 0.3, 0.7, 1.0][random.random_range(0..4)];
        copy_folder(&self.folder, found.path(), &mut |path, now| {
            if path.ends_with("in-use") {
                return ANOTHER_BOOT.to_vec();
            }
            let synced = match platter.get(path) {
                Some(synced) => synced,
                None if is_fresh_log(path) => &Vec::new(),
                None => return now,
            };
            let mut left = if random.random() {
                now.clone()
            } else {
                synced.clone()
            };
            let len = left.len();
            left.resize(len.max(now.len()), 0);
            for at in (0..left.len()).step_by(SECTOR) {
                let from = if random.random_bool(arrives) {
                    &now
                } else {
                    synced
                };
                let end = (at + SECTOR).min(left.len());
                let sector = &mut left[at..end];
                sector.fill(0);
                let there = from.get(at..end.min(from.len())).unwrap_or_default();
                sector[..there.len()].copy_from_slice(there);
            }
            left.truncate(len);
            left
        })?;
        state.found = Some(found);
        Ok(())
    }
}

impl Medium for CutDisk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, _file: &File, path: &Path) -> io::Result<()> {
        let mut state = self.step(|_| Ok(()))?;
        let name = path.file_name().and_then(|name| name.to_str());
        if self.lies_about.is_none_or(|lie| name != Some(lie)) || !state.platter.contains_key(path)
        {
            state.platter.insert(path.to_owned(), fs::read(path)?);
        }
        Ok(())
    }

    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        Disk.lengthen(file, from, to)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let state = self.step(|random| match random.random() {
            true => Disk.replace(path, content),
            false => Ok(()),
        })?;
        drop(state);
        Disk.replace(path, content)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let state = self.step(|random| {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_file() && random.random() {
                    fs::remove_file(path)?;
                }
            }
            Ok(())
        })?;
        drop(state);
        Disk.remove_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        Disk.free_bytes(folder)
    }
}

/// Whether this is the log of an index that is being written: what was not synced of it has
/// never been there.
fn is_fresh_log(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let fresh = folder.is_some_and(|name| name.to_string_lossy().starts_with("index-"));
    fresh && path.ends_with("db")
}

/// Copies a store, passing each file's content through `change`.
pub(super) fn copy_folder(
    from: &Path,
    to: &Path,
    change: &mut dyn FnMut(&Path, Vec<u8>) -> Vec<u8>,
) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copy)?;
            copy_folder(&path, &copy, change)?;
        } else {
            let content = change(&path, fs::read(&path)?);
            fs::write(copy, content)?;
        }
    }
    Ok(())
}

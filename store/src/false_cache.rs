//! A disk that refuses to make a file durable, under a system that then counts what it could not write as written:
//! as Linux does.
//!
//! The process sees its writes as long as the machine runs, also after a restart. A later sync writes what was written since and
//! nothing of what was refused. When the power goes, only the platter counts.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::io::Errno;
use tempfile::TempDir;

use crate::cut_disk::{ANOTHER_BOOT, copy_folder};
use crate::medium::{Disk, Medium};
use crate::power_cut::{batch, verdict};
use crate::suite::sample::{entering, options};
use crate::{Engine, SledEngine, StoreError};

const SECTOR: usize = 512;

struct FalseCache {
    /// Of the file of this name,
    name: &'static str,
    state: Mutex<State>,
}

struct State {
    /// the sync after so many is refused.
    left: Option<u32>,
    files: HashMap<PathBuf, Platter>,
}

/// What is on the platter of a file.
struct Platter {
    bytes: Vec<u8>,
    /// Sectors that were refused, by what the cache has of them and takes for written.
    refused: BTreeMap<usize, Vec<u8>>,
}

impl Platter {
    fn sectors(now: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
        now.chunks(SECTOR).enumerate()
    }

    fn refuse(&mut self, now: &[u8]) {
        for (number, sector) in Self::sectors(now) {
            let at = number * SECTOR;
            if self.bytes.get(at..at + sector.len()) != Some(sector) {
                self.refused.insert(number, sector.to_vec());
            }
        }
    }

    fn sync(&mut self, now: &[u8]) {
        self.bytes.resize(now.len(), 0);
        for (number, sector) in Self::sectors(now) {
            if self
                .refused
                .get(&number)
                .is_some_and(|refused| refused == sector)
            {
                continue;
            }
            self.refused.remove(&number);
            self.bytes[number * SECTOR..][..sector.len()].copy_from_slice(sector);
        }
    }
}

impl FalseCache {
    fn new(name: &'static str, left: u32) -> Arc<Self> {
        let state = State {
            left: Some(left),
            files: HashMap::new(),
        };
        let state = Mutex::new(state);
        Arc::new(FalseCache { name, state })
    }

    /// What is left of a store when the power goes.
    fn cut(&self, folder: &Path) -> TempDir {
        let found = tempfile::tempdir().unwrap();
        let state = self.state.lock().unwrap();
        let platter = &mut |path: &Path, now| match state.files.get(path) {
            _ if path.ends_with("in-use") => ANOTHER_BOOT.to_vec(),
            Some(platter) => platter.bytes.clone(),
            None => now,
        };
        copy_folder(folder, found.path(), platter).unwrap();
        found
    }
}

impl Medium for FalseCache {
    /// Written again, a sector is no longer taken for written.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let offset_sector = offset as usize / SECTOR;
        let end = (offset as usize + bytes.len()).div_ceil(SECTOR);
        if let Some(platter) = self.state.lock().unwrap().files.get_mut(&path) {
            platter
                .refused
                .retain(|sector, _| !(offset_sector..end).contains(sector));
        }
        Disk.write_at(file, bytes, offset)
    }

    fn sync(&self, _file: &File, path: &Path) -> io::Result<()> {
        let now = fs::read(path)?;
        let mut state = self.state.lock().unwrap();
        let mut refused = false;
        if path.ends_with(self.name) {
            refused = state.left == Some(0);
            state.left = state.left.and_then(|left| left.checked_sub(1));
        }
        // The slot file was made durable when it was created, before anybody asked here.
        let created = || match path.ends_with("blobs.slots") {
            true => now.clone(),
            false => Vec::new(),
        };
        let platter = state.files.entry(path.to_owned());
        let platter = platter.or_insert_with(|| Platter {
            bytes: created(),
            refused: BTreeMap::new(),
        });
        match refused {
            true => platter.refuse(&now),
            false => platter.sync(&now),
        }
        if refused {
            Err(Errno::IO.into())
        } else {
            Ok(())
        }
    }

    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        Disk.lengthen(file, from, to)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        Disk.replace(path, content)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        Disk.remove_folder(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        Disk.free_bytes(folder)
    }
}

/// Works until the disk has refused, or for some time when what it refused was no commit; counts the batches that were
/// acknowledged.
fn until_refused(folder: &Path, disk: &Arc<FalseCache>, epochs: bool) -> u64 {
    let medium: Arc<dyn Medium> = Arc::<FalseCache>::clone(disk);
    let Ok(engine) = SledEngine::open_on(folder, options(), medium) else {
        return 0;
    };
    let mut batches = 0;
    while batches < 20 {
        if epochs && batches == 3 && engine.epochs().unwrap().is_none() {
            // What fails in here leaves the epoch before in force, and work goes on.
            let _ = engine.enter(entering(0, 1));
        }
        match engine.commit(batch(batches)) {
            Ok(_) => batches += 1,
            Err(StoreError::Stopped) => return batches,
            Err(StoreError::Io { .. }) => return batches,
            Err(other) => panic!("blames something else: {other}"),
        }
    }
    batches
}

#[test]
fn what_is_shown_or_acknowledged_after_a_failed_sync_and_a_restart_outlives_a_power_cut() {
    let mut doubtful = 0;
    for (name, epochs, refused) in [
        ("db", false, 0..6),
        ("blobs.slots", false, 0..3),
        ("db", true, 4..9),
    ] {
        for syncs in refused {
            let folder = TempDir::new().unwrap();
            let disk = FalseCache::new(name, syncs);
            let acknowledged = until_refused(folder.path(), &disk, epochs);
            // The machine runs on, and the daemon is started again.
            let restart = || {
                let medium: Arc<dyn Medium> = Arc::<FalseCache>::clone(&disk);
                SledEngine::open_on(folder.path(), options(), medium).unwrap()
            };
            let shown = {
                let _engine = restart();
                let found = disk.cut(folder.path());
                verdict(found.path(), acknowledged)
                    .unwrap_or_else(|what| panic!("{name} {syncs}: at once: {what}"))
            };
            let engine = restart();
            assert!(shown >= acknowledged);
            doubtful += shown - acknowledged;
            for n in shown..shown + 4 {
                engine.commit(batch(n)).unwrap();
            }
            drop(engine);
            let found = disk.cut(folder.path());
            let there = verdict(found.path(), shown + 4)
                .unwrap_or_else(|what| panic!("{name} {syncs}: after more: {what}"));
            assert_eq!(there, shown + 4);
        }
    }
    assert!(
        doubtful > 0,
        "no batch was refused that the cache still had"
    );
}

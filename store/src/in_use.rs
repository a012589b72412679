//! `in-use`: whether the store was closed in order, and what has to be done when it was not.
//!
//! After a failed `fsync` Linux counts what it could not write as written: the pages stay in its cache, and look
//! like what is on the disk until they are dropped or the power goes. Whoever starts again then reads them and believes
//! that they are durable; worse, what is written behind them is, and after a power cut stands behind a hole. A
//! note of the failure cannot be relied on, for the disk may take none. So a mark is set before anything else, and taken away at
//! the end if nothing has failed:
//!
//! | what the opening finds | what happened | what is done |
//! | --- | --- | --- |
//! | no mark | the store was closed in order | nothing |
//! | the mark of another boot | a power cut or a restart | nothing: the cache is gone, what is read is what is on the disk |
//! | the mark of this boot | the process was killed, or could not write | every byte of the index is written once more and made durable; the cache of both files is dropped, so that the audit that follows reads the disk |
//!
//! Written once more, a page is no longer believed to be clean. It is the same bytes in the same place, so a crash in
//! the middle leaves what was there. It costs as much as an epoch's end does, and needs no room.
//!
//! Slots need none of it: a record is written only once its slot's `fdatasync` has succeeded, and what a slot holds is
//! compared with its hash whenever it is read.
//!
//! The mark is the kernel's boot id and a newline. It has to outlive the process and not the machine, so nobody
//! waits for it to become durable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, fadvise};

use crate::StoreError;
use crate::database::await_release;
use crate::folder::{self, Generation};
use crate::medium::{Medium, sync_folder};
use crate::slot_file::SlotFile;

const NAME: &str = "in-use";

/// Bytes that are written once more at a time.
const STEP: usize = 1 << 20;

/// The mark, from the opening to the end.
pub(crate) struct InUse {
    path: PathBuf,
    well: AtomicBool,
}

impl InUse {
    /// Sets the mark, after doing what the one before asks for. The store must be locked, and not open yet.
    pub(crate) fn begin(folder: &Path, medium: &dyn Medium) -> Result<Self, StoreError> {
        let path = folder.join(NAME);
        let boot = this_boot();
        if is_of_this_boot(&path, boot.as_deref()).map_err(StoreError::io("read the mark"))? {
            make_true(folder, medium)?;
        }
        let boot = boot.unwrap_or_default();
        fs::write(&path, format!("{boot}\n"))
            .map_err(StoreError::io("mark the store as in use"))?;
        Ok(InUse {
            path,
            well: AtomicBool::new(false),
        })
    }

    /// Nothing has failed: the mark may go with the store.
    pub(crate) fn ends_well(&self) {
        self.well.store(true, Ordering::Relaxed);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if self.well.load(Ordering::Relaxed) {
            // One that stays costs the next opening some time.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Which boot this is, where the system tells.
fn this_boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// Whether there is a mark, and the cache that it tells of may still be there. Where nobody knows it may.
fn is_of_this_boot(mark: &Path, boot: Option<&str>) -> io::Result<bool> {
    match fs::read(mark) {
        Ok(mark) => Ok(boot.is_none_or(|boot| {
            let mark = mark.trim_ascii();
            mark.is_empty() || mark == boot.as_bytes()
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes what the cache says of the index true of the disk.
fn make_true(folder: &Path, medium: &dyn Medium) -> Result<(), StoreError> {
    let failed = || StoreError::io("write the index once more after it was not closed in order");
    let generation = Generation::current(folder)?;
    let index = generation.folder(folder);
    if index.is_dir() {
        await_release(&index.join("db")).map_err(StoreError::io("lock the index"))?;
        for entry in fs::read_dir(&index).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.is_file() {
                write_again(&path, medium).map_err(failed())?;
            }
        }
        sync_folder(&index).map_err(failed())?;
    }
    if generation != Generation::FIRST {
        folder::switch(folder, generation, medium)?;
    }
    match File::open(SlotFile::path(folder)) {
        Ok(slots) => forget(&slots),
        // Without it there is a founding to be finished, or damage to be told of.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(StoreError::io("open the slot file")(error)),
    }
    Ok(())
}

fn write_again(path: &Path, medium: &dyn Medium) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = vec![0; STEP];
    let mut at = 0;
    loop {
        let read = match file.read_at(&mut bytes, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        medium.write_at(&file, &bytes[..read], at)?;
        at += read as u64;
    }
    medium.sync(&file, path)?;
    forget(&file);
    Ok(())
}

/// Has what is read of a file from now on come from the disk, if the system does as it is asked.
fn forget(file: &File) {
    let _ = fadvise(file, 0, None, Advice::DontNeed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::medium::Disk;
    use crate::power_cut::{batch, verdict};
    use crate::suite::sample::options;
    use crate::{Engine, SledEngine};

    /// Counts what is written.
    struct Counting(AtomicBool);

    impl Medium for Counting {
        fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.0.store(true, Ordering::Relaxed);
            Disk.write_at(file, bytes, offset)
        }

        fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
            Disk.sync(file, path)
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

    #[test]
    fn the_index_is_written_again_after_an_end_out_of_order_in_this_boot_and_otherwise_not() {
        let folder = TempDir::new().unwrap();
        let mark = folder.path().join(NAME);
        let engine = SledEngine::open(folder.path(), options()).unwrap();
        engine.commit(batch(0)).unwrap();
        let this = fs::read_to_string(&mark).unwrap();
        drop(engine);
        assert!(!mark.exists(), "closed in order");
        // Another boot, this one, one that nobody could tell.
        for (left, again) in [
            (None, false),
            (Some("b\n"), false),
            (Some(&*this), true),
            (Some("\n"), true),
        ] {
            if let Some(left) = left {
                fs::write(&mark, left).unwrap();
            }
            let medium = Arc::new(Counting(AtomicBool::new(false)));
            let engine = SledEngine::open_on(folder.path(), options(), medium.clone()).unwrap();
            assert_eq!(medium.0.load(Ordering::Relaxed), again, "{left:?}");
            assert_eq!(fs::read_to_string(&mark).unwrap(), this);
            drop(engine);
            assert!(!mark.exists());
        }
        verdict(folder.path(), 1).unwrap();
    }
}

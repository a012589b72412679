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
//! | no mark, or `closed` | the store was closed in order, or is new | nothing |
//! | the boot id of another boot | a power cut or a restart | nothing: the cache is gone, what is read is what is on the disk |
//! | anything else: the id of this boot, nothing legible | the process was killed, or could not write | every byte of the index is written once more and made durable; the cache of both files is dropped, so that the audit that follows reads the disk |
//!
//! Written once more, a page is no longer believed to be clean. It is the same bytes in the same place, so a crash in
//! the middle leaves what was there. It costs as much as an epoch's end does, and needs no room.
//!
//! Slots need none of it: a record is written only once its slot's `fdatasync` has succeeded, and what a slot holds is
//! compared with its hash whenever it is read.
//!
//! The mark is the kernel's boot id, or `closed`, in a line that is always as long. It is written in place, so that it
//! needs room only once, and is durable before anything else is done: a mark that is in the cache alone could read as
//! zeros as soon as the disk begins to refuse, just when it is needed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use crate::StoreError;
use crate::database::await_release;
use crate::folder::{self, Generation};
use crate::medium::{Medium, sync_folder};
use crate::room_to_open::or_no_room;
use crate::slot_file::SlotFile;

const NAME: &str = "in-use";

/// What the mark says of a store that was closed in order.
const CLOSED: &str = "closed";

/// The length of a boot id, and of what the mark says without its newline.
const ID_LEN: usize = 36;

/// Bytes that are written once more at a time.
const STEP: usize = 1 << 20;

/// The mark, from the opening to the end.
pub(crate) struct InUse {
    mark: File,
    ending: Option<Ending>,
}

/// What has to succeed at the end, once the index has been closed.
pub(crate) type Ending = Box<dyn FnOnce() -> Result<(), StoreError> + Send + Sync>;

impl InUse {
    /// Sets the mark, after doing what the one before asks for. The store must be locked, and not open yet.
    pub(crate) fn begin(folder: &Path, medium: &dyn Medium) -> Result<Self, StoreError> {
        let path = folder.join(NAME);
        let boot = this_boot();
        if is_of_this_boot(&path, boot.as_deref()).map_err(StoreError::io("read the mark"))? {
            make_true(folder, medium).map_err(|error| or_no_room(folder, error))?;
        }
        let mark = file_of_mark(&path, medium).and_then(|mark| {
            write_mark(&mark, &boot.unwrap_or_default())?;
            medium.sync(&mark, &path)?;
            Ok(mark)
        });
        let mark = mark.map_err(StoreError::io("mark the store as in use"));
        Ok(InUse {
            mark: mark.map_err(|error| or_no_room(folder, error))?,
            ending: None,
        })
    }

    /// Nothing has failed so far. If nor does this, when all that is dropped before has been, the store was closed in
    /// order.
    pub(crate) fn ends_well_if(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        // sled panics when its last sync fails.
        if std::thread::panicking() {
            return;
        }
        if let Some(ending) = self.ending.take()
            && ending().is_ok()
        {
            // One that stays costs the next opening some time.
            let _ = write_mark(&self.mark, CLOSED);
        }
    }
}

/// Opens the mark's file, or makes it with all the room that it ever needs.
fn file_of_mark(path: &Path, medium: &dyn Medium) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mark = options.create_new(true).open(path)?;
    let made = medium
        .lengthen(&mark, 0, ID_LEN as u64 + 1)
        .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new("."))));
    if let Err(error) = made {
        // An empty one would say that the store was not closed in order.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(mark)
}

fn write_mark(mark: &File, says: &str) -> io::Result<()> {
    mark.write_all_at(format!("{says:ID_LEN$}\n").as_bytes(), 0)
}

/// Which boot this is, where the system tells.
fn this_boot() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// Whether there is a mark, and the cache that it tells of may still be there. Where nobody knows it may.
fn is_of_this_boot(mark: &Path, boot: Option<&str>) -> io::Result<bool> {
    let mark = match fs::read(mark) {
        Ok(mark) => mark,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let says = mark
        .strip_suffix(b"\n")
        .unwrap_or_default()
        .trim_ascii_end();
    let is_another = |boot: &str| is_boot_id(says) && says != boot.as_bytes();
    Ok(says != CLOSED.as_bytes() && !boot.is_some_and(is_another))
}

/// Whether this is how the kernel writes the id of a boot.
fn is_boot_id(says: &[u8]) -> bool {
    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let groups: Vec<&[u8]> = says.split(|byte| *byte == b'-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.iter().all(digit))
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
    use std::sync::atomic::{AtomicBool, Ordering};

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
        let says = || fs::read_to_string(&mark).unwrap();
        let closed = format!("{CLOSED:ID_LEN$}\n");
        let engine = SledEngine::open(folder.path(), options()).unwrap();
        engine.commit(batch(0)).unwrap();
        let this = says();
        drop(engine);
        assert_eq!(says(), closed);
        let zeros = "\0".repeat(ID_LEN + 1);
        let upper = this.to_uppercase();
        for (left, again) in [
            (None, false),
            (Some("closed\n"), false),
            (Some(&*closed), false),
            // Another boot.
            (Some("0ac79bb8-1c9b-4d0f-a2c8-6c9f0d2f8b11\n"), false),
            (Some(&*this), true),
            // One that nobody could tell, one of which the disk has only a part or nothing, and what no kernel writes.
            (Some("\n"), true),
            (Some(""), true),
            (Some("close"), true),
            (Some("closed"), true),
            (Some(&this[..36]), true),
            (Some("0ac79bb8-1c9b-4d0f-a2c8-6c9f\n"), true),
            (Some("0ac79bb8-1c9b-4d0f-a2c8-6c9f0d2f8b1g\n"), true),
            (Some(&*zeros), true),
            (Some(&*upper), true),
        ] {
            match left {
                Some(left) => fs::write(&mark, left).unwrap(),
                None => fs::remove_file(&mark).unwrap(),
            }
            let medium = Arc::new(Counting(AtomicBool::new(false)));
            let engine = SledEngine::open_on(folder.path(), options(), medium.clone()).unwrap();
            assert_eq!(medium.0.load(Ordering::Relaxed), again, "{left:?}");
            assert_eq!(says().lines().next(), this.lines().next());
            drop(engine);
            assert_eq!(says().lines().next(), closed.lines().next());
        }
        verdict(folder.path(), 1).unwrap();
    }
}

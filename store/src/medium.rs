//! What the engine asks of the disk.
//!
//! sled opens its files itself, but it is here that files are made durable, replaced and
//! removed; so a test that stands in for this trait knows what a power cut would have left.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;

/// A disk and the file system on it.
pub(crate) trait Medium: Send + Sync {
    /// Writes all of `bytes`, not durably.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when the contents of the file at `path` would survive a power cut.
    fn sync(&self, file: &File, path: &Path) -> io::Result<()>;

    /// Lengthens a file from `from` to `to` bytes, the room for them included.
    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()>;

    /// Replaces a file's content at once: after a power cut it has either, and the new one
    /// once this has returned.
    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Removes a folder and all in it; a power cut may leave any part of it.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;

    /// Bytes free for us on the disk that holds `folder`.
    fn free_bytes(&self, folder: &Path) -> io::Result<u64>;
}

/// The real one.
pub(crate) struct Disk;

impl Medium for Disk {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        // fdatasync: it covers a changed length, and flushes the device's cache.
        file.sync_data()
    }

    fn lengthen(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::empty(), from, to - from) {
            // Not every file system can reserve room; there, a full disk shows later.
            Err(Errno::OPNOTSUPP) => file.set_len(to)?,
            other => other?,
        }
        file.sync_all()
    }

    fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Makes the creation, renaming or removal of a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

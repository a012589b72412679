//! What the engine asks of the disk.
//!
//! sled opens its files itself, but it is here that both files are made durable; so a test
//! that stands in for this trait knows what a power cut would have left of either.

use std::fs::File;
use std::io;
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

    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let stat = statvfs(folder)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Makes the creation, renaming or removal of a folder's entries durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

//! Files that are whole after a crash.
//!
//! Contents go to a file of a random name in the same folder, and get their own name when they
//! are on the disk. A crash may leave such a `.larder-…` behind, until it is [swept](sweep); it never leaves half a file,
//! and no other file is touched.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// What a file is called that is not finished.
const PREFIX: &str = ".larder-";

/// Makes a file, readable by its owner only; [`io::ErrorKind::AlreadyExists`] if there is one.
pub(crate) fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    written_beside(path, contents)?.persist_noclobber(path)?;
    sync_folder(folder_of(path))
}

/// Replaces a file: after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Behind a symbolic link it is the file that is replaced, not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    written_beside(path, contents)?.persist(path)?;
    sync_folder(folder_of(path))
}

/// Makes a folder for its owner only, unless it is there.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that a path's last component is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Removes what crashes have left behind in a folder in which nobody else writes at this moment.
pub(crate) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) {
            // Whoever comes next tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn written_beside(path: &Path, contents: &[u8]) -> io::Result<NamedTempFile> {
    // Short, so that it fits wherever the name itself does; readable by its owner only.
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .tempfile_in(folder_of(path))?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["a.new", "a.tmp", "a.txt"] {
            fs::write(path(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a.txt", path("link")).unwrap();
        replace(&path("a.db"), b"1").unwrap();
        replace(&path("a.db"), b"2").unwrap();
        replace(&path("link"), b"3").unwrap();
        assert_eq!(
            create(&path("a.new"), b"4").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a.db", "a.new", "a.tmp", "a.txt", "link"]);
        assert_eq!(fs::read(path("a.db")).unwrap(), b"2");
        assert_eq!(fs::read(path("a.new")).unwrap(), b"a.new");
        assert_eq!(fs::read(path("a.txt")).unwrap(), b"3");
        assert!(path("link").is_symlink());
    }

    #[test]
    fn the_longest_name_a_file_can_have_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        replace(&folder.path().join("n".repeat(255)), b"x").unwrap();
    }

    #[test]
    fn what_a_crash_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        written_beside(&path("a"), b"half of")
            .unwrap()
            .keep()
            .unwrap();
        fs::write(path("a"), "").unwrap();
        fs::create_dir(path(".larder-folder")).unwrap();
        std::os::unix::fs::symlink("a", path(".larder-link")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
        sweep(folder.path());
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".larder-folder", ".larder-link", "a"]);
        sweep(&path("nowhere"));
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("name")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/name")), Path::new("a"));
    }
}

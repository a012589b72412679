//! Values in the clear: files in a folder of the user's.
//!
//! **Promises.** A file is whole or not there, and readable by its owner only. Nothing outside the folder is touched: no
//! link in it is followed, and what is no file is left alone. A file that is there already is replaced only if that is
//! asked for. Two names that the folder takes for one, as folders do that do not tell `A` from `a`, are told apart: the
//! second is refused, never written over the first.
//!
//! **A process that is killed** leaves at most one file of a random name behind, `.larder-` and 16 digits. Where that may be
//! is noted in the wallet's folder (`in-the-clear.json`) before it is made, so that the next command removes it.
//!
//! **Fails** with [`Unplaced`]: one file that cannot be written keeps no other one back.

mod left;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, linkat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use self::left::{Left, NOTE, Notes, PREFIX};
use crate::durable;
use crate::error::CliError;
use crate::wallet::shown;

pub(crate) use left::sweep;

/// Why a file was not written. What is there is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unplaced {
    #[error(
        "a file with other content is there: move it away, say --replace, or name another folder"
    )]
    Other,
    #[error("a {0} of that name is there: move it away, or name another folder")]
    NoFile(&'static str),
    #[error(
        "this folder takes it for `{}`, which was written a moment ago: `larder get` it to another place",
        shown(.0)
    )]
    SameAs(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for Unplaced {
    fn from(error: Errno) -> Self {
        Unplaced::Io(error.into())
    }
}

/// What to do with a file that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Stays,
    IsReplaced,
}

/// A file, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    number: u64,
}

/// An open folder; whoever moves or replaces it meanwhile moves what is written with it.
pub(crate) struct Target {
    folder: OwnedFd,
    /// What was written, by what it is.
    placed: BTreeMap<Identity, String>,
    temporary: String,
    note: Option<PathBuf>,
}

impl Target {
    /// Opens a folder, and notes in the wallet's folder what may be left in it. The wallet's own is refused.
    pub(crate) fn open(to: &Path, wallet: &Path) -> Result<Self, CliError> {
        let failed = |error: Errno| CliError::file("open", to)(error.into());
        let open = |path: &Path| {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            openat(CWD, path, flags, Mode::empty())
        };
        let folder = open(to).map_err(failed)?;
        let identity = |folder: &OwnedFd| fstat(folder).map(|stat| Identity::of(&stat));
        let ours = open(wallet).and_then(|wallet| identity(&wallet));
        if let Ok(ours) = ours
            && is_within(&folder, &ours).map_err(failed)?
        {
            return Err(CliError::Usage(format!(
                "{} is the wallet's own folder, or in it: name another one",
                to.display()
            )));
        }
        let temporary = format!("{PREFIX}{:016x}", rand::random::<u64>());
        let note = wallet.join(NOTE);
        let mut notes = Notes::load(&note);
        notes.0.push(Left {
            folder: std::path::absolute(to)
                .map_err(CliError::file("find", to))?
                .into(),
            file: temporary.clone(),
        });
        notes.save(&note)?;
        Ok(Target {
            folder,
            placed: BTreeMap::new(),
            temporary,
            note: Some(note),
        })
    }

    /// Writes a file, unless it is there with this content.
    pub(crate) fn place(
        &mut self,
        name: &str,
        content: &[u8],
        existing: Existing,
    ) -> Result<(), Unplaced> {
        let there = self.look(name)?;
        if let Some(stat) = &there {
            let identity = Identity::of(stat);
            if let Some(other) = self.placed.get(&identity) {
                return Err(Unplaced::SameAs(other.clone()));
            }
            if let Some(what) = other_than_a_file(stat) {
                return Err(Unplaced::NoFile(what));
            }
            if self.holds(name, content)? {
                self.placed.insert(identity, name.to_owned());
                return Ok(());
            }
            if existing == Existing::Stays {
                return Err(Unplaced::Other);
            }
        }
        let written = self.write(content).and_then(|identity| {
            match there.is_some() {
                true => renameat(&self.folder, &*self.temporary, &self.folder, name)?,
                false => self.name_it(name)?,
            }
            Ok(identity)
        });
        if written.is_err() {
            // It may have its name already, or never have been made.
            let _ = unlinkat(&self.folder, &*self.temporary, AtFlags::empty());
        }
        self.placed.insert(written?, name.to_owned());
        Ok(())
    }

    /// Makes the names durable; nothing is left behind from now on.
    pub(crate) fn end(mut self) -> Result<(), CliError> {
        let synced = File::from(self.folder.try_clone().map_err(folder_failed)?).sync_all();
        self.forget();
        synced.map_err(folder_failed)
    }

    /// What is there under a name; a link is a link.
    fn look(&self, name: &str) -> Result<Option<Stat>, Unplaced> {
        match statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file is there with exactly this content.
    fn holds(&self, name: &str, content: &[u8]) -> Result<bool, Unplaced> {
        // It may have become a pipe, which must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // What cannot be read has other content, for all that is known.
            Err(Errno::ACCESS | Errno::PERM) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if file.metadata()?.len() != content.len() as u64 {
            return Ok(false);
        }
        let mut bytes = BufReader::new(file);
        let mut rest = content;
        let mut part = [0; 8_192];
        loop {
            let read = bytes.read(&mut part)?;
            match rest.strip_prefix(&part[..read]) {
                Some(after) if read > 0 => rest = after,
                Some(after) => return Ok(after.is_empty()),
                None => return Ok(false),
            }
        }
    }

    /// Content on the disk, under the random name.
    fn write(&self, content: &[u8]) -> Result<Identity, Unplaced> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW;
        let owner = Mode::RUSR | Mode::WUSR;
        let file = openat(
            &self.folder,
            &*self.temporary,
            flags | OFlags::CLOEXEC,
            owner,
        )?;
        let mut file = File::from(file);
        file.write_all(content)?;
        file.sync_all()?;
        Ok(Identity::of(&fstat(&file)?))
    }

    /// Gives what was written its name, if nothing has it.
    fn name_it(&self, name: &str) -> Result<(), Unplaced> {
        let (folder, temporary) = (&self.folder, &*self.temporary);
        match linkat(folder, temporary, folder, name, AtFlags::empty()) {
            Ok(()) => unlinkat(folder, temporary, AtFlags::empty())?,
            Err(Errno::EXIST) => return Err(Unplaced::Other),
            // A file system on which a file has one name. What was not there a moment ago may be there now.
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                match self.look(name)? {
                    Some(_) => return Err(Unplaced::Other),
                    None => renameat(folder, temporary, folder, name)?,
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn forget(&mut self) {
        let Some(note) = self.note.take() else {
            return;
        };
        let mut notes = Notes::load(&note);
        notes.0.retain(|left| left.file != self.temporary);
        // A note too many costs a look at the next command.
        let _ = notes.save(&note);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Writes one file where a user has named one, replacing what is there: in place if it is one of the system's, as
/// `/dev/stdout` is.
pub(crate) fn write(path: &Path, content: &[u8], wallet: &Path) -> Result<(), CliError> {
    let failed = || CliError::file("write", path);
    let is_of_system = ["/dev", "/proc"].iter().any(|of| path.starts_with(of));
    if is_of_system && !path.starts_with("/dev/shm") {
        let file = fs::OpenOptions::new().write(true).open(path);
        return file
            .and_then(|mut file| file.write_all(content))
            .map_err(failed());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.filter(|_| !path.as_os_str().as_bytes().ends_with(b"/"));
    let Some(name) = name else {
        return Err(CliError::Usage(format!("{} names no file", path.display())));
    };
    let mut target = Target::open(durable::folder_of(path), wallet)?;
    match target.place(name, content, Existing::IsReplaced) {
        Ok(()) => target.end(),
        Err(Unplaced::Io(error)) => Err(failed()(error)),
        Err(Unplaced::NoFile(what)) => Err(CliError::Usage(format!(
            "{} is a {what}, and only a file is replaced: name the file itself, or write to standard output",
            path.display()
        ))),
        Err(error) => Err(CliError::Failed(format!("{}: {error}", path.display()))),
    }
}

/// Whether a folder is this one, or in it at whatever depth: by the way up, which no link or other name changes.
fn is_within(folder: &OwnedFd, ours: &Identity) -> Result<bool, Errno> {
    let up = |from: &OwnedFd| {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        openat(from, "..", flags, Mode::empty())
    };
    let identity = |folder: &OwnedFd| fstat(folder).map(|stat| Identity::of(&stat));
    let mut here = identity(folder)?;
    let mut above = up(folder);
    while here != *ours {
        // A folder above that may not be read is not the wallet's, which could be opened.
        let Ok(parent) = above else {
            return Ok(false);
        };
        let there = identity(&parent)?;
        // Above the root is the root.
        if there == here {
            return Ok(false);
        }
        here = there;
        above = up(&parent);
    }
    Ok(true)
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        // Their types differ from system to system.
        #[allow(clippy::unnecessary_cast, reason = "they are as wide only here")]
        Identity {
            device: stat.st_dev as u64,
            number: stat.st_ino as u64,
        }
    }
}

/// What something is that is no file.
fn other_than_a_file(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("folder"),
        FileType::Symlink => Some("link"),
        FileType::Fifo => Some("pipe"),
        FileType::Socket => Some("socket"),
        _ => Some("device"),
    }
}

fn folder_failed(error: io::Error) -> CliError {
    CliError::file("write", Path::new("the names in the folder"))(error)
}

//! What a command that is killed may leave behind, and where: a note in the wallet's folder, written before the file is.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::CliError;

/// What a file that is not finished is called, before its 16 digits.
pub(super) const PREFIX: &str = ".larder-";

/// Folders that are remembered while they cannot be found, as those on a disk that was taken away.
const NOTES: usize = 16;

/// Removes what killed commands have left behind. Called with the wallet's lock.
pub(crate) fn sweep(wallet: &Path) {
    let note = wallet.join(NOTE);
    let mut notes = Notes::load(&note);
    if notes.0.is_empty() {
        return;
    }
    notes.0.retain(|left| !left.is_gone());
    // A note too many costs a look at the next command.
    let _ = notes.save(&note);
}

/// The note, in the wallet's folder.
pub(super) const NOTE: &str = "in-the-clear.json";

/// A file that may be there, and is none.
#[derive(Serialize, Deserialize)]
pub(super) struct Left {
    /// It need not be text.
    pub(super) folder: OsString,
    pub(super) file: String,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct Notes(pub(super) Vec<Left>);

impl Notes {
    /// None when there is nothing to read: what could not be read says nothing of where to look.
    pub(super) fn load(path: &Path) -> Self {
        let text = fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub(super) fn save(mut self, path: &Path) -> Result<(), CliError> {
        let failed = || CliError::file("write", path);
        if self.0.is_empty() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed()(error)),
                _ => Ok(()),
            };
        }
        let forgotten = self.0.len().saturating_sub(NOTES);
        self.0.drain(..forgotten);
        let text = serde_json::to_vec(&self)
            .map_err(|error| CliError::Failed(format!("cannot write a note: {error}")))?;
        durable::replace(path, &text).map_err(failed())
    }
}

impl Left {
    /// Removes it; whether there is nothing to look for any more.
    fn is_gone(&self) -> bool {
        // Nothing else is removed, whoever has written the note.
        let digits = self.file.strip_prefix(PREFIX).unwrap_or_default();
        if digits.len() != 16 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return true;
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(folder) = openat(CWD, &self.folder, flags, Mode::empty()) else {
            return false;
        };
        match unlinkat(&folder, &*self.file, AtFlags::empty()) {
            Ok(()) => File::from(folder).sync_all().is_ok(),
            Err(error) => error == Errno::NOENT,
        }
    }
}

//! How much of a store is in a folder, told without opening or changing anything: before a node makes what
//! is missing, it has to know whether that was there once.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::StoreError;
use crate::folder::Generation;
use crate::slot_file::SlotFile;

/// How much of a store is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing of one, or no folder.
    Nothing,
    /// A founding that was cut short, or that nothing has followed yet.
    Begun,
    /// A store that was used, damaged or not.
    Used,
}

/// Looks for a store in `folder`. One that no acknowledged commit is known of may be
/// [`Begun`](Presence::Begun) although it was used; opening it tells for certain.
///
/// # Errors
/// [`StoreError::Io`] when the folder is there and cannot be read.
pub fn presence(folder: &Path) -> Result<Presence, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Presence::Nothing),
        Err(error) => return Err(StoreError::io("look for a store")(error)),
    };
    let mut indexes = 0;
    for entry in entries {
        let name = entry
            .map_err(StoreError::io("look for a store"))?
            .file_name();
        indexes += u32::from(name.to_str().and_then(Generation::named).is_some());
    }
    let slots = SlotFile::path(folder).try_exists();
    Ok(
        match (
            slots.map_err(StoreError::io("look for the slot file"))?,
            indexes,
        ) {
            (false, 0) => Presence::Nothing,
            // The slot file comes last.
            (false, _) => Presence::Begun,
            (true, _) => {
                let witnessed = SlotFile::open_to_read(folder).and_then(|it| it.witnessed());
                match witnessed {
                    Ok(0) => Presence::Begun,
                    _ => Presence::Used,
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::suite::sample::{blob, key, options};
    use crate::{Change, Effect, Engine, SledEngine};

    #[test]
    fn a_store_is_there_from_its_first_commit_on_and_what_is_no_store_is_not() {
        let folder = TempDir::new().unwrap();
        let found = || presence(folder.path()).unwrap();
        assert_eq!(
            presence(&folder.path().join("no")).unwrap(),
            Presence::Nothing
        );
        fs::create_dir(folder.path().join("lost+found")).unwrap();
        assert_eq!(found(), Presence::Nothing);
        let engine = SledEngine::open(folder.path(), options()).unwrap();
        assert_eq!(found(), Presence::Begun);
        let insert = Change::Insert {
            key: key(1),
            blob: blob(1),
            epoch: 0,
        };
        engine.commit(vec![Effect::unpaid(insert)]).unwrap();
        drop(engine);
        assert_eq!(found(), Presence::Used);
        // Damage does not make it a new one.
        fs::write(SlotFile::path(folder.path()), b"nothing").unwrap();
        assert_eq!(found(), Presence::Used);
        fs::remove_file(SlotFile::path(folder.path())).unwrap();
        assert_eq!(found(), Presence::Begun);
    }
}

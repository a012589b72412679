//! Where the data folder is when nobody names one, and what `~` is.
//!
//! | the environment has | then it is |
//! | --- | --- |
//! | `STATE_DIRECTORY`, from systemd's `StateDirectory=` | that folder, the first if there are several |
//! | `HOME` | `~/.larderd` |
//! | `XDG_STATE_HOME` and no `HOME` | `larderd` in there |
//! | none of them | an error: no folder is made wherever the program happens to be started |
//!
//! A value that is empty or no absolute path counts as none.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::layers::wrong;
use crate::NodeError;

/// What the environment says of folders.
#[derive(Default)]
pub(super) struct Places {
    home: Option<PathBuf>,
    state: Option<PathBuf>,
    service: Option<PathBuf>,
}

impl Places {
    pub(super) fn of(environment: &[(OsString, OsString)]) -> Self {
        let find = |name: &str| {
            let found = environment
                .iter()
                .find(|(known, _)| known == OsStr::new(name));
            found.map(|(_, value)| value.as_os_str())
        };
        let absolute = |value: &OsStr| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
        Places {
            home: find("HOME").and_then(absolute),
            state: find("XDG_STATE_HOME").and_then(absolute),
            // Several are separated by colons.
            service: find("STATE_DIRECTORY").and_then(|folders| {
                let text = folders.to_str()?;
                absolute(OsStr::new(text.split(':').next()?))
            }),
        }
    }

    /// The data folder, when nobody names one.
    pub(super) fn data_folder(&self) -> Result<PathBuf, NodeError> {
        let state = || self.state.as_ref().map(|state| state.join("larderd"));
        let home = || self.home.as_ref().map(|home| home.join(".larderd"));
        (self.service.clone().or_else(home).or_else(state)).ok_or_else(|| {
            let problem = "there is no home folder (HOME is not set) to keep the data in: name a folder with \
                           --data-dir or LARDERD_DATA_DIR, or have systemd make one with \
                           StateDirectory=larderd";
            wrong("data_dir", problem)
        })
    }

    /// The default folder in the home folder, if systemd's is taken although a node has run there.
    pub(super) fn passed_over(&self, taken: &Path) -> Option<PathBuf> {
        let kept = self.home.as_ref()?.join(".larderd");
        let by_systemd = self.service.as_deref() == Some(taken) && taken != kept;
        Some(kept).filter(|kept| by_systemd && kept.join("seed").exists())
    }

    /// The folder of this name, in which `~` is the home folder. That of another user nobody finds for us, and what is
    /// empty would be wherever the program was started.
    pub(super) fn expand(&self, folder: &Path) -> Result<PathBuf, NodeError> {
        let problem = match (folder.strip_prefix("~"), &self.home) {
            (Err(_), _) if folder.as_os_str().is_empty() => {
                "it is empty: name a folder, or leave it out".to_owned()
            }
            (Err(_), _) if begins_with_tilde(folder) => format!(
                "`{}`: only ~ itself is replaced, by the home folder; name the folder by its whole path",
                folder.display()
            ),
            (Err(_), _) => return Ok(folder.to_owned()),
            (Ok(rest), Some(home)) => return Ok(home.join(rest)),
            (Ok(_), None) => {
                "there is no home folder (HOME is not set): name the data folder by its whole path, with \
                 --data-dir or LARDERD_DATA_DIR"
                    .to_owned()
            }
        };
        Err(wrong("data_dir", problem))
    }
}

fn begins_with_tilde(folder: &Path) -> bool {
    folder.as_os_str().as_encoded_bytes().starts_with(b"~")
}

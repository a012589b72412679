//! The hash of the terms in force, in a file beside the store: for `larderd address`, and for whoever publishes it
//! where clients can compare what they were shown, as on the operator's page.
//!
//! One line: the epoch and the hash in hexadecimal digits. It says what everybody may know, and is written anew whenever
//! the node starts and enters an epoch; the store does not depend on it.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_credentials::Epoch;
use tokio::sync::watch;

use crate::NodeError;
use crate::terms::Terms;

/// Where it is.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("terms")
}

/// Writes it, whole or not at all.
fn write(path: &Path, terms: &Terms) -> Result<(), NodeError> {
    let line = format!("{} {}\n", terms.epoch, hex::encode(terms.record_hash().0));
    let next = path.with_extension("next");
    let written = File::create(&next).and_then(|mut file| {
        file.write_all(line.as_bytes())?;
        // Or a power cut may leave an empty file under its name.
        file.sync_all()
    });
    written
        .and_then(|()| std::fs::rename(&next, path))
        .map_err(|source| NodeError::File {
            doing: "write",
            path: path.to_owned(),
            source,
        })
}

/// The same where it is no reason to serve nobody that it cannot be written, as on a full disk.
pub(crate) fn write_or_warn(path: &Path, terms: &Terms) {
    if let Err(error) = write(path, terms) {
        tracing::warn!("the hash of the terms was not written down: {error}");
    }
}

/// The epoch, and the hash as text; `None` before the node has run for the first time.
pub(crate) fn read(path: &Path) -> Result<Option<(u32, String)>, NodeError> {
    let read = match std::fs::read(path) {
        Ok(line) => {
            fields(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, DAMAGED))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    read.map(Some).map_err(|source| NodeError::File {
        doing: "read",
        path: path.to_owned(),
        source,
    })
}

const DAMAGED: &str = "it is damaged. A node whose store is sound writes it anew when it starts; beside a store that is new or \
                       from a backup it says which epochs are over: put it back from a backup, or remove it to go by \
                       the clock alone";

fn fields(line: &[u8]) -> Option<(u32, String)> {
    let (epoch, hash) = std::str::from_utf8(line).ok()?.trim_end().split_once(' ')?;
    let is_hash = hex::decode(hash).is_ok_and(|hash| hash.len() == 32);
    is_hash.then_some((epoch.parse().ok()?, hash.to_owned()))
}

/// The latest epoch that is known to have been entered, if any was.
pub(crate) fn entered(path: &Path) -> Result<Option<Epoch>, NodeError> {
    let epoch = read(path)?.map(|(epoch, _)| epoch);
    Ok(epoch.filter(|epoch| *epoch > 0).map(Epoch))
}

/// Writes it whenever an epoch was entered, for as long as the desk is there.
pub(crate) async fn keep_published(mut terms: watch::Receiver<Arc<Terms>>, path: PathBuf) {
    while terms.changed().await.is_ok() {
        let (now, path) = (terms.borrow_and_update().clone(), path.clone());
        // One that has panicked has said so.
        let _ = tokio::task::spawn_blocking(move || write_or_warn(&path, &now)).await;
    }
}

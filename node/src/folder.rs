//! The data folder: the seed and the store, for nobody else to read.

use std::path::Path;
use std::sync::Arc;

use larder_store::{Options, SledEngine};

use crate::identity::Identity;
use crate::{Config, NodeError};

/// Opens the data folder, making it if it is not there.
pub(crate) fn open_folder(
    config: &Config,
    identity: impl FnOnce(&Path) -> Result<Identity, NodeError>,
) -> Result<(Arc<SledEngine>, Identity), NodeError> {
    create_folder(&config.data_dir)?;
    // The data folder may have been there before, and be open to others.
    let store = config.data_dir.join("store");
    create_folder(&store)?;
    close_to_others(&store)?;
    let options = Options {
        cache_bytes: config.cache_bytes,
        free_space_floor: config.free_space_floor,
        open_claims: config.open_claims,
        ..Options::default()
    };
    let engine = Arc::new(SledEngine::open(&store, options)?);
    // After the store, whose lock keeps another process from making another seed.
    let identity = identity(&config.seed_path())?;
    Ok((engine, identity))
}

fn create_folder(folder: &Path) -> Result<(), NodeError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| NodeError::File {
            doing: "create the data folder",
            path: folder.to_owned(),
            source,
        })
}

fn close_to_others(folder: &Path) -> Result<(), NodeError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(|source| {
        NodeError::File {
            doing: "close to other users",
            path: folder.to_owned(),
            source,
        }
    })
}

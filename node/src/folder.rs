//! The data folder: the seed and the store, for nobody else to read.
//!
//! The two belong together, and neither is made anew beside the other:
//!
//! | seed | store | then |
//! | --- | --- | --- |
//! | missing | missing | the first start: both are made, the store first |
//! | missing | founded, and never used | a first start that was cut short: the seed is made |
//! | missing | there | refused: another seed would be another node, under another address |
//! | there | missing | refused, unless the operator says that a new one is wanted: a volume may not be mounted |
//! | there | there, of another seed | refused |
//!
//! **Fails** with a [`NodeError`] that names the file. Where the table says "refused", nothing was written.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_store::{Change, Effect, Engine, Options, Outcome, Presence, SledEngine, presence};

use crate::identity::Identity;
use crate::terms::Terms;
use crate::{Config, NodeError};

/// What may be missing from the data folder, and is made then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing.
    Nothing,
    /// Seed and store: the first start.
    Both,
    /// The store, which the operator says is lost for good.
    Store,
}

/// Opens the data folder, and makes of it what may be missing.
pub(crate) fn open_folder(
    config: &Config,
    missing: Missing,
) -> Result<(Arc<SledEngine>, Identity), NodeError> {
    let (seed, store) = (config.seed_path(), config.store_path());
    check(&seed, &store, missing)?;
    create_folder(&config.data_dir)?;
    // The data folder may have been there before, and be open to others.
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
    let identity = match exists(&seed)? {
        true => Identity::load(&seed)?,
        // What looked as if it had never been used knows better.
        false if engine.notes()?.owner.is_some() || engine.epochs()?.is_some() => {
            return Err(NodeError::SeedMissing { seed, store });
        }
        false => Identity::create(&seed)?,
    };
    match own(&*engine, &identity) {
        Err(NodeError::ForeignStore) => Err(NodeError::ForeignSeed { seed, store }),
        other => other.map(|()| (engine, identity)),
    }
}

/// Looks whether what is missing may be.
fn check(seed: &Path, store: &Path, missing: Missing) -> Result<(), NodeError> {
    let (seed, store) = (seed.to_owned(), store.to_owned());
    match (exists(&seed)?, presence(&store)?, missing) {
        (false, Presence::Nothing | Presence::Begun, Missing::Both) => Ok(()),
        (false, Presence::Nothing, _) => Err(NodeError::File {
            doing: "read",
            path: seed,
            source: ErrorKind::NotFound.into(),
        }),
        (false, ..) => Err(NodeError::SeedMissing { seed, store }),
        (true, Presence::Nothing, Missing::Store) => Ok(()),
        (true, Presence::Nothing, _) => Err(NodeError::StoreMissing { seed, store }),
        (true, Presence::Used, Missing::Store) => Err(NodeError::StoreThere(store)),
        (true, Presence::Begun | Presence::Used, _) => Ok(()),
    }
}

/// Makes the store this node's, if it is nobody's yet. It is for good, so a store from before stores knew whose they
/// are has to be this node's by all that it says.
///
/// # Errors
/// [`NodeError::ForeignStore`] when it is another's; then nothing was written.
pub(crate) fn own(engine: &dyn Engine, identity: &Identity) -> Result<(), NodeError> {
    let server = identity.server_key();
    match engine.notes()?.owner {
        Some(owner) if owner == server => return Ok(()),
        Some(_) => return Err(NodeError::ForeignStore),
        None => could_be_of(engine, identity)?,
    }
    let outcomes = engine.commit(vec![Effect::unpaid(Change::Own { server })])?;
    match outcomes[..] {
        [Outcome::Settled] => Ok(()),
        _ => Err(NodeError::ForeignStore),
    }
}

/// Whether a store that does not know whose it is can be this node's: the terms of an epoch are signed, and where
/// nobody ever paid nothing tells.
fn could_be_of(engine: &dyn Engine, identity: &Identity) -> Result<(), NodeError> {
    if let Some(epochs) = engine.epochs()? {
        return Terms::of_epoch(identity, &epochs).map(drop);
    }
    let usage = engine.usage()?;
    if usage.blobs + usage.tombstones + usage.cells > 0 {
        tracing::warn!(
            "the store is of a version that did not note whose it is, and nothing in it tells: from now on it \
             is the store of this seed"
        );
    }
    Ok(())
}

/// Whether there is such a file, or at least its name: a link to a volume that is not mounted is no reason to
/// make another file in its place.
pub(crate) fn exists(path: &Path) -> Result<bool, NodeError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(source) => Err(NodeError::File {
            doing: "look for",
            path: PathBuf::from(path),
            source,
        }),
    }
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
    // Where it is closed already, a disk that takes no writes is told of by whoever has something to write.
    let closed = fs::metadata(folder).and_then(|found| match found.permissions().mode() & 0o777 {
        0o700 => Ok(()),
        _ => fs::set_permissions(folder, fs::Permissions::from_mode(0o700)),
    });
    closed.map_err(|source| NodeError::File {
        doing: "close to other users",
        path: folder.to_owned(),
        source,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::test::At;
    use crate::succession::Succession;

    fn config(folder: &Path) -> Config {
        let mut config = Config::load(None, Some(folder), []).unwrap();
        config.free_space_floor = 0;
        config
    }

    /// Everything in a folder, by its path.
    fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => found.extend(contents(&path)),
                false => drop(found.insert(path.clone(), fs::read(&path).unwrap())),
            }
        }
        found
    }

    /// Opening it is refused without a byte having changed; says why.
    fn refused(config: &Config, missing: Missing) -> NodeError {
        let before = contents(&config.data_dir);
        let error = match open_folder(config, missing) {
            Ok(_) => panic!("it was opened"),
            Err(error) => error,
        };
        assert_eq!(contents(&config.data_dir), before, "{error}");
        error
    }

    #[test]
    fn a_seed_that_is_missing_beside_its_store_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        drop(open_folder(&config, Missing::Both).unwrap());
        let aside = folder.path().join("aside");
        fs::rename(config.seed_path(), &aside).unwrap();
        for missing in [Missing::Nothing, Missing::Both, Missing::Store] {
            let error = refused(&config, missing);
            assert!(matches!(error, NodeError::SeedMissing { .. }), "{error}");
            assert!(
                error
                    .to_string()
                    .contains(&*config.seed_path().to_string_lossy())
            );
        }
        // A link that leads nowhere is a seed that cannot be read, and stays what it is.
        std::os::unix::fs::symlink(folder.path().join("no"), config.seed_path()).unwrap();
        assert!(open_folder(&config, Missing::Both).is_err());
        fs::remove_file(config.seed_path()).unwrap();
        fs::rename(&aside, config.seed_path()).unwrap();
        drop(open_folder(&config, Missing::Both).unwrap());
    }

    #[test]
    fn a_store_that_is_missing_beside_its_seed_is_made_only_when_the_operator_says_so_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        let first = identity.server_key();
        drop(engine);
        let error = refused(&config, Missing::Store);
        assert!(matches!(error, NodeError::StoreThere(_)), "{error}");
        // As a volume that is not mounted leaves it.
        fs::remove_dir_all(config.store_path()).unwrap();
        fs::create_dir(config.store_path()).unwrap();
        for missing in [Missing::Nothing, Missing::Both] {
            let error = refused(&config, missing);
            assert!(matches!(error, NodeError::StoreMissing { .. }), "{error}");
            assert!(error.to_string().contains("--new-store"), "{error}");
        }
        let (engine, identity) = open_folder(&config, Missing::Store).unwrap();
        assert_eq!(identity.server_key(), first);
        drop(engine);
        drop(open_folder(&config, Missing::Both).unwrap());
    }

    #[test]
    fn a_digit_of_the_seed_that_changed_is_noticed_by_the_store_also_where_nobody_pays() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        drop(open_folder(&config, Missing::Both).unwrap());
        let text = fs::read_to_string(config.seed_path()).unwrap();
        for digit in [0, 31, 63] {
            let mut changed = text.clone().into_bytes();
            changed[digit] = match changed[digit] {
                b'0' => b'1',
                _ => b'0',
            };
            fs::write(config.seed_path(), changed).unwrap();
            for missing in [Missing::Nothing, Missing::Both] {
                let Err(error) = open_folder(&config, missing) else {
                    panic!("digit {digit} was changed and it was opened");
                };
                assert!(matches!(error, NodeError::ForeignSeed { .. }), "{error}");
            }
        }
        fs::write(config.seed_path(), text).unwrap();
        drop(open_folder(&config, Missing::Both).unwrap());
    }

    /// Makes a store as earlier versions left it: an epoch was entered with this seed, and whose it is was never noted.
    pub(crate) fn sold_before_owners_were_noted(config: &Config, seed: [u8; 32]) {
        let engine = SledEngine::open(&config.store_path(), Options::default()).unwrap();
        let succession = Succession {
            engine: Arc::new(engine),
            identity: Identity::from_seed(seed),
            offer: None,
            breakglass_seconds: config.breakglass.seconds,
            clock: Arc::new(At(1_800_000_000)),
            passed: None,
        };
        succession.close_all(&config.offer).unwrap();
        assert_eq!(succession.engine.notes().unwrap().owner, None);
    }

    pub(crate) fn write_seed(config: &Config, seed: [u8; 32]) {
        use std::os::unix::fs::PermissionsExt;
        fs::write(config.seed_path(), hex::encode(seed)).unwrap();
        let own = fs::Permissions::from_mode(0o600);
        fs::set_permissions(config.seed_path(), own).unwrap();
    }

    #[test]
    fn a_store_that_does_not_know_whose_it_is_is_never_given_to_a_seed_that_did_not_sign_its_terms()
    {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        sold_before_owners_were_noted(&config, [1; 32]);
        write_seed(&config, [2; 32]);
        for missing in [Missing::Nothing, Missing::Both] {
            let error = open_folder(&config, missing).err().unwrap();
            assert!(matches!(error, NodeError::ForeignSeed { .. }), "{error}");
        }
        let engine = SledEngine::open(&config.store_path(), Options::default()).unwrap();
        assert_eq!(engine.notes().unwrap().owner, None);
        assert_eq!(engine.epochs().unwrap().unwrap().ordinal, 1);
        drop(engine);

        write_seed(&config, [1; 32]);
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        assert_eq!(engine.notes().unwrap().owner, Some(identity.server_key()));
        drop(engine);
        write_seed(&config, [2; 32]);
        assert!(open_folder(&config, Missing::Both).is_err());
    }

    #[test]
    fn a_folder_that_is_closed_already_is_not_written_to() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let folder = tempfile::tempdir().unwrap();
        let changed = |path: &Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.ctime(), metadata.ctime_nsec())
        };
        close_to_others(folder.path()).unwrap();
        let before = changed(folder.path());
        // Until a change would be seen as one.
        while changed(tempfile::NamedTempFile::new().unwrap().path()) == before {}
        close_to_others(folder.path()).unwrap();
        assert_eq!(changed(folder.path()), before);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        close_to_others(folder.path()).unwrap();
        let mode = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_first_start_that_was_cut_short_at_any_step_is_finished_by_the_next_one() {
        // Before the store was founded, after it, and before the store knew whose it is.
        for step in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let config = config(folder.path());
            fs::create_dir(config.store_path()).unwrap();
            if step > 0 {
                drop(SledEngine::open(&config.store_path(), Options::default()).unwrap());
            }
            if step > 1 {
                Identity::create(&config.seed_path()).unwrap();
            }
            let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
            let owner = engine.notes().unwrap().owner;
            assert_eq!(owner, Some(identity.server_key()), "step {step}");
        }
    }
}

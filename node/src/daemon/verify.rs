//! `larderd verify`: what is damaged, what is safe, what to do.
//!
//! Reads the whole data folder, seed and every blob included, and changes no byte of it: what is checked may be all that is
//! left. The node must not run. sled cannot open an index without writing to it, so it is given a copy,
//! in the scratch folder.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use larder_store::{Findings, Place, StoreError, verify};

use crate::folder::exists;
use crate::identity::Identity;
use crate::terms::Terms;
use crate::{Config, NodeError};

#[derive(Args)]
pub(super) struct Verify {
    /// Where there is room for a copy of the index [default: the system's folder for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub(super) scratch: Option<PathBuf>,
}

/// What was found, in words.
pub(super) struct Verdict {
    pub(super) text: String,
    pub(super) is_well: bool,
}

/// Checks the data folder.
///
/// # Errors
/// [`NodeError`] when it cannot be checked. Damage is no error here.
pub(super) fn check(config: &Config, order: &Verify) -> Result<Verdict, NodeError> {
    let (seed, store) = (config.seed_path(), config.store_path());
    if !exists(&store)? {
        return Err(NodeError::File {
            doing: "find a store in",
            path: store,
            source: std::io::ErrorKind::NotFound.into(),
        });
    }
    let scratch = order.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let findings = verify(&store, &scratch)?;
    let mut seed_fault = None;
    match Identity::load(&seed) {
        Err(error) => seed_fault = Some(error),
        Ok(identity) => {
            let owner = findings.notes.owner;
            let foreign = owner.is_some_and(|owner| owner != identity.server_key());
            let terms = (findings.epochs.as_ref()).map(|it| Terms::of_epoch(&identity, it));
            if foreign || terms.is_some_and(|terms| terms.is_err()) {
                seed_fault = Some(NodeError::ForeignSeed { seed, store });
            }
        }
    }
    Ok(Verdict {
        text: told(config, &findings, seed_fault.as_ref()),
        is_well: findings.damage.is_empty() && seed_fault.is_none(),
    })
}

fn told(config: &Config, findings: &Findings, seed_fault: Option<&NodeError>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(arguments);
        text.push('\n');
    };
    line(format_args!("checked   {}", config.data_dir.display()));
    match seed_fault {
        None => line(format_args!("seed      well")),
        Some(fault) => line(format_args!("seed      NOT WELL: {fault}")),
    }
    let is_slot = |damage: &&StoreError| {
        matches!(
            damage,
            StoreError::Corrupt {
                place: Place::Slot(_),
                ..
            }
        )
    };
    for damage in findings.damage.iter().filter(|damage| !is_slot(damage)) {
        line(format_args!("damaged   {damage}"));
    }
    if findings.index_is_whole {
        line(format_args!("index     well"));
    }
    line(format_args!(
        "blobs     {} whole, {} damaged",
        findings.whole_blobs, findings.damaged_blobs
    ));
    let slots: Vec<_> = findings.damage.iter().filter(is_slot).collect();
    for damage in &slots {
        line(format_args!("damaged   {damage}"));
    }
    if (slots.len() as u64) < findings.damaged_blobs && !slots.is_empty() {
        line(format_args!("          and more"));
    }
    for advice in advice(findings, seed_fault.is_some()) {
        line(format_args!("{advice}"));
    }
    text
}

/// What is safe, and what to do.
fn advice(findings: &Findings, seed_at_fault: bool) -> &'static [&'static str] {
    match (findings.damage.is_empty(), findings.index_is_whole) {
        (true, _) if seed_at_fault => &[
            "safe      the store: all that was acknowledged is there",
            "do        restore the seed from a backup",
        ],
        (true, _) => &["all is well"],
        (false, true) if findings.damaged_blobs > 0 => &[
            "safe      all other blobs, and the tokens: the node can go on. What is damaged is refused and never served;",
            "          whoever stored it with several storage nodes has it from the others",
            "do        look after the disk, and copy this folder before anything else. To have what is damaged",
            "          back, restore seed and store together from a backup that was made while the node was",
            "          stopped, and run `larderd restore`: it voids all tokens",
        ],
        (false, true) => &[
            "safe      the index, and with it where each blob is",
            "do        look after the disk, and copy this folder before anything else. Then restore seed and",
            "          store together from a backup that was made while the node was stopped, and run",
            "          `larderd restore`: it voids all tokens",
        ],
        (false, false) => &[
            "safe      the seed, unless it is named above, and with it this node's address. The bytes of blobs may be",
            "          there in blobs.slots, but only the index knows whose they are",
            "do        look after the disk, and copy this folder before anything else. Then restore seed and",
            "          store together from a backup that was made while the node was stopped, and run",
            "          `larderd restore`: it voids all tokens. Without a backup, move the store away and start",
            "          once with --new-store: clients find the node where it was, and nothing in it",
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use larder_protocol::{BLOB_LEN, Blob, Key};
    use larder_store::{Change, Effect, Engine};
    use secp256k1::{PublicKey, SECP256K1, SecretKey};

    use super::*;
    use crate::clock::test::At;
    use crate::desk::Desk;
    use crate::folder::{Missing, open_folder};
    use crate::node::sale;

    const BLOBS: u8 = 4;

    fn key(number: u8) -> Key {
        let secret = SecretKey::from_slice(&[number + 1; 32]).unwrap();
        PublicKey::from_secret_key(SECP256K1, &secret).into()
    }

    fn blob(number: u8) -> Blob {
        Blob::try_from(vec![number + 1; BLOB_LEN]).unwrap()
    }

    /// A node that was used and stopped.
    fn node() -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(None, Some(&folder.path().join("data")), []).unwrap();
        config.free_space_floor = 0;
        let (engine, identity) = open_folder(&config, Missing::Both).unwrap();
        let sale = sale(&config, &identity);
        let clock = std::sync::Arc::new(At(1_800_000_000));
        drop(Desk::open(engine.clone(), identity, sale, config.breakglass, clock).unwrap());
        for number in 0..BLOBS {
            let insert = Change::Insert {
                key: key(number),
                blob: blob(number),
                epoch: 1,
            };
            engine.commit(vec![Effect::unpaid(insert)]).unwrap();
        }
        (folder, config)
    }

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

    /// What is told of the folder, which stays as it is; and nothing is left in the scratch folder.
    fn verdict(config: &Config) -> Verdict {
        let scratch = tempfile::tempdir().unwrap();
        let before = contents(&config.data_dir);
        let order = Verify {
            scratch: Some(scratch.path().to_owned()),
        };
        let verdict = check(config, &order).unwrap();
        assert!(contents(&config.data_dir) == before, "it was changed");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        verdict
    }

    fn flip(path: &Path, at: u64) {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn a_folder_that_is_well_is_said_to_be_and_one_in_use_is_not_checked() {
        let (_folder, config) = node();
        let found = verdict(&config);
        assert!(found.is_well, "{}", found.text);
        assert!(
            found.text.contains("4 whole, 0 damaged\nall is well\n"),
            "{}",
            found.text
        );
        let running = open_folder(&config, Missing::Both).unwrap();
        let order = Verify { scratch: None };
        let refused = check(&config, &order);
        assert!(matches!(refused, Err(NodeError::Store(StoreError::Locked))));
        drop(running);
    }

    #[test]
    fn a_damaged_blob_is_named_by_its_slot_and_all_else_is_called_safe() {
        let (_folder, config) = node();
        let slots = config.store_path().join("blobs.slots");
        for slot in [1, 3] {
            flip(&slots, (slot + 1) * 16_384 + 77);
        }
        let found = verdict(&config);
        assert!(!found.is_well);
        for part in [
            "2 whole, 2 damaged",
            "damaged   slot 1 of the slot file",
            "damaged   slot 3 of the slot file",
            "index     well",
            "safe      all other blobs",
            "larderd restore",
        ] {
            assert!(found.text.contains(part), "{part}: {}", found.text);
        }
    }

    #[test]
    fn a_damaged_index_is_named_wherever_it_is_damaged_or_did_not_matter() {
        let (_folder, config) = node();
        let index = fs::read_dir(config.store_path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let log = index
            .filter(|path| path.is_dir())
            .map(|path| path.join("db"))
            .next()
            .unwrap();
        let whole = fs::read(&log).unwrap();
        let used = whole.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        let mut named = 0;
        for step in 0..40 {
            flip(&log, used * step / 40);
            let found = verdict(&config);
            // Neither a backtrace that is none nor an offset that nobody knows.
            assert!(!found.text.contains("backtrace"), "{}", found.text);
            let opened = open_folder(&copied(&config), Missing::Both).is_ok();
            if found.is_well {
                assert!(opened, "step {step}: {}", found.text);
            } else {
                named += 1;
                for part in ["damaged   the index", "safe  ", "do     ", "--new-store"] {
                    assert!(
                        found.text.contains(part),
                        "step {step}, {part}: {}",
                        found.text
                    );
                }
            }
            fs::write(&log, &whole).unwrap();
        }
        assert!(named > 10, "{named}");
        assert!(verdict(&config).is_well);
    }

    /// The same data folder elsewhere; opening may write to it.
    fn copied(config: &Config) -> Config {
        let copy = config.data_dir.with_file_name("copy");
        let _ = fs::remove_dir_all(&copy);
        for (path, bytes) in contents(&config.data_dir) {
            let to = copy.join(path.strip_prefix(&config.data_dir).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(&to, bytes).unwrap();
            fs::set_permissions(&to, fs::metadata(&path).unwrap().permissions()).unwrap();
        }
        Config {
            data_dir: copy,
            ..config.clone()
        }
    }

    #[test]
    fn a_slot_file_that_is_cut_off_or_gone_is_named() {
        let (_folder, config) = node();
        let slots = config.store_path().join("blobs.slots");
        let whole = fs::read(&slots).unwrap();
        fs::write(&slots, &whole[..3 * 16_384]).unwrap();
        let found = verdict(&config);
        assert!(found.text.contains("2 whole, 2 damaged"), "{}", found.text);
        fs::remove_file(&slots).unwrap();
        let found = verdict(&config);
        assert!(
            !found.is_well && found.text.contains("0 whole, 4 damaged"),
            "{}",
            found.text
        );
        fs::write(&slots, whole).unwrap();
        assert!(verdict(&config).is_well);
    }

    #[test]
    fn a_seed_that_is_missing_or_of_another_node_is_named() {
        let (_folder, config) = node();
        let seed = config.seed_path();
        let text = fs::read_to_string(&seed).unwrap();
        let other = text.replace(&text[..1], if text.starts_with('0') { "1" } else { "0" });
        fs::write(&seed, other).unwrap();
        let found = verdict(&config);
        assert!(
            !found.is_well && found.text.contains("is not the seed"),
            "{}",
            found.text
        );
        fs::remove_file(&seed).unwrap();
        let found = verdict(&config);
        assert!(
            !found.is_well && found.text.contains("cannot read"),
            "{}",
            found.text
        );
        assert!(
            found.text.contains("restore the seed from a backup"),
            "{}",
            found.text
        );
    }
}

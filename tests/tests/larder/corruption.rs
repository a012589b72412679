//! A flipped bit or a truncated file is reported, never served.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use larder_protocol::{Key, Refusal};
use larder_recovery::{Looked, RecoveryError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::processes::{copy, larderd, larderd_command, relay, run, start_unless_it_refuses};
use crate::samples::samples;
use crate::wallet::{Client, blob, patient, runtime};

const BLOBS: u64 = 8;

/// Bytes that are flipped, each in a data folder of its own; see [`samples`].
const FLIPS: [usize; 2] = [15, 60];

/// Stores some blobs and stops the node.
fn fill(folder: &Path) {
    let relay = relay();
    let node = larderd(folder, &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        for number in 0..BLOBS {
            let key = client.keypair(number).public_key().into();
            client
                .provider
                .insert(key, blob(number))
                .await
                .expect("stored");
        }
    });
    assert!(node.process.terminate().0.success());
}

#[test]
fn a_flipped_bit_in_a_blob_is_refused_and_reported_and_the_others_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    // The blob's ciphertext stands in the slot file as it is.
    let path = folder.path().join("store/blobs.slots");
    let bytes = fs::read(&path).expect("the slot file");
    let third = blob(3);
    let needle = &third.as_bytes()[5_000..5_064];
    let at = bytes
        .windows(64)
        .position(|window| window == needle)
        .expect("it is in there");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("writable");
    file.write_all_at(&[bytes[at] ^ 1], at as u64)
        .expect("flipped");

    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    runtime().block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        for number in 0..BLOBS {
            let key = Key::from(client.keypair(number).public_key());
            let looked = client.provider.lookup(key).await;
            let wanted = match number {
                3 => Err(RecoveryError::Refused(Refusal::Internal)),
                _ => Ok(Looked::Found(blob(number))),
            };
            assert!(looked == wanted, "{number}");
        }
    });
    let (_, log) = node.process.terminate();
    assert!(log.contains("damaged"), "{log}");
}

#[test]
fn a_truncated_slot_file_keeps_the_node_from_starting() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path());
    let path = folder.path().join("store/blobs.slots");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("writable");
    file.set_len(3 * 16_384).expect("cut");
    let output = run(&mut larderd_command(folder.path(), &[]));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("damaged"), "{text}");
}

/// The files of a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

#[test]
fn a_byte_flipped_anywhere_in_the_data_folder_is_refused_or_reported_or_did_not_matter() {
    let folder = tempfile::tempdir().expect("a folder");
    let intact = folder.path().join("intact");
    fill(&intact);
    let relay = relay();
    let mut rng = StdRng::seed_from_u64(60);
    let (mut refused, mut served) = (0, 0);
    for flip in 0..samples(FLIPS) {
        let damaged = folder.path().join(format!("damaged-{flip}"));
        copy(&intact, &damaged);
        let files = files(&damaged);
        // Each in its turn, and where there is something in it.
        let file = &files[flip % files.len()];
        let mut bytes = fs::read(file).expect("readable");
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        let what = file
            .strip_prefix(&damaged)
            .expect("in there")
            .display()
            .to_string();
        if used == 0 {
            continue;
        }
        bytes[rng.random_range(0..used)] ^= 1 << rng.random_range(0..8);
        fs::write(file, bytes).expect("writable");
        match start_unless_it_refuses(&mut larderd_command(&damaged, &[relay.peer])) {
            Err((status, log)) => {
                refused += 1;
                assert_eq!(status.code(), Some(1), "{what}: {log}");
                assert!(!log.contains("panicked"), "{what}: {log}");
                assert!(
                    log.contains("larderd verify") || log.contains("seed"),
                    "{what}: {log}"
                );
            }
            Ok(node) => {
                served += 1;
                runtime().block_on(async {
                    let client = Client::connect(patient(relay.peer), &node.address).await;
                    for number in 0..BLOBS {
                        let key = Key::from(client.keypair(number).public_key());
                        let looked = client.provider.lookup(key).await;
                        let fine = looked == Ok(Looked::Found(blob(number)))
                            || looked == Err(RecoveryError::Refused(Refusal::Internal));
                        assert!(fine, "{what}: blob {number}");
                    }
                });
                let (_, log) = node.process.terminate();
                assert!(!log.contains("panicked"), "{what}: {log}");
            }
        }
        fs::remove_dir_all(&damaged).expect("removed");
    }
    assert!(
        refused > 0 && served > 0,
        "{refused} refused, {served} served"
    );
}

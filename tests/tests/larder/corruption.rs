//! A flipped bit or a truncated file is reported, never served.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use larder_protocol::{Key, Refusal};
use larder_recovery::{Looked, RecoveryError};

use crate::processes::{larderd, larderd_command, relay, run};
use crate::wallet::{Client, blob, patient, runtime};

const BLOBS: u64 = 8;

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

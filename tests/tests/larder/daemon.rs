//! `larderd` as its operator meets it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use larder_recovery::{Looked, Written};

use crate::processes::{larderd, larderd_command, relay, run};
use crate::wallet::{Client, blob, patient, runtime};

#[test]
fn without_any_configuration_it_starts_and_keeps_its_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("new");
    let first = larderd(&data, &[]);
    assert!(first.peer.address.ip().is_loopback());
    let mode = |path| {
        fs::metadata(path)
            .expect("it was made")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(data.join("seed")), 0o600);
    assert_eq!(mode(data.clone()), 0o700);
    let address = first.address.clone();
    first.process.kill();
    assert_eq!(larderd(&data, &[]).address, address);
}

#[test]
fn a_data_folder_has_one_daemon() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = larderd(folder.path(), &[]);
    let second = run(&mut larderd_command(folder.path(), &[]));
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use by another process"));
    drop(first);
}

#[test]
fn mistakes_are_told_apart_from_failures_and_name_the_right_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let usage = run(larderd_command(folder.path(), &[]).arg("--nonsense"));
    assert_eq!(usage.status.code(), Some(2));
    let config = folder.path().join("larderd.toml");
    fs::write(&config, "lisen = \"127.0.0.1:0\"\n").expect("written");
    let wrong = run(&mut larderd_command(folder.path(), &[]));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `listen`?"));
    let printed = run(larderd_command(folder.path(), &[]).args(["config", "print"]));
    fs::write(&config, &printed.stdout).expect("written");
    drop(larderd(folder.path(), &[]));
}

#[test]
fn it_stops_on_request_with_everything_acknowledged_on_disk_and_nothing_private_in_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let mut command = larderd_command(folder.path(), &[relay.peer]);
    command.env("LARDERD_LOG_LEVEL", "debug");
    let mut process = crate::processes::Process::start(&mut command);
    let address = process.line("address").parse().expect("an address");
    process.line("ready");

    let runtime = runtime();
    let keys = runtime.block_on(async {
        let client = Client::connect(patient(relay.peer), &address).await;
        let mut keys = Vec::new();
        for number in 0..10 {
            let keypair = client.keypair(number);
            let inserted = client
                .provider
                .insert(keypair.public_key().into(), blob(number))
                .await;
            assert_eq!(inserted, Ok(Written::New));
            client
                .provider
                .delete(&keypair, blob(number).hash())
                .await
                .expect("deleted");
            let key = client.keypair(100 + number).public_key().into();
            assert_eq!(
                client.provider.insert(key, blob(number)).await,
                Ok(Written::New)
            );
            keys.push(key);
        }
        // Malformed requests are counted, not logged.
        client.send_raw(&vec![1; 2_000]).await;
        keys
    });
    let (status, log) = process.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("stopped") && log.contains("inserts=20"),
        "{log}"
    );
    // Whatever identifies a key, a peer or a request is 16 bytes of hex or more.
    let longest = log
        .split(|letter: char| !letter.is_ascii_hexdigit())
        .map(str::len)
        .max();
    assert!(longest < Some(32), "{log}");

    let node = larderd(folder.path(), &[relay.peer]);
    runtime.block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        for (number, key) in keys.into_iter().enumerate() {
            assert_eq!(
                client.provider.lookup(key).await,
                Ok(Looked::Found(blob(number as u64)))
            );
        }
    });
}

//! `larderd` as its operator meets it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use larder_protocol::lookup::Lookup;
use larder_protocol::{Call, Key, Nonce, Request, SizeClass, envelope};
use larder_recovery::{Looked, Written};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::privacy::form_found;
use crate::processes::{larderd, larderd_command, relay, run, start};
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
    assert_eq!(wrong.status.code(), Some(2));
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
    let node = start(&mut command);
    let address = node.address;

    let runtime = runtime();
    let (keys, private) = runtime.block_on(async {
        let client = Client::connect(patient(relay.peer), &address).await;
        let mut keys = Vec::new();
        let nonce = Nonce(blob(1_000).hash().0);
        let mut private = vec![
            ("the LSP", relay.peer.node_id.point().serialize().to_vec()),
            ("a nonce", nonce.0.to_vec()),
        ];
        for number in 0..10 {
            let keypair = client.keypair(number);
            private.push(("a key", Key::from(keypair.public_key()).as_bytes().to_vec()));
            private.push(("a hash", blob(number).hash().0.to_vec()));
            private.push(("a blob", blob(number).as_bytes().to_vec()));
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
        let lookup = Request::unpaid(nonce, Call::Lookup(Lookup { key: keys[0] }));
        let contents = envelope::wrap(&lookup.encode(), SizeClass::Big);
        client.send_raw(&contents.expect("it fits")).await;
        (keys, private)
    });
    let (status, log) = node.process.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("stopped") && log.contains("inserts=20"),
        "{log}"
    );
    for (what, value) in private {
        assert_eq!(form_found(&log, &value), None, "{what}: {log}");
    }
    // And what identifies something that this test does not know is 16 bytes of hex or more.
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

#[test]
fn a_disk_that_fails_is_reported_once_and_ends_the_daemon_with_all_it_acknowledged_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    // A file that may grow no further then is an error like any other, and no signal.
    let daemon = larderd_command(folder.path(), &[relay.peer]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(daemon.get_program())
        .args(daemon.get_args());
    let variables = daemon.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let node = start(&mut command);
    let runtime = runtime();
    let client = runtime.block_on(Client::connect(patient(relay.peer), &node.address));
    let key = |number| Key::from(client.keypair(number).public_key());
    runtime.block_on(async {
        let written = client.provider.insert(key(0), blob(0)).await;
        assert_eq!(written, Ok(Written::New));

        let nothing = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        prlimit(Some(node.process.pid()), Resource::Fsize, nothing).expect("a child's limit");
    });
    let inserts: Vec<_> = (1..9)
        .map(|number| {
            let (provider, key) = (client.provider.clone(), key(number));
            runtime.spawn(async move { provider.insert(key, blob(number)).await })
        })
        .collect();
    let (status, log) = node.process.end();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(log.matches("ERROR").count(), 1, "{log}");
    assert!(log.contains("larderd: the store has stopped"), "{log}");
    // They were refused, or are still being retried: none was acknowledged.
    for insert in inserts.into_iter().filter(|insert| insert.is_finished()) {
        let written = runtime.block_on(insert).expect("no panic");
        assert!(written.is_err(), "{written:?}");
    }

    let node = larderd(folder.path(), &[relay.peer]);
    runtime.block_on(async {
        let client = Client::connect(patient(relay.peer), &node.address).await;
        let looked = client.provider.lookup(key(0)).await;
        assert!(looked == Ok(Looked::Found(blob(0))));
    });
}

#[test]
fn it_serves_on_when_nobody_reads_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let address = larderd(folder.path(), &[]).address;
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = larderd_command(folder.path(), &[relay.peer]);
    command.stdout(writer.try_clone().expect("one more"));
    let mut child = command.stderr(writer).spawn().expect("built");
    runtime().block_on(async {
        // It answers although its banner found no reader.
        Client::connect(patient(relay.peer), &address).await;
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("still running");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_store_is_closed_to_other_users_also_in_a_folder_that_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), open).expect("ours");
    drop(larderd(folder.path(), &[]));
    let store = fs::metadata(folder.path().join("store")).expect("it was made");
    assert_eq!(store.permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_operator_sees_lsps_come_and_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let relay = relay();
    let node = larderd(folder.path(), &[relay.peer]);
    node.process.logged("all LSPs are connected");
    drop(relay);
    node.process.logged("no LSP is connected");
    let (status, _) = node.process.terminate();
    assert_eq!(status.code(), Some(0));
}

//! What an operator is told when something is wrong with what `larderd` keeps, or with where it is to keep it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::processes::{Process, bare_larderd, larderd, larderd_command, run, start};

/// Runs one that has to refuse, and returns what it says.
fn refused(command: &mut Command) -> String {
    let output = run(command);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty(), "it said that it is ready");
    told
}

fn verify(folder: &Path) -> (Option<i32>, String) {
    let output = run(larderd_command(folder, &[]).arg("verify"));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), told)
}

#[test]
fn a_seed_that_is_missing_or_changed_beside_a_store_is_named_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let address = larderd(&data, &[]).address;
    let (seed, aside) = (data.join("seed"), folder.path().join("aside"));
    fs::rename(&seed, &aside).expect("moved");
    let told = refused(&mut larderd_command(&data, &[]));
    assert!(
        told.contains(&*seed.to_string_lossy()) && told.contains("is missing"),
        "{told}"
    );
    assert!(!seed.exists(), "another one was made");

    let text = fs::read_to_string(&aside).expect("a seed");
    fs::rename(&aside, &seed).expect("moved");
    let other = if text.starts_with('a') { "b" } else { "a" };
    fs::write(&seed, format!("{other}{}", &text[1..])).expect("written");
    let told = refused(&mut larderd_command(&data, &[]));
    assert!(told.contains("is not the seed that the store"), "{told}");
    assert_eq!(verify(&data).0, Some(3));

    fs::write(&seed, text).expect("written");
    assert_eq!(larderd(&data, &[]).address, address);
}

#[test]
fn a_store_that_is_missing_beside_its_seed_is_not_made_anew_but_by_a_flag_and_only_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let address = larderd(&data, &[]).address;
    // Its volume is not mounted.
    let (store, aside) = (data.join("store"), folder.path().join("aside"));
    fs::rename(&store, &aside).expect("moved");
    fs::create_dir(&store).expect("made");
    for command in [None, Some("restore")] {
        let told = refused(larderd_command(&data, &[]).args(command));
        assert!(
            told.contains("--new-store") && told.contains("mounted"),
            "{told}"
        );
        assert_eq!(fs::read_dir(&store).expect("a folder").count(), 0);
    }
    let node = start(larderd_command(&data, &[]).arg("--new-store"));
    assert_eq!(node.address, address);
    node.process.kill();
    // A flag that stays in a unit file makes no other one.
    let told = refused(larderd_command(&data, &[]).arg("--new-store"));
    assert!(told.contains("start without --new-store"), "{told}");
    assert_eq!(larderd(&data, &[]).address, address);
}

#[test]
fn a_damaged_index_is_told_in_words_with_what_is_safe_and_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(larderd(folder.path(), &[]).process.terminate());
    let (code, told) = verify(folder.path());
    assert_eq!(
        (code, told.lines().last()),
        (Some(0), Some("all is well")),
        "{told}"
    );

    let log = folder.path().join("store/index/db");
    fs::write(&log, b"").expect("cut off");
    let before = fs::read_dir(folder.path().join("store"))
        .expect("a folder")
        .count();
    let (code, told) = verify(folder.path());
    assert_eq!(code, Some(3), "{told}");
    for part in ["damaged   the index", "safe ", "do ", "--new-store"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(fs::read(&log).expect("there"), b"", "it was changed");
    let after = fs::read_dir(folder.path().join("store"))
        .expect("a folder")
        .count();
    assert_eq!(before, after);

    let told = refused(&mut larderd_command(folder.path(), &[]));
    assert!(
        told.contains("damaged") && told.contains("larderd verify"),
        "{told}"
    );
    assert!(!told.contains("backtrace"), "{told}");
}

#[test]
fn a_store_that_is_in_use_is_not_checked_and_neither_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = refused(larderd_command(folder.path(), &[]).arg("verify"));
    assert!(told.contains("store"), "{told}");
    let _running = larderd(folder.path(), &[]);
    let told = refused(larderd_command(folder.path(), &[]).arg("verify"));
    assert!(told.contains("in use"), "{told}");
}

#[test]
fn what_a_container_platform_sets_for_a_service_of_its_name_stops_no_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = larderd_command(folder.path(), &[]);
    command
        .env("LARDERD_SERVICE_HOST", "10.0.0.1")
        .env("LARDERD_SERVICE_PORT", "9735")
        .env("LARDERD_PORT", "tcp://10.0.0.1:9735")
        .env("LARDERD_PORT_9735_TCP_ADDR", "10.0.0.1")
        .env("LARDERD_ENV_LARDERD_LISTEN", "127.0.0.1:1");
    drop(start(&mut command));
    let output = run(command.env("LARDERD_PORT", "9735"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_clock_that_is_vouched_for_at_a_start_is_said_to_be_at_each() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = |args: &[&str]| {
        let node = start(larderd_command(folder.path(), &[]).args(args));
        let (_, log) = node.process.terminate();
        log.contains("--trust-clock")
    };
    assert!(!told(&[]) && told(&["--trust-clock"]) && told(&["--trust-clock"]));
}

/// Without a folder that is named, in a working folder of its own.
fn homeless(place: &Path) -> Command {
    let mut command = bare_larderd();
    command
        .current_dir(place)
        .env("LARDERD_PAYMENT", "none")
        .env("LARDERD_STORE_FREE_SPACE_FLOOR_MIB", "16")
        .env_remove("HOME")
        .env_remove("XDG_STATE_HOME")
        .env_remove("STATE_DIRECTORY");
    command
}

#[test]
fn without_a_home_folder_it_says_what_to_do_and_makes_nothing_where_it_was_started() {
    let place = tempfile::tempdir().expect("a folder");
    let told = |output: Output| {
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for home in [None, Some("")] {
        let mut command = homeless(place.path());
        // As a compose file leaves it.
        command.envs(home.map(|home| ("LARDERD_DATA_DIR", home)));
        command.envs(home.map(|home| ("HOME", home)));
        let told = told(run(&mut command));
        assert!(
            told.contains("--data-dir") && told.contains("HOME"),
            "{told}"
        );
    }
    assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 0);

    // As systemd names its StateDirectory.
    let state = place.path().join("state");
    let mut command = homeless(place.path());
    let mut process = Process::start(command.env("STATE_DIRECTORY", &state));
    assert_eq!(process.line("data"), state.display().to_string());
    process.line("ready");
    assert!(state.join("seed").exists());
}

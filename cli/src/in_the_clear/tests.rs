//! What is promised of files in the clear, in folders of all kinds.

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::mknodat;
use tempfile::TempDir;

use super::Existing::{IsReplaced, Stays};
use super::*;

struct Scene {
    folder: TempDir,
    to: PathBuf,
    wallet: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [to, wallet] = ["to", "wallet"].map(|name| folder.path().join(name));
        for folder in [&to, &wallet] {
            fs::create_dir(folder).unwrap();
        }
        Scene { folder, to, wallet }
    }

    fn target(&self) -> Target {
        Target::open(&self.to, &self.wallet).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.to).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn what_is_there_and_no_file_of_this_content_stays_as_it_is() {
    let scene = Scene::new();
    let there = |name: &str| scene.to.join(name);
    let outside = scene.folder.path().join("outside");
    fs::write(&outside, "outside").unwrap();
    symlink(&outside, there("link")).unwrap();
    symlink(scene.folder.path().join("nowhere"), there("dangling")).unwrap();
    fs::create_dir(there("folder")).unwrap();
    fs::write(there("other"), "mine").unwrap();
    fs::write(there("longer"), "contents").unwrap();
    let folder = openat(CWD, &scene.to, OFlags::DIRECTORY, Mode::empty()).unwrap();
    mknodat(&folder, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
    let mut target = scene.target();
    for (name, existing, reason) in [
        ("link", IsReplaced, "a link of that name"),
        ("dangling", IsReplaced, "a link of that name"),
        ("folder", IsReplaced, "a folder of that name"),
        ("pipe", IsReplaced, "a pipe of that name"),
        ("other", Stays, "other content"),
        ("longer", Stays, "other content"),
    ] {
        let error = target.place(name, b"content", existing).unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    target.end().unwrap();
    assert_eq!(fs::read(&outside).unwrap(), b"outside");
    assert_eq!(fs::read(there("other")).unwrap(), b"mine");
    assert!(!scene.folder.path().join("nowhere").exists());
    assert_eq!(
        scene.names(),
        ["dangling", "folder", "link", "longer", "other", "pipe"]
    );
}

#[test]
fn files_are_written_for_their_owner_and_may_be_written_again() {
    let scene = Scene::new();
    let file = scene.to.join("a");
    let large = vec![7; 100_000];
    for (content, existing) in [
        (&large[..], Stays),
        (&large, Stays),
        (b"new", IsReplaced),
        (b"", IsReplaced),
    ] {
        let mut target = scene.target();
        target.place("a", content, existing).unwrap();
        target.end().unwrap();
        assert_eq!(fs::read(&file).unwrap(), content);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(scene.names(), ["a"]);
    }
    assert!(fs::read_dir(&scene.wallet).unwrap().next().is_none());
}

/// A second name of the same file is what a folder shows that does not tell the two names apart.
#[test]
fn two_names_that_a_folder_takes_for_one_are_not_written_over_each_other() {
    let scene = Scene::new();
    for (content, existing) in [("another", IsReplaced), ("one", IsReplaced), ("one", Stays)] {
        let mut target = scene.target();
        target.place("A", b"one", IsReplaced).unwrap();
        fs::hard_link(scene.to.join("A"), scene.to.join("a")).unwrap();
        let error = target.place("a", content.as_bytes(), existing).unwrap_err();
        assert!(
            matches!(&error, Unplaced::SameAs(name) if name == "A"),
            "{error}"
        );
        assert_eq!(fs::read(scene.to.join("A")).unwrap(), b"one");
        fs::remove_file(scene.to.join("a")).unwrap();
    }
}

#[test]
fn what_a_killed_command_left_is_swept_and_nothing_else() {
    let scene = Scene::new();
    let value = ".larder-0123456789abcdef";
    let mut target = scene.target();
    target.place(value, b"a value of that name", Stays).unwrap();
    target.write(b"half of").unwrap();
    let temporary = target.temporary.clone();
    // It is killed: nothing is dropped.
    std::mem::forget(target);
    assert!(scene.names().contains(&temporary));
    sweep(&scene.wallet);
    assert_eq!(scene.names(), [value]);
    assert!(fs::read_dir(&scene.wallet).unwrap().next().is_none());

    // A note that was tampered with removes nothing but what is called so.
    let note = scene.wallet.join(NOTE);
    for file in [value.trim_end_matches("ef"), "../outside", "a"] {
        fs::write(scene.folder.path().join("outside"), "").unwrap();
        fs::write(scene.to.join("a"), "").unwrap();
        let folder = scene.to.clone().into();
        let file = file.to_owned();
        Notes(vec![Left { folder, file }]).save(&note).unwrap();
        sweep(&scene.wallet);
        assert_eq!(scene.names(), [value, "a"]);
        assert!(scene.folder.path().join("outside").exists());
    }
}

#[test]
fn a_folder_that_is_away_is_looked_for_again() {
    let scene = Scene::new();
    let target = scene.target();
    target.write(b"half of").unwrap();
    std::mem::forget(target);
    let away = scene.folder.path().join("away");
    fs::rename(&scene.to, &away).unwrap();
    sweep(&scene.wallet);
    fs::rename(&away, &scene.to).unwrap();
    assert_eq!(scene.names().len(), 1);
    sweep(&scene.wallet);
    assert_eq!(scene.names(), [""; 0]);
}

#[test]
fn the_wallets_own_folder_and_those_in_it_are_no_targets() {
    let scene = Scene::new();
    fs::create_dir_all(scene.wallet.join("purse/deep")).unwrap();
    symlink(&scene.wallet, scene.folder.path().join("link")).unwrap();
    let in_it = scene.wallet.join("purse");
    symlink(&in_it, scene.to.join("in-it")).unwrap();
    for to in [
        "wallet",
        "link",
        "to/../wallet",
        "wallet/purse",
        "link/purse/deep",
        "to/in-it",
    ] {
        let refused = Target::open(&scene.folder.path().join(to), &scene.wallet);
        assert!(matches!(refused, Err(CliError::Usage(_))), "{to}");
    }
}

#[test]
fn one_file_that_was_named_replaces_a_file_and_nothing_else() {
    let scene = Scene::new();
    let file = scene.to.join("a");
    for content in ["one", "two"] {
        write(&file, content.as_bytes(), &scene.wallet).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    symlink(&file, scene.to.join("link")).unwrap();
    for path in ["link", "", "a/", ".."] {
        let refused = write(&scene.to.join(path), b"x", &scene.wallet);
        assert!(refused.is_err(), "{path}");
    }
    write(Path::new("/dev/null"), b"x", &scene.wallet).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), "two");
    assert_eq!(scene.names(), ["a", "link"]);
}

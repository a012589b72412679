//! The words of a root key, as people type, paste and keep them.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::OFlags;
use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::by_hand::Set;
use crate::processes::{larder, run};

/// Those of BIP 39 whose entropy is zero, and their root key (as in the tests of `recovery`).
const TWELVE: [&str; 3] = [
    "abandon abandon abandon abandon\n",
    "abandon abandon abandon abandon\n",
    "abandon abandon abandon about\n",
];
const TWENTY_FOUR: [&str; 3] = [
    "abandon abandon abandon abandon abandon abandon abandon abandon\n",
    "abandon abandon abandon abandon abandon abandon abandon abandon\n",
    "abandon abandon abandon abandon abandon abandon abandon art\n",
];
const ROOT_OF_TWELVE: &str = "bd1edf2e5736a40c86596e2166d92c760de6c38758b0a2ffc47c5b2cf3478a4e";
const ROOT_OF_TWENTY_FOUR: &str =
    "93ba693c646a0b65b68dd63c7444a43159040d71b431dd73cc2846704943bd1e";

/// A terminal with nobody but the test at it.
struct Terminal {
    keyboard: File,
    /// What programs are given.
    line: File,
}

impl Terminal {
    fn open() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&keyboard).expect("ours");
        unlockpt(&keyboard).expect("ours");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name");
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits() as i32)
            .open(name.to_str().expect("text"))
            .expect("unlocked");
        Terminal {
            keyboard: File::from(keyboard),
            line,
        }
    }

    /// Starts a program that reads from it.
    fn start(&self, command: &mut Command) -> Child {
        let stdin = self.line.try_clone().expect("open");
        let piped = command.stdin(stdin).stdout(Stdio::piped());
        let child = piped.stderr(Stdio::piped()).spawn();
        child.expect("the program was built with this test")
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).expect("open");
    }

    /// Bytes of whole lines that nobody has read.
    fn waiting(&self) -> u64 {
        ioctl_fionread(&self.line).expect("a terminal")
    }

    fn shows_what_is_typed(&self) -> bool {
        let modes = tcgetattr(&self.line).expect("a terminal").local_modes;
        modes.contains(LocalModes::ECHO)
    }

    /// Everything it has shown, once no program has it open.
    fn shown(self) -> String {
        let Terminal { mut keyboard, line } = self;
        drop(line);
        let (mut shown, mut bytes) = (Vec::new(), [0; 1_024]);
        loop {
            match keyboard.read(&mut bytes) {
                Ok(0) => break,
                Ok(read) => shown.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody is left at the other end.
                Err(_) => break,
            }
        }
        String::from_utf8(shown).expect("text")
    }
}

fn init(set: &Set, wallet: &Path) -> Command {
    let mut init = larder(wallet);
    init.args(["init", "--provider", &set.node.address.to_string()])
        .args(["--lsp", &set.relay.peer.to_string(), "--words"]);
    init
}

fn root_of(wallet: &Path) -> String {
    let root = fs::read_to_string(wallet.join("root.key")).expect("a wallet");
    root.trim().to_owned()
}

fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn words_that_are_pasted_in_lines_are_read_to_the_last_and_nothing_reaches_the_shell() {
    let set = Set::unpaid();
    let cases = [
        // What a paste has behind the words goes nowhere; nor do empty lines end it.
        (
            format!(
                "{}\n{}rm -rf ~\n",
                TWENTY_FOUR[..2].concat(),
                TWENTY_FOUR[2]
            ),
            ROOT_OF_TWENTY_FOUR,
        ),
        (format!("{}\n", TWELVE.concat()), ROOT_OF_TWELVE),
        (
            format!("{}\n", TWELVE.concat().replace('\n', "\n\n")),
            ROOT_OF_TWELVE,
        ),
    ];
    for (number, (paste, root)) in cases.iter().enumerate() {
        let wallet = set.folder.path().join(format!("wallet-{number}"));
        let mut terminal = Terminal::open();
        // All of it waits before anybody reads.
        terminal.types(paste);
        while terminal.waiting() < paste.len() as u64 {
            std::thread::yield_now();
        }
        let child = terminal.start(&mut init(&set, &wallet));
        let ended = child.wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(root_of(&wallet), *root);
        assert_eq!(terminal.waiting(), 0, "left for the shell");
        assert!(terminal.shows_what_is_typed());
    }
}

#[test]
fn words_are_not_shown_while_they_are_typed_and_an_empty_line_ends_twelve() {
    let set = Set::unpaid();
    let wallet = set.folder.path().join("wallet");
    let mut terminal = Terminal::open();
    let mut child = terminal.start(&mut init(&set, &wallet));
    let stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = stderr.lines().map(|line| line.expect("text"));
    let ask = said.next().expect("it asks");
    assert!(ask.contains("not shown"), "{ask}");
    assert!(!terminal.shows_what_is_typed());
    for line in TWELVE {
        terminal.types(line);
    }
    let said_of_twelve = said.find(|line| line.starts_with("12 words"));
    assert!(said_of_twelve.is_some_and(|line| line.contains("Enter once more")));
    terminal.types("\n");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(root_of(&wallet), ROOT_OF_TWELVE);
    assert!(terminal.shows_what_is_typed());
    let shown = terminal.shown();
    assert_eq!(shown.trim(), "", "it was shown");
}

#[test]
fn a_terminal_shows_again_what_is_typed_after_an_interrupt() {
    let set = Set::unpaid();
    let wallet = set.folder.path().join("wallet");
    let mut terminal = Terminal::open();
    let mut child = terminal.start(&mut init(&set, &wallet));
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    stderr.read_line(&mut String::new()).expect("it asks");
    assert!(!terminal.shows_what_is_typed());
    terminal.types(TWELVE[0]);
    kill_process(Pid::from_child(&child), Signal::INT).expect("still running");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(terminal.shows_what_is_typed());
    assert!(!wallet.join("root.key").exists());
}

#[test]
fn words_from_a_file_are_taken_or_what_is_wrong_with_them_is_said() {
    let set = Set::unpaid();
    let path = |name: &str| set.folder.path().join(name);
    let words = TWELVE.concat();
    let numbered = words.split_whitespace().zip(1..);
    let numbered: Vec<String> = numbered
        .map(|(word, number)| format!("{number}. {word}\r\n"))
        .collect();
    let units = || {
        numbered
            .concat()
            .encode_utf16()
            .collect::<Vec<u16>>()
            .into_iter()
    };
    let taken: [Vec<u8>; 3] = [
        format!("\u{feff}{}", words.replace('\n', ",\u{200b} ")).into_bytes(),
        [
            vec![0xff, 0xfe],
            units().flat_map(u16::to_le_bytes).collect(),
        ]
        .concat(),
        words.replace("abandon", "aban").into_bytes(),
    ];
    for (number, text) in taken.iter().enumerate() {
        let wallet = path(&format!("wallet-{number}"));
        fs::write(path("words"), text).expect("a file");
        let ended = run(init(&set, &wallet).arg(path("words")));
        assert!(ended.status.success(), "{ended:?}");
        assert_eq!(root_of(&wallet), ROOT_OF_TWELVE);
    }
    let french = "abaisser abandon abdiquer abeille abolir aborder aboutir aboyer abrasif abreuver abriter abroger";
    let refused: [(&[u8], &str); 4] = [
        (french.as_bytes(), "French"),
        (&[words.as_bytes(), b"TREZOR"].concat(), "passphrase"),
        (
            &words.replace("about", "ab\u{43e}ut").into_bytes(),
            "U+043E",
        ),
        (b"abandon \xff", "from byte 9"),
    ];
    for (text, part) in refused {
        fs::write(path("words"), text).expect("a file");
        let text = complaint(&run(init(&set, &path("none")).arg(path("words"))));
        assert!(text.contains(part), "{text}");
        assert!(!path("none").join("root.key").exists());
    }
}

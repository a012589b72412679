//! Starting and ending the programs under test.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use larder_onion::{FaultCounts, PeerAddress};
use larder_protocol::Address;
use rustix::process::{Pid, Signal, kill_process};

const LARDER: &str = env!("CARGO_BIN_EXE_larder-under-test");
const LARDERD: &str = env!("CARGO_BIN_EXE_larderd-under-test");
const MALICIOUS: &str = env!("CARGO_BIN_EXE_malicious-larderd");
const FAULTY_RELAY: &str = env!("CARGO_BIN_EXE_faulty-relay");

/// A program that runs until it is ended, with its standard error collected.
pub(crate) struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    log: Receiver<String>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Process::spawn(command.stdin(Stdio::null()))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built with this test");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let (lines, log) = channel();
        std::thread::spawn(move || {
            // A program that is killed in the middle of a character ends the log there.
            for line in errors.lines().map_while(Result::ok) {
                // A test that is over reads no more.
                let _ = lines.send(line);
            }
        });
        Process { child, output, log }
    }

    /// Reads lines up to one that begins with `what`, and returns the rest of it.
    pub(crate) fn line(&mut self, what: &str) -> String {
        self.line_unless_it_ends(what).unwrap_or_else(|| {
            let log: Vec<String> = self.log.iter().collect();
            panic!("it ended before it said `{what}`: {log:?}")
        })
    }

    /// The same; `None` when it ends before.
    pub(crate) fn line_unless_it_ends(&mut self, what: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("text");
            if read == 0 {
                return None;
            }
            if let Some(rest) = line.strip_prefix(what) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    /// Waits for the next line of its log that contains `what`, and returns it.
    pub(crate) fn logged(&self, what: &str) -> String {
        let line = self.log.iter().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("it ended before it logged `{what}`"))
    }

    /// kill -9.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("still running");
        self.child.wait().expect("killed");
    }

    /// Asks it to end, as a service manager does; returns how it did and the rest of its log.
    pub(crate) fn terminate(self) -> (ExitStatus, String) {
        self.ask_to_end();
        self.end()
    }

    /// Waits until it ends by itself; returns how it did and the rest of its log.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("it ends");
        let log: Vec<String> = self.log.iter().collect();
        (status, log.join("\n"))
    }

    /// Resident memory, KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most resident memory there was at any moment, KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("still running");
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        line.expect("Linux")
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number")
    }

    fn ask_to_end(&self) {
        kill_process(self.pid(), Signal::TERM).expect("still running");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A relay process and how to reach it; it ends when this is dropped.
pub(crate) struct RelayProcess {
    process: Process,
    pub(crate) peer: PeerAddress,
}

impl RelayProcess {
    /// Ends a faulty relay and has it tell.
    pub(crate) fn end(mut self) -> FaultCounts {
        self.process.ask_to_end();
        let mut number = |what| self.process.line(what).parse().expect("a number");
        FaultCounts {
            dropped: number("dropped"),
            duplicated: number("duplicated"),
            delayed: number("delayed"),
            disconnected: number("disconnected"),
            ..FaultCounts::default()
        }
    }
}

pub(crate) fn relay() -> RelayProcess {
    relay_of(larder(Path::new("unused")).arg("relay"))
}

/// One that is connected to another one.
pub(crate) fn relay_beside(other: PeerAddress) -> RelayProcess {
    let mut command = larder(Path::new("unused"));
    relay_of(command.args(["relay", "--connect", &other.to_string()]))
}

pub(crate) fn faulty_relay(args: &[&str]) -> RelayProcess {
    relay_of(Command::new(FAULTY_RELAY).args(args))
}

fn relay_of(command: &mut Command) -> RelayProcess {
    let mut process = Process::start(command);
    let peer = process.line("lsp").parse().expect("a peer address");
    process.line("ready");
    RelayProcess { process, peer }
}

/// A storage node process.
pub(crate) struct NodeProcess {
    pub(crate) process: Process,
    pub(crate) address: Address,
    pub(crate) peer: PeerAddress,
}

/// `larderd` on a data folder, connected to these LSPs, that serves for free.
pub(crate) fn larderd(folder: &Path, lsps: &[PeerAddress]) -> NodeProcess {
    start(&mut larderd_command(folder, lsps))
}

/// The same where everybody pays, with tokens that are given away.
pub(crate) fn paid_larderd(folder: &Path, lsps: &[PeerAddress]) -> NodeProcess {
    start(
        larderd_command(folder, lsps)
            .env("LARDERD_PAYMENT", "credentials")
            .env("LARDERD_CREDENTIALS_TILL", "instant"),
    )
}

/// Starts a `larderd` and reads how to reach it.
pub(crate) fn start(command: &mut Command) -> NodeProcess {
    start_unless_it_refuses(command).unwrap_or_else(|(_, log)| panic!("it did not start: {log}"))
}

/// The same, of one that may end instead: how it did, and its log.
pub(crate) fn start_unless_it_refuses(
    command: &mut Command,
) -> Result<NodeProcess, (ExitStatus, String)> {
    let mut process = Process::start(command);
    let Some(address) = process.line_unless_it_ends("address") else {
        return Err(process.end());
    };
    let peer = process.line("listens").parse().expect("a peer address");
    process.line("ready");
    Ok(NodeProcess {
        process,
        address: address.parse().expect("an address"),
        peer,
    })
}

/// A storage node that lies as it is told: `tests/attacker/src/lie.rs` lists what it understands.
pub(crate) struct Malicious {
    process: Mutex<Process>,
    pub(crate) address: Address,
}

impl Malicious {
    /// On a data folder, connected to these LSPs, that serves for free or not, and is honest so far.
    pub(crate) fn start(folder: &Path, lsps: &[PeerAddress], payment: &str) -> Self {
        let mut command = Command::new(MALICIOUS);
        command
            .arg("--data-dir")
            .arg(folder)
            .env("LARDERD_PAYMENT", payment)
            .env("LARDERD_CREDENTIALS_TILL", "instant")
            .env("LARDERD_STORE_FREE_SPACE_FLOOR_MIB", "16")
            .stdin(Stdio::piped());
        for lsp in lsps {
            command.arg("--lsp").arg(lsp.to_string());
        }
        let mut process = Process::spawn(&mut command);
        let address = process.line("address").parse().expect("an address");
        process.line("ready");
        Malicious {
            process: Mutex::new(process),
            address,
        }
    }

    /// Has it do something else from now on; returns what it says when it does.
    pub(crate) fn order(&self, order: &str) -> String {
        let mut process = self.process.lock().expect("no panic");
        let input = process.child.stdin.as_mut().expect("piped");
        writeln!(input, "{order}").expect("it runs");
        process.line("done")
    }

    /// How many lies it has told since it was asked last, and how many blobs it has.
    pub(crate) fn told(&self) -> (u64, u64) {
        let told = self.order("told");
        let (lies, blobs) = told.split_once(' ').expect("two numbers");
        (
            lies.parse().expect("a number"),
            blobs.parse().expect("a number"),
        )
    }
}

/// A number of the last line of a log that names it, as `name=number`.
pub(crate) fn field(log: &str, name: &str) -> u64 {
    // Names end like others: `with_pass_dropped`.
    let value = log.rsplit_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let digits: String = value
        .unwrap_or_default()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no {name}: {log}"))
}

/// `larderd` without any argument.
pub(crate) fn bare_larderd() -> Command {
    Command::new(LARDERD)
}

pub(crate) fn larderd_command(folder: &Path, lsps: &[PeerAddress]) -> Command {
    let mut command = bare_larderd();
    command
        .arg("--data-dir")
        .arg(folder)
        .env("LARDERD_PAYMENT", "none")
        .env("LARDERD_STORE_FREE_SPACE_FLOOR_MIB", "16");
    for lsp in lsps {
        command.arg("--lsp").arg(lsp.to_string());
    }
    command
}

/// `larder` on a wallet folder.
pub(crate) fn larder(wallet: &Path) -> Command {
    let mut command = Command::new(LARDER);
    command.arg("--wallet").arg(wallet);
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .expect("the program was built with this test")
}

/// The same, of one that is not believed to end by itself: behind `limit` it is killed, and that is a failure.
#[track_caller]
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program was built with this test");
    // Read all the while: a full pipe would hold it up.
    let stdout = read_all(child.stdout.take().expect("piped"));
    let stderr = read_all(child.stderr.take().expect("piped"));
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if begun.elapsed() > limit {
            break None;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if status.is_none() {
        child.kill().expect("still a child");
        child.wait().expect("killed");
    }
    let (stdout, stderr) = (
        stdout.join().expect("no panic"),
        stderr.join().expect("no panic"),
    );
    let Some(status) = status else {
        panic!(
            "{command:?} did not end within {limit:?}; it printed\n{}\n{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        );
    };
    Output {
        status,
        stdout,
        stderr,
    }
}

fn read_all(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("a pipe");
        all
    })
}

/// Runs a command that has to succeed; returns its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("known").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

//! A role played by another process: this same program, started again.
//!
//! It prints a line about itself and then answers every line it is sent with one line, until
//! its input ends.

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Names the role in the environment of the process that plays it.
const ROLE: &str = "LARDER_BENCH_ROLE";
/// What the role needs to know, separated by spaces.
const SCRIPT: &str = "LARDER_BENCH_SCRIPT";

/// The line to which every role answers with the CPU seconds it has used.
const CPU: &str = "cpu";

/// A process that plays a role. It ends when this is dropped.
pub(crate) struct Actor {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Where the role can be reached: what it said first.
    pub(crate) address: String,
}

impl Actor {
    /// Starts a process for `role`.
    pub(crate) fn cast(role: &str, script: &[&str]) -> io::Result<Actor> {
        let mut process = Command::new(env::current_exe()?)
            .env(ROLE, role)
            .env(SCRIPT, script.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut actor = Actor {
            process,
            input,
            output: BufReader::new(output),
            address: String::new(),
        };
        actor.address = actor.hear()?;
        Ok(actor)
    }

    /// Sends a line and returns the line that answers it.
    pub(crate) fn ask(&mut self, line: &str) -> io::Result<String> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{line}")?;
        self.hear()
    }

    /// CPU seconds the role has used, in all its threads.
    pub(crate) fn cpu(&mut self) -> io::Result<f64> {
        self.ask(CPU)?.parse().map_err(io::Error::other)
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // Its input ends, so it does.
        self.input = None;
        let _ = self.process.wait();
    }
}

/// The role this process was cast for, and its script, if it was cast at all.
pub(crate) fn part() -> Option<(String, Vec<String>)> {
    let script = env::var(SCRIPT).unwrap_or_default();
    let words = script.split_whitespace().map(str::to_owned).collect();
    Some((env::var(ROLE).ok()?, words))
}

/// Says `first`, then answers lines with `answer` until there are no more.
pub(crate) fn perform(
    first: &str,
    mut answer: impl FnMut(&str) -> Result<String, Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    println!("{first}");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let said = match line.as_str() {
            CPU => cpu_time::ProcessTime::now()
                .as_duration()
                .as_secs_f64()
                .to_string(),
            other => answer(other)?,
        };
        println!("{said}");
    }
    Ok(())
}

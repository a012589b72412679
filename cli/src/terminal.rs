//! A secret that is typed at a terminal, or pasted there: it is not shown, and nothing of it reaches whatever reads the
//! terminal next.
//!
//! A paste has line breaks anywhere. So lines are read until the secret is whole, and what is still waiting behind it
//! is thrown away. Ctrl-C ends the program with the terminal as it was.

use std::io;

use rustix::io::{ioctl_fionread, retry_on_intr};
use rustix::stdio::stdin;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::output::note;

/// The longest secret that is typed, bytes.
pub(crate) const LONGEST: usize = 4_096;

/// The exit code of a program that Ctrl-C has ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// What there is to do after a line.
pub(crate) enum Next {
    /// The secret is whole.
    End,
    /// It may be whole, and an empty line says so; until then this is said.
    EndIfEmpty(String),
    /// More has to come; after an empty line this is said.
    More(String),
}

/// Asks for a secret; `next` sees all that was typed so far. An end of input ends it as it is.
pub(crate) fn typed(ask: &str, next: impl Fn(&[u8]) -> Next) -> io::Result<Zeroizing<Vec<u8>>> {
    let _hidden = Hidden::begin()?;
    note(ask);
    let mut secret = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut line = Zeroizing::new([0; LONGEST]);
    loop {
        // A terminal gives one line at a time.
        let read = retry_on_intr(|| rustix::io::read(stdin(), &mut *line))?;
        if read == 0 {
            break;
        }
        let is_empty = line[..read].iter().all(u8::is_ascii_whitespace);
        if secret.len() + read > LONGEST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {LONGEST} bytes were typed"),
            ));
        }
        secret.extend_from_slice(&line[..read]);
        // An empty line in the middle of what was pasted ends nothing.
        let more_waits = ioctl_fionread(stdin()).is_ok_and(|waiting| waiting > 0);
        match next(&secret) {
            Next::End => break,
            Next::EndIfEmpty(_) if is_empty && !more_waits => break,
            Next::EndIfEmpty(text) if !is_empty && !more_waits => note(&text),
            Next::More(text) if is_empty && !more_waits => note(&text),
            Next::EndIfEmpty(_) | Next::More(_) => {}
        }
    }
    Ok(secret)
}

/// A terminal that does not show what is typed, for as long as this lives.
struct Hidden {
    before: Termios,
}

impl Hidden {
    /// From now on Ctrl-C ends the program by way of a task: by the signal alone it would leave the terminal as it is.
    fn begin() -> io::Result<Self> {
        let mut interrupts = signal(SignalKind::interrupt())?;
        let before = tcgetattr(stdin())?;
        let kept = before.clone();
        tokio::spawn(async move {
            if interrupts.recv().await.is_some() {
                restore(&kept);
                std::process::exit(INTERRUPTED);
            }
        });
        let mut hidden = before.clone();
        hidden.local_modes -= LocalModes::ECHO;
        // That Enter was pressed is shown.
        hidden.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
        tcsetattr(stdin(), OptionalActions::Now, &hidden)?;
        Ok(Hidden { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

/// Throws away what was typed and nobody has read, and shows again what is.
fn restore(before: &Termios) {
    // A terminal that is gone shows nothing.
    let _ = tcflush(stdin(), QueueSelector::IFlush);
    let _ = tcsetattr(stdin(), OptionalActions::Now, before);
}

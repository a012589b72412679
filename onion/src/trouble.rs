//! Why a first hop is not connected.

use std::io;

/// Why a first hop is not connected, as far as can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its host answers, and nobody listens at this port.
    #[error("nothing listens there")]
    Refused,
    /// This machine has no way there.
    #[error("there is no way there: {0}")]
    NoWay(io::ErrorKind),
    /// Nobody knows its host's name, or whom to ask for it.
    #[error("the name of its host cannot be looked up")]
    Unnamed,
    /// Nothing came back for two seconds.
    #[error("it does not answer")]
    Silent,
    /// The connection ended before it was one: another node listens there, or this one takes nobody more.
    #[error("what listens there is another node, or takes nobody more")]
    TurnedAway,
}

impl Trouble {
    /// What a system says about a connection that did not come about.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Refused,
            io::ErrorKind::TimedOut => Trouble::Silent,
            kind => Trouble::NoWay(kind),
        }
    }
}

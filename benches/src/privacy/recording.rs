//! What a storage node sees: every request that reaches it, in the order of arrival, with its answer.
//!
//! Whose request it was stands beside, for scoring only: attacks get [`Seen`], never [`Who`].

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use larder_protocol::{Done, Key, Op, Pass, Payment, Refusal, Reply, Request, envelope};

/// One arrival, as the storage node has it.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// The peer that it came from, to which its answer goes.
    pub(crate) lsp: usize,
    pub(crate) pass: Option<Pass>,
    pub(crate) op: Op,
    pub(crate) key: Option<Key>,
    pub(crate) paid: bool,
    /// The request, without what fills its message up.
    pub(crate) body: Vec<u8>,
    pub(crate) outcome: Outcome,
    /// Bytes of the answer.
    pub(crate) answer: usize,
    /// How many epochs the storage node had entered before.
    pub(crate) epoch: u32,
}

/// What was answered, as far as it tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Outcome {
    Done,
    Found,
    Absent,
    Deleted,
    /// Of an epoch that is over, or not yet the storage node's.
    WrongEpoch,
    Refused,
}

/// Whose request it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Who {
    pub(crate) wallet: usize,
    /// Which of its commands or sessions.
    pub(crate) command: u32,
}

/// All arrivals but repetitions, which are the same bytes and tell nothing new.
#[derive(Default)]
pub(crate) struct Recording {
    pub(crate) seen: Vec<Seen>,
    pub(crate) who: Vec<Who>,
    /// Messages that came again.
    pub(crate) again: u64,
    known: HashSet<u64>,
}

impl Seen {
    /// `None` where request or answer are none, which no wallet of ours sends.
    pub(crate) fn of(
        at: Duration,
        (lsp, pass): (usize, Option<Pass>),
        contents: &[u8],
        answer: &[u8],
        epoch: u32,
    ) -> Option<Seen> {
        let body = envelope::unwrap(contents).ok()?;
        let request = Request::decode(body).ok()?;
        let answer = envelope::unwrap(answer).ok()?;
        let reply = Reply::decode(answer).ok()?;
        Some(Seen {
            at,
            lsp,
            pass,
            op: request.call.op(),
            key: request.call.key().copied(),
            paid: matches!(request.payment, Payment::Credentials(_)),
            body: body.to_vec(),
            outcome: match reply.outcome {
                Ok(Done::Found(_) | Done::Cell(_)) => Outcome::Found,
                Ok(_) => Outcome::Done,
                Err(Refusal::Absent) => Outcome::Absent,
                Err(Refusal::Deleted) => Outcome::Deleted,
                Err(Refusal::WrongEpoch { .. }) => Outcome::WrongEpoch,
                Err(_) => Outcome::Refused,
            },
            answer: answer.len(),
            epoch,
        })
    }

    /// Whether it has a key of the primary store.
    pub(crate) fn is_keyed(&self) -> bool {
        matches!(self.op, Op::Insert | Op::Lookup | Op::Delete)
    }

    /// Whether it has a price.
    pub(crate) fn is_payment(&self) -> bool {
        self.paid && !matches!(self.op, Op::Reissue | Op::Purchase)
    }
}

impl Recording {
    pub(crate) fn take(&mut self, seen: Seen, who: Who) {
        let mut hasher = DefaultHasher::new();
        seen.body.hash(&mut hasher);
        match self.known.insert(hasher.finish()) {
            true => {
                self.seen.push(seen);
                self.who.push(who);
            }
            false => self.again += 1,
        }
    }

    pub(crate) fn same(&self, one: usize, other: usize) -> bool {
        self.who[one].wallet == self.who[other].wallet
    }

    /// The places of those that are so.
    pub(crate) fn places(&self, is_so: impl Fn(&Seen) -> bool) -> Vec<usize> {
        (0..self.seen.len())
            .filter(|&at| is_so(&self.seen[at]))
            .collect()
    }
}

//! How far a request has come, and how long its next attempt waits.

use std::time::Duration;

use larder_protocol::NodeId;
use tokio::time::Instant;

use super::Reply;
use crate::desk::Answer;

/// How far a request has come that was given its first place.
pub(super) struct Progress {
    pub(super) sent: u32,
    /// Of those sent, the ones whose time was up. A lost connection says nothing of the
    /// storage node.
    given_up: u32,
    /// Whether the next attempt shows the request's pass, if it has one.
    pub(super) shows_pass: bool,
    /// Time spent waiting for places, and since when it waits for another.
    queued: Duration,
    queueing: Option<Instant>,
    /// The nodes of the first circuit; later ones may be detours nobody vouches for.
    pub(super) hops: Vec<NodeId>,
}

impl Progress {
    /// Nothing was sent yet.
    pub(super) fn new(shows_pass: bool) -> Self {
        Progress {
            sent: 0,
            given_up: 0,
            shows_pass,
            queued: Duration::ZERO,
            queueing: None,
            hops: Vec::new(),
        }
    }

    /// The time of an attempt was up. The next one shows the pass if this one did not, and if
    /// it did, none: the storage node may not honour it.
    pub(super) fn give_up(&mut self) {
        self.given_up += 1;
        self.shows_pass = !self.shows_pass;
    }

    /// Timeouts to wait before the next attempt: none, one, three, seven and no more. The
    /// pacers keep retries from storming; this is for a storage node that is down.
    pub(super) fn backoff(&self) -> u32 {
        (1 << self.given_up.saturating_sub(1).min(3)) - 1
    }

    pub(super) fn queue(&mut self) {
        self.queueing = Some(Instant::now());
    }

    pub(super) fn leave_queue(&mut self) {
        self.queued = self.queued();
        self.queueing = None;
    }

    pub(super) fn queued(&self) -> Duration {
        self.queued
            + self
                .queueing
                .map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn reply(&self, answer: Answer) -> Reply {
        Reply {
            contents: answer.contents,
            attempts: self.sent,
            round_trip: answer.round_trip,
        }
    }
}

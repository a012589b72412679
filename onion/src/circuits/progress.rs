//! How far a request has come, and how long its next attempt waits.

use std::time::Duration;

use larder_protocol::NodeId;
use tokio::time::Instant;

use super::Reply;
use crate::desk::Answer;

/// How far a request has come that was given its first place.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) sent: u32,
    /// Of those sent, the ones whose time was up. A lost connection says nothing of the
    /// storage node.
    given_up: u32,
    /// Time spent waiting for places, and since when it waits for another.
    queued: Duration,
    queueing: Option<Instant>,
    /// The nodes of the first circuit; later ones may be detours nobody vouches for.
    pub(super) hops: Vec<NodeId>,
}

impl Progress {
    /// Whether the next attempt shows the request's pass, if it has one: the first one does, and
    /// then every other one that follows an attempt given up, for the storage node may not honour
    /// the pass any more.
    pub(super) fn shows_pass(&self) -> bool {
        self.given_up.is_multiple_of(2)
    }

    /// The time of an attempt was up.
    pub(super) fn give_up(&mut self) {
        self.given_up += 1;
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

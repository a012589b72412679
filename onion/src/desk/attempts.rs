//! What a request holds of the desk while it waits: its turn, then its attempts. Dropping
//! either gives everything back, which is how a request is cancelled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Attempt, Context, Desk, Outcome, Place};
use larder_protocol::NodeId;

/// A wait for a [`Place`]. Dropping it leaves the queue.
pub(crate) struct Turn {
    pub(super) desk: Arc<Desk>,
    pub(super) turn: oneshot::Receiver<Place>,
}

impl Turn {
    /// Waits. `None` when the desk was closed.
    pub(crate) async fn come(&mut self) -> Option<Place> {
        (&mut self.turn).await.ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turn.close();
        // A place that was handed out and never taken goes back.
        if let Ok(place) = self.turn.try_recv() {
            self.desk.change(|state, _| {
                if state.is_current(&place) {
                    state.links[place.link].pacer.abandoned();
                }
            });
        }
    }
}

/// The attempts of one request. Dropping it forgets them all.
pub(crate) struct Attempts {
    desk: Arc<Desk>,
    contexts: Vec<Context>,
    sender: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

impl Attempts {
    pub(crate) fn new(desk: &Arc<Desk>) -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        Attempts {
            desk: Arc::clone(desk),
            contexts: Vec::new(),
            sender,
            outcomes,
        }
    }

    /// Begins an attempt in the place it was given: from now on its answer counts. Returns
    /// how long to wait for it.
    pub(crate) fn begin(&mut self, place: &Place, context: Context, hops: Vec<NodeId>) -> Duration {
        self.contexts.push(context);
        let outcome = self.sender.clone();
        self.desk.change(|state, now| {
            for hop in &hops {
                state.tallies.entry(*hop).or_default().sent += 1;
            }
            let in_flight = state.is_current(place);
            let timeout = state.links[place.link].pacer.timeout();
            if !in_flight {
                let _ = outcome.send(Outcome::LinkLost(context));
            }
            let attempt = Attempt {
                link: place.link,
                sent_at: now,
                in_flight,
                hops,
                outcome,
            };
            state.attempts.insert(context, attempt);
            timeout
        })
    }

    /// The attempt is given up; its answer still counts if it comes.
    pub(crate) fn give_up(&self, context: &Context) {
        self.desk.change(|state, now| {
            if let Some(attempt) = state.attempts.get_mut(context)
                && std::mem::take(&mut attempt.in_flight)
            {
                let (link, sent_at) = (attempt.link, attempt.sent_at);
                state.links[link].pacer.lost(now, sent_at);
            }
        });
    }

    /// Waits for what comes of the attempt `context`, or an answer to an earlier one.
    pub(crate) async fn outcome(&mut self, context: &Context) -> Outcome {
        loop {
            match self.outcomes.recv().await {
                Some(Outcome::LinkLost(of)) if of != *context => {}
                Some(outcome) => return outcome,
                // Not while we hold a sender ourselves.
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for an answer to any of the attempts.
    pub(crate) async fn answer(&mut self) -> Answer {
        loop {
            match self.outcomes.recv().await {
                Some(Outcome::Answer(answer)) => return answer,
                Some(Outcome::LinkLost(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.desk.change(|state, _| {
            for context in &self.contexts {
                state.forget(context);
            }
        });
    }
}

//! The threads' way through the [desk](crate::desk): which thread takes which step.
//!
//! Cheap steps are taken on the thread that took the request in. Proofs wait for the verifiers,
//! commits for the committer; neither the disk nor the arithmetic holds up the other. What is
//! above the bounds is dropped without a word: the client's retry is the queue.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use larder_onion::{Incoming, Responder};
use larder_store::{Committer, Effect, Outcome, StoreError};

use crate::desk::Desk;
use crate::gate::{Gate, Place};
use crate::step::{Pending, Step, Unverified};
use crate::waiting::Waiting;

/// What the threads share.
pub(crate) struct Pipeline {
    pub(crate) desk: Arc<Desk>,
    pub(crate) committer: Committer,
    /// Requests whose proofs have yet to be checked; as many as the gate lets in.
    pub(crate) unverified: Arc<Waiting<Unproven>>,
    /// Where what was committed goes; the threads behind it answer.
    pub(crate) committed: Sender<Committed>,
    pub(crate) gate: Arc<Gate>,
    /// The part of it for what nobody has paid for, where others do.
    pub(crate) favours: Arc<Gate>,
}

/// A request that waits for a verifier.
pub(crate) struct Unproven {
    request: Unverified,
    responder: Responder,
    place: Place,
}

/// A request whose outcome is known, on its way to its answer.
pub(crate) struct Committed {
    pending: Pending,
    outcome: Result<Outcome, Arc<StoreError>>,
    responder: Responder,
    place: Place,
}

impl Pipeline {
    /// Serves one request, or hands it on.
    pub(crate) fn serve(&self, incoming: Incoming) {
        let Incoming {
            contents,
            responder,
        } = incoming;
        let step = self.desk.receive(&contents);
        drop(contents);
        match step {
            Step::Answer(contents) => send(responder, &contents),
            Step::Drop => {}
            step => {
                let gate = match step.is_a_favour() {
                    true => &self.favours,
                    false => &self.gate,
                };
                match gate.enter() {
                    Some(place) => self.go_on(step, responder, place),
                    None => self.desk.tally.shed.one(),
                }
            }
        }
    }

    /// Checks the proofs of these requests, and performs those that are paid.
    pub(crate) fn verify(&self, batch: Vec<Unproven>) {
        let (requests, visitors): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|unproven| {
                let visitor = (unproven.responder, unproven.place);
                (unproven.request, visitor)
            })
            .unzip();
        for (step, (responder, place)) in self.desk.verify(requests).into_iter().zip(visitors) {
            self.go_on(step, responder, place);
        }
    }

    /// Answers what was committed.
    pub(crate) fn conclude(&self, committed: Committed) {
        let Committed {
            pending,
            outcome,
            responder,
            place,
        } = committed;
        self.go_on(self.desk.conclude(pending, outcome), responder, place);
    }

    fn go_on(&self, mut step: Step, responder: Responder, place: Place) {
        loop {
            step = match step {
                Step::Perform(paid) => self.desk.perform(*paid),
                Step::Answer(contents) => return send(responder, &contents),
                Step::Drop => return,
                Step::Verify(request) => {
                    return self.unverified.push(Unproven {
                        request: *request,
                        responder,
                        place,
                    });
                }
                Step::Commit(effect, pending) => {
                    return self.commit(*effect, *pending, responder, place);
                }
            };
        }
    }

    fn commit(&self, effect: Effect, pending: Pending, responder: Responder, place: Place) {
        let committed = self.committed.clone();
        let done = Box::new(move |outcome| {
            // Nobody listens only when the node is stopping; the client asks again.
            let _ = committed.send(Committed {
                pending,
                outcome,
                responder,
                place,
            });
        });
        // The committer's queue is as long as the gate is wide, so it is never full: without
        // room it has no thread.
        if self.committer.submit(effect, done).is_err() {
            self.desk.tally.shed.one();
            (self.desk.failure).tell(&"the thread that commits has ended");
        }
    }
}

fn send(responder: Responder, contents: &[u8]) {
    // An answer that finds no room is counted by the network side.
    let _ = responder.answer(contents);
}

//! From a request to its operation: parse, check, cheapest first.
//!
//! Reads are served on the thread that took the request in. Writes are handed to the committer
//! and answered on threads of their own, so that neither the disk nor the arithmetic of an
//! answer holds up the next commit. What is above the bounds is dropped without a word: the
//! client's retry is the queue.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use larder_onion::Incoming;
use larder_protocol::{
    BlobHash, Call, DecodeError, Done, Payment, Refusal, Request, SizeClass, envelope,
};
use larder_store::{Committer, Effect, Engine, Outcome, StoreError};
use tokio::sync::watch;

use crate::answer::{Caller, Signer, refusal};
use crate::{delete, info, insert, lookup};

/// Everything a request meets on its way.
pub(crate) struct Pipeline {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) signer: Signer,
    pub(crate) committer: Committer,
    /// Where finished writes go; the threads behind it answer them.
    pub(crate) written: Sender<Written>,
    pub(crate) writes: Arc<Gate>,
    pub(crate) failure: Failure,
    pub(crate) tally: Tally,
}

/// Requests by what was asked, and what was dropped.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) info: AtomicU64,
    pub(crate) inserts: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) lookups: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) shed: AtomicU64,
}

/// A write whose outcome is known, on its way to its answer.
pub(crate) struct Written {
    caller: Caller,
    outcome: Result<Done, Refusal>,
    stored: Option<BlobHash>,
    _place: Place,
}

impl Written {
    pub(crate) fn answer(self, signer: &Signer) {
        self.caller.answer(signer, self.outcome, self.stored);
    }
}

impl Pipeline {
    /// Serves one request, or hands it on.
    pub(crate) fn serve(&self, incoming: Incoming) {
        let Incoming {
            contents,
            responder,
        } = incoming;
        let class = SizeClass::of(&contents);
        let request = match envelope::unwrap(&contents).and_then(Request::decode) {
            Ok(request) => request,
            Err(error) => {
                count(&self.tally.malformed);
                let why = match error {
                    DecodeError::UnsupportedVersion(_) => Refusal::UnsupportedVersion,
                    _ => Refusal::Malformed,
                };
                // The network side counts what finds no room.
                let _ = responder.answer(&refusal(why, class));
                return;
            }
        };
        drop(contents);
        let caller = Caller {
            subject: request.subject(),
            class,
            responder,
        };
        match request.call {
            // This node sells nothing, so nobody can have paid it.
            Call::Transfer | Call::Reissue | Call::Quote(_) | Call::Purchase => {
                caller.answer(&self.signer, Err(Refusal::NotOffered), None);
            }
            _ if request.payment != Payment::None => {
                caller.answer(&self.signer, Err(Refusal::WrongPrice { price: 0 }), None);
            }
            Call::Info => {
                count(&self.tally.info);
                info::serve(self, caller);
            }
            Call::Lookup(lookup) => {
                count(&self.tally.lookups);
                lookup::serve(self, caller, &lookup);
            }
            Call::Insert(insert) => {
                count(&self.tally.inserts);
                insert::serve(self, caller, insert);
            }
            Call::Delete(delete) => {
                count(&self.tally.deletes);
                delete::serve(self, caller, &delete);
            }
        }
    }

    /// Commits an effect, then has it answered with what `judge` makes of the outcome.
    pub(crate) fn write(
        &self,
        effect: Effect,
        caller: Caller,
        stored: Option<BlobHash>,
        judge: fn(Outcome) -> Result<Done, Refusal>,
    ) {
        let Some(place) = self.writes.enter() else {
            return count(&self.tally.shed);
        };
        let (written, failure) = (self.written.clone(), self.failure.clone());
        let done = Box::new(move |result: Result<Outcome, Arc<StoreError>>| {
            let outcome = match result {
                Ok(outcome) => judge(outcome),
                Err(error) => {
                    failure.tell(&error);
                    Err(Refusal::Internal)
                }
            };
            // Nobody listens only when the node is stopping; the client asks again.
            let _ = written.send(Written {
                caller,
                outcome,
                stored,
                _place: place,
            });
        });
        // The committer's queue is as long as the gate is wide, so it is never full: without
        // room it has no thread.
        if self.committer.submit(effect, done).is_err() {
            count(&self.tally.shed);
            self.failure.tell(&"the thread that commits has ended");
        }
    }

    /// Tells the operator; the client learns that it was our fault and no more.
    pub(crate) fn broken(&self, error: &StoreError) -> Refusal {
        match error {
            StoreError::Stopped => self.failure.tell(error),
            _ => tracing::error!("the store: {error}"),
        }
        Refusal::Internal
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// That nothing can be written any more: told once, and for good.
#[derive(Clone)]
pub(crate) struct Failure(Arc<watch::Sender<bool>>);

impl Failure {
    pub(crate) fn new() -> Self {
        Failure(Arc::new(watch::Sender::new(false)))
    }

    /// Logs the first failure. What comes after it is its consequence.
    fn tell(&self, why: &dyn Display) {
        if !self.0.send_replace(true) {
            tracing::error!("the store: {why}");
        }
    }

    /// Waits for the failure.
    pub(crate) async fn told(&self) {
        // The sender is ours, so the wait ends with a failure or never.
        let _ = self.0.subscribe().wait_for(|told| *told).await;
    }
}

/// Bounds how many writes wait at once, and lets none in any more once it is closed.
pub(crate) struct Gate {
    room: usize,
    inside: AtomicUsize,
    closed: AtomicBool,
    left: (Mutex<()>, Condvar),
}

/// A place behind the gate, given back when dropped.
pub(crate) struct Place(Arc<Gate>);

impl Gate {
    pub(crate) fn new(room: usize) -> Arc<Self> {
        Arc::new(Gate {
            room,
            inside: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            left: Default::default(),
        })
    }

    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let others = self.inside.fetch_add(1, Ordering::SeqCst);
        // Dropping it undoes the count, and tells whoever waits for an empty gate.
        let place = Place(self.clone());
        // Asked after entering: whoever closes the gate either is seen here or sees us inside.
        (others < self.room && !self.closed.load(Ordering::SeqCst)).then_some(place)
    }

    /// Lets nobody in from now on, and waits until nobody is inside, at most that long; says
    /// whether that came true.
    pub(crate) fn close(&self, at_most: Duration) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        let (lock, left) = &self.left;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |_: &mut ()| self.inside.load(Ordering::SeqCst) > 0;
        let result = left.wait_timeout_while(guard, at_most, inside);
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
        let _guard = self.0.left.0.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.left.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_in_as_many_as_there_is_room_for_and_others_after_them() {
        let gate = Gate::new(2);
        let first = gate.enter();
        let second = gate.enter();
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn closing_a_gate_waits_for_the_last_one_to_leave_and_lets_nobody_in() {
        let gate = Gate::new(2);
        let place = gate.enter();
        assert!(!gate.close(Duration::ZERO));
        assert!(gate.enter().is_none());
        let waiting = std::thread::spawn({
            let gate = gate.clone();
            move || gate.close(Duration::from_secs(60))
        });
        drop(place);
        assert!(waiting.join().unwrap());
        assert!(gate.enter().is_none());
    }

    #[test]
    fn whoever_got_in_is_out_again_when_a_gate_has_closed_whatever_the_timing() {
        for _ in 0..1_000 {
            let gate = Gate::new(4);
            let closed = Arc::new(AtomicBool::new(false));
            let entering = std::thread::spawn({
                let (gate, closed) = (gate.clone(), closed.clone());
                move || {
                    while let Some(_place) = gate.enter() {
                        assert!(!closed.load(Ordering::SeqCst));
                    }
                }
            });
            assert!(gate.close(Duration::from_secs(60)));
            closed.store(true, Ordering::SeqCst);
            entering.join().unwrap();
        }
    }
}

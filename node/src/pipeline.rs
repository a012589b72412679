//! The threads' way through the [desk](crate::desk): which thread takes which step.
//!
//! Cheap steps are taken on the thread that took the request in. Proofs wait for the verifiers,
//! commits for the committer; neither the disk nor the arithmetic holds up the other. What is
//! above the bounds is dropped without a word: the client's retry is the queue.
//!
//! A payment is known to be false only once its proofs were checked, which costs as much as checking a good one,
//! and anybody can write one that reads well. So what shows no pass has a part of the room, and verifiers that yield to
//! all others.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use larder_onion::{Incoming, Responder};
use larder_store::{Committer, Effect, Outcome, StoreError};

use crate::desk::Desk;
use crate::gate::{Gate, Place};
use crate::step::{Pending, Step, Unverified};
use crate::waiting::Waiting;

/// One of so many requests that wait may be one that nobody has paid for.
const FAVOURS: usize = 8;

/// One of so many may be one whose payment is yet to be checked and that showed no pass.
const STRANGERS: usize = 8;

/// What the threads share.
pub(crate) struct Pipeline {
    pub(crate) desk: Arc<Desk>,
    committer: Committer,
    /// Requests whose proofs have yet to be checked; as many as the gate lets in.
    pub(crate) unverified: Arc<Waiting<Unproven>>,
    /// The same of those that showed no pass.
    pub(crate) strange: Arc<Waiting<Unproven>>,
    /// Where what was committed goes; the threads behind it answer.
    committed: Sender<Committed>,
    pub(crate) gate: Arc<Gate>,
    /// The part of it for what nobody has paid for, where others do.
    favours: Arc<Gate>,
    /// The part of it for payments that may be false, of whoever shows no pass.
    strangers: Arc<Gate>,
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
    /// With room for so many requests that wait, and as many verifiers.
    pub(crate) fn new(
        desk: Arc<Desk>,
        committer: Committer,
        committed: Sender<Committed>,
        verifiers: usize,
        room: usize,
    ) -> Self {
        let gate = Gate::new(room);
        Pipeline {
            desk,
            committer,
            unverified: Arc::new(Waiting::new(verifiers)),
            strange: Arc::new(Waiting::new(verifiers)),
            committed,
            favours: gate.within(room.div_ceil(FAVOURS)),
            strangers: gate.within(room.div_ceil(STRANGERS)),
            gate,
        }
    }

    /// Serves one request, or hands it on.
    pub(crate) fn serve(&self, incoming: Incoming) {
        let Incoming {
            contents,
            with_pass,
            responder,
        } = incoming;
        let step = self.desk.receive(&contents);
        drop(contents);
        match step {
            Step::Answer(contents) => send(responder, &contents),
            Step::Drop => {}
            step => match self.place(&step, with_pass) {
                Some(place) => self.go_on(step, responder, place),
                None => self.desk.tally.shed.one(),
            },
        }
    }

    /// Where a request waits that takes this step next, if there is room.
    fn place(&self, step: &Step, with_pass: bool) -> Option<Place> {
        match step {
            step if step.is_a_favour() => self.favours.enter(),
            // Where there are passes.
            Step::Verify(request) if !with_pass && !request.caller.terms.honoured().is_empty() => {
                self.strangers.enter()
            }
            _ => self.gate.enter(),
        }
    }

    /// Where whoever has this place waits for a verifier.
    fn waiting_room(&self, place: &Place) -> &Arc<Waiting<Unproven>> {
        match place.is_behind(&self.strangers) {
            true => &self.strange,
            false => &self.unverified,
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
                    let waiting = self.waiting_room(&place);
                    return waiting.push(Unproven {
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use larder_credentials::{InFlight, Root};
    use larder_protocol::{
        BreakglassOpen, CELL_BYTES, Call, Cell, Key, Nonce, Payment, Quote, Request, SizeClass,
        envelope,
    };
    use larder_store::{Change, Engine, Limits, Options, SledEngine};
    use secp256k1::{Keypair, SECP256K1, SecretKey};

    use super::*;
    use crate::clock::SystemClock;
    use crate::desk::Sale;
    use crate::till::Giveaway;
    use crate::{Breakglass, Config, Identity};

    const ROOM: usize = 16;
    const NONCE: Nonce = Nonce([1; 32]);

    /// What the desk does next for a request.
    fn step(desk: &Desk, call: Call, payment: Payment) -> Step {
        let request = Request {
            payment,
            ..Request::unpaid(NONCE, call)
        };
        desk.receive(&envelope::wrap(&request.encode(), SizeClass::Big).unwrap())
    }

    #[test]
    fn what_is_free_and_payments_without_a_pass_that_wait_leave_most_of_the_room_to_who_shows_one()
    {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            free_space_floor: 0,
            ..Options::default()
        };
        let engine = Arc::new(SledEngine::open(folder.path(), options).unwrap());
        let secret = SecretKey::from_slice(&[3; 32]).unwrap();
        let keypair = Keypair::from_secret_key(SECP256K1, &secret);
        let put = Change::PutCell {
            key: Key::from(keypair.public_key()),
            sequence: 1,
            cell: Box::new(Cell([4; CELL_BYTES])),
            now: 0,
        };
        engine.commit(vec![Effect::unpaid(put)]).unwrap();

        let offer = Config::load(None, Some(folder.path()), []).unwrap().offer;
        let tokens = offer.denominations[0];
        let sale = Sale {
            offer,
            till: Arc::new(Giveaway),
        };
        let identity = Identity::from_seed([5; 32]);
        let clock = Arc::new(SystemClock);
        let breakglass = Breakglass::default();
        let desk = Desk::open(engine.clone(), identity, Some(sale), breakglass, clock).unwrap();
        let committer = Committer::start(engine, Limits::default()).unwrap();
        let (committed, _outcomes) = channel();
        let pipeline = Pipeline::new(desk.clone(), committer, committed, 1, ROOM);

        let root = Root::from_bytes([6; 32]);
        let claims = [root.claim_secret(0), root.claim_secret(1)];
        let quote = |claim: usize| {
            Call::Quote(Quote {
                tokens,
                tags: vec![claims[claim].tag()],
                voucher: None,
            })
        };
        let open = BreakglassOpen::sign(&keypair, &desk.server_key(), NONCE);
        let open = step(&desk, Call::BreakglassOpen(open), Payment::None);
        let quoted = step(&desk, quote(0), Payment::None);
        assert!(matches!(open, Step::Commit(..)) && matches!(quoted, Step::Commit(..)));
        // A purchase of what another quote has opened.
        let contents = Request::unpaid(NONCE, quote(1)).encode();
        let _quoted = desk.answer(&envelope::wrap(&contents, SizeClass::Big).unwrap());
        let signed = desk.record();
        let record = signed.verified(&desk.server_key()).unwrap();
        let terms = record.credentials().unwrap().unwrap();
        let purchase = InFlight::purchase(&root, &terms, &claims[1], tokens, None).unwrap();
        let payment = Payment::Credentials(purchase.core().to_vec());
        let paid = step(&desk, Call::Purchase, payment);
        assert!(matches!(paid, Step::Verify(_)));

        let share = ROOM / FAVOURS;
        let in_turn = [&open, &quoted].into_iter().cycle();
        let favours = in_turn.map_while(|step| pipeline.place(step, true));
        let favours: Vec<Place> = favours.collect();
        assert_eq!(favours.len(), share);
        // Whether a payment is good nobody knows yet.
        let places = |with_pass| -> Vec<Place> {
            std::iter::from_fn(|| pipeline.place(&paid, with_pass)).collect()
        };
        let strangers = places(false);
        assert_eq!(strangers.len(), ROOM / STRANGERS);
        let paying = places(true);
        assert_eq!(paying.len(), ROOM - share - strangers.len());
        // Nor is either share kept free: whoever pays may have all of it.
        drop((favours, strangers));
        let rest = places(true);
        assert_eq!(rest.len(), share + ROOM / STRANGERS);
        drop((paying, rest));

        // They wait apart, for verifiers of lower priority.
        for (with_pass, waiting) in [(false, &pipeline.strange), (true, &pipeline.unverified)] {
            let place = places(with_pass).pop().unwrap();
            assert!(Arc::ptr_eq(pipeline.waiting_room(&place), waiting));
        }
    }
}

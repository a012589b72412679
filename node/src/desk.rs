//! The whole way of a request, without threads and without a network.
//!
//! | stage | file | where | costs |
//! | --- | --- | --- | --- |
//! | parse, class, payment there, op, epoch, price, replay | `admit` | serving threads | microseconds |
//! | proofs, of several requests at once | `perform` | verifying threads | most of the work |
//! | judge the operation, issue | `perform` | verifying threads | a fifth of that |
//! | commit | the store | its thread | its share of the disk |
//! | receipt, reply | `perform` | answering threads | a signature |
//!
//! **Promises.** What is refused before the commit has stored nothing and cost its sender
//! nothing. What is answered as done is durable, together with its payment and in the same
//! transaction. A request that was performed is never performed again: its retry is answered
//! with what is true now and the replacement of then.
//!
//! [`Desk::answer`] runs one request through all of it on the calling thread; the threads of a
//! [`Node`](crate::Node) call the same stages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_credentials::Epoch;
use larder_protocol::{Pass, Refusal, ServerKey, SignedRecord};
use larder_store::{Change, Effect, Engine, Outcome, StoreError};
use tokio::sync::watch;

use crate::allowance::Allowance;
use crate::believed::BelievedTime;
use crate::clock::Clock;
use crate::failure::Failure;
use crate::folder::own;
use crate::fullness::Fullness;
use crate::identity::Identity;
use crate::offer::Offer;
use crate::step::Step;
use crate::succession::Succession;
use crate::tally::Tally;
use crate::terms::Terms;
use crate::till::{Settlements, Till};
use crate::{Breakglass, NodeError};

/// With fewer free bytes nothing is written that nobody has asked for.
const ROOM_FOR_NOTES: u64 = 1 << 20;

/// What a node sells its work for, and where.
pub struct Sale {
    /// What it asks from the next epoch on.
    pub offer: Offer,
    /// Where tokens are bought.
    pub till: Arc<dyn Till>,
}

/// Answers requests.
pub struct Desk {
    pub(crate) engine: Arc<dyn Engine>,
    succession: Succession,
    /// Those of the epoch that the store has come to, once it is durable.
    terms: watch::Sender<Arc<Terms>>,
    /// Held while an epoch is entered.
    entering: Mutex<()>,
    pub(crate) till: Option<Arc<dyn Till>>,
    /// What time is believed to be,
    pub(crate) clock: Arc<dyn Clock>,
    /// and why.
    time: Arc<BelievedTime>,
    pub(crate) tally: Tally,
    pub(crate) failure: Failure,
    pub(crate) fullness: Fullness,
    /// How many opens are looked at.
    pub(crate) opens: Allowance,
    alarmed: AtomicBool,
}

impl Desk {
    /// Opens with what the store says: in the epoch that it has come to, under the terms with
    /// which that was entered, or in the first one. Without a sale everybody is served for free.
    ///
    /// # Errors
    /// [`NodeError`], each with what to do.
    pub fn open(
        engine: Arc<dyn Engine>,
        identity: Identity,
        sale: Option<Sale>,
        breakglass: Breakglass,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, NodeError> {
        Self::open_after(None, engine, identity, sale, breakglass, clock)
    }

    /// The same, where it is known that a store which is lost had come to the epoch `passed`.
    pub(crate) fn open_after(
        passed: Option<Epoch>,
        engine: Arc<dyn Engine>,
        identity: Identity,
        sale: Option<Sale>,
        breakglass: Breakglass,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, NodeError> {
        let (offer, till) = match sale {
            Some(Sale { offer, till }) => (Some(offer), Some(till)),
            None => (None, None),
        };
        own(&*engine, &identity)?;
        let off = offer.as_ref().map_or(0, |offer| offer.epoch_seconds.into());
        let time = Arc::new(believed(&*engine, clock, off)?);
        let clock: Arc<dyn Clock> = Arc::<BelievedTime>::clone(&time);
        let succession = Succession {
            engine: engine.clone(),
            identity,
            offer,
            breakglass_seconds: breakglass.seconds,
            clock: clock.clone(),
            passed,
        };
        let terms = succession.present()?;
        if let Some(offer) = &succession.offer
            && !terms.are_those_of(offer, breakglass.seconds)
        {
            tracing::info!(
                epoch = terms.epoch,
                "the configuration has other terms than the present epoch: they hold from the \
                 next one on"
            );
        }
        let desk = Arc::new(Desk {
            engine,
            succession,
            terms: watch::Sender::new(Arc::new(terms)),
            entering: Mutex::new(()),
            till,
            clock,
            time,
            tally: Tally::default(),
            failure: Failure::new(),
            fullness: Fullness::default(),
            opens: Allowance::new(breakglass.opens_per_second),
            alarmed: AtomicBool::new(false),
        });
        desk.note_time()?;
        if desk.engine.supply()?.halted {
            desk.alarm();
        }
        if let Some(till) = &desk.till {
            till.open(Settlements(Arc::downgrade(&desk)));
        }
        Ok(desk)
    }

    /// Answers the contents of one message, one stage after the other. Empty when it is dropped,
    /// as opens are that are too many.
    #[must_use]
    pub fn answer(&self, contents: &[u8]) -> Vec<u8> {
        let mut step = self.receive(contents);
        loop {
            step = match step {
                Step::Answer(contents) => return contents,
                Step::Drop => return Vec::new(),
                Step::Verify(unverified) => match self.verify(vec![*unverified]).pop() {
                    Some(step) => step,
                    // As many steps as requests.
                    None => return Vec::new(),
                },
                Step::Perform(paid) => self.perform(*paid),
                Step::Commit(effect, pending) => {
                    let outcome = self.commit(*effect);
                    self.conclude(*pending, outcome.map_err(Arc::new))
                }
            };
        }
    }

    /// Enters the next epoch at once. Nothing on a node that serves for free.
    ///
    /// Requests under way are refused untouched, and made anew by their clients.
    ///
    /// # Errors
    /// [`NodeError`]; the epoch is the one that the store has come to.
    pub fn enter_next_epoch(&self) -> Result<(), NodeError> {
        self.enter(|_| true)
    }

    /// Enters the next epoch if it is due.
    pub(crate) fn enter_if_due(&self) -> Result<(), NodeError> {
        let now = self.clock.now();
        if self.terms().entered_ahead_of(now) {
            return self.date_epoch(now);
        }
        self.enter(|terms| terms.left(now) == Some(0))
    }

    /// Has an epoch that was entered by a clock that ran ahead last from now on: entering the next one at once, too, would
    /// make two epochs of one mistake.
    fn date_epoch(&self, now: u64) -> Result<(), NodeError> {
        let _alone = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.terms().entered_ahead_of(now) {
            return Ok(());
        }
        tracing::warn!(
            "the present epoch was entered by a clock that ran ahead, so it lasts from now on: see that this \
             machine's time is right"
        );
        let dated = self.succession.date(now);
        if let Err(NodeError::Store(error @ StoreError::Stopped)) = &dated {
            self.failure.tell(error);
        }
        self.terms.send_replace(Arc::new(dated?));
        Ok(())
    }

    fn enter(&self, due: impl FnOnce(&Terms) -> bool) -> Result<(), NodeError> {
        let _alone = self.entering.lock().unwrap_or_else(PoisonError::into_inner);
        if !due(&self.terms()) {
            return Ok(());
        }
        let (terms, result) = match self.succession.next() {
            Ok(terms) => (Some(terms), Ok(())),
            // Nobody but the store knows now whether the epoch was entered.
            Err(error) => (self.succession.present().ok(), Err(error)),
        };
        if let Some(terms) = terms
            && terms.ordinal != self.terms().ordinal
        {
            tracing::info!(epoch = terms.epoch, "this is the epoch now");
            self.terms.send_replace(Arc::new(terms));
        }
        if let Err(NodeError::Store(error @ StoreError::Stopped)) = &result {
            self.failure.tell(error);
        }
        result
    }

    /// The terms in force.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        self.terms.borrow().clone()
    }

    /// Tells whenever an epoch was entered.
    pub(crate) fn watch_terms(&self) -> watch::Receiver<Arc<Terms>> {
        self.terms.subscribe()
    }

    /// The parameter record, as everybody gets it.
    #[must_use]
    pub fn record(&self) -> SignedRecord {
        self.terms().signed_record.clone()
    }

    /// The node's identity, under which its record is signed.
    #[must_use]
    pub fn server_key(&self) -> ServerKey {
        self.terms().server_key
    }

    /// The passes by which messages of those who have paid are known in the present epoch, for whoever takes
    /// messages in for this desk. None on a node that serves for free.
    #[must_use]
    pub fn honoured(&self) -> Vec<Pass> {
        self.terms().honoured().to_vec()
    }

    /// Notes that a payment has arrived. See [`Settlements::settle`].
    pub(crate) fn settle(&self, payment: [u8; 32]) -> Result<bool, NodeError> {
        let paid = self.commit(Effect::unpaid(Change::MarkPaid { payment }))?;
        Ok(paid == Outcome::Paid)
    }

    /// Removes opened cells whose time is over; says how many, none when there are no more.
    pub(crate) fn drop_cells(&self) -> Result<usize, NodeError> {
        let now = self.clock.now();
        match self.commit(Effect::unpaid(Change::DropCells { now }))? {
            Outcome::CellsDropped(dropped) => Ok(dropped),
            _ => Ok(0),
        }
    }

    /// Has the store remember what time it is. On a disk that is nearly full it goes on with what it remembers: a note is
    /// not worth the commit that finds no room, after which nothing else would be written, deletes included.
    pub(crate) fn note_time(&self) -> Result<(), NodeError> {
        if self.engine.usage()?.free_bytes < ROOM_FOR_NOTES {
            tracing::warn!(
                "the disk is full, so it was not noted what time it is: free some room. Until then look-ups and, as \
                 far as they find room, deletes are served"
            );
            return Ok(());
        }
        let now = self.clock.now();
        let doubt = self.time.doubted();
        self.commit(Effect::unpaid(Change::NoteTime { now, doubt }))?;
        Ok(())
    }

    /// Commits one effect alone.
    fn commit(&self, effect: Effect) -> Result<Outcome, StoreError> {
        let outcomes = self.engine.commit(vec![effect])?;
        // An engine that gave none would have broken its promise; it stops here.
        outcomes.into_iter().next().ok_or(StoreError::Stopped)
    }

    /// Tells the operator; the client learns that it was our fault and no more.
    pub(crate) fn broken(&self, error: &StoreError) -> Refusal {
        match error {
            StoreError::Stopped => self.failure.tell(error),
            StoreError::Corrupt { .. } => tracing::error!(
                "the store: {error}: it is refused, and all else is served. Stop the node when you can, and \
                 run `larderd verify`: it says whether there is more, and what to do"
            ),
            _ => tracing::error!("the store: {error}"),
        }
        Refusal::Internal
    }

    /// Tells the operator, once, that more tokens were about to be spent than were ever sold.
    pub(crate) fn alarm(&self) {
        if !self.alarmed.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "more tokens were presented than were ever sold, so this node issues and takes \
                 none any more: a credential was forged, or the store is older than the last \
                 one that ran. Stop the node, find out which, and run `larderd restore`: it \
                 closes all epochs, and their tokens with them"
            );
        }
    }
}

/// The time, as far as the clock agrees with what the store remembers, of a node that was off for so many seconds at
/// most.
pub(crate) fn believed(
    engine: &dyn Engine,
    clock: Arc<dyn Clock>,
    off: u64,
) -> Result<BelievedTime, NodeError> {
    // A store from before time was noted remembers when its epoch was entered.
    let entered = engine.epochs()?.map(|epochs| epochs.since);
    let notes = engine.notes()?;
    BelievedTime::open(clock, notes.time.or(entered), notes.doubt, off)
}

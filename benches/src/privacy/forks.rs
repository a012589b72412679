//! A storage node that gives each client terms of its own, and knows it by them.
//!
//! | lie | a client is known by | from |
//! | --- | --- | --- |
//! | own passes | the pass that it shows | the first question for the terms |
//! | own prices | what its requests pay | the first change of the epoch; nothing had committed to them |
//!
//! Whoever asks for the terms and shows no pass is told a lie of his own. Whoever shows one is told the same
//! lie again. What tells nothing is taken for the last that asked through the same LSP. All lies are
//! the real desk over one store and one ledger, so everything else is as it should be.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_credentials::ledger::{Past, Supply};
use larder_credentials::{ClaimTag, Reference, Row};
use larder_node::{Desk, Identity, Offer};
use larder_protocol::record::Prices;
use larder_protocol::{Key, Op, Pass, Payment, Refusal, Reply, Request, envelope};
use larder_store::{
    Effect, Engine, Enter, Epochs, Notes, OpenedClaim, Outcome, Reading, Stat, StoreError,
    StoredCell, Usage,
};

use super::paths::Serve;
use super::world::{Failure, desk};

/// What differs from client to client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    Passes,
    Prices,
}

/// Lies at hand.
const LIES: usize = 24;

/// The LSPs that there may be.
const LSPS: usize = 2;

pub(crate) struct Forks {
    desks: Vec<Arc<Desk>>,
    lie: Lie,
    next: AtomicUsize,
    last: [AtomicUsize; LSPS],
    epoch: AtomicU32,
}

impl Forks {
    pub(crate) fn open(
        engine: &Arc<dyn Engine>,
        seed: [u8; 32],
        offer: &Offer,
        lie: Lie,
    ) -> Result<Self, Failure> {
        let mut desks = Vec::new();
        for number in 0..LIES {
            let more = number as u64;
            let (identity, offer) = match lie {
                Lie::Passes => {
                    let identity = Identity::from_seed(seed);
                    (identity.with_passes_of([number as u8; 32]), offer.clone())
                }
                // The first epoch is the same for all: later ones are entered with these prices.
                Lie::Prices => {
                    let prices = Prices {
                        insert: offer.prices.insert + more,
                        lookup: offer.prices.lookup + more,
                        delete: offer.prices.delete + more,
                        breakglass: offer.prices.breakglass + more,
                        transfer: offer.prices.transfer + more,
                    };
                    let offer = Offer {
                        prices,
                        ..offer.clone()
                    };
                    (Identity::from_seed(seed), offer)
                }
            };
            // Own prices begin behind the terms that the first one has entered, which has found none.
            let own = match lie {
                Lie::Prices => engine.epochs()?,
                Lie::Passes => None,
            };
            let fork = Fork {
                inner: engine.clone(),
                own: Mutex::new(own),
            };
            desks.push(desk(Arc::new(fork), identity, offer)?);
        }
        Ok(Forks {
            desks,
            lie,
            next: AtomicUsize::new(0),
            last: Default::default(),
            epoch: AtomicU32::new(0),
        })
    }

    pub(crate) fn first(&self) -> &Arc<Desk> {
        &self.desks[0]
    }

    pub(crate) fn turn(&self) -> Result<(), Failure> {
        for desk in &self.desks {
            desk.enter_next_epoch()?;
        }
        self.epoch.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn by_pass(&self, pass: Option<Pass>) -> Option<usize> {
        let pass = pass.filter(|_| self.lie == Lie::Passes)?;
        let mut desks = self.desks.iter();
        desks.position(|desk| desk.honoured().contains(&pass))
    }

    /// Those by whose prices it could have been paid begin with the one that answers.
    fn by_price(&self, last: usize, contents: &[u8]) -> (usize, Vec<u8>) {
        let tried = (0..LIES).map(|more| (last + more) % LIES);
        for lie in tried {
            let answer = self.desks[lie].answer(contents);
            if !is_refused_its_price(&answer) {
                return (lie, answer);
            }
        }
        (last, self.desks[last].answer(contents))
    }
}

impl Serve for Forks {
    fn serve(&self, lsp: usize, pass: Option<Pass>, contents: &[u8]) -> Vec<u8> {
        let body = envelope::unwrap(contents).unwrap_or_default();
        let last = &self.last[lsp % LSPS];
        let known = self.by_pass(pass);
        if Op::Info.begins(body) {
            let fresh = || self.next.fetch_add(1, Ordering::Relaxed) % LIES;
            let told = match (self.lie, pass) {
                (Lie::Passes, _) => known.unwrap_or_else(fresh),
                // A pass says nothing here, but its owner is in a session, like the last one.
                (Lie::Prices, Some(_)) => last.load(Ordering::Relaxed),
                (Lie::Prices, None) => fresh(),
            };
            last.store(told, Ordering::Relaxed);
            return self.desks[told].answer(contents);
        }
        let guess = known.unwrap_or_else(|| last.load(Ordering::Relaxed));
        let is_paid = Request::decode(body)
            .is_ok_and(|request| matches!(request.payment, Payment::Credentials(_)));
        match (self.lie, is_paid) {
            (Lie::Prices, true) => {
                let (told, answer) = self.by_price(guess, contents);
                last.store(told, Ordering::Relaxed);
                answer
            }
            _ => self.desks[guess].answer(contents),
        }
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }
}

fn is_refused_its_price(answer: &[u8]) -> bool {
    let reply = envelope::unwrap(answer).and_then(Reply::decode);
    reply.is_ok_and(|reply| matches!(reply.outcome, Err(Refusal::WrongPrice { .. })))
}

/// The one store with terms of its own.
struct Fork {
    inner: Arc<dyn Engine>,
    own: Mutex<Option<Epochs>>,
}

impl Engine for Fork {
    fn commit(&self, batch: Vec<Effect>) -> Result<Vec<Outcome>, StoreError> {
        self.inner.commit(batch)
    }

    fn read(&self, key: &Key) -> Result<Reading, StoreError> {
        self.inner.read(key)
    }

    fn stat(&self, key: &Key) -> Result<Stat, StoreError> {
        self.inner.stat(key)
    }

    fn cell(&self, key: &Key, now: u64) -> Result<Option<StoredCell>, StoreError> {
        self.inner.cell(key, now)
    }

    fn row(&self, reference: &Reference) -> Result<Option<Row>, StoreError> {
        self.inner.row(reference)
    }

    fn claim(&self, tag: &ClaimTag) -> Result<Option<OpenedClaim>, StoreError> {
        self.inner.claim(tag)
    }

    fn supply(&self) -> Result<Supply, StoreError> {
        self.inner.supply()
    }

    fn epochs(&self) -> Result<Option<Epochs>, StoreError> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(own.clone())
    }

    fn notes(&self) -> Result<Notes, StoreError> {
        self.inner.notes()
    }

    fn enter(&self, next: Enter) -> Result<Result<Epochs, Past>, StoreError> {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = self.inner.epochs()?;
        let entered = match reached {
            // Another lie has entered it before.
            Some(epochs) if epochs.floor.current >= next.floor.current => Epochs {
                terms: next.terms,
                ..epochs
            },
            _ => match self.inner.enter(next)? {
                Ok(epochs) => epochs,
                Err(past) => return Ok(Err(past)),
            },
        };
        Ok(Ok(own.insert(entered).clone()))
    }

    fn usage(&self) -> Result<Usage, StoreError> {
        self.inner.usage()
    }
}

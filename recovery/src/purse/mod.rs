//! The purse: the tokens a client holds with one storage node, and what is becoming of them.
//!
//! It promises that a crash at any moment loses no token and pays for nothing twice:
//!
//! * Before a request leaves, the exact bytes are in the [journal]. A retry, after a lost
//!   answer or a crash, sends the same bytes, which cost once.
//! * A call that is made again while an equal one is in flight that nobody waits for, from
//!   before a crash or an error, adopts that request instead of paying for another.
//! * A request that was settled is kept for its call: made again after a crash, that costs nothing
//!   and hears what is true then. The last ones are kept even when their callers have the answers,
//!   until the purse is closed: a process may be killed before it acts on them.
//! * Credentials that turn out to be spent by another copy of this purse, as there is when the journal came
//!   from a backup or its folder was copied, pay for nothing any more; what they became is the other copy's, and
//!   is remembered (`elsewhere`). So two copies of one purse part, and neither spends what the other one holds.
//!
//! The number of pairs is the number of operations that can be under way at once; others wait
//! for their turn, and drive on what is under way, so that a future which nobody polls keeps
//! nobody waiting.
//!
//! How it fails: [`OutOfTokens`](RecoveryError::OutOfTokens) says what is missing,
//! [`UsedElsewhere`](RecoveryError::UsedElsewhere) that one pair after the other was spent by another copy. An answer
//! that is not exactly as published is [`Misbehaved`](RecoveryError::Misbehaved): the request
//! stays in flight and nothing is lost. When the journal fails, nothing is sent any more until the
//! purse is opened again.
//!
//! | file | concept |
//! | --- | --- |
//! | [`journal`], [`folder`] | where it is written down |
//! | `event`, `fields`, `book`, `snapshot` | what is written, the state that follows, and how to begin with it |
//! | `terms`, `orders`, `sent`, `passes` | of which: the terms, purchases and requests under way, the passes to show |
//! | `choice` | which credentials pay |
//! | `requests`, `build` | a paid request on its way out |
//! | `lease` | who waits for its answer |
//! | `answers`, `rules` | its answer, and what that may give back |
//! | `epochs`, `ahead` | when old credentials are moved, and others exchanged before they are needed |
//! | `elsewhere` | what another copy of this purse has spent |
//! | `limit` | how much may be paid |
//! | `cells`, `change`, `reserve`, `redeem` | what a restore would find, and what one finds |

pub mod folder;
pub mod journal;

mod ahead;
mod answers;
mod book;
mod build;
mod cells;
mod change;
mod choice;
mod elsewhere;
mod epochs;
mod event;
mod fields;
mod held;
mod lease;
mod limit;
mod orders;
mod passes;
mod redeem;
mod requests;
mod reserve;
mod rules;
mod sent;
mod snapshot;
mod terms;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use larder_credentials::{InFlight, Root};
use larder_protocol::{Key, ServerKey};

use self::book::Book;
use self::event::{Event, Inputs};
use self::journal::{Entry, Journal, JournalError};
use self::limit::Limit;
use crate::schedule::hmac_sha256;
use crate::{Lane, Purpose, RecoveryError, RootKey, Schedule, Slot};

pub(crate) use self::answers::{Verdict, is_stale};
pub(crate) use self::cells::Restoring;
pub(crate) use self::change::{Fate, Written};
pub(crate) use self::epochs::Move;
pub(crate) use self::held::Held;
use self::held::Mark;
pub(crate) use self::lease::{Exchange, Lease};
pub(crate) use self::orders::Order;
pub(crate) use self::requests::{Next, Role};
pub(crate) use self::reserve::Aside;

/// Bytes a journal may grow by before it is rewritten, if its state is smaller.
const GROWTH: usize = 1 << 20;

/// Requests that are kept although their callers have the answers. What is called at once is called
/// again at once after a crash, so these should be as many as are under way together.
const LAST: usize = 16;

/// The tokens of one root key with one storage node.
pub struct Purse {
    schedule: Schedule,
    root: Root,
    inner: Mutex<Inner>,
}

struct Inner {
    book: Book,
    journal: Box<dyn Journal>,
    /// A write failed: nobody knows what the journal has.
    failed: bool,
    /// Requests in flight that were built by this process; others are built again when needed.
    built: HashMap<u64, InFlight>,
    /// Requests that somebody waits for, with their exchanges once those have begun.
    driven: HashMap<u64, Option<Exchange>>,
    /// Kept requests whose callers have their answers, or that nobody wants any more. No call of this
    /// process adopts them.
    heard: BTreeSet<u64>,
    /// Pairs in a row that turned out to be spent by another copy.
    spent_in_a_row: u32,
    /// Tokens that turned out to be spent by another copy.
    gone: u64,
    /// How much may be paid, if that is limited, and what was paid since.
    limit: Option<Limit>,
    /// When it last moved a pair that had time, and for how many seconds it moves no other one.
    moved: Option<(u64, u64)>,
    /// The latest time it was told, in unix seconds.
    told: u64,
    /// Bytes appended since the journal was last rewritten, and how many it had then.
    grown: usize,
    base: usize,
}

/// What a purse holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Tokens in all that can be spent, those in flight included.
    pub tokens: u64,
    /// Tokens by the epoch of their credentials, those in flight included.
    pub by_epoch: BTreeMap<u32, u64>,
    /// Tokens of these that are set aside for a restore, and pay for nothing else.
    pub reserve: u64,
    /// Tokens in requests that are not answered yet. What those cost is still in here.
    pub in_flight: u64,
    /// Pairs of credentials, and so operations that can be under way at once.
    pub pairs: usize,
    /// Tokens that were lost because their epoch ended before they were moved.
    pub expired: u64,
    /// Tokens of credentials of an older epoch that have no other to be shown with. They are in none of the
    /// above: they pay for nothing, and nobody can see whether they were spent. A restore leaves one when the
    /// other half of its pair was in use.
    pub alone: u64,
    /// Tokens of credentials that another copy of this purse has made of some that this one held, when it was last
    /// seen: of a copied folder, of a backup that was put back, of a restore from the same root key. They are in none
    /// of the above. `None` as long as no other copy was noticed.
    pub elsewhere: Option<u64>,
}

impl Holdings {
    /// How many operations of this price they suffice for, if none is refunded and no fees are
    /// needed to gather the last ones.
    #[must_use]
    pub fn suffice_for(&self, price: u64) -> u64 {
        let free = self.tokens.saturating_sub(self.reserve);
        free.checked_div(price).unwrap_or(u64::MAX)
    }
}

impl Purse {
    /// Opens the purse of this root key with the storage node of this key, from its journal;
    /// an empty journal is a new purse.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(
        root: &RootKey,
        provider: &ServerKey,
        mut journal: impl Journal + 'static,
    ) -> Result<Self, JournalError> {
        let schedule = Schedule::new(root.clone(), *provider);
        let secret = schedule.secret(&slot(Purpose::Credential, 0)).bytes();
        let mut owner = [0; 16];
        owner.copy_from_slice(&hmac_sha256(&secret, &[b"larder/purse/1"])[..16]);
        let mut book = Book::new(*provider, owner);
        let entries = journal.entries()?;
        for (at, entry) in entries.iter().enumerate() {
            let damaged = || JournalError::Damaged { at: at as u64 };
            let event = Event::decode(entry).ok_or_else(damaged)?;
            match (at, &event) {
                (0, Event::Owner(theirs)) if *theirs != owner => return Err(JournalError::Foreign),
                (0, Event::Owner(_)) => {}
                (0, _) => return Err(damaged()),
                _ => {}
            }
            book.apply(event).ok_or_else(damaged)?;
        }
        let mut inner = Inner {
            book,
            journal: Box::new(journal),
            failed: false,
            built: HashMap::new(),
            driven: HashMap::new(),
            heard: BTreeSet::new(),
            spent_in_a_row: 0,
            gone: 0,
            limit: None,
            moved: None,
            told: 0,
            grown: 0,
            base: entries.iter().map(|entry| entry.len()).sum(),
        };
        if entries.is_empty() {
            inner.record(Event::Owner(owner))?;
        }
        Ok(Purse {
            root: Root::from_bytes(*secret),
            schedule,
            inner: Mutex::new(inner),
        })
    }

    /// Whether it is one for the storage node of this key.
    pub(crate) fn is_for(&self, server: &ServerKey) -> bool {
        self.lock().book.server == *server
    }

    /// What it holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let inner = self.lock();
        let book = &inner.book;
        let mut holdings = Holdings {
            expired: book.expired,
            ..Holdings::default()
        };
        let mut count = 0;
        let mut add = |held: &Held, tokens: &mut u64| {
            *tokens = tokens.saturating_add(held.amount);
            let epoch = holdings.by_epoch.entry(held.epoch.0).or_default();
            *epoch = epoch.saturating_add(held.amount);
            count += 1;
        };
        let (mut idle, mut in_flight) = (0, 0);
        let (theirs, ours): (Vec<_>, Vec<_>) = book
            .idle
            .iter()
            .partition(|held| held.mark == Mark::Elsewhere);
        let (alone, usable): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|held| book.is_alone(held));
        let kept = usable.iter().filter(|held| held.mark.is_reserve());
        let reserve = kept.map(|held| held.amount).sum();
        usable.into_iter().for_each(|held| add(held, &mut idle));
        for sent in book.sent.values() {
            if let Inputs::Pair(pair) = &sent.inputs {
                pair.iter().for_each(|held| add(held, &mut in_flight));
            }
        }
        Holdings {
            tokens: idle.saturating_add(in_flight),
            in_flight,
            reserve,
            pairs: count / 2,
            alone: alone.iter().map(|held| held.amount).sum(),
            elsewhere: (!theirs.is_empty()).then(|| theirs.iter().map(|held| held.amount).sum()),
            ..holdings
        }
    }

    /// Notes what time it is, and when the current epoch was first seen.
    pub(crate) fn see(&self, now: u64) -> Result<(), RecoveryError> {
        let mut inner = self.lock();
        inner.told = inner.told.max(now);
        let Some(epoch) = inner.book.now().map(|terms| terms.record.epoch) else {
            return Ok(());
        };
        // One that lies ahead was seen by a clock that was put right since: it would put off what is due.
        let seen = inner.book.seen.get(&epoch);
        if seen.is_none_or(|at| *at > now) {
            inner.record(Event::Seen { epoch, at: now })?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Makes an event durable, then true; one that does not fit is neither.
    fn record(&mut self, event: Event) -> Result<(), JournalError> {
        if self.failed {
            return Err(JournalError::Io(
                "an earlier write failed: start again".to_owned(),
            ));
        }
        if !self.book.fits(&event) {
            return Err(JournalError::Contradiction);
        }
        let entry = event.encode();
        self.append(&entry)?;
        self.grown += entry.len();
        let fits = self.book.apply(event);
        debug_assert!(fits.is_some(), "an event that does not fit its book");
        self.heard.retain(|id| self.book.kept.contains_key(id));
        if self.grown > GROWTH.max(self.base) {
            // The event is durable whatever becomes of this.
            self.failed = self.compact().is_err();
        }
        Ok(())
    }

    /// What an event drops of the requests that were heard: all but the last so many, and those on
    /// the key of the call that it is about, which may undo what they did.
    fn heard_before(&self, last: usize, key: Option<&Key>) -> Vec<u64> {
        let older = self.heard.len().saturating_sub(last);
        let is_about = |id| {
            self.book
                .asked(id)
                .zip(key)
                .is_some_and(|(it, key)| it.is_about(key))
        };
        let ids = self.heard.iter().copied().enumerate();
        ids.filter(|(at, id)| *at < older || is_about(*id))
            .map(|(_, id)| id)
            .take(Event::IDS)
            .collect()
    }

    fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let appended = self.journal.append(entry);
        self.failed = appended.is_err();
        appended
    }

    fn compact(&mut self) -> Result<(), JournalError> {
        let snapshot: Vec<Entry> = self.book.snapshot();
        self.journal.replace(&snapshot)?;
        self.base = snapshot.iter().map(|entry| entry.len()).sum();
        self.grown = 0;
        Ok(())
    }
}

fn slot(purpose: Purpose, index: u64) -> Slot {
    Slot {
        purpose,
        lane: Lane::default(),
        generation: 0,
        index,
    }
}

/// Whoever closes it has heard what there was to hear. If that cannot be written down, some
/// requests are kept for longer than they need be.
impl Drop for Purse {
    fn drop(&mut self) {
        let mut inner = self.lock();
        let ids = inner.heard_before(0, None);
        if !ids.is_empty() {
            drop(inner.record(Event::Dropped { ids }));
        }
    }
}

/// Prints nothing: what it holds is nobody else's business.
impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Purse(..)")
    }
}

#[cfg(test)]
mod tests {
    use secp256k1::{Keypair, SECP256K1, SecretKey};

    use super::journal::MemoryJournal;
    use super::*;

    #[test]
    fn an_event_that_does_not_fit_is_not_written() -> Result<(), Box<dyn std::error::Error>> {
        let secret = SecretKey::from_slice(&[1; 32])?;
        let server = Keypair::from_secret_key(SECP256K1, &secret).public_key();
        let (root, journal) = (RootKey::from_bytes([1; 32]), MemoryJournal::new());
        let purse = Purse::open(&root, &server.into(), journal.clone())?;
        for event in [
            Event::Released { id: 7 },
            Event::Dropped { ids: vec![7] },
            Event::Closed { order: 7 },
            Event::Owner([9; 16]),
            Event::Ordered {
                order: u64::MAX,
                claims: 1,
                each: 1,
                voucher: None,
            },
        ] {
            let recorded = purse.lock().record(event);
            assert_eq!(recorded, Err(JournalError::Contradiction));
        }
        assert_eq!(journal.clone().entries()?.len(), 1);
        assert!(Purse::open(&root, &server.into(), journal).is_ok());
        Ok(())
    }
}

//! Proof of reach for a key of the [map](crate::log::map): what it has *now*, with one storage node or several.
//!
//! The log is a chain: every register names the hash of the one before it, back to an anchor, and that one names the hash
//! of its snapshot. So receipts for its two ends vouch for all of it. The signer draws 32 bytes; the node
//! reads the whole log once, asks every storage node for the last register and for the place behind it, and
//! hands over what it has read, with the receipts:
//!
//! ```text
//! nonce = tagged_hash("larder/reach/key", challenge 32 ‖ key 33)      key: the one that is asked for
//! ```
//!
//! A storage node's keys are its own, and so are these nonces: two of them cannot tell that they are asked the same.
//!
//! The signer reads the same log from what it was handed, with the code that restores it, and then checks the
//! receipts. It needs the root key, the storage nodes' server and receipt keys, and no connection.
//!
//! # What it proves
//!
//! `W` storage nodes held the end of this log after the challenge was drawn, and `R` of them nothing behind it. So
//! the log is complete: every commit that was acknowledged before the challenge is in the version and the value
//! that it shows, and all that it shows is durable. A deleted key and one that never was are shown as well.
//!
//! # What it does not prove
//!
//! * That storage nodes were not rolled back, or do not lie: more of them than the policy survives could show an
//!   old end. The signer should remember [`Shown::commits`] and refuse fewer.
//! * That a node with the root key did not dig up an old end: it could delete the seal behind it alone, wait until the storage
//!   node forgets the delete, an epoch later, and ask then. Remembering [`Shown::commits`] ends that, too.
//! * That registers before the last one, or the chunks of a large value, are still held. [Auditing](crate::conviction)
//!   tells.
//! * Anything where nothing was ever written: there is no end that could be held.
//!
//! It costs a restore and two look-ups at each storage node; it is as long as the log since its last roll-up.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_util::future::join_all;
use larder_protocol::receipt::Finding;
use larder_protocol::{Done, Key, Nonce, Receipt, ReceiptKey, Refusal, Reply, ServerKey};

use super::bag::{Bag, Recorder};
use super::{Challenge, NotReached, finding};
use crate::exchange::nonce_of;
use crate::forgery::Read;
use crate::log::map::Current;
use crate::log::{Link, Registers, Replay, replay};
use crate::quorum::{Policy, ballot};
use crate::seal::{BODY_MAX, Contents, seal};
use crate::{Provider, RecoveryError, RootKey, Schedule, Slot};

/// What the node hands to the signer.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyProof {
    /// What the registers of the log hold, and the chunks of the value.
    pub registers: HashMap<Slot, Contents>,
    /// The round of votes that decided the last one; 0 with a single storage node.
    pub round: u64,
    /// What each storage node says, in the order of the policy's list.
    pub witnesses: Vec<Witness>,
}

/// What one storage node says; nothing when it is down or says something else.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Witness {
    /// That it holds the last register.
    pub held: Option<Receipt>,
    /// That nothing is behind it.
    pub next: Option<Receipt>,
}

/// What a proof shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// What the key has: version 0 when it never was, no value when it was deleted.
    pub current: Current,
    /// How many commits the map has.
    pub commits: u64,
}

impl KeyProof {
    /// The node's part: reads the log and asks the storage nodes. `registers` are the map's own, `providers` the ones
    /// behind them in their order, and `policy` theirs: `Policy::majority(1)` where there is one.
    /// `None` when the log is empty, or another device writes too fast: ask again, with another challenge.
    ///
    /// # Errors
    /// [`RecoveryError`].
    pub async fn gather(
        registers: &dyn Registers,
        root: &RootKey,
        providers: &[Arc<Provider>],
        policy: Policy,
        key: &str,
        challenge: Challenge,
    ) -> Result<Option<Self>, RecoveryError> {
        let recorder = Recorder::new(registers);
        let replay = replay(&recorder).await?;
        if replay.get(&recorder, key).await?.is_none() {
            return Ok(None);
        }
        let registers = recorder.into_found();
        let Some(tail) = tail(&registers, &replay) else {
            return Ok(None);
        };
        let contents = &registers[&tail];
        let panel = Panel {
            root,
            providers,
            challenge,
        };
        let mut round = 0;
        let held = loop {
            let place = ballot(tail, round);
            let answers = panel.ask(place).await;
            let held = answers.receipts(|read| match read {
                Read::Ours(held, _) => held == contents,
                _ => false,
            });
            if held.iter().flatten().count() >= policy.acknowledge {
                break held;
            }
            // A next round there is only behind a blob of ours.
            let ours = answers.receipts(|read| matches!(read, Read::Ours(..)));
            if ours.iter().all(Option::is_none) {
                return answers.failed();
            }
            round += 1;
        };
        let answers = panel.ask(replay.next).await;
        let next = answers.receipts(|read| *read == Read::Absent);
        if next.iter().flatten().count() < policy.recover {
            return answers.failed();
        }
        let both = held.into_iter().zip(next);
        let witnesses = both.map(|(held, next)| Witness { held, next }).collect();
        Ok(Some(KeyProof {
            registers,
            round,
            witnesses,
        }))
    }

    /// The signer's part. The storage nodes' keys are in the order of the policy's list; the receipt keys are those that
    /// their terms name in this epoch.
    ///
    /// # Errors
    /// [`NotReached`].
    pub fn verify(
        &self,
        root: &RootKey,
        providers: &[(ServerKey, ReceiptKey)],
        policy: Policy,
        key: &str,
        challenge: Challenge,
    ) -> Result<Shown, NotReached> {
        let mut bodies = self.registers.values().map(|contents| contents.body.len());
        if bodies.any(|len| len > BODY_MAX) {
            return Err(NotReached::Foreign);
        }
        let bag = Bag(&self.registers);
        let read = at_once(async {
            let replay = replay(&bag).await?;
            let current = replay.get(&bag, key).await?;
            Ok::<_, RecoveryError>((replay, current))
        });
        let Ok((replay, Some(current))) = read else {
            return Err(NotReached::Foreign);
        };
        let tail = tail(&self.registers, &replay).ok_or(NotReached::NotHeld)?;
        let place = ballot(tail, self.round);
        let contents = &self.registers[&tail];
        let (mut held, mut next) = (0, 0);
        for ((server, receipt_key), witness) in providers.iter().zip(&self.witnesses) {
            let schedule = Schedule::new(root.clone(), *server);
            let signed = |receipt: &Option<Receipt>, place: Slot, outcome, blob| {
                let key = schedule.key(&place);
                let finding = Finding {
                    blob,
                    ..finding(key, Reply::code(&outcome), nonce(challenge, &key))
                };
                let receipt = receipt.as_ref();
                receipt.is_some_and(|receipt| receipt.proves(receipt_key, &finding))
            };
            let blob = seal(&schedule, &place, contents);
            let hash = blob.hash();
            let found = Ok(Done::Found(blob));
            held += usize::from(signed(&witness.held, place, found, Some(hash)));
            let absent = Err(Refusal::Absent);
            next += usize::from(signed(&witness.next, replay.next, absent, None));
        }
        if held < policy.acknowledge {
            return Err(NotReached::NotHeld);
        }
        if next < policy.recover {
            return Err(NotReached::NotNewest);
        }
        Ok(Shown {
            current,
            commits: replay.state.commits,
        })
    }
}

/// The register that the log ends with.
fn tail(registers: &HashMap<Slot, Contents>, replay: &Replay) -> Option<Slot> {
    let mut all = registers.iter();
    let tail = all.find(|(slot, contents)| Link::of(slot, contents) == replay.last);
    tail.map(|(slot, _)| *slot)
}

fn nonce(challenge: Challenge, key: &Key) -> Nonce {
    nonce_of("larder/reach/key", &[&challenge.0, key.as_bytes()])
}

/// The storage nodes that are asked.
struct Panel<'a> {
    root: &'a RootKey,
    providers: &'a [Arc<Provider>],
    challenge: Challenge,
}

/// What they answered, each under its own schedule.
struct Answers(Vec<Answered>);

type Answered = Result<(Read, Receipt), RecoveryError>;

impl Panel<'_> {
    async fn ask(&self, place: Slot) -> Answers {
        let asked = self.providers.iter().map(|provider| async move {
            let schedule = Schedule::new(self.root.clone(), *provider.server_key());
            let key = schedule.key(&place);
            let answer = provider.challenge(key, nonce(self.challenge, &key)).await;
            let (looked, evidence) = answer?;
            let read = provider.opened(&schedule, &place, &looked, Some(&evidence));
            Ok((read, evidence.receipt))
        });
        Answers(join_all(asked).await)
    }
}

impl Answers {
    /// The receipts of those answers that say this.
    fn receipts(&self, says: impl Fn(&Read) -> bool) -> Vec<Option<Receipt>> {
        let receipts = self.0.iter().map(|answer| match answer {
            Ok((read, receipt)) if says(read) => Some(receipt.clone()),
            _ => None,
        });
        receipts.collect()
    }

    /// Why there is no proof: too few answered, or somebody writes.
    fn failed(self) -> Result<Option<KeyProof>, RecoveryError> {
        let mut errors = self.0.into_iter().filter_map(Result::err);
        errors.next().map_or(Ok(None), Err)
    }
}

/// Runs what waits for nobody.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            return done;
        }
    }
}

//! Several providers behind one face: [`Registers`] that outlive any of them.
//!
//! | file | concept |
//! | --- | --- |
//! | `round` | where votes are, and what a void is |
//! | `member` | one provider, what it missed, what was wrong with it |
//! | `answers` | what several answers add up to |
//! | `heal` | bringing a provider up to date; joining and leaving |
//! | `late` | a provider that is down when a restore begins |
//! | `stagger` | not asking all at the same instant |
//!
//! # What it promises
//!
//! With `N` providers, `W` that acknowledge and `R` that are recovered from, where `R + W > N` and `2R > N`:
//!
//! * **One value per register**, whatever is delayed, lost, repeated or down, as long as no provider
//!   forgets. What was acknowledged is found, if `R` of them answer.
//! * The same if up to `f` of them have forgotten, hide or lie, where `R ≥ N − W + f + 1`, `2R ≥ N + f + 1`
//!   and `W > f`. With a smaller `R` it still holds while everybody *else* answers: a reader asks all, and does without an answer only when
//!   it was told that there is none to come. So with `N = 3` and `W = R = 2` one provider may be down, or
//!   one may have been rolled back; not one of each at the same time.
//!
//! # How
//!
//! Every provider's register takes one value for good, so it votes once. A value is *decided* when `W`
//! of them hold it. What only one device can write, an entry or a chunk, is put into all of them at once:
//! one round trip, decided at the `W`-th answer; the others go on in the background. A seal competes with entries and with
//! other seals. First it puts a *void* wherever the register is empty, after which what is there is all that can
//! ever be decided there. Then it goes on in the next *round*, with what it found or, if it found nothing, its
//! own seal: through the providers in their order, where whoever comes second takes over the first one's
//! proposal, and only what all that answered agree on is put to the vote. Whoever reads a half-written
//! register completes it in the same way. A sole provider's register decides alone, so a seal goes straight into it: a wallet
//! can begin with one provider, at the price of one, and add others ([`Quorum::joined_by`]). The proof is in
//! `docs/decisions/0021-several-providers-vote-in-rounds.md`.
//!
//! # How it fails
//!
//! With fewer than `R` answers: the error of a provider that gave none. Doing it again is safe. A provider that
//! signs "deleted" of what nobody deleted can stop a reader, never mislead it: deletes are believed of any, as
//! nobody but the owner knows whether there was one. Leave it out.

mod answers;
mod heal;
mod late;
mod member;
mod round;
mod stagger;

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::future::{BoxFuture, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::log::register::Answer;
use crate::log::{Look, Put, Registers};
use crate::seal::Contents;
use crate::{RecoveryError, Removed, Slot};
use answers::Answers;
use member::{Held, Member};
use round::{choice, is_owned, void};
use stagger::Stagger;

pub use heal::Healed;
pub use late::LateProvider;
pub(crate) use round::ballot;
pub use stagger::Pause;

/// Writes that go on in the background; those beyond are left to [`Quorum::catch_up`].
const LAGGARDS: usize = 64;

/// How many providers it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// `W`: what so many hold is durable.
    pub acknowledge: usize,
    /// `R`: with so many answers a reader may conclude that something is not there.
    pub recover: usize,
}

/// Why a [`Policy`] cannot be had with so many providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{acknowledge} that acknowledge and {recover} to recover from do not overlap in {providers} providers",
    acknowledge = policy.acknowledge, recover = policy.recover)]
pub struct NoOverlap {
    policy: Policy,
    providers: usize,
}

impl Policy {
    /// More than half of so many, for both.
    #[must_use]
    pub fn majority(providers: usize) -> Self {
        let most = providers / 2 + 1;
        Policy {
            acknowledge: most,
            recover: most,
        }
    }

    fn check(self, providers: usize) -> Result<(), NoOverlap> {
        let Policy {
            acknowledge,
            recover,
        } = self;
        let fits = (1..=providers).contains(&acknowledge) && recover <= providers;
        if fits && acknowledge + recover > providers && 2 * recover > providers {
            Ok(())
        } else {
            Err(NoOverlap {
                policy: self,
                providers,
            })
        }
    }
}

/// The registers of one root key with several providers.
///
/// All devices name the same providers in the same order and with the same policy, or are one step of
/// [`Quorum::joined_by`] or [`Quorum::left_by`] apart.
pub struct Quorum {
    members: Vec<Arc<Member>>,
    policy: Policy,
    stagger: Stagger,
    /// Of deletes, if they have one of their own.
    apart: Option<Stagger>,
    laggards: Mutex<FuturesUnordered<Reply>>,
}

type Reply = BoxFuture<'static, (usize, Result<Held, RecoveryError>)>;

/// What a register came to.
enum Outcome {
    Decided(Arc<Contents>),
    Deleted,
}

impl Quorum {
    /// Over these providers.
    ///
    /// # Errors
    /// [`NoOverlap`].
    pub fn new(
        providers: impl IntoIterator<Item = Arc<dyn Registers>>,
        policy: Policy,
    ) -> Result<Self, NoOverlap> {
        let members = providers.into_iter().map(Member::new).map(Arc::new);
        Quorum::of(members.collect(), policy)
    }

    fn of(members: Vec<Arc<Member>>, policy: Policy) -> Result<Self, NoOverlap> {
        policy.check(members.len())?;
        Ok(Quorum {
            members,
            policy,
            stagger: Stagger::default(),
            apart: None,
            laggards: Mutex::default(),
        })
    }

    /// Has what goes to all providers at once leave after pauses, which are drawn anew for every operation: one per provider,
    /// in their order. An operation takes as much longer as the pauses of those that it needs.
    #[must_use]
    pub fn staggered(self, draw: impl Fn(usize) -> Vec<Pause> + Send + Sync + 'static) -> Self {
        let stagger = Stagger::new(draw);
        Quorum { stagger, ..self }
    }

    /// Has deletes reach the providers at instants that lie further apart: nobody waits for them.
    #[must_use]
    pub fn deleting_apart(
        self,
        draw: impl Fn(usize) -> Vec<Pause> + Send + Sync + 'static,
    ) -> Self {
        let apart = Some(Stagger::new(draw));
        Quorum { apart, ..self }
    }

    fn apart(&self) -> &Stagger {
        self.apart.as_ref().unwrap_or(&self.stagger)
    }

    /// Decides a register, beginning with a vote for `vote`; `proposal` is what is proposed from then on,
    /// unless somebody else's may have been decided.
    async fn decide(
        &self,
        slot: Slot,
        mut round: u64,
        mut vote: Arc<Contents>,
        mut proposal: Arc<Contents>,
    ) -> Result<Outcome, RecoveryError> {
        loop {
            let votes = self.vote(slot, round, &vote).await;
            if let Some(value) = votes.decided(self.policy.acknowledge) {
                return Ok(Outcome::Decided(value));
            }
            votes.enough(self.policy.recover)?;
            if votes.is_deleted() {
                return Ok(Outcome::Deleted);
            }
            // No other value can be decided in this round or before it.
            proposal = votes.value().unwrap_or(proposal);
            round += 1;
            let choices = self.choose(choice(slot, round), &mut proposal).await;
            choices.enough(self.policy.recover)?;
            if choices.is_deleted() {
                return Ok(Outcome::Deleted);
            }
            vote = choices.unanimous().unwrap_or_else(|| Arc::new(void()));
        }
    }

    /// Votes with all providers at once; decided as soon as enough of them hold the same.
    async fn vote(&self, slot: Slot, round: u64, vote: &Arc<Contents>) -> Answers {
        let place = ballot(slot, round);
        let mut replies: FuturesUnordered<Reply> = FuturesUnordered::new();
        let pauses = self.stagger.pauses(self.members.len());
        for ((index, member), pause) in self.members.iter().cloned().enumerate().zip(pauses) {
            let vote = vote.clone();
            member.missing(slot);
            replies.push(Box::pin(async move {
                pause.await;
                let held = member.put(place, &vote).await;
                if held.is_ok() {
                    member.has(slot);
                }
                (index, held)
            }));
        }
        let answers = self.gather(&mut replies).await;
        let laggards = self.laggards();
        let room = LAGGARDS.saturating_sub(laggards.len());
        replies
            .into_iter()
            .take(room)
            .for_each(|late| laggards.push(late));
        drop(laggards);
        answers
    }

    /// Proposes to one provider after the other, so that the first decides who wins.
    async fn choose(&self, place: Slot, proposal: &mut Arc<Contents>) -> Answers {
        let mut answers = Answers::of(self.members.len());
        for (index, member) in self.members.iter().enumerate() {
            let held = member.put(place, proposal).await;
            answers.take(index, held);
            if let Some(first) = answers.first() {
                *proposal = first;
            }
        }
        answers
    }

    /// Asks all providers at once; decided as soon as enough of them hold the same.
    async fn ask(&self, place: Slot) -> Answers {
        let mut replies = self.looks(place);
        self.gather(&mut replies).await
    }

    fn looks(&self, place: Slot) -> FuturesUnordered<Reply> {
        let members = self.members.iter().cloned().enumerate();
        let pauses = self.stagger.pauses(self.members.len());
        let looks = members
            .zip(pauses)
            .map(|((index, member), pause)| -> Reply {
                Box::pin(async move {
                    pause.await;
                    (index, member.look(place).await)
                })
            });
        looks.collect()
    }

    async fn gather(&self, replies: &mut FuturesUnordered<Reply>) -> Answers {
        let mut answers = Answers::of(self.members.len());
        poll_fn(|cx| {
            self.poll_laggards(cx);
            loop {
                match replies.poll_next_unpin(cx) {
                    Poll::Ready(Some((member, held))) => answers.take(member, held),
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
                if answers.decided(self.policy.acknowledge).is_some() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        answers
    }

    fn poll_laggards(&self, cx: &mut Context<'_>) {
        let mut laggards = self.laggards();
        while let Poll::Ready(Some(_)) = laggards.poll_next_unpin(cx) {}
    }

    fn laggards(&self) -> std::sync::MutexGuard<'_, FuturesUnordered<Reply>> {
        self.laggards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, slot: Slot) -> Result<Look, RecoveryError> {
        for round in 0.. {
            let votes = self.ask(ballot(slot, round)).await;
            if let Some(value) = votes.decided(self.policy.acknowledge) {
                return Ok(Look::Found(Arc::unwrap_or_clone(value)));
            }
            votes.enough(self.policy.recover)?;
            if votes.is_deleted() {
                return Ok(Look::Deleted);
            }
            if let Some(value) = votes.value() {
                // Half-written: it may have been acknowledged.
                let decided = self.decide(slot, round, value.clone(), value).await?;
                return Ok(match decided {
                    Outcome::Decided(value) => Look::Found(Arc::unwrap_or_clone(value)),
                    Outcome::Deleted => Look::Deleted,
                });
            }
            if !votes.is_void() {
                break;
            }
        }
        Ok(Look::Absent)
    }
}

impl Registers for Quorum {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            let ours = Arc::new(contents.clone());
            // With a sole provider whatever is first is decided, seals included.
            let vote = match is_owned(contents) || self.members.len() == 1 {
                true => ours.clone(),
                false => Arc::new(void()),
            };
            Ok(match self.decide(slot, 0, vote, ours).await? {
                // Who put it there does not show.
                Outcome::Decided(value) if *value == *contents => Put::Already,
                Outcome::Decided(_) => Put::Occupied,
                Outcome::Deleted => Put::Tombstoned,
            })
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(self.read(slot))
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(self.remove(slot))
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(self.remove_this(slot, contents))
    }
}

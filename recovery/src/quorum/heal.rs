//! Deleting registers, bringing a provider up to date, and changing who the providers are.
//!
//! # Changing the providers
//!
//! One at a time, and only with [`Policy::majority`]: then what any device writes with the one list meets what
//! another reads with the other. In this order:
//!
//! 1. every device changes to the list with the new provider ([`Quorum::joined_by`]);
//! 2. one of them [brings](Quorum::heal) every register of the log up to date ([`Map::slots`](crate::log::map::Map::slots));
//! 3. every device changes to the list without the old one ([`Quorum::left_by`]).
//!
//! Two lists that are two steps apart need not overlap: a device that missed a step must not write. Before it
//! does, it has to be given the new list.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::answers::Answers;
use super::member::Member;
use super::round::{ballot, choice, is_owned, void};
use super::{NoOverlap, Policy, Quorum};
use crate::log::Registers;
use crate::seal::Contents;
use crate::{RecoveryError, Removed, Slot};

/// Registers that are healed at once.
const HEALS: usize = 16;

/// What a healing came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Healed {
    /// Blobs that each provider, in their order, lacked and holds now, so it says. One that lacks
    /// them again hides or loses them; one that had acknowledged them can be [convicted](crate::conviction).
    pub copied: Vec<u64>,
    /// Registers that some provider could not be asked for, or says were deleted while another one
    /// holds something: not all have those.
    pub left: u64,
}

impl Quorum {
    /// The list with one more provider at its end, by majority.
    ///
    /// # Errors
    /// Never: majorities overlap.
    pub fn joined_by(&self, provider: Arc<dyn Registers>) -> Result<Self, NoOverlap> {
        let mut members = self.members.clone();
        members.push(Arc::new(Member::new(provider)));
        self.with(members)
    }

    /// The list without the provider at this place, by majority.
    ///
    /// # Errors
    /// [`NoOverlap`] when none would be left.
    pub fn left_by(&self, provider: usize) -> Result<Self, NoOverlap> {
        let rest = self.members.iter().enumerate();
        let rest = rest.filter(|(index, _)| *index != provider);
        self.with(rest.map(|(_, member)| member.clone()).collect())
    }

    fn with(&self, members: Vec<Arc<Member>>) -> Result<Self, NoOverlap> {
        let policy = Policy::majority(members.len());
        let (stagger, apart) = (self.stagger.clone(), self.apart.clone());
        Ok(Quorum {
            stagger,
            apart,
            ..Quorum::of(members, policy)?
        })
    }

    /// What was last wrong with each provider, in their order.
    #[must_use]
    pub fn troubles(&self) -> Vec<Option<RecoveryError>> {
        let troubles = self.members.iter().map(|member| member.trouble());
        troubles.collect()
    }

    /// Registers that each provider, in their order, has not acknowledged to this session.
    #[must_use]
    pub fn missed(&self) -> Vec<usize> {
        let missed = self.members.iter().map(|member| member.missed().len());
        missed.collect()
    }

    /// Deletes that each provider, in their order, has not acknowledged to this session.
    #[must_use]
    pub fn undeleted(&self) -> Vec<usize> {
        let undeleted = self.members.iter().map(|member| member.undeleted().len());
        undeleted.collect()
    }

    /// Brings every provider up to date in what it has not acknowledged to this session, deletes included. What it
    /// missed before, or lost, is in [`Map::slots`](crate::log::map::Map::slots): [heal](Quorum::heal) those.
    ///
    /// # Errors
    /// [`RecoveryError`] when fewer than `R` answer.
    pub async fn catch_up(&self) -> Result<Healed, RecoveryError> {
        let missed = self.members.iter().flat_map(|member| member.missed());
        let missed: HashSet<Slot> = missed.collect();
        let pauses = self.apart().pauses(self.members.len());
        let gone = self
            .members
            .iter()
            .zip(pauses)
            .map(|(member, pause)| async move {
                pause.await;
                member.catch_up_deletes().await
            });
        let deleted: HashSet<Slot> = join_all(gone).await.into_iter().flatten().collect();
        self.heal(missed.difference(&deleted).copied()).await
    }

    /// Copies to every provider what another one holds in these registers of the log, but for those
    /// that any says were deleted.
    ///
    /// # Errors
    /// [`RecoveryError`] when fewer than `R` answer.
    pub async fn heal(
        &self,
        slots: impl IntoIterator<Item = Slot>,
    ) -> Result<Healed, RecoveryError> {
        let mut healed = Healed {
            copied: vec![0; self.members.len()],
            left: 0,
        };
        let heals = slots.into_iter().map(|slot| self.heal_one(slot));
        let mut heals = stream::iter(heals).buffer_unordered(HEALS);
        while let Some((copied, whole)) = heals.try_next().await? {
            healed.left += u64::from(!whole);
            let sums = healed.copied.iter_mut().zip(copied);
            sums.for_each(|(sum, copied)| *sum += copied);
        }
        Ok(healed)
    }

    /// Returns the blobs that each provider lacked, and whether all have all of it now.
    async fn heal_one(&self, slot: Slot) -> Result<(Vec<u64>, bool), RecoveryError> {
        let (mut copied, mut whole) = (vec![0; self.members.len()], true);
        for round in 0.. {
            let votes = self.ask_all(ballot(slot, round)).await?;
            if votes.is_deleted() {
                // One provider's word: reason enough to copy nothing, and never to delete. If another
                // one holds something, not all have it.
                whole &= votes.value().is_none();
                break;
            }
            if round > 0 {
                let choices = self.ask_all(choice(slot, round)).await?;
                let place = choice(slot, round);
                whole &= self.copy(place, &choices, &mut copied).await;
            }
            let place = ballot(slot, round);
            whole &= self.copy(place, &votes, &mut copied).await;
            if !votes.is_split() {
                break;
            }
        }
        if whole {
            self.members.iter().for_each(|member| member.has(slot));
        }
        Ok((copied, whole))
    }

    /// Puts what one provider holds where another holds nothing.
    async fn copy(&self, place: Slot, answers: &Answers, copied: &mut [u64]) -> bool {
        let void = answers.is_void().then(|| Arc::new(void()));
        let Some(value) = answers.value().or(void) else {
            return answers.is_complete();
        };
        let value = &value;
        let empty: HashSet<usize> = answers.empty().collect();
        let pauses = self.stagger.pauses(self.members.len()).enumerate();
        let puts =
            pauses
                .filter(|(member, _)| empty.contains(member))
                .map(|(member, pause)| async move {
                    pause.await;
                    (member, self.members[member].put(place, value).await.is_ok())
                });
        let done = join_all(puts).await;
        for (member, _) in done.iter().filter(|(_, done)| *done) {
            copied[*member] += 1;
        }
        answers.is_complete() && done.iter().all(|(_, done)| *done)
    }

    async fn ask_all(&self, place: Slot) -> Result<Answers, RecoveryError> {
        let mut answers = Answers::of(self.members.len());
        let mut looks = self.looks(place);
        while let Some((member, held)) = looks.next().await {
            answers.take(member, held);
        }
        answers.enough(self.policy.recover)?;
        Ok(answers)
    }

    /// Empties a register of the log for good: its last round first, so that whoever does it again finds all
    /// that is left.
    pub(super) async fn remove(&self, slot: Slot) -> Result<Removed, RecoveryError> {
        let votes = self.ask_all(slot).await?;
        if votes.is_empty() {
            return Ok(Removed::NeverThere);
        }
        let mut rounds = u64::from(votes.is_split());
        while rounds > 0 && self.ask_all(ballot(slot, rounds)).await?.is_split() {
            rounds += 1;
        }
        for round in (1..=rounds).rev() {
            self.erase(choice(slot, round), None).await?;
            self.erase(ballot(slot, round), None).await?;
        }
        let removed = self.erase(slot, None).await?;
        Ok(removed.unwrap_or(Removed::NeverThere))
    }

    /// The same of a register that is known to have come to this, without a look at it: where nobody competed it is in
    /// the places below. A provider that holds something else in one of them shows that somebody did, and still holds it when
    /// [`remove`](Quorum::remove) looks for all that is left.
    pub(super) async fn remove_this(
        &self,
        slot: Slot,
        contents: &Contents,
    ) -> Result<Option<Removed>, RecoveryError> {
        let is_plain = is_owned(contents) || self.members.len() == 1;
        let void = void();
        let rounds = [
            (choice(slot, 1), contents),
            (ballot(slot, 1), contents),
            (slot, &void),
        ];
        let places = match is_plain {
            true => &[(slot, contents)][..],
            false => &rounds[..],
        };
        let mut came_to = Removed::NeverThere;
        for &(place, contents) in places {
            match self.erase(place, Some(contents)).await? {
                Some(removed) => came_to = removed,
                None => return self.remove(slot).await.map(Some),
            }
        }
        Ok(Some(came_to))
    }

    /// Empties one place of a register with every provider; `None` when one of them holds something else than `known`
    /// there.
    async fn erase(
        &self,
        place: Slot,
        known: Option<&Contents>,
    ) -> Result<Option<Removed>, RecoveryError> {
        let pauses = self.apart().pauses(self.members.len());
        let deletes = self
            .members
            .iter()
            .zip(pauses)
            .map(|(member, pause)| async move {
                pause.await;
                match known {
                    Some(contents) => member.erase(place, contents).await,
                    None => member.delete(place).await.map(Some),
                }
            });
        let removed = join_all(deletes).await;
        let reached = removed.iter().flatten().flatten();
        let all = [Removed::Now, Removed::Before];
        let came_to = all
            .into_iter()
            .find(|&came_to| reached.clone().any(|&r| r == came_to));
        let (mut buried, mut differs) = (0, false);
        let mut error = None;
        for (member, removed) in self.members.iter().zip(removed) {
            let removed = match removed {
                Ok(None) => {
                    differs = true;
                    continue;
                }
                // A delete that leaves no trace fences nobody.
                Ok(Some(Removed::NeverThere)) if came_to.is_some() => member.bury(place).await,
                removed => removed.map(drop),
            };
            match removed {
                Ok(()) => {
                    buried += 1;
                    member.deleted(place);
                }
                Err(failed) => {
                    member.deleting(place);
                    error.get_or_insert(failed);
                }
            }
        }
        match error {
            _ if differs => Ok(None),
            Some(error) if buried < self.policy.recover => Err(error),
            _ => Ok(Some(came_to.unwrap_or(Removed::NeverThere))),
        }
    }
}

//! Reading the [map](super::map): from memory, as of one moment, but for large values.

use std::ops::Bound;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::chunk;
use super::commit::{Current, Listed};
use super::entry::Chunks;
use super::map::Map;
use super::state::{Item, State, Value};
use crate::{RecoveryError, Slot};

/// Large values that are fetched at once.
const READ_AT_ONCE: usize = 8;

/// A key, and what was picked out of the state.
type Picked = (String, Option<Item>);

impl Map {
    /// What a key has.
    ///
    /// A reader that finds a large value replaced and deleted reads on.
    ///
    /// # Errors
    /// [`RecoveryError`]; `Fenced` when this device wrote and another has replaced a large value.
    pub async fn get(&self, key: &str) -> Result<Current, RecoveryError> {
        let one = |state: &State| vec![(key.to_owned(), state.items.get(key).cloned())];
        Ok(self.look(one).await?.swap_remove(0))
    }

    /// Every key with this prefix and what it has, in the order of their bytes, as of one moment.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub async fn read(&self, prefix: &str) -> Result<Vec<Current>, RecoveryError> {
        let all = |state: &State| {
            let items = state.behind(Bound::Included(prefix), prefix);
            items
                .map(|(key, item)| (key.clone(), Some(item.clone())))
                .collect()
        };
        self.look(all).await
    }

    /// A large value may be replaced and deleted while it is read: then what is there now is read.
    pub(super) async fn look(
        &self,
        pick: impl Fn(&State) -> Vec<Picked>,
    ) -> Result<Vec<Current>, RecoveryError> {
        let following = !self.log().is_leading();
        loop {
            let picked = pick(&self.front().durable);
            let error = match self.values(picked.clone()).await {
                Err(error @ (RecoveryError::Following | RecoveryError::Fenced(_))) if following => {
                    self.refresh().await?;
                    error
                }
                Err(error @ RecoveryError::Misbehaved(_)) => error,
                looked => return looked,
            };
            if pick(&self.front().durable) == picked {
                return Err(error);
            }
        }
    }

    async fn values(&self, picked: Vec<Picked>) -> Result<Vec<Current>, RecoveryError> {
        let values = picked
            .into_iter()
            .map(|(key, item)| self.current(key, item));
        stream::iter(values)
            .buffered(READ_AT_ONCE)
            .try_collect()
            .await
    }

    async fn current(&self, key: String, item: Option<Item>) -> Result<Current, RecoveryError> {
        let version = item.as_ref().map_or(0, |item| item.version);
        let value = match item.and_then(|item| item.value) {
            Some(Value::Here(value)) => Some(value.to_vec()),
            Some(Value::InChunks(chunks)) => match self.log().fetch(&chunks).await? {
                Some(value) => Some(value),
                None => {
                    self.log().confirm().await?;
                    return Err(RecoveryError::Misbehaved(
                        "it deleted a value that the newest state names",
                    ));
                }
            },
            None => None,
        };
        Ok(Current {
            key,
            version,
            value,
        })
    }

    /// The global version; 0 when there never was one.
    #[must_use]
    pub fn global(&self) -> u64 {
        self.front().durable.global
    }

    /// How many commits there were.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.front().durable.commits
    }

    /// Keys with this prefix behind `after`, in the order of their bytes, at most so many.
    #[must_use]
    pub fn list(&self, prefix: &str, after: Option<&str>, at_most: usize) -> Vec<Listed> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let front = self.front();
        let items = front.durable.behind(from, prefix).take(at_most);
        let listed = items.map(|(key, item)| Listed {
            key: key.clone(),
            version: item.version,
            size: item.value.as_ref().map_or(0, Value::size),
            created: item.serial,
        });
        listed.collect()
    }

    /// Keys with this prefix that were created before `before`, the newest first, at most so many.
    #[must_use]
    pub fn list_newest(&self, prefix: &str, before: Option<u64>, at_most: usize) -> Vec<Listed> {
        let mut listed = self.list(prefix, None, usize::MAX);
        listed.retain(|listed| before.is_none_or(|before| listed.created < before));
        listed.sort_by_key(|listed| std::cmp::Reverse(listed.created));
        listed.truncate(at_most);
        listed
    }

    /// All registers that a restore may read, values included: what a provider that joins has to have. They are
    /// made one by one, as those of the [log](super::Log::slots).
    pub fn slots(&self) -> impl Iterator<Item = Slot> + Send + use<> {
        let slots = self.log().slots();
        slots.chain(self.large().into_iter().flat_map(chunk::slots))
    }

    /// How many registers there are that a restore may read.
    #[must_use]
    pub fn blobs(&self) -> u64 {
        let values = self.large().into_iter().map(|chunks| chunks.count());
        values.fold(self.log().blobs(), u64::saturating_add)
    }

    /// The values that are in chunks.
    fn large(&self) -> Vec<Chunks> {
        let front = self.front();
        let values = front
            .durable
            .items
            .values()
            .filter_map(|item| match &item.value {
                Some(Value::InChunks(chunks)) => Some(*chunks),
                _ => None,
            });
        values.collect()
    }
}

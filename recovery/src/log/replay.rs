//! A map read as a whole, from the newest anchor to the first hole: by a device that shows it to
//! somebody, and by whoever is shown it, from nothing but the registers' contents.

use super::chunk;
use super::commit::Current;
use super::cursor::TORN;
use super::entry::Link;
use super::reader::{End, From, News, Restored, restore, walk};
use super::register::Registers;
use super::state::{Changes, State, Value};

use crate::{RecoveryError, Slot};

/// All that the log adds up to, and where it ends.
pub(crate) struct Replay {
    pub(crate) state: State,
    /// The last register; the default at the very beginning.
    pub(crate) last: Link,
    /// The place behind it.
    pub(crate) next: Slot,
}

/// Reads everything.
pub(crate) async fn replay(registers: &dyn Registers) -> Result<Replay, RecoveryError> {
    let mut least = 0;
    loop {
        let restored = restore(registers, From::Anywhere).await?;
        let Restored {
            mut cursor,
            mut news,
            ..
        } = restored;
        let begun = cursor.generation;
        if begun < least {
            return Err(RecoveryError::Misbehaved(
                "it does not give an anchor that it has",
            ));
        }
        let end = walk(registers, &mut cursor, &mut news, &mut Vec::new()).await?;
        // Another device may roll up meanwhile: begin at its anchor.
        least = match end {
            End::Hole if cursor.generation == begun => {
                return Ok(Replay {
                    state: fold(&news).ok_or(TORN)?,
                    last: cursor.last,
                    next: cursor.slot(0),
                });
            }
            End::Hole => cursor.generation,
            End::Deleted => begun + 1,
        };
    }
}

fn fold(news: &News) -> Option<State> {
    let mut state = match &news.snapshot {
        Some(snapshot) => State::read(snapshot)?,
        None => State::default(),
    };
    for record in &news.records {
        state.apply(&Changes::read(record)?);
    }
    Some(state)
}

impl Replay {
    /// What a key has; `None` when another device has replaced its value since.
    pub(crate) async fn get(
        &self,
        registers: &dyn Registers,
        key: &str,
    ) -> Result<Option<Current>, RecoveryError> {
        let item = self.state.items.get(key);
        let value = match item.and_then(|item| item.value.as_ref()) {
            Some(Value::Here(value)) => Some(value.to_vec()),
            Some(Value::InChunks(chunks)) => match chunk::fetch(registers, chunks).await? {
                Some(value) => Some(value),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(Current {
            key: key.to_owned(),
            version: item.map_or(0, |item| item.version),
            value,
        }))
    }
}

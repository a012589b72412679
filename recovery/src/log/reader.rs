//! Reading the log: from a place to the first hole, with a growing window.
//!
//! An entry counts when all before it are there. What lies behind a hole was never acknowledged and
//! may still be decided; what lies behind a seal never counts.

use futures_util::stream::{FuturesOrdered, StreamExt};

use super::anchor::{self, anchor_slot};
use super::chunk;
use super::cursor::{Cursor, Step, TORN};
use super::entry::{Packed, take};
use super::garbage::Garbage;
use super::register::{Look, Put, Registers};
use crate::RecoveryError;
use crate::forgery::FORGED;

/// Look-ups at once; the transport paces below that as it has to.
const AHEAD: u64 = 32;

/// Entries of a segment that the storage node has to give before one looks ahead. What is looked for behind the end of the log
/// is looked for in vain, and again the next time.
const BEFORE_AHEAD: u64 = 4;

/// What a device learns when it reads on.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct News {
    /// Begin anew with this state, as [`Log::roll_up`](super::Log::roll_up) was given it;
    /// `None`: go on from what you have.
    pub snapshot: Option<Vec<u8>>,
    /// What you have does not fit what the storage node shows: begin with nothing if there is no snapshot.
    pub anew: bool,
    /// Then these records, in order.
    pub records: Vec<Vec<u8>>,
    /// How many of them a roll-up covers that was passed on the way: what they made garbage is due now, as no later one
    /// names it.
    pub covered: usize,
}

/// Why a walk stopped.
pub(crate) enum End {
    /// Nothing is here yet.
    Hole,
    /// What was here is part of a newer snapshot.
    Deleted,
}

/// Reads on from the cursor, adding to `news` and `due`. After an error both are as far as the cursor is.
pub(crate) async fn walk(
    registers: &dyn Registers,
    cursor: &mut Cursor,
    news: &mut News,
    due: &mut Vec<Garbage>,
) -> Result<End, RecoveryError> {
    'segment: loop {
        let mut ahead = FuturesOrdered::new();
        let (mut window, mut shown) = (1, 0);
        loop {
            let here = cursor.slot(0);
            let kept = registers.kept(&here).filter(|_| ahead.is_empty());
            let is_shown = kept.is_none();
            let contents = match kept {
                Some(contents) => contents,
                None => {
                    while (ahead.len() as u64) < window {
                        ahead.push_back(registers.ask(cursor.slot(ahead.len() as u64)));
                    }
                    match ahead.next().await {
                        Some(Ok(Look::Found(contents))) => contents,
                        Some(Ok(Look::Deleted)) => return Ok(End::Deleted),
                        Some(Ok(Look::Absent)) | None => return Ok(End::Hole),
                        Some(Ok(Look::Foreign)) => return Err(FORGED),
                        Some(Err(error)) => return Err(error),
                    }
                }
            };
            match cursor.check(&contents)? {
                Step::Records(records) => {
                    let Some(bytes) = unpack(registers, &records).await? else {
                        return Ok(End::Deleted);
                    };
                    cursor.pass_entry(&contents, &records);
                    cursor.is_proven = is_shown;
                    news.records.extend(bytes);
                    shown += u64::from(is_shown);
                    if shown >= BEFORE_AHEAD {
                        window = AHEAD.min(2 * window);
                    }
                }
                Step::TakeOver => {
                    cursor.pass_take_over(&contents);
                    cursor.is_proven = is_shown;
                    continue 'segment;
                }
                Step::RollUp(manifest) => {
                    // Whoever sealed may be gone: the anchor follows from the seal.
                    let (slot, anchor) = cursor.anchor(&contents, &manifest);
                    let is_kept = registers.kept(&slot).is_some();
                    match registers.insert(slot, &anchor).await? {
                        Put::New | Put::Already => {
                            due.extend(cursor.pass_anchor(&anchor)?);
                            news.covered = news.records.len();
                            cursor.is_proven = !is_kept;
                        }
                        Put::Tombstoned => return Ok(End::Deleted),
                        Put::Occupied => return Err(TORN),
                    }
                    continue 'segment;
                }
            }
        }
    }
}

async fn unpack(
    registers: &dyn Registers,
    records: &[Packed],
) -> Result<Option<Vec<Vec<u8>>>, RecoveryError> {
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        match record {
            Packed::Here(bytes) => all.push(bytes.clone()),
            Packed::InChunks(chunks) => match chunk::fetch(registers, chunks).await? {
                Some(bytes) => all.push(bytes),
                None => return Ok(None),
            },
        }
    }
    Ok(Some(all))
}

/// Everything behind the newest anchor.
pub(crate) struct Restored {
    pub(crate) cursor: Cursor,
    pub(crate) news: News,
    pub(crate) due: Vec<Garbage>,
}

/// Where to begin.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// Nothing is known.
    Anywhere,
    /// At this anchor, or the very beginning with 0, unless it is gone: then there is a newer one. No look is taken whether
    /// there is, as the log itself says so where it ends.
    Known(u64),
    /// At one that is newer than this.
    Above(u64),
}

/// Begins at the newest anchor, or at the very beginning when there never was one.
pub(crate) async fn restore(
    registers: &dyn Registers,
    mut from: From,
) -> Result<Restored, RecoveryError> {
    let mut tried = None;
    loop {
        let found = match from {
            From::Known(0) => None,
            From::Known(index) => match registers.lookup(anchor_slot(index)).await? {
                Look::Found(contents) => Some((index, contents)),
                Look::Deleted => {
                    from = From::Above(index);
                    continue;
                }
                Look::Absent => {
                    from = From::Anywhere;
                    continue;
                }
                Look::Foreign => return Err(FORGED),
            },
            From::Above(index) => anchor::newest(registers, Some(index)).await?,
            From::Anywhere => anchor::newest(registers, None).await?,
        };
        let Some((index, contents)) = found else {
            return Ok(Restored {
                cursor: Cursor::genesis(),
                news: News::default(),
                due: Vec::new(),
            });
        };
        let (mut cursor, manifest) = Cursor::behind(index, &contents)?;
        cursor.is_proven = registers.kept(&anchor_slot(index)).is_none();
        if let Some(snapshot) = chunk::fetch(registers, &manifest.snapshot).await? {
            let (due, state) = read_snapshot(&snapshot).ok_or(TORN)?;
            let news = News {
                snapshot: Some(state),
                ..News::default()
            };
            return Ok(Restored { cursor, news, due });
        }
        // A device that rolls up meanwhile may delete this snapshot, but only behind a newer anchor.
        if tried.is_some_and(|tried| tried >= index) {
            return Err(RecoveryError::Misbehaved(
                "it deleted the snapshot of the newest anchor",
            ));
        }
        tried = Some(index);
        from = From::Above(index);
    }
}

/// A snapshot: what is due, counted in four bytes, and the state.
pub(crate) fn write_snapshot(due: &[Garbage], state: &[u8]) -> Vec<u8> {
    let mut bytes = (due.len() as u32).to_be_bytes().to_vec();
    due.iter().for_each(|garbage| garbage.write(&mut bytes));
    bytes.extend_from_slice(state);
    bytes
}

fn read_snapshot(mut bytes: &[u8]) -> Option<(Vec<Garbage>, Vec<u8>)> {
    let count = u32::from_be_bytes(take(&mut bytes)?);
    let due = (0..count)
        .map(|_| Garbage::read(&mut bytes))
        .collect::<Option<Vec<_>>>()?;
    Some((due, bytes.to_vec()))
}

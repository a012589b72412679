//! A place in the log, and how one gets from each register to the next.
//!
//! The log is a chain of segments. The first of a generation is in lane zero; one that follows a
//! seal is in the lane that is the seal's [`Link`]. A segment has one writer, named by the seal or
//! the anchor in front of it: only that session puts entries there, anybody puts a seal. A register
//! names the link of the one before it.

use super::anchor::{anchor_slot, retired};
use super::entry::{Closing, Link, Manifest, Packed, Writer};
use super::garbage::{Garbage, entry_slot};
use super::point::{Chain, Point};
use crate::seal::{Contents, Kind};
use crate::{Lane, RecoveryError, Slot};

/// Entries that one writer keeps in flight: so many slots, less the one of the seal, may hold entries behind a seal
/// that do not count.
pub(crate) const WINDOW: usize = 16;

/// Everything up to here is read, or written and acknowledged.
#[derive(Clone)]
pub(crate) struct Cursor {
    pub(crate) generation: u64,
    pub(crate) lane: Lane,
    pub(crate) index: u64,
    /// Of the register before this place, and where that is; nowhere at the very beginning.
    pub(crate) last: Link,
    pub(crate) last_slot: Option<Slot>,
    /// Whether the storage node has shown or acknowledged that register in this session. Otherwise this device has it from
    /// its cache.
    pub(crate) is_proven: bool,
    /// Who may put an entry here; nobody at the very beginning.
    pub(crate) writer: Option<Writer>,
    /// Records before this place, from the very beginning.
    pub(crate) records: u64,
    /// The chain at the beginning of this generation and behind each of its records: never empty.
    chains: Vec<Chain>,
    /// What is to be deleted when this generation is over.
    pub(crate) trail: Vec<Garbage>,
    /// Segments of this generation that another device's take-over has ended: whose they were, and where its seal is.
    pub(crate) ended: Vec<(Writer, Lane, u64)>,
}

/// What a register means in its place.
pub(crate) enum Step {
    Records(Vec<Packed>),
    TakeOver,
    RollUp(Manifest),
}

impl Cursor {
    /// The very beginning.
    pub(crate) fn genesis() -> Self {
        Cursor {
            generation: 0,
            lane: Lane::default(),
            index: 0,
            last: Link::default(),
            last_slot: None,
            is_proven: true,
            writer: None,
            records: 0,
            chains: vec![Chain::default()],
            trail: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Behind an anchor.
    pub(crate) fn behind(index: u64, anchor: &Contents) -> Result<(Self, Manifest), RecoveryError> {
        let manifest = Manifest::of_anchor(anchor).ok_or(TORN)?;
        let cursor = Cursor {
            generation: index,
            lane: Lane::default(),
            index: 0,
            last: Link::of(&anchor_slot(index), anchor),
            last_slot: Some(anchor_slot(index)),
            is_proven: true,
            writer: Some(Writer(anchor.writer)),
            records: manifest.records,
            chains: vec![manifest.chain],
            trail: vec![Garbage::Chunks(manifest.snapshot)],
            ended: Vec::new(),
        };
        Ok((cursor, manifest))
    }

    /// What all records up to here add up to.
    pub(crate) fn chain(&self) -> Chain {
        self.chains.last().copied().unwrap_or_default()
    }

    /// This place, as a witness remembers it.
    pub(crate) fn point(&self) -> Point {
        Point {
            records: self.records,
            chain: self.chain(),
        }
    }

    /// The chain behind so many records; `None` for a place that is not in this generation, or not yet.
    pub(crate) fn chain_at(&self, records: u64) -> Option<Chain> {
        let back = self.records.checked_sub(records)?;
        let back = usize::try_from(back).ok()?;
        let at = self.chains.len().checked_sub(1)?.checked_sub(back)?;
        self.chains.get(at).copied()
    }

    /// Here, or so many registers further on.
    pub(crate) fn slot(&self, ahead: u64) -> Slot {
        entry_slot(self.generation, self.lane, self.index + ahead)
    }

    /// Checks that contents belong here.
    pub(crate) fn check(&self, contents: &Contents) -> Result<Step, RecoveryError> {
        let linked = contents.previous.0 == self.last.0;
        match contents.kind {
            Kind::Entry if linked && self.writer == Some(Writer(contents.writer)) => {
                Packed::read_all(&contents.body).map(Step::Records)
            }
            Kind::Seal if linked => Closing::read(&contents.body).map(|closing| match closing {
                Closing::TakeOver => Step::TakeOver,
                Closing::RollUp(manifest) => Step::RollUp(manifest),
            }),
            _ => None,
        }
        .ok_or(TORN)
    }

    /// Goes on behind an entry.
    pub(crate) fn pass_entry(&mut self, contents: &Contents, records: &[Packed]) {
        self.pass(contents);
        self.index += 1;
        for record in records {
            let next = self.chain().behind(record);
            self.chains.push(next);
            self.records += 1;
        }
        let chunks = records.iter().filter_map(|record| match record {
            Packed::InChunks(chunks) => Some(Garbage::Chunks(*chunks)),
            Packed::Here(_) => None,
        });
        self.trail.extend(chunks);
    }

    /// Goes on behind the seal of a device that took over.
    pub(crate) fn pass_take_over(&mut self, seal: &Contents) {
        self.pass(seal);
        // What its writer had in flight behind the seal, that writer deletes, or whoever knows that it was killed.
        self.end_segment(1);
        if let Some(writer) = self.writer {
            self.ended.push((writer, self.lane, self.index));
        }
        self.lane = Lane(self.last.0);
        self.index = 0;
        self.writer = Some(Writer(seal.writer));
    }

    /// The anchor that has to follow the seal of a roll-up here.
    pub(crate) fn anchor(&self, seal: &Contents, manifest: &Manifest) -> (Slot, Contents) {
        let link = Link::of(&self.slot(0), seal);
        let slot = anchor_slot(self.generation + 1);
        (slot, manifest.anchor(link, Writer(seal.writer)))
    }

    /// Goes on behind the anchor that follows the seal here; what it leaves behind is due.
    pub(crate) fn pass_anchor(&mut self, anchor: &Contents) -> Result<Vec<Garbage>, RecoveryError> {
        let (next, _) = Cursor::behind(self.generation + 1, anchor)?;
        let due = self.left_behind();
        *self = next;
        Ok(due)
    }

    /// What is due once the generation ends here.
    pub(crate) fn left_behind(&self) -> Vec<Garbage> {
        let mut ended = self.clone();
        ended.end_segment(1);
        let anchors = retired(self.generation + 1).map(Garbage::Anchor);
        ended.trail.into_iter().chain(anchors).collect()
    }

    fn pass(&mut self, contents: &Contents) {
        let slot = self.slot(0);
        self.last = Link::of(&slot, contents);
        (self.last_slot, self.is_proven) = (Some(slot), true);
    }

    fn end_segment(&mut self, behind: u64) {
        self.trail.push(Garbage::Segment {
            generation: self.generation,
            lane: self.lane,
            len: self.index + behind,
        });
    }
}

pub(crate) const TORN: RecoveryError =
    RecoveryError::Misbehaved("what it gives for the log is not one history of this root key");

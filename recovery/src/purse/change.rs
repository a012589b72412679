//! A change of what a restore would find, as it is written down.
//!
//! As the fields of an event (integers big-endian):
//!
//! | code | change | fields, bytes |
//! | --- | --- | --- |
//! | 0 | `Marked` | mark 1, serials 1 + 32 n |
//! | 1 | `Opened` | walk 1, sequence 8, anchor 8, page 8, epoch 4 and tokens 8 of the reserve |
//! | 2 | `Paged` | a page that was read, without its credentials, to the end; nothing when there is none |
//! | 3 | `Restored` | – |
//! | 4 | `Written` | a cell's sequence 8, epoch 4, tokens 8, page 8 |
//! | 5 | `Page` | number 8, hash of the blob 32, 0 begun, 1 stored, 2 deleted or 3 outgrown 1 |
//! | 6 | `Begun` | page 8 that a cell names which may be stored from now on |
//! | 7 | `Rests` | last write to the primary store 8, since when a cell could be written 8 |
//! | 8 | `Uses` | operations at once since the newest page 1, and before it 1 |

use larder_credentials::{Epoch, Reference};
use larder_protocol::BlobHash;

use super::fields::Fields;
use super::held::Mark;
use crate::breakglass::Page;

/// One change of it.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Credentials are set aside for something else than before.
    Marked { mark: Mark, serials: Vec<Reference> },
    /// A cell was opened: a restore begins.
    Opened(Opened),
    /// Its page was read, or there is none.
    Paged(Option<Box<Page>>),
    /// The restore is over.
    Restored,
    /// A cell that names this page is on its way, and nobody may ever hear whether it was stored.
    Begun { page: u64 },
    /// A cell was written: the reserve is what was to be.
    Written(Written),
    /// What the pause goes by.
    Rests(Rest),
    /// How much the wallet is in use.
    Uses(Uses),
    /// What became of a page.
    Page {
        number: u64,
        hash: BlobHash,
        fate: Fate,
    },
}

/// A cell that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Whether the restore follows its tokens through operations.
    pub(crate) walk: bool,
    pub(crate) sequence: u64,
    pub(crate) anchor: u64,
    pub(crate) page: u64,
    /// The epoch of its reserve, and what that held.
    pub(crate) epoch: Epoch,
    pub(crate) tokens: u64,
}

/// A cell that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) sequence: u64,
    /// The epoch of its reserve.
    pub(crate) epoch: Epoch,
    /// What that holds.
    pub(crate) tokens: u64,
    pub(crate) page: u64,
}

impl Written {
    /// How many epochs may begin until what it leads to is not accepted any more; none more when only the reserve is
    /// left, and nothing at all without that. Its page may be of the epoch before its own.
    pub(super) fn lasts(&self, oldest: Epoch, ending: Epoch) -> Option<u32> {
        if self.epoch < oldest {
            return None;
        }
        let reserve = self.epoch.0.saturating_sub(ending.0);
        let page = u32::try_from(self.page >> 16).unwrap_or(u32::MAX);
        Some(match page {
            0 => reserve,
            page if page < oldest.0 => 0,
            page => reserve.min(page.saturating_sub(ending.0)),
        })
    }
}

/// What the pause in front of a cell goes by, in unix seconds, so that every process takes the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rest {
    /// When something was stored or deleted last; the latest time there is while nobody has looked since,
    /// and 0 if it never was.
    pub(crate) wrote: u64,
    /// Since when the cell could be written but for the pause; 0 for not yet.
    pub(crate) since: u64,
}

/// How many operations of the wallet were under way at once, at most; what writes its pages aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Uses {
    /// Since the newest page was stored.
    pub(crate) since: u8,
    /// Before that, and since the page in front of it.
    pub(crate) before: u8,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Fate {
    /// It may be stored.
    Begun = 0,
    /// It is stored.
    Stored = 1,
    /// It was deleted.
    Deleted = 2,
    /// It is stored, and no cell is to name it: what it leaves out does not pay for a restore any more.
    Outgrown = 3,
}

impl Change {
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Change::Marked { mark, serials } => {
                to.extend_from_slice(&[0, *mark as u8, serials.len() as u8]);
                serials.iter().for_each(|s| to.extend_from_slice(&s.0));
            }
            Change::Opened(opened) => {
                to.extend_from_slice(&[1, u8::from(opened.walk)]);
                let numbers = [opened.sequence, opened.anchor, opened.page];
                to.extend_from_slice(numbers.map(u64::to_be_bytes).as_flattened());
                to.extend_from_slice(&opened.epoch.0.to_be_bytes());
                to.extend_from_slice(&opened.tokens.to_be_bytes());
            }
            Change::Paged(page) => {
                to.push(2);
                page.iter().for_each(|page| page.encode(to));
            }
            Change::Restored => to.push(3),
            Change::Written(written) => {
                to.push(4);
                to.extend_from_slice(&written.sequence.to_be_bytes());
                to.extend_from_slice(&written.epoch.0.to_be_bytes());
                to.extend_from_slice(&written.tokens.to_be_bytes());
                to.extend_from_slice(&written.page.to_be_bytes());
            }
            Change::Page { number, hash, fate } => {
                to.push(5);
                to.extend_from_slice(&number.to_be_bytes());
                to.extend_from_slice(&hash.0);
                to.push(*fate as u8);
            }
            Change::Begun { page } => {
                to.push(6);
                to.extend_from_slice(&page.to_be_bytes());
            }
            Change::Rests(Rest { wrote, since }) => {
                to.push(7);
                to.extend_from_slice([wrote, since].map(|at| at.to_be_bytes()).as_flattened());
            }
            Change::Uses(Uses { since, before }) => {
                to.extend_from_slice(&[8, *since, *before]);
            }
        }
    }

    pub(super) fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        Some(match fields.u8()? {
            0 => Change::Marked {
                mark: Mark::of(fields.u8()?)?,
                serials: fields.list(|fields| fields.array().map(Reference))?,
            },
            1 => Change::Opened(Opened {
                walk: fields.bool()?,
                sequence: fields.u64()?,
                anchor: fields.u64()?,
                page: fields.u64()?,
                epoch: Epoch(fields.u32()?),
                tokens: fields.u64()?,
            }),
            2 => Change::Paged(match fields.rest() {
                [] => None,
                page => Some(Box::new(Page::decode(page)?)),
            }),
            3 => Change::Restored,
            4 => Change::Written(Written {
                sequence: fields.u64()?,
                epoch: Epoch(fields.u32()?),
                tokens: fields.u64()?,
                page: fields.u64()?,
            }),
            5 => Change::Page {
                number: fields.u64()?,
                hash: BlobHash(fields.array()?),
                fate: match fields.u8()? {
                    0 => Fate::Begun,
                    1 => Fate::Stored,
                    2 => Fate::Deleted,
                    3 => Fate::Outgrown,
                    _ => return None,
                },
            },
            6 => Change::Begun {
                page: fields.u64()?,
            },
            7 => Change::Rests(Rest {
                wrote: fields.u64()?,
                since: fields.u64()?,
            }),
            8 => Change::Uses(Uses {
                since: fields.u8()?,
                before: fields.u8()?,
            }),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::event::Event;

    proptest! {
        #[test]
        fn bytes_are_a_change_in_one_form_only_or_none(
            code in 0..10_u8,
            rest in proptest::collection::vec(0..4_u8, 0..60),
        ) {
            let entry = [&[17, code], &rest[..]].concat();
            if let Some(event) = Event::decode(&entry) {
                prop_assert_eq!(&*event.encode(), &entry);
            }
        }
    }
}

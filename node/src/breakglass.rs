//! `BreakglassPut` and `BreakglassOpen`: the cells that a wallet starts from which has lost
//! everything but its root key.
//!
//! A put is paid like an insert: one that is stale or signed by somebody else costs what a
//! look-up costs. An open is free, so it is bounded before it is anything else: it is read only
//! while the second's [allowance](crate::allowance) lasts, then its signature is checked, and
//! only its owner learns whether there is a cell. The first open of a cell writes that it is
//! doomed, and is answered when that is durable; every other one only reads.

use larder_protocol::{BlobHash, BreakglassOpen, BreakglassPut, Done, Op, OpenedCell, Refusal};
use larder_store::{Change, Effect, Engine, StoreError, StoredCell};

use crate::desk::Desk;
use crate::replay::Present;
use crate::step::{Again, Caller, Judged, Pending, Step, Verdict, back_if_refused};
use crate::terms::Terms;

/// What an operator decides about cells, apart from their price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breakglass {
    /// Seconds from the first opening of a cell to its deletion.
    pub seconds: u32,
    /// Opens that are looked at in a second; more are dropped.
    pub opens_per_second: u32,
}

impl Default for Breakglass {
    /// Three days, and 200 opens: about a fiftieth of a core, without the onions around them.
    fn default() -> Self {
        Breakglass {
            seconds: 72 * 60 * 60,
            opens_per_second: 200,
        }
    }
}

pub(crate) fn judge(
    engine: &dyn Engine,
    terms: &Terms,
    put: Box<BreakglassPut>,
    now: u64,
) -> Result<Judged, StoreError> {
    let hash = put.cell.hash();
    let there = engine.cell(&put.key, now)?;
    let refused = refuse(terms, &put, there.as_ref());
    let change = match refused {
        Some(_) => Change::None,
        None => Change::PutCell {
            key: put.key,
            sequence: put.sequence,
            cell: Box::new(put.cell.clone()),
            now,
        },
    };
    Ok(Judged {
        change,
        verdict: Verdict {
            stored: refused.is_none().then_some(hash),
            adjust: match refused {
                Some(_) => back_if_refused(terms, Op::BreakglassPut),
                None => 0,
            },
            outcome: refused.map_or(Ok(Done::CellStored), Err),
            again: Again::BreakglassPut(put),
        },
    })
}

/// Why a put is refused where this cell is; `None` when it is done, or has been.
fn refuse(terms: &Terms, put: &BreakglassPut, there: Option<&StoredCell>) -> Option<Refusal> {
    let hash = put.cell.hash();
    if !put.genuine(&terms.server_key) {
        return Some(Refusal::BadSignature { blob_hash: hash });
    }
    let there = there.filter(|there| !there.is_what_was_put(put.sequence, hash))?;
    let current = there.sequence;
    (current >= put.sequence).then_some(Refusal::StaleSequence { current })
}

/// What the retry of a put is told that was performed, or refused, before.
pub(crate) fn recall(
    engine: &dyn Engine,
    terms: &Terms,
    put: &BreakglassPut,
    now: u64,
) -> Result<Present, StoreError> {
    let there = engine.cell(&put.key, now)?;
    Ok(match (refuse(terms, put, there.as_ref()), there) {
        (Some(refusal), _) => (Err(refusal), None),
        (None, Some(there)) if there.sequence == put.sequence => {
            (Ok(Done::CellStored), Some(put.cell.hash()))
        }
        // It was opened and is gone; what there is was put afterwards.
        (None, _) => (Err(Refusal::Absent), None),
    })
}

impl Desk {
    pub(crate) fn open_cell(&self, caller: Caller, open: &BreakglassOpen) -> Step {
        let terms = &caller.terms;
        // Before it is known whether there is a cell: nobody else is to learn that, not even by
        // how long the answer takes.
        if !open.genuine(&terms.server_key, caller.subject.nonce) {
            let blob_hash = BlobHash([0; 32]);
            return caller.refuse(Refusal::BadSignature { blob_hash });
        }
        let now = self.clock.now();
        match self.engine.cell(&open.key, now) {
            Err(error) => caller.refuse(self.broken(&error)),
            Ok(None) => caller.refuse(Refusal::Absent),
            Ok(Some(cell)) if cell.deadline.is_some() => self.opened_cell(&caller, cell),
            Ok(Some(_)) => {
                let change = Change::DoomCell {
                    key: open.key,
                    deadline: now.saturating_add(terms.breakglass_seconds.into()),
                    now,
                };
                let pending = Pending {
                    verdict: Verdict {
                        // What was doomed is known only when it is: a put may come first.
                        outcome: Err(Refusal::Absent),
                        stored: None,
                        adjust: 0,
                        again: Again::Nothing,
                    },
                    caller,
                    payment: None,
                    replacement: None,
                };
                Step::Commit(Box::new(Effect::unpaid(change)), Box::new(pending))
            }
        }
    }

    /// The answer to an open of a doomed cell.
    pub(crate) fn opened_cell(&self, caller: &Caller, cell: StoredCell) -> Step {
        let StoredCell {
            sequence,
            cell,
            deadline,
        } = cell;
        let left = deadline.map_or(0, |deadline| deadline.saturating_sub(self.clock.now()));
        let opened = OpenedCell {
            sequence,
            cell,
            seconds: u32::try_from(left).unwrap_or(u32::MAX),
        };
        caller.answer(Ok(Done::Cell(Box::new(opened))), None, None)
    }
}

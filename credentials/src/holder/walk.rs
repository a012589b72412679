//! Walking forward from an old pair to the newest one (§8.3).
//!
//! A disaster procedure: it links the walked chain for the issuer.

use super::{AdjustRule, Replaced, Settled, Spending, Unspent};
use crate::error::HolderError;
use crate::parameters::Record;
use crate::reply::Reply;
use crate::root::Root;
use crate::row::Row;

/// Where a walk ended.
#[derive(Debug)]
pub struct Walked {
    /// The newest pair, fresh from the transfer that ended the walk.
    pub tip: Replaced,
    /// How many rows were passed.
    pub steps: usize,
    /// Rows beside the path, when pairs had been mixed. Each can be opened and walked.
    pub aside: Vec<Row>,
}

/// A walk that stopped early. Nothing is lost: walk again from here.
#[derive(Debug)]
pub struct Interrupted<E> {
    /// The pair it had come to.
    pub at: Option<Unspent>,
    /// Why it stopped.
    pub stop: Stop<E>,
}

/// Why a walk stopped.
#[derive(Debug)]
pub enum Stop<E> {
    /// The exchange failed, or the issuer refused.
    Exchange(E),
    /// An answer was not acceptable, or the walk was too long.
    Holder(HolderError),
}

/// `entropy` has to be fresh: with it a performed transfer is a new one, not the replay of
/// one that was itself spent long ago.
///
/// Presents `start` with a transfer; while the answer is a row, opens it and goes on with
/// the pair it holds; ends when a transfer is performed. One exchange a step, `fee` tokens
/// in all. A tip that holds fewer tokens than the fee is refused by the issuer; it is then
/// in [`Interrupted::at`].
///
/// # Errors
///
/// [`Interrupted`], with the pair to continue from unless an answer was unacceptable.
pub fn walk<E>(
    start: Unspent,
    root: &Root,
    record: &Record,
    fee: u64,
    entropy: &[u8; 32],
    longest: usize,
    mut exchange: impl FnMut(&[u8]) -> Result<Reply, E>,
) -> Result<Walked, Box<Interrupted<E>>> {
    let interrupted = |at, stop| Err(Box::new(Interrupted { at, stop }));
    let mut pair = start;
    let mut aside = Vec::new();
    for steps in 0..=longest {
        // A pair that is spent shows its row whatever it offers to pay.
        let affordable = u64::try_from(pair.total()).map_or(fee, |total| total.min(fee));
        let transfer = Spending::transfer(affordable).with_entropy(entropy);
        let in_flight = match pair.spend(root, record, &transfer) {
            Ok(in_flight) => in_flight,
            Err(failed) => return interrupted(Some(failed.pair), Stop::Holder(failed.error)),
        };
        let reply = match exchange(in_flight.core()) {
            Ok(reply) => reply,
            Err(error) => return interrupted(in_flight.abandon(), Stop::Exchange(error)),
        };
        let rows = match in_flight.accept(root, record, reply, AdjustRule::Exactly(0)) {
            Ok(Settled::Performed(tip)) => return Ok(Walked { tip, steps, aside }),
            Ok(Settled::Overtaken { rows, .. }) => rows,
            Err(rejected) => {
                let error = rejected.error;
                return interrupted(rejected.in_flight.abandon(), Stop::Holder(error));
            }
        };
        let mut rows = rows.into_iter();
        let Some(row) = rows.next() else {
            return interrupted(None, Stop::Holder(HolderError::ForeignRow));
        };
        aside.extend(rows);
        pair = match row.open(root, record) {
            Ok(pair) => pair,
            Err(error) => return interrupted(None, Stop::Holder(error)),
        };
    }
    interrupted(Some(pair), Stop::Holder(HolderError::WalkTooLong))
}

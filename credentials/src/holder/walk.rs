//! Walking forward from an old pair to the newest one (§8.3).
//!
//! A disaster procedure: it links the walked chain for the issuer. No money is lost on the
//! way. Whatever the path does not lead through is handed back as [`Aside`], whether the
//! walk reaches its end or not.

use super::{AdjustRule, Replaced, Settled, Spending, Unspent};
use crate::credential::Credential;
use crate::error::HolderError;
use crate::parameters::Record;
use crate::reply::Reply;
use crate::root::Root;
use crate::row::Row;

/// Where a walk ended.
#[derive(Debug)]
#[must_use = "it holds money"]
pub struct Walked {
    /// The newest pair, fresh from the transfer that ended the walk.
    pub tip: Replaced,
    /// How many rows were passed.
    pub steps: usize,
    /// What lay beside the path.
    pub aside: Aside,
}

/// A walk that stopped early. Nothing is lost: walk again from here.
#[derive(Debug)]
#[must_use = "it holds money"]
pub struct Interrupted<E> {
    /// The pair it had come to. None when that pair is spent and none of its rows opened;
    /// then the rows are in [`Aside::rows`].
    pub at: Option<Unspent>,
    /// Why it stopped.
    pub stop: Stop<E>,
    /// What lay beside the path so far. Walking on does not find it again.
    pub aside: Aside,
}

/// What lies beside the path when pairs had been mixed from different rows.
#[derive(Debug, Default)]
pub struct Aside {
    /// Credentials that were presented with a spent one and are not spent themselves.
    pub unspent: Vec<Credential>,
    /// Rows that were not followed: a pair has two when its halves were spent apart. Each
    /// that was made with this root can be opened, and walked from.
    pub rows: Vec<Row>,
}

impl Aside {
    /// Whether the path led through everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unspent.is_empty() && self.rows.is_empty()
    }

    /// Keeps what the rows leave over of a pair, and returns the pair that the first row
    /// which opens holds. The other rows are kept.
    fn follow(
        &mut self,
        inputs: Unspent,
        rows: Vec<Row>,
        root: &Root,
        record: &Record,
    ) -> Result<Unspent, HolderError> {
        self.unspent.extend(inputs.unconsumed(&rows));
        let mut followed = Err(HolderError::ForeignRow);
        for row in rows {
            if followed.is_err() {
                followed = row.open(root, record);
                if followed.is_ok() {
                    continue;
                }
            }
            self.rows.push(row);
        }
        followed
    }
}

/// Why a walk stopped.
#[derive(Debug)]
pub enum Stop<E> {
    /// The exchange failed, or the issuer refused.
    Exchange(E),
    /// An answer was not acceptable, a row did not open, the pair holds nothing to pay
    /// with, or the walk was too long.
    Holder(HolderError),
}

/// Finds the newest pair that descends from `start`, and makes it new by a transfer.
///
/// Presents `start` with a transfer; while the answer is a row, opens it and goes on with
/// the pair it holds; ends when a transfer is performed. One exchange a step, at most
/// `longest` rows, `fee` tokens in all. A tip that holds fewer tokens than the fee is
/// refused by the issuer; it is then in [`Interrupted::at`].
///
/// `entropy` has to be fresh: with it a performed transfer is a new one, not the replay of
/// one that was itself spent long ago.
///
/// # Errors
///
/// [`Interrupted`], with the pair to continue from and what lay beside the path.
/// [`HolderError::WalkTooLong`] after `longest` rows.
pub fn walk<E>(
    start: Unspent,
    root: &Root,
    record: &Record,
    fee: u64,
    entropy: &[u8; 32],
    longest: usize,
    mut exchange: impl FnMut(&[u8]) -> Result<Reply, E>,
) -> Result<Walked, Box<Interrupted<E>>> {
    let interrupted = |at, stop, aside| Err(Box::new(Interrupted { at, stop, aside }));
    let mut pair = start;
    let mut aside = Aside::default();
    for steps in 0..=longest {
        // One that holds less was refused by the issuer, or is the tip: nothing costs less.
        let affordable = u64::try_from(pair.total()).map_or(fee, |total| total.min(fee));
        let transfer = Spending::transfer(affordable).with_entropy(entropy);
        let in_flight = match pair.spend(root, record, &transfer) {
            Ok(in_flight) => in_flight,
            Err(failed) => {
                return interrupted(Some(failed.pair), Stop::Holder(failed.error), aside);
            }
        };
        let reply = match exchange(in_flight.core()) {
            Ok(reply) => reply,
            Err(error) => return interrupted(in_flight.abandon(), Stop::Exchange(error), aside),
        };
        let (inputs, rows) = match in_flight.accept(root, record, reply, AdjustRule::Exactly(0)) {
            Ok(Settled::Performed(tip)) => return Ok(Walked { tip, steps, aside }),
            Ok(Settled::Overtaken { inputs, rows }) => (inputs, rows),
            Err(rejected) => {
                let at = rejected.in_flight.abandon();
                return interrupted(at, Stop::Holder(rejected.error), aside);
            }
        };
        pair = match aside.follow(inputs, rows, root, record) {
            Ok(pair) => pair,
            Err(error) => return interrupted(None, Stop::Holder(error), aside),
        };
    }
    interrupted(Some(pair), Stop::Holder(HolderError::WalkTooLong), aside)
}

//! A request that has been built, and what its answer makes of the pair.

use std::fmt;

use super::Unspent;
use super::build::{self, Built};
use crate::error::HolderError;
use crate::operation::{ClaimSecret, References, Status};
use crate::parameters::Record;
use crate::reply::Reply;
use crate::request::Request;
use crate::root::Root;
use crate::row::Row;

/// A pair, or a claim, that a request was built for. From here the issuer may have seen
/// it: resend the identical [`core`](Self::core) until there is an answer.
#[must_use = "the pair in it is spent as soon as its core is sent"]
pub struct InFlight {
    built: Built,
    inputs: Option<Unspent>,
}

/// What `adjust` may be, in tokens. Whatever is predictable has to be checked, because
/// anything an issuer can vary tags its client (§9.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdjustRule {
    /// What the published schedule says.
    Exactly(u64),
    /// A refund that depends on what the server found.
    AtMost(u64),
}

impl AdjustRule {
    /// Whether this adjustment is as published. For rows that were opened without a
    /// request: compare [`Issuance::adjust`](crate::Issuance::adjust).
    #[must_use]
    pub fn allows(self, adjust: u64) -> bool {
        match self {
            AdjustRule::Exactly(tokens) => adjust == tokens,
            AdjustRule::AtMost(tokens) => adjust <= tokens,
        }
    }
}

/// A performed operation: the pair is replaced (§5).
#[derive(Debug)]
pub struct Replaced {
    /// The new pair.
    pub pair: Unspent,
    /// How the operation ended. Even one that could not be carried out is performed, and
    /// consumes the pair (§6).
    pub status: Status,
    /// Tokens that came back, on the first output. They are in the pair already.
    pub adjust: u64,
}

/// What became of a pair (§7 steps 2, 3 and 6, seen by its holder).
#[derive(Debug)]
pub enum Settled {
    /// The operation was performed.
    Performed(Replaced),
    /// The operation was *not* performed: at least one credential of the pair had been
    /// consumed before. Open the rows with [`Row::open`]; a credential that is in none of
    /// them stays unspent.
    Overtaken {
        /// The pair as it was; [`Unspent::unconsumed`] says what of it is not spent.
        inputs: Unspent,
        /// The rows that consumed it. Each names at least one of its serials.
        rows: Vec<Row>,
    },
}

/// An answer that was not accepted (§5, §9.2). Nothing is lost and nothing is gained: the
/// request is still in flight, and the pair in it may or may not be spent.
#[derive(Debug)]
pub struct Rejected {
    /// The state as it was.
    pub in_flight: InFlight,
    /// Why; [`HolderError::fault`] says who has to act.
    pub error: HolderError,
}

impl InFlight {
    pub(super) fn new(built: Built, inputs: Option<Unspent>) -> Self {
        InFlight { built, inputs }
    }

    /// Claims a purchase of `amount` tokens that has been paid, divided over two outputs
    /// as given or with all that fits in the first (§11).
    ///
    /// # Errors
    ///
    /// [`HolderError::BadOperation`] for no tokens or too many,
    /// [`HolderError::BadSplit`].
    pub fn purchase(
        root: &Root,
        record: &Record,
        claim: &ClaimSecret,
        amount: u64,
        outputs: Option<[u64; 2]>,
    ) -> Result<Self, HolderError> {
        let built = build::purchase(root, record, claim, amount, outputs)?;
        Ok(InFlight::new(built, None))
    }

    /// The bytes to send, and to send again.
    #[must_use]
    pub fn core(&self) -> &[u8] {
        &self.built.core
    }

    /// What the core says.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.built.request
    }

    /// Takes the pair back. Only after a refusal: those consume nothing. A purchase has
    /// no pair.
    #[must_use]
    pub fn abandon(self) -> Option<Unspent> {
        self.inputs
    }

    /// Judges the answer (§5): the published key made the issuance, the adjustment is what
    /// `rule` says, a row that is shown instead consumes this pair.
    ///
    /// # Errors
    ///
    /// The request comes back, still in flight, with what is wrong: that of
    /// [`Row::open`], [`HolderError::ChangedParameters`] when the record is not the one the
    /// request was built with, [`HolderError::WrongAdjust`], or [`HolderError::ForeignRow`] for rows
    /// that consume something else.
    pub fn accept(
        self,
        root: &Root,
        record: &Record,
        reply: Reply,
        rule: AdjustRule,
    ) -> Result<Settled, Box<Rejected>> {
        let judged = match &reply {
            Reply::Performed { status, issuance } => {
                let row = Row::new(self.request(), *status, (**issuance).clone());
                self.check_record(record)
                    .and_then(|()| open(&row, root, record, rule))
                    .map(Some)
            }
            Reply::NotPerformed(rows) => self.check_rows(rows).map(|()| None),
        };
        match (judged, reply, self.inputs) {
            (Ok(Some(replaced)), ..) => Ok(Settled::Performed(replaced)),
            (Ok(None), Reply::NotPerformed(rows), Some(inputs)) => {
                Ok(Settled::Overtaken { inputs, rows })
            }
            (judged, _, inputs) => Err(Box::new(Rejected {
                error: judged.err().unwrap_or(HolderError::ForeignRow),
                in_flight: InFlight { inputs, ..self },
            })),
        }
    }

    /// The record has to say of our epoch what it said when the request was built:
    /// otherwise each client could be answered under a key of its own (§9.2).
    fn check_record(&self, record: &Record) -> Result<(), HolderError> {
        let output = &self.built.output;
        if record.parameters(output.epoch())? == output {
            Ok(())
        } else {
            Err(HolderError::ChangedParameters)
        }
    }

    /// Every row has to consume one of our serials, and none may answer this very core.
    fn check_rows(&self, rows: &[Row]) -> Result<(), HolderError> {
        let References::Serials(ours) = self.request().references() else {
            return Err(HolderError::ForeignRow);
        };
        let related = |row: &Row| row.references().iter().any(|r| ours.contains(&r));
        let honest = |row: &Row| related(row) && row.core_hash() != self.request().core_hash();
        if !rows.is_empty() && rows.iter().all(honest) {
            Ok(())
        } else {
            Err(HolderError::ForeignRow)
        }
    }
}

fn open(
    row: &Row,
    root: &Root,
    record: &Record,
    rule: AdjustRule,
) -> Result<Replaced, HolderError> {
    let adjust = row.issuance().adjust();
    if !rule.allows(adjust) {
        return Err(HolderError::WrongAdjust);
    }
    Ok(Replaced {
        pair: row.open(root, record)?,
        status: row.status(),
        adjust,
    })
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InFlight")
    }
}

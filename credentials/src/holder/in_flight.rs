//! A request that has been built, and what its answer makes of the pair.

use std::fmt;

use super::{Unspent, build};
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
    core: Vec<u8>,
    request: Request,
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
    fn allows(self, adjust: u64) -> bool {
        match self {
            AdjustRule::Exactly(tokens) => adjust == tokens,
            AdjustRule::AtMost(tokens) => adjust <= tokens,
        }
    }
}

/// A performed operation.
#[derive(Debug)]
pub struct Replaced {
    /// The new pair.
    pub pair: Unspent,
    /// How the operation ended.
    pub status: Status,
    /// Tokens that came back.
    pub adjust: u64,
}

/// What became of a pair.
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

/// An answer that was not accepted. The request is still in flight.
#[derive(Debug)]
pub struct Rejected {
    /// The state as it was.
    pub in_flight: InFlight,
    /// Why; [`HolderError::fault`] says who has to act.
    pub error: HolderError,
}

impl InFlight {
    pub(super) fn new(core: Vec<u8>, request: Request, inputs: Option<Unspent>) -> Self {
        InFlight {
            core,
            request,
            inputs,
        }
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
        let (core, request) = build::purchase(root, record, claim, amount, outputs)?;
        Ok(InFlight::new(core, request, None))
    }

    /// The bytes to send, and to send again.
    #[must_use]
    pub fn core(&self) -> &[u8] {
        &self.core
    }

    /// What the core says.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Takes the pair back. Only after a refusal: those consume nothing. A purchase has
    /// no pair.
    #[must_use]
    pub fn abandon(self) -> Option<Unspent> {
        self.inputs
    }

    /// Judges the answer.
    ///
    /// # Errors
    ///
    /// The request comes back, still in flight, with what is wrong: that of
    /// [`Row::open`], [`HolderError::WrongAdjust`], or [`HolderError::ForeignRow`] for rows
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
                let row = Row::new(&self.request, *status, (**issuance).clone());
                open(&row, root, record, rule).map(Some)
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

    /// Every row has to consume one of our serials, and none may answer this very core.
    fn check_rows(&self, rows: &[Row]) -> Result<(), HolderError> {
        let References::Serials(ours) = self.request.references() else {
            return Err(HolderError::ForeignRow);
        };
        let related = |row: &Row| row.references().iter().any(|r| ours.contains(&r));
        let honest = |row: &Row| related(row) && row.core_hash() != self.request.core_hash();
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

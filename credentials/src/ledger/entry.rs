//! What settles one request: conditions and writes that take effect as one (§7 step 6).
//!
//! An entry is prepared without a lock, issuance included, and applied under one. So a server
//! may prepare on all cores and apply many entries in one transaction of its own, together with
//! whatever else each request does.

use super::claims::{self, Claim};
use super::storage::{Reads, Supply, Writes};
use crate::epoch::Epoch;
use crate::error::Refusal;
use crate::operation::References;
use crate::reply::Reply;
use crate::request::Request;
use crate::row::Row;

/// A request that was verified, performed in thought, and issued for: all but durable.
///
/// Whoever has it may not send its reply before [`apply`](Self::apply) has agreed and the
/// transaction is durable. Dropping it undoes everything: nobody has seen what was issued.
#[derive(Debug, Clone)]
pub struct Entry {
    row: Row,
    in_epoch: Option<Epoch>,
}

/// Why an entry did not take effect. Nothing was consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declined {
    /// The references were consumed before, by this very core or by another: the answer.
    Seen(Reply),
    /// Tell the client.
    Refused(Refusal),
}

impl Entry {
    pub(super) fn new(request: &Request, row: Row) -> Self {
        Entry {
            row,
            in_epoch: request.in_epoch(),
        }
    }

    /// The row that will be stored.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The answer, once the entry is durable.
    #[must_use]
    pub fn reply(&self) -> Reply {
        Reply::performed(&self.row)
    }

    /// Judges under the lock whether the references are still unspent, the epochs open, the
    /// claim paid and the tokens covered by what was issued; then stores row, supply and claim.
    ///
    /// When it declines, nothing was written, except that the supply may have been halted:
    /// that has to become durable.
    ///
    /// # Errors
    ///
    /// Those of the storage.
    pub fn apply<W: Writes>(&self, writes: &mut W) -> Result<Result<(), Declined>, W::Error> {
        let (row, cost) = (&self.row, self.row.cost());
        if let Some(reply) = seen(writes, row.references(), row.core_hash())? {
            return Ok(Err(match (reply, row.references()) {
                (Reply::NotPerformed(_), References::Claim(_)) => {
                    Declined::Refused(Refusal::AlreadyClaimed)
                }
                (reply, _) => Declined::Seen(reply),
            }));
        }
        let refused = |refusal| Ok(Err(Declined::Refused(refusal)));
        let supply = writes.supply()?;
        if supply.halted {
            return refused(Refusal::Halted);
        }
        if let Err(refusal) = check_floor(writes, self.in_epoch, row.out_epoch())? {
            return refused(refusal);
        }
        let claim = match row.references() {
            References::Serials(_) => None,
            References::Claim(tag) => {
                let claim = writes.claim(tag)?;
                match claims::price(claim) {
                    Ok(price) if price == cost => claim.map(|claim| (*tag, claim)),
                    Ok(price) => return refused(Refusal::WrongPrice { price }),
                    Err(refusal) => return refused(refusal),
                }
            }
        };
        let Some(covered) = supply.after(cost) else {
            writes.put_supply(Supply {
                halted: true,
                ..supply
            })?;
            return refused(Refusal::Halted);
        };
        writes.put_supply(covered.given_back(row.issuance().adjust()))?;
        writes.insert_row(row)?;
        if let Some((tag, claim)) = claim {
            let consumed = Claim {
                consumed: true,
                ..claim
            };
            writes.put_claim(&tag, consumed)?;
        }
        Ok(Ok(()))
    }
}

/// What the replay table knows of these references: the answer to the core that consumed them,
/// the distinct rows of others, or nothing.
pub(super) fn seen<R: Reads>(
    reads: &mut R,
    references: &References,
    core_hash: &[u8; 32],
) -> Result<Option<Reply>, R::Error> {
    let mut rows: Vec<Row> = Vec::new();
    for reference in references.iter() {
        if let Some(row) = reads.row(&reference)?
            && !rows.contains(&row)
        {
            rows.push(row);
        }
    }
    Ok(match rows.as_slice() {
        [] => None,
        [row] if row.core_hash() == core_hash => Some(Reply::performed(row)),
        _ => Some(Reply::NotPerformed(rows)),
    })
}

/// Whether the outputs are of the epoch that storage has come to, and the inputs of one that was
/// not closed. They are not after an [`enter`](super::Ledger::enter) that failed although it was
/// durable, or when a replica has gone on.
pub(super) fn check_floor<R: Reads>(
    reads: &mut R,
    in_epoch: Option<Epoch>,
    out_epoch: Epoch,
) -> Result<Result<(), Refusal>, R::Error> {
    let Some(floor) = reads.floor()? else {
        // Opening the ledger wrote one; a storage without has been replaced since.
        return Ok(Err(Refusal::Halted));
    };
    let open = in_epoch.is_none_or(|epoch| epoch >= floor.oldest);
    Ok(if open && out_epoch == floor.current {
        Ok(())
    } else {
        Err(Refusal::WrongEpoch {
            current: floor.current,
            oldest: floor.oldest,
        })
    })
}

//! The replacement row: the stored answer to a consumed pair or claim (§7, §8.2).
//!
//! | field | bytes |
//! | --- | --- |
//! | `core_hash` | 32 |
//! | `op_digest` | 32 |
//! | operation code | 1 |
//! | status | 1 |
//! | cost, LE64 signed | 8 |
//! | `out_epoch`, LE32 | 4 |
//! | references | 64 |
//! | `M'_1` `M'_2` | 64 |
//! | memo | 44 |
//! | issuance | 328 |
//!
//! A row and the root are enough to open the pair it holds. Neither the request nor
//! knowledge of the operation is needed.

use std::fmt;

use crate::bytes::Reader;
use crate::credential::Credential;
use crate::epoch::Epoch;
use crate::error::{HolderError, Malformed};
use crate::generators::commit;
use crate::group::{Encoding, Point};
use crate::holder::Unspent;
use crate::issuance::{self, ISSUANCE_BYTES, Issuance, IssuanceContext};
use crate::memo::{self, MEMO_BYTES};
use crate::operation::{OpCode, References, Status};
use crate::parameters::Record;
use crate::request::Request;
use crate::root::Root;

/// The size of a row, in bytes.
pub const ROW_BYTES: usize = 250 + ISSUANCE_BYTES;

/// A replacement row.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    core_hash: [u8; 32],
    op_digest: [u8; 32],
    op: OpCode,
    status: Status,
    cost: i64,
    out_epoch: Epoch,
    references: References,
    outputs: [Encoding; 2],
    memo: [u8; MEMO_BYTES],
    issuance: Issuance,
}

impl Row {
    /// The row that answers a request.
    pub(crate) fn new(request: &Request, status: Status, issuance: Issuance) -> Self {
        Row {
            core_hash: *request.core_hash(),
            op_digest: *request.op_digest(),
            op: request.op(),
            status,
            cost: request.cost(),
            out_epoch: request.out_epoch(),
            references: *request.references(),
            outputs: request.head.outputs,
            memo: request.head.memo,
            issuance,
        }
    }

    /// The hash of the one core this row answers.
    #[must_use]
    pub fn core_hash(&self) -> &[u8; 32] {
        &self.core_hash
    }

    /// The digest of the operation that was performed.
    #[must_use]
    pub fn op_digest(&self) -> &[u8; 32] {
        &self.op_digest
    }

    /// The operation that was performed.
    #[must_use]
    pub fn op(&self) -> OpCode {
        self.op
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// What it cost, in tokens, before the adjustment.
    #[must_use]
    pub fn cost(&self) -> i64 {
        self.cost
    }

    /// The epoch of the pair it holds; it is kept as long as that epoch is live.
    #[must_use]
    pub fn out_epoch(&self) -> Epoch {
        self.out_epoch
    }

    /// What was consumed.
    #[must_use]
    pub fn references(&self) -> &References {
        &self.references
    }

    /// What was issued.
    #[must_use]
    pub fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// The 578 bytes of the row.
    #[must_use]
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        let fields: [&[u8]; 11] = [
            &self.core_hash,
            &self.op_digest,
            &[self.op.code()],
            &[self.status.0],
            &self.cost.to_le_bytes(),
            &self.out_epoch.0.to_le_bytes(),
            &self.references.encode(),
            &self.outputs[0],
            &self.outputs[1],
            &self.memo,
            &self.issuance.encode(),
        ];
        let mut bytes = [0; ROW_BYTES];
        let mut rest = bytes.as_mut_slice();
        for field in fields {
            let (head, tail) = rest.split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        }
        bytes
    }

    /// The row in exactly 578 bytes.
    ///
    /// # Errors
    ///
    /// Any other length, or fields that no row has. Points and the issuance proof are
    /// checked when the row is opened.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let row = Row::read(&mut reader)?;
        reader.end()?;
        Ok(row)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let row = Row {
            core_hash: reader.array()?,
            op_digest: reader.array()?,
            op: OpCode::decode(reader.u8()?)?,
            status: Status(reader.u8()?),
            cost: reader.i64()?,
            out_epoch: Epoch(reader.u32()?),
            references: References::read(reader)?,
            outputs: [reader.array()?, reader.array()?],
            memo: reader.array()?,
            issuance: Issuance::read(reader)?,
        };
        let claims = matches!(row.references, References::Claim(_));
        if claims != (row.op == OpCode::PURCHASE) {
            return Err(Malformed::Value("the references"));
        }
        Ok(row)
    }

    /// The pair this row holds, from the root alone (§8.2).
    ///
    /// An operation of this crate never adjusts. What one of the service may give back,
    /// only its schedule says: compare [`Issuance::adjust`] by
    /// [`AdjustRule::allows`](crate::AdjustRule::allows).
    ///
    /// # Errors
    ///
    /// [`HolderError::NotOurs`] if the row was made with another root,
    /// [`HolderError::WrongAdjust`] if tokens were added where none ever are,
    /// [`HolderError::RowMismatch`] and [`HolderError::BadIssuance`] if the issuer
    /// tampered with it, [`HolderError::UnknownEpoch`] if the record lacks its epoch.
    pub fn open(&self, root: &Root, record: &Record) -> Result<Unspent, HolderError> {
        // The blindings depend on the split, which only the memo knows.
        let values = memo::open(root, &self.references, &self.memo).ok_or(HolderError::NotOurs)?;
        if self.op.code() < OpCode::FIRST_OF_SERVICE && self.issuance.adjust != 0 {
            return Err(HolderError::WrongAdjust);
        }
        let blindings = root.blindings(&self.references, &values);
        let outputs: [Point; 2] =
            std::array::from_fn(|j| Point::from(commit(values[j], &blindings[j])));
        if outputs.map(|output| output.encoding) != self.outputs {
            return Err(HolderError::RowMismatch);
        }
        let context = IssuanceContext {
            core_hash: &self.core_hash,
            op_digest: &self.op_digest,
            op: self.op,
            status: self.status,
            cost: self.cost,
            references: &self.references,
        };
        let parameters = record.parameters(self.out_epoch)?;
        let [t_1, t_2] = issuance::check(&self.issuance, &context, parameters, outputs)?;
        let first = values[0]
            .checked_add(self.issuance.adjust)
            .ok_or(HolderError::WrongAdjust)?;
        let [r_1, r_2] = *blindings;
        let [mac_1, mac_2] = self.issuance.macs;
        Unspent::new([
            Credential::new(self.out_epoch, first, r_1, t_1, mac_1.V),
            Credential::new(self.out_epoch, values[1], r_2, t_2, mac_2.V),
        ])
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Row").field(&self.op).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spending;
    use crate::test_scene::{purchase, root, scene, settle, spend};

    #[test]
    fn a_row_that_adds_tokens_to_a_transfer_does_not_open() {
        let scene = scene();
        let (_, pair) = settle(&scene, purchase(&scene, 0, 100), 0);
        let in_flight = spend(&scene, &pair, &Spending::transfer(10));
        let request = in_flight.request();
        // The proof is good: only the operation says that nothing may come back.
        let row = |adjust| {
            let issuance = scene.issuer().issue(request, Status::DONE, adjust).unwrap();
            Row::new(request, Status::DONE, issuance)
        };
        let open = |row: Row| row.open(&root(), scene.issuer().record());
        assert_eq!(open(row(0)).unwrap().total(), 90);
        assert_eq!(open(row(3)).unwrap_err(), HolderError::WrongAdjust);
    }
}

//! What a pair is spent on.

use crate::error::HolderError;
use crate::operation::OpCode;
use crate::service::RangeWidth;

/// An operation, its price, and how the remaining tokens are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending<'a> {
    op: OpCode,
    parameters: &'a [u8],
    cost: u64,
    outputs: Option<[u64; 2]>,
    entropy: &'a [u8],
}

impl<'a> Spending<'a> {
    /// Merges, splits, re-randomises or takes over a pair, for the published fee in tokens.
    #[must_use]
    pub fn transfer(fee: u64) -> Self {
        Spending::on(OpCode::TRANSFER, &[], fee)
    }

    /// Moves a pair of an older epoch to the current one, free.
    #[must_use]
    pub fn reissue() -> Self {
        Spending::on(OpCode::REISSUE, &[], 0)
    }

    /// An operation of the service with its parameters, at its price in tokens.
    #[must_use]
    pub fn on(op: OpCode, parameters: &'a [u8], cost: u64) -> Self {
        Spending {
            op,
            parameters,
            cost,
            outputs: None,
            entropy: &[],
        }
    }

    /// Mixes fresh randomness into the proofs. The request then differs from every other
    /// one on the same pair, so that *performed* can only mean: performed now. It can be
    /// rebuilt only with the same entropy.
    #[must_use]
    pub fn with_entropy(self, entropy: &'a [u8; 32]) -> Self {
        Spending { entropy, ..self }
    }

    /// Divides what is left this way. Otherwise the first output takes all that fits.
    #[must_use]
    pub fn into_outputs(self, outputs: [u64; 2]) -> Self {
        Spending {
            outputs: Some(outputs),
            ..self
        }
    }

    pub(super) fn op(&self) -> OpCode {
        self.op
    }

    pub(super) fn parameters(&self) -> &'a [u8] {
        self.parameters
    }

    pub(super) fn entropy(&self) -> &'a [u8] {
        self.entropy
    }

    /// The cost as it travels.
    pub(super) fn cost(&self) -> Result<i64, HolderError> {
        i64::try_from(self.cost).map_err(|_| HolderError::BadOperation)
    }

    /// Both output amounts, for a pair of this total.
    pub(super) fn divide(&self, total: u128, width: RangeWidth) -> Result<[u64; 2], HolderError> {
        let left = total
            .checked_sub(self.cost.into())
            .ok_or(HolderError::NotEnoughTokens)?;
        divide(left, self.outputs, width)
    }
}

/// Divides tokens over two outputs, each within the range.
pub(super) fn divide(
    tokens: u128,
    wanted: Option<[u64; 2]>,
    width: RangeWidth,
) -> Result<[u64; 2], HolderError> {
    let outputs = match wanted {
        Some(outputs) => outputs,
        None => {
            let first = tokens.min(width.largest().into());
            let narrow = |amount: u128| u64::try_from(amount).map_err(|_| HolderError::BadSplit);
            [narrow(first)?, narrow(tokens - first)?]
        }
    };
    let sum: u128 = outputs.iter().copied().map(u128::from).sum();
    if sum == tokens && outputs.iter().all(|amount| *amount <= width.largest()) {
        Ok(outputs)
    } else {
        Err(HolderError::BadSplit)
    }
}

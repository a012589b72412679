//! What a pair is spent on (§6).

use std::fmt;

use crate::error::HolderError;
use crate::operation::OpCode;
use crate::service::RangeWidth;

/// Tokens that the first output of an operation of the service stays below the range.
///
/// A refund lands on the first output and must not lift it above the range: a pair of two
/// such credentials holds more than two outputs can, and no request could spend it. While
/// every refund is at most this, each credential fits the range and each pair can be
/// transferred and reissued. A service **must not** give back more at once.
pub const HEADROOM: u64 = 1 << 24;

/// An operation, its price, and how the remaining tokens are divided (§6). `Debug` prints
/// the operation only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Spending<'a> {
    op: OpCode,
    parameters: &'a [u8],
    cost: u64,
    outputs: Option<[u64; 2]>,
    entropy: &'a [u8],
}

impl<'a> Spending<'a> {
    /// Merges, splits, re-randomises or takes over a pair, for the published fee of at least
    /// one token (§6).
    #[must_use]
    pub fn transfer(fee: u64) -> Self {
        Spending::on(OpCode::TRANSFER, &[], fee)
    }

    /// Moves a pair of an older epoch to the current one, free (§6, §7.1).
    #[must_use]
    pub fn reissue() -> Self {
        Spending::on(OpCode::REISSUE, &[], 0)
    }

    /// An operation of the service with its parameters, at its published price of at least
    /// one token (§6). The proofs are bound to the parameters (§4.4).
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

    /// Divides what is left this way (§4.1). Otherwise the first output takes all that
    /// fits, less the [`HEADROOM`] for a refund, and the second the rest.
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
        let largest = width.largest();
        let first = if self.op.code() < OpCode::FIRST_OF_SERVICE {
            largest
        } else {
            largest - HEADROOM
        };
        divide(left, self.outputs, [first, largest])
    }
}

impl fmt::Debug for Spending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spending").field(&self.op).finish()
    }
}

/// Divides tokens over two outputs, each of which holds so many at most.
pub(super) fn divide(
    tokens: u128,
    wanted: Option<[u64; 2]>,
    most: [u64; 2],
) -> Result<[u64; 2], HolderError> {
    let outputs = match wanted {
        Some(outputs) => outputs,
        None => {
            let first = tokens.min(most[0].into());
            let narrow = |amount: u128| u64::try_from(amount).map_err(|_| HolderError::BadSplit);
            [narrow(first)?, narrow(tokens - first)?]
        }
    };
    let sum: u128 = outputs.iter().copied().map(u128::from).sum();
    if sum == tokens
        && outputs
            .iter()
            .zip(most)
            .all(|(amount, most)| *amount <= most)
    {
        Ok(outputs)
    } else {
        Err(HolderError::BadSplit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spending_prints_neither_its_parameters_nor_its_entropy() {
        let op = OpCode::of_service(20).unwrap();
        let entropy = [0x5a; 32];
        let spending = Spending::on(op, b"a storage key", 10)
            .into_outputs([1, 2])
            .with_entropy(&entropy);
        assert_eq!(format!("{spending:?}"), "Spending(OpCode(20))");
    }
}

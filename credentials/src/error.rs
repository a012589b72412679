//! What can go wrong, and whose fault it is.
//!
//! No variant carries a key, a serial or any other byte of a request.

use crate::epoch::Epoch;

/// Bytes that are not an encoding of what they were offered as. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// Bytes are left over.
    #[error("there are bytes after the last field")]
    TrailingBytes,
    /// A version this crate does not speak.
    #[error("version {0} is not known here")]
    Version(u8),
    /// A field that has only a few values holds another one.
    #[error("{0} holds a value it cannot have")]
    Value(&'static str),
    /// 32 bytes that are not the canonical encoding of a point, or that of the identity.
    #[error("a point is not canonical or is the identity")]
    Point,
    /// 32 bytes that are not a scalar below the group order.
    #[error("a scalar is not canonical")]
    Scalar,
    /// A request that presents one credential twice.
    #[error("both presentations carry the same serial")]
    SameSerial,
}

/// Why the issuer did not do what a request asked. Nothing was consumed, nothing stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The client's fault: the bytes are no request.
    #[error("malformed request: {0}")]
    Malformed(#[from] Malformed),
    /// The client's fault, or its record is stale: the operation is not offered.
    #[error("this operation is not offered")]
    UnknownOperation,
    /// The client's record is stale: rebuild with this price, in tokens.
    #[error("the price is {price} tokens")]
    WrongPrice {
        /// What the operation costs, in tokens; negative when tokens are given.
        price: i64,
    },
    /// The client's record is stale: fetch it and rebuild with the same inputs.
    #[error("the current epoch is {current}, the oldest accepted one {oldest}")]
    WrongEpoch {
        /// The epoch in which credentials are issued now.
        current: Epoch,
        /// The oldest epoch whose credentials are accepted.
        oldest: Epoch,
    },
    /// The client's fault: the credentials or the proofs do not verify.
    #[error("the proof does not verify")]
    BadProof,
    /// The client's fault: nobody asked for an invoice for this claim.
    #[error("unknown claim")]
    UnknownClaim,
    /// Nobody's fault yet: the payment has not settled. Retry later.
    #[error("the claim is not paid")]
    NotPaid,
    /// The client's fault: the claim was consumed by another request.
    #[error("the claim has been used")]
    AlreadyClaimed,
    /// The issuer's fault: more tokens were about to be spent than were ever paid for.
    /// Issuance stays halted until an operator has looked at it.
    #[error("issuance is halted")]
    Halted,
}

/// Who has to act on a [`HolderError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller asked for something impossible, or lost a secret.
    Holder,
    /// The issuer broke the protocol: keep its reply as evidence, do not spend there.
    Issuer,
}

/// Why a holder could not build a request or does not accept a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// The pair holds fewer tokens than the operation costs.
    #[error("the pair holds fewer tokens than the operation costs")]
    NotEnoughTokens,
    /// The outputs do not add up to what is left, one does not fit the range, or a refund
    /// might not fit the first. Pair a credential of a pair that is too full with a smaller
    /// one.
    #[error("the outputs do not add up or do not fit the range")]
    BadSplit,
    /// The two credentials of a pair belong to different epochs.
    #[error("the credentials of a pair belong to different epochs")]
    MixedEpochs,
    /// One credential was offered twice.
    #[error("one credential was offered twice")]
    SameCredential,
    /// The record holds no parameters for this epoch.
    #[error("the record has no parameters for epoch {0}")]
    UnknownEpoch(Epoch),
    /// The operation does not fit its cost, inputs or parameters.
    #[error("the operation does not fit its cost, its inputs or its parameters")]
    BadOperation,
    /// Stored bytes are damaged.
    #[error("stored credential: {0}")]
    Stored(Malformed),
    /// The row was not made with this root: its memo does not open.
    #[error("the row was not made with this root")]
    NotOurs,
    /// The row's outputs do not match what the root and the memo say.
    #[error("the row contradicts its own memo")]
    RowMismatch,
    /// The reply is not an encoding of a reply.
    #[error("reply: {0}")]
    Reply(Malformed),
    /// The issuance proof does not verify: possibly a second, tagging key (§9.2).
    #[error("the issuance proof does not verify under the published parameters")]
    BadIssuance,
    /// The record shows other parameters for an epoch than it did when the request was
    /// built: possibly another key for each client (§9.2).
    #[error("the record has changed its parameters within an epoch")]
    ChangedParameters,
    /// `adjust` is not what the published schedule says.
    #[error("the adjustment is not the published one")]
    WrongAdjust,
    /// The row that was returned does not consume this pair.
    #[error("the returned row has nothing to do with this pair")]
    ForeignRow,
    /// The walk did not end within the number of rows its caller allowed.
    #[error("the walk did not reach its end")]
    WalkTooLong,
    /// A proof could not be made; the inputs contradict each other.
    #[error("no proof can be made from these inputs")]
    Unprovable,
}

impl HolderError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(self) -> Fault {
        match self {
            HolderError::Reply(_)
            | HolderError::BadIssuance
            | HolderError::ChangedParameters
            | HolderError::WrongAdjust
            | HolderError::ForeignRow
            | HolderError::RowMismatch => Fault::Issuer,
            _ => Fault::Holder,
        }
    }
}

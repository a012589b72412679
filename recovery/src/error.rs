//! What can go wrong for a wallet, whose fault it is, and the next step.

use std::fmt;

use larder_protocol::Refusal;

use crate::Unreachable;
use crate::contradiction::Contradiction;
use crate::log::Fence;
use crate::purse::journal::JournalError;

/// An error for the wallet's user.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The network or the storage node is down. Whether the request took effect is not known;
    /// doing it again is safe.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The storage node refused. The refusal says whose fault it is.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The storage node answered what no honest one answers. Keep the evidence, use another.
    #[error("the storage node misbehaves: {0}")]
    Misbehaved(&'static str),
    /// The storage node shows less than was once seen there, by this device or by another witness. Do not go on from
    /// here: what is missing was acknowledged, and may be shown another time or by other storage nodes.
    #[error(
        "the storage node misbehaves: it gives an older state than it has acknowledged, with {shown} {of} where {seen} \
         were seen"
    )]
    OlderState {
        /// What is counted.
        of: &'static str,
        /// How many it shows.
        shown: u64,
        /// How many a witness saw.
        seen: u64,
    },
    /// The storage node shows another history than the one that was once seen there: somebody with the same root key
    /// went on from an older state that it had shown them.
    #[error(
        "the storage node misbehaves: the history that it gives parts from the one that was seen within the first \
         {records} commits"
    )]
    OtherHistory {
        /// How many commits were seen.
        records: u64,
    },
    /// A checkpoint says nothing about this wallet.
    #[error(
        "the checkpoint was not made with this root key: see that it belongs to these words, and compare it with \
         the original"
    )]
    ForeignCheckpoint,
    /// The storage node has signed terms that cannot both be everybody's. It is paid nothing more: use another one, or
    /// see [`Purse::pardon`](crate::Purse::pardon).
    #[error(
        "the storage node misbehaves: {what}; the two that it has signed are proof for anyone, and it is paid nothing \
         more"
    )]
    Contradicted {
        /// What contradicts.
        what: &'static str,
        /// The two.
        proof: Box<Contradiction>,
    },
    /// All tokens in the purse do not pay for the operation. Nothing was sent; buy more and do it
    /// again.
    #[error("{needed} tokens are needed and {held} are there: buy more, then do it again")]
    OutOfTokens {
        /// What the purse would have to hold, in tokens, fees for gathering them included.
        needed: u64,
        /// What it holds, in tokens.
        held: u64,
    },
    /// One pair of credentials after the other was spent by another copy of this purse: of a copied folder, of a
    /// backup that was put back, or of a restore from the same root key. Nothing was paid. What the other one has not
    /// spent still pays here.
    #[error(
        "another copy of this purse spends the same tokens: use one of the two only; what is left here pays for \
         other requests, so do it again"
    )]
    UsedElsewhere,
    /// It would cost more than the [limit](crate::Purse::limit) that was set.
    #[error("it would cost more than {most} tokens: nothing more was paid")]
    OverLimit {
        /// The limit, in tokens.
        most: u64,
    },
    /// There is no breakglass cell: this wallet never wrote one with this storage node, or it was opened
    /// and its time ran out. The data may be there all the same.
    #[error(
        "there is no breakglass cell with tokens: check the root key and the storage node, or buy \
         tokens, and what data is there is restored"
    )]
    NoCell,
    /// The reserve is too old: its tokens are lost, and the data is not.
    #[error(
        "the reserve expired {} ago and its tokens are lost; the data is there: buy about {needed} \
         tokens, and it is restored",
        counted(*epochs)
    )]
    ReserveExpired {
        /// Epochs that have begun since it could last be used.
        epochs: u32,
        /// What the reserve held, which paid for a restore when the cell was written, in tokens.
        needed: u64,
    },
    /// Another restore from the same root key has taken the reserve.
    #[error(
        "another restore has taken the reserve: walk to find what it left, which ties the two \
         together, or buy about {needed} tokens, and the data is restored"
    )]
    ReserveTaken {
        /// What the reserve held, which paid for a restore when the cell was written, in tokens.
        needed: u64,
    },
    /// The storage node asks for tokens, and the provider was given no purse.
    #[error("the storage node asks for tokens: open a purse for it, and buy some")]
    NoPurse,
    /// The storage node does not sell this number of tokens.
    #[error("{tokens} tokens are not sold: take up to sixteen times one of {denominations:?}")]
    NotSold {
        /// What was asked for, in tokens.
        tokens: u64,
        /// What is sold, in tokens.
        denominations: Vec<u64>,
    },
    /// The purse could not be read or written. Nothing was sent that is not written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another device with the same root key wrote here first. Nothing of ours was written.
    #[error(
        "another device with the same root key has already written value {counter}: \
         walk the sequence again to take it over"
    )]
    Conflict {
        /// The counter both wanted.
        counter: u64,
        /// What the other device wrote; `None` when it has deleted it since.
        theirs: Option<Vec<u8>>,
    },
    /// Another device with the same root key has taken the log over. What was acknowledged before is
    /// in the log it goes on with; follow the log to see it, take it over to write again.
    #[error("another device with the same root key has taken over; read on, then take over again")]
    Fenced(Box<Fence>),
    /// This device only follows the log.
    #[error("this device only reads; take the log over before you write")]
    Following,
    /// A value longer than this layout takes.
    #[error("a value has at most {max} bytes, not {got}")]
    TooLong {
        /// The limit in bytes.
        max: u64,
        /// What was offered, in bytes.
        got: u64,
    },
    /// Many counters in a row hold no value: a long history of deletes, or a storage node that
    /// signs "deleted" for ever. Walk on if you believe it.
    #[error("{counters} values in a row were deleted; walk on if that can be")]
    NothingFound {
        /// How many.
        counters: u64,
    },
}

fn counted(epochs: u32) -> String {
    match epochs {
        1 => "1 epoch".to_owned(),
        more => format!("{more} epochs"),
    }
}

/// The same as `Display`: another device's value has no place in a log.
impl fmt::Debug for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

//! What a user is told, and with which exit code.

use std::io;
use std::path::{Path, PathBuf};

use larder_node::NodeError;
use larder_onion::OnionError;
use larder_recovery::contradiction::Contradiction;
use larder_recovery::{JournalError, RecoveryError};

use crate::wallet::shown;

/// Why a command failed, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    #[error("nothing is stored under `{}`", shown(.0))]
    NothingUnder(String),
    #[error("cannot {doing} {path}: {source}")]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Purse { path: PathBuf, source: JournalError },
    /// Of the purse and what it was to pay for.
    #[error(
        "{needed} tokens are needed and the purse holds {held}, so {} are missing: get more with \
         `larder buy --voucher CODE`, for a code from the storage node's operator, or \
         `larder buy TOKENS`, then do it again", needed.saturating_sub(*held)
    )]
    OutOfTokens { needed: u64, held: u64 },
    /// One pair of tokens after the other was spent by another copy of the purse.
    #[error(
        "nothing was paid: this purse was also used elsewhere, and one pair of its tokens after the other turned out to \
         be spent. If its folder was copied, use one copy only: make the other one a wallet of its own with `larder init \
         --words` in a new folder, then `larder restore`. What is left here pays on: do it again. If the other one is \
         gone for good, `larder purse --take-back` takes back what it left"
    )]
    UsedElsewhere,
    /// It turned out to cost more than it should.
    #[error(
        "it would cost more than {most} tokens: nothing more was paid. Without `--max-tokens` that is what `larder price` \
         says and a quarter, and 128 more; another device that writes at this moment makes it dearer"
    )]
    OverLimit { most: u64 },
    /// What a cell named cannot be taken, so tokens have to be bought for what is stored.
    #[error("{0}; `larder buy`, then `larder restore` again{more}", more = walking(.0))]
    NothingTaken(RecoveryError),
    /// As things are now; nothing has failed.
    #[error(
        "if everything were lost now, the words alone would not bring all of it back: see `restorable` for what to do"
    )]
    NotRestorable,
    /// A restore of nothing, by a wallet that does not know that there is nothing.
    #[error(
        "nothing was ever stored with this root key at {}. It may be that\n\
         - the words, or the root key, are those of another wallet, or two words have changed places: one wrong order in \
         sixteen looks right;\n\
         - everything is at other storage nodes: say --provider;\n\
         - the storage node has lost it, or hides it.\n\
         Nothing was changed here. If nothing was stored yet, `larder restore --new` begins", match .0 {
            1 => "this storage node",
            _ => "these storage nodes",
        }
    )]
    NothingFound(usize),
    /// A condition on a version that was not met; nothing was written.
    #[error("{}", conflict(.name, *.version, *.exists))]
    Conflict {
        name: String,
        /// The one it has, or had when it was deleted.
        version: u64,
        exists: bool,
    },
    /// Or another one than was seen.
    #[error(
        "{error}; shown by storage node {by}. Nothing was written. Try again when more storage nodes answer, or ask their \
         operators; where receipts were kept, `larder receipts verify` proves what is kept back; `larder restore \
         --from-start` takes what is shown instead, for good"
    )]
    Older {
        error: RecoveryError,
        /// Numbers of those that answered.
        by: String,
    },
    /// A storage node has signed terms that cannot both be everybody's.
    #[error(
        "the storage node misbehaves: {what}; the two that it has signed are kept as proof for anyone \
         (`larder receipts`), and it is not used any more: put another one in its place with `larder providers`, or, to \
         go on with it all the same, `larder receipts pardon NUMBER`"
    )]
    Contradicted {
        what: &'static str,
        proof: Box<Contradiction>,
    },
    /// What another device was shown was signed for that one.
    #[error(
        "storage node {number} shows this device other terms than it showed for epoch {epoch} when something was last \
         stored: compare what `larder status` says on your devices, and with what its operator publishes; to go on \
         with it all the same, `larder receipts pardon {number}`"
    )]
    OtherTerms { number: usize, epoch: u32 },
    /// Another device fenced this one.
    #[error(
        "another device with the same root key writes at this moment: see what is there, then do it \
         again"
    )]
    Overtaken,
    /// While this one was at it.
    #[error(
        "another device has changed the storage nodes: see `larder providers`, then do it again"
    )]
    ProvidersChanged,
    /// Of several storage nodes.
    #[error("{there} storage node(s) answer and {needed} are needed: {reasons}")]
    TooFew {
        there: usize,
        needed: usize,
        reasons: String,
        /// Why the first of the others does not.
        first: Box<CliError>,
    },
    /// Of several storage nodes some lack what others hold.
    #[error(
        "{left} blob(s) could not be brought up to date, so nothing else was changed: every storage node \
         has to answer, but for one that retires: {reasons}"
    )]
    LeftBehind {
        left: u64,
        reasons: String,
        first: Option<Box<CliError>>,
    },
    /// By what they had acknowledged, and without a proof of it.
    #[error(
        "{blobs} blob(s) are missing and no receipt proves it: `larder providers heal` brings back what another \
         storage node holds"
    )]
    Missing { blobs: usize },
    /// A failure that is part of a result, which has been printed.
    #[error("{0}")]
    Told(Box<CliError>),
    #[error(transparent)]
    Recovery(RecoveryError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Onion(#[from] OnionError),
}

impl CliError {
    /// For `map_err` on what the system says about a file.
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
        let path = path.to_owned();
        move |source| CliError::File {
            doing,
            path,
            source,
        }
    }

    /// Whether it is that a storage node does not answer.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, CliError::Recovery(RecoveryError::Unreachable(_)))
    }

    /// 1 failed, 2 usage, 3 out of tokens, 4 conflict, 5 unreachable, 6 missing without a proof, 7 an older state than was
    /// seen, 8 dearer than said, 9 tokens used elsewhere, 10 nothing was found, 11 not everything could be restored now.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Told(error) => error.exit_code(),
            CliError::TooFew { first, .. } => first.exit_code(),
            CliError::LeftBehind { first, .. } => {
                first.as_ref().map_or(1, |first| first.exit_code())
            }
            CliError::Usage(_)
            | CliError::Recovery(
                RecoveryError::NotSold { .. } | RecoveryError::ForeignCheckpoint,
            ) => 2,
            CliError::OutOfTokens { .. } | CliError::NothingTaken(_) => 3,
            CliError::Conflict { .. } | CliError::Overtaken | CliError::ProvidersChanged => 4,
            CliError::Recovery(RecoveryError::Unreachable(_)) => 5,
            CliError::Missing { .. } => 6,
            CliError::Older { .. }
            | CliError::Recovery(
                RecoveryError::OlderState { .. } | RecoveryError::OtherHistory { .. },
            ) => 7,
            CliError::OverLimit { .. } => 8,
            CliError::UsedElsewhere => 9,
            CliError::NothingFound(_) => 10,
            CliError::NotRestorable => 11,
            _ => 1,
        }
    }
}

/// What else there is to do.
fn walking(error: &RecoveryError) -> &'static str {
    match error {
        RecoveryError::ReserveTaken { .. } => "; or, to walk, `larder restore --walk`",
        _ => "",
    }
}

fn conflict(name: &str, version: u64, exists: bool) -> String {
    let name = shown(name);
    match (exists, version) {
        (true, _) => format!(
            "`{name}` has version {version}: see what it is, then say --if-version {version}"
        ),
        (false, 0) => format!("nothing was ever stored under `{name}`"),
        (false, _) => format!("`{name}` was deleted, which is its version {version}"),
    }
}

impl From<RecoveryError> for CliError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::OutOfTokens { needed, held } => CliError::OutOfTokens { needed, held },
            RecoveryError::UsedElsewhere => CliError::UsedElsewhere,
            RecoveryError::OverLimit { most } => CliError::OverLimit { most },
            RecoveryError::Fenced(_) => CliError::Overtaken,
            RecoveryError::Contradicted { what, proof } => CliError::Contradicted { what, proof },
            error @ (RecoveryError::NoCell
            | RecoveryError::ReserveExpired { .. }
            | RecoveryError::ReserveTaken { .. }) => CliError::NothingTaken(error),
            error => CliError::Recovery(error),
        }
    }
}

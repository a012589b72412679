//! What a user is told, and with which exit code.

use std::io;
use std::path::{Path, PathBuf};

use larder_node::NodeError;
use larder_onion::OnionError;
use larder_recovery::{JournalError, RecoveryError};

/// Why a command failed, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Failed(String),
    #[error("nothing is stored under `{0}`")]
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
        "{needed} tokens are needed and the purse holds {held}: get more with \
         `larder buy --voucher CODE`, for a code from the storage node's operator, or \
         `larder buy TOKENS`, then do it again"
    )]
    OutOfTokens { needed: u64, held: u64 },
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

    /// 1 failed, 2 usage, 3 out of tokens, 4 conflict, 5 unreachable.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            CliError::Told(error) => error.exit_code(),
            CliError::Usage(_) | CliError::Recovery(RecoveryError::NotSold { .. }) => 2,
            CliError::OutOfTokens { .. } => 3,
            CliError::Recovery(RecoveryError::Conflict { .. }) => 4,
            CliError::Recovery(RecoveryError::Unreachable(_)) => 5,
            _ => 1,
        }
    }
}

impl From<RecoveryError> for CliError {
    fn from(error: RecoveryError) -> Self {
        match error {
            RecoveryError::OutOfTokens { needed, held } => CliError::OutOfTokens { needed, held },
            error => CliError::Recovery(error),
        }
    }
}

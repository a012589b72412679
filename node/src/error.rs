//! Why the storage service does not start, for its operator.

use std::path::PathBuf;

use larder_onion::OnionError;
use larder_store::StoreError;

/// Why the storage service does not start; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration is wrong.
    #[error("{origin}: {problem}")]
    Config {
        /// The file, variable or flag at fault.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of the data folder cannot be read or written.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The seed file can be read by others, who could pose as this node.
    #[error("{0} can be read by other users: `chmod 600` it, and make a new one if anybody did")]
    SeedExposed(PathBuf),
    /// The seed file is not one.
    #[error(
        "{0} is not a seed: 64 hexadecimal digits. Restore it from a backup; with another \
             seed this node has another address and its clients do not find it"
    )]
    BadSeed(PathBuf),
    /// The seed is missing, and there is a store that was made with it.
    #[error(
        "{seed} is missing, and the store {store} was made with it. Restore the seed from a backup: with \
             another one this node has another address, and its clients do not find what they stored. \
             Nothing was written"
    )]
    SeedMissing {
        /// Where it should be.
        seed: PathBuf,
        /// The store that is there.
        store: PathBuf,
    },
    /// The store is missing, and there is the seed that it was made with.
    #[error(
        "there is no store in {store}, but {seed} is there: is a volume not mounted? If the store is lost \
             for good, restore it from a backup, or start once with --new-store: then this node is empty, \
             and what clients stored with it is gone. Nothing was written"
    )]
    StoreMissing {
        /// The seed that is there.
        seed: PathBuf,
        /// Where the store should be.
        store: PathBuf,
    },
    /// A new store was asked for, and there is one.
    #[error("there is a store in {0}: start without --new-store")]
    StoreThere(PathBuf),
    /// The seed is another one than the store was made with.
    #[error(
        "{seed} is not the seed that the store {store} was made with: one of its digits may have changed, or \
             it is another node's. Restore the seed from a backup"
    )]
    ForeignSeed {
        /// The seed that is there.
        seed: PathBuf,
        /// The store that is there.
        store: PathBuf,
    },
    /// This machine's clock cannot be right.
    #[error(
        "this machine's clock is not right: {0}. Set it, and start again; if you have checked that it is \
             right, start once with --trust-clock"
    )]
    Clock(String),
    /// The store cannot write any more; why, was logged.
    #[error(
        "the store has stopped, and all that it acknowledged is there: mend the cause that the \
             log names, and start again"
    )]
    Stopped,
    /// The store cannot be opened.
    #[error("the store: {0}")]
    Store(StoreError),
    /// The store is damaged.
    #[error(
        "the store: {0}. Nothing was served from it. Copy the data folder before anything else, then \
             `larderd verify` says what is damaged, what is safe and what to do"
    )]
    Damaged(StoreError),
    /// The store belongs to another seed, or what it says of its epoch is damaged.
    #[error(
        "the store was made with another seed than the one beside it, or is damaged: restore both \
             from one backup, then run `larderd restore`"
    )]
    ForeignStore,
    /// The store has come to a later epoch than the one that was to be entered.
    #[error("{0}: is another process using the store?")]
    Past(larder_credentials::ledger::Past),
    /// There is no epoch after the one that the store has come to.
    #[error(
        "the store has come to the last epoch that there can be: it was entered by a clock that said 2106 or \
             later, before larderd refused such a clock. What is stored can be had with `payment = \"none\"`; to sell \
             again, this node needs another seed and another store"
    )]
    LastEpoch,
    /// The Lightning side cannot be started.
    #[error("the network: {0}")]
    Onion(#[from] OnionError),
    /// What a command made could not be written out.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } => NodeError::Damaged(error),
            _ => NodeError::Store(error),
        }
    }
}

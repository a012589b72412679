//! What an operator can set.
//!
//! `default.toml` is the one list of keys, their defaults and their meaning; a file, then the
//! environment, then flags are laid over it. A key that is not in it is an error that names the
//! nearest one that is.

mod layers;
mod places;
mod written;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_onion::PeerHost;
use toml::{Table, Value};

use crate::clock::{Clock, SystemClock, VouchedClock};
use crate::offer::Offer;
use crate::{Breakglass, NodeError};

pub use layers::DEFAULTS;
use layers::{defaults, lay_over, read_environment, wrong};
use places::Places;
use written::Written;

/// What `default.toml` says of the data folder: whoever writes the same wants the default.
const DEFAULT_FOLDER: &str = "~/.larderd";

/// The configuration of a storage service; see [`DEFAULTS`] for the meaning of each key.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Where Lightning peers may connect.
    pub listen: SocketAddr,
    /// The Lightning nodes to stay connected to.
    pub lsps: Vec<PeerHost>,
    /// How clients pay.
    pub payment: Payment,
    /// What is asked for, if they do.
    pub offer: Offer,
    /// What is done for breakglass cells.
    pub breakglass: Breakglass,
    /// Claims that may wait for their payment at once.
    pub open_claims: usize,
    /// The least severe level that is logged.
    pub log_level: tracing::Level,
    /// Whether the log is for machines.
    pub log_json: bool,
    /// Memory for the index, bytes.
    pub cache_bytes: u64,
    /// Room on the disk below which inserts are refused, bytes.
    pub free_space_floor: u64,
    /// Threads that serve requests.
    pub workers: usize,
    /// Writes that may wait at once.
    pub writes_in_flight: usize,
    /// Lightning peers that may connect at once.
    pub inbound_peers: usize,
    /// Whether the store is lost for good, and a new one is to be made beside the seed. No key sets it: it is said
    /// once, on the command line.
    pub new_store: bool,
    /// Whether the operator vouches for this machine's clock, whatever the store remembers. No key sets it, either.
    pub trust_clock: bool,
    /// A data folder with a seed that would have been taken but for systemd's: another node than the one that starts.
    pub(crate) passed_over: Option<PathBuf>,
}

/// How clients pay for a storage node's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// Not at all: everybody is served for free.
    None,
    /// With credentials that this till sells.
    Credentials(TillKind),
}

/// Where tokens are bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TillKind {
    /// For codes that the operator hands out.
    Voucher,
    /// For nothing: in tests and trials.
    Instant,
}

impl Config {
    /// Puts the configuration together: the defaults, then the file (`file`, or `larderd.toml` in
    /// the data folder if there is one), then the environment.
    ///
    /// `environment` is what `std::env::vars_os` gives, `data_dir` a folder that outdoes all others.
    ///
    /// # Errors
    /// [`NodeError::Config`] with the file or variable at fault, [`NodeError::File`].
    pub fn load(
        file: Option<&Path>,
        data_dir: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, NodeError> {
        let mut table = defaults();
        let mut variables = Table::new();
        let environment: Vec<_> = environment.into_iter().collect();
        let places = Places::of(&environment);
        read_environment(&mut variables, &table, environment)?;
        let path = match file {
            Some(file) => Some(file.to_owned()),
            None => {
                let named = variables.get("data_dir").or(table.get("data_dir"));
                let named = named.and_then(Value::as_str).unwrap_or_default();
                let folder = data_folder(data_dir, named, &places)?;
                Some(folder.join("larderd.toml")).filter(|path| path.exists())
            }
        };
        if let Some(path) = path {
            let text = std::fs::read_to_string(&path).map_err(|source| NodeError::File {
                doing: "read",
                path: path.clone(),
                source,
            })?;
            let origin = path.display().to_string();
            let written: Table = text
                .parse()
                .map_err(|error| wrong(&origin, format!("not TOML: {error}")))?;
            lay_over(&mut table, &written, "", &origin)?;
        }
        lay_over(&mut table, &variables, "", "the environment")?;
        let mut config =
            Written::read(table)?.checked(|named| data_folder(data_dir, named, &places))?;
        config.passed_over = places.passed_over(&config.data_dir);
        Ok(config)
    }

    /// The clock that this node goes by.
    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        match self.trust_clock {
            true => Arc::new(VouchedClock),
            false => Arc::new(SystemClock),
        }
    }

    /// Where the store is.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// Where the seed is.
    #[must_use]
    pub fn seed_path(&self) -> PathBuf {
        self.data_dir.join("seed")
    }
}

/// The data folder: the one that outdoes all others, the one that is named, or the default one.
fn data_folder(outdoes: Option<&Path>, named: &str, places: &Places) -> Result<PathBuf, NodeError> {
    match outdoes {
        Some(folder) => places.expand(folder),
        None if named == DEFAULT_FOLDER => places.data_folder(),
        None => places.expand(Path::new(named)),
    }
}

#[cfg(test)]
mod tests;

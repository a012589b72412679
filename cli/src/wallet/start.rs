//! How a wallet begins: the way to its storage nodes, and where its root key comes from.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use larder_onion::{NodeId, PeerHost};
use larder_protocol::Address;
use larder_recovery::{RootKey, words};
use zeroize::Zeroizing;

use super::settings::CACHE_MIB;
use super::{Settings, Wallet, check_providers};
use crate::error::CliError;
use crate::terminal::{self, LONGEST, Next};

/// The most words that there can be.
const MOST_WORDS: usize = 24;

/// What a folder needs to become a wallet.
#[derive(clap::Args)]
pub(crate) struct Start {
    /// A storage node's address, larder1…; may be repeated: what more than half of them hold is
    /// stored, so three may lose one
    #[arg(long = "provider", value_name = "ADDRESS")]
    providers: Vec<Address>,
    /// The wallet's LSP, as node_id@host:port; may be repeated
    #[arg(long = "lsp", value_name = "PEER")]
    lsps: Vec<PeerHost>,
    /// A relay behind the LSP for requests and answers to pass; may be repeated
    #[arg(long = "relay", value_name = "NODE_ID")]
    relays: Vec<NodeId>,
    /// Take the root key from its 12 or 24 words, in this file or as they are typed
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "-",
        conflicts_with = "root_file"
    )]
    words: Option<PathBuf>,
    /// Take the root key itself, 64 digits, from this file (- for standard input)
    #[arg(long, value_name = "FILE")]
    root_file: Option<PathBuf>,
}

impl Start {
    /// The root key that was kept, if one was named.
    pub(crate) fn root(&self) -> Result<Option<RootKey>, CliError> {
        match (&self.words, &self.root_file) {
            (Some(path), _) => {
                let ask = "type or paste the words, on one line or several; they are not shown:";
                let text = read(path, ask, after_words)?;
                let root = RootKey::from_words(&text);
                // No path: which word it is says more than where it was read.
                root.map(Some)
                    .map_err(|error| CliError::Usage(error.to_string()))
            }
            (None, Some(path)) => {
                let ask = "type the 64 digits of the root key, and Enter; they are not shown:";
                let text = read(path, ask, after_digits)?;
                let wrong = |error| CliError::Usage(format!("{}: {error}", path.display()));
                text.parse().map(Some).map_err(wrong)
            }
            (None, None) => Ok(None),
        }
    }

    /// The way to the storage nodes; refused when a part of it is missing.
    pub(crate) fn settings(&self) -> Result<Settings, CliError> {
        if self.providers.is_empty() || self.lsps.is_empty() {
            return Err(CliError::Usage(
                "a new wallet needs a storage node and an LSP: --provider larder1… --lsp node_id@host:port"
                    .to_owned(),
            ));
        }
        check_providers(&self.providers)?;
        Ok(Settings {
            providers: self.providers.clone(),
            lsps: self.lsps.clone(),
            relays: self.relays.clone(),
            cache_mib: CACHE_MIB,
        })
    }

    /// Takes over what was named here, durably. Whoever knows the storage nodes already is not told others like this.
    pub(crate) fn apply(&self, wallet: &mut Wallet) -> Result<(), CliError> {
        let mut settings = wallet.settings.clone();
        let are_other = |named: &[Address]| {
            let keys = |list: &[Address]| -> BTreeSet<String> {
                list.iter()
                    .map(|one| one.server_key().to_string())
                    .collect()
            };
            !keys(named).is_subset(&keys(&settings.providers))
        };
        match wallet.known.is_some() {
            _ if self.providers.is_empty() => {}
            true if are_other(&self.providers) => {
                return Err(CliError::Usage(format!(
                    "{} has other storage nodes than those you name: `larder providers` lists them, adds and retires; \
                     to restore from these alone name another folder with --wallet",
                    wallet.folder.path.display()
                )));
            }
            true => {}
            false => {
                check_providers(&self.providers)?;
                settings.providers.clone_from(&self.providers);
            }
        }
        if !self.lsps.is_empty() {
            settings.lsps.clone_from(&self.lsps);
        }
        if !self.relays.is_empty() {
            settings.relays.clone_from(&self.relays);
        }
        wallet.change_settings(settings)
    }
}

/// What is to come behind these words: they are over at 24, and at any other number of words that there can be when
/// nobody types more.
fn after_words(typed: &[u8]) -> Next {
    let text = words::decode(typed).unwrap_or_default();
    match words::count(&text) {
        MOST_WORDS.. => Next::End,
        count @ (12 | 15 | 18 | 21) => Next::EndIfEmpty(format!(
            "{count} words; if these are all, press Enter once more"
        )),
        count => Next::More(format!(
            "{count} words so far; there have to be 12 or 24 (Ctrl-C gives up)"
        )),
    }
}

fn after_digits(typed: &[u8]) -> Next {
    match typed.trim_ascii().is_empty() {
        true => Next::More("nothing so far (Ctrl-C gives up)".to_owned()),
        false => Next::End,
    }
}

/// Text from a file, from standard input to its end, or from a terminal, which is asked for.
fn read(
    path: &Path,
    ask: &str,
    next: impl Fn(&[u8]) -> Next,
) -> Result<Zeroizing<String>, CliError> {
    let read = match path.to_str() {
        Some("-") if io::stdin().is_terminal() => terminal::typed(ask, next),
        Some("-") => read_within(io::stdin().lock()),
        _ => File::open(path).and_then(read_within),
    };
    let bytes = read.map_err(CliError::file("read", path))?;
    words::decode(&bytes).map_err(|error| CliError::Usage(format!("{}: {error}", path.display())))
}

fn read_within(secret: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    secret.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() <= LONGEST {
        true => Ok(bytes),
        false => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("words or a root key have at most {LONGEST} bytes"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_twenty_four_and_at_twelve_when_nobody_types_more() {
        let typed = |count: usize| after_words("word ".repeat(count).as_bytes());
        for count in [0, 1, 11, 13, 23] {
            assert!(matches!(typed(count), Next::More(_)), "{count}");
        }
        for count in [12, 15, 18, 21] {
            assert!(matches!(typed(count), Next::EndIfEmpty(_)), "{count}");
        }
        assert!(matches!(typed(24), Next::End) && matches!(typed(30), Next::End));
    }

    #[test]
    fn a_file_that_is_far_too_long_is_refused_and_not_cut() {
        assert_eq!(
            read_within(io::repeat(b'a').take(LONGEST as u64))
                .map(|read| read.len())
                .ok(),
            Some(LONGEST)
        );
        assert!(read_within(io::repeat(b'a')).is_err());
    }
}

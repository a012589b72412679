//! A wallet: its folder on this device, and its map at the storage nodes.

mod deleting;
mod folder;
mod guarded;
mod known;
mod name;
mod online;
mod provider_list;
mod restores;
mod session;
mod settings;
mod stagger;
mod start;
mod terms_in_map;
mod witnesses;

use std::fs::File;

use larder_protocol::Address;
use larder_recovery::RootKey;

pub(crate) use deleting::delete_one;
pub(crate) use folder::Folder;
pub(crate) use known::Known;
pub(crate) use name::{check_name, shown};
pub(crate) use online::{Member, Online};
pub(crate) use provider_list::{
    is_at as is_provider_list, read as read_provider_list, write as write_provider_list,
};
pub(crate) use restores::Restores;
pub(crate) use session::{Session, unwritten_warning};
pub(crate) use settings::{Settings, check_providers};
pub(crate) use stagger::delete_pauses;
pub(crate) use start::Start;
pub(crate) use terms_in_map::is_at as is_terms;
pub(crate) use witnesses::{ALONE, Witnesses};

use crate::error::CliError;

/// An open wallet; nobody else uses its folder.
pub(crate) struct Wallet {
    pub(crate) folder: Folder,
    pub(crate) root: RootKey,
    pub(crate) settings: Settings,
    /// `None` until everything that the root key stored was seen.
    pub(crate) known: Option<Known>,
    /// Checkpoints that no session may fall short of.
    pub(crate) witnesses: Witnesses,
    _lock: File,
}

impl Wallet {
    pub(crate) fn open(folder: &Folder) -> Result<Self, CliError> {
        let root = folder.root()?;
        let lock = folder.lock()?;
        Ok(Wallet {
            root,
            settings: folder.settings()?,
            known: folder.known()?,
            witnesses: Witnesses::load(folder.at_least_file())?,
            folder: folder.clone(),
            _lock: lock,
        })
    }

    /// The same; refused before everything that was ever stored is known.
    pub(crate) fn open_known(folder: &Folder) -> Result<Self, CliError> {
        let wallet = Wallet::open(folder)?;
        match wallet.known.is_some() {
            true => Ok(wallet),
            false => Err(CliError::Usage(
                "what this root key stored is not known yet: run `larder restore` first".to_owned(),
            )),
        }
    }

    /// Goes online without reading the map.
    pub(crate) async fn connect(&self) -> Result<Online, CliError> {
        let list = &self.settings.providers;
        Online::connect(&self.folder, &self.settings, list, None, true).await
    }

    /// The place in the list of the storage node with this number, or of the only one.
    pub(crate) fn numbered(&self, number: Option<usize>) -> Result<usize, CliError> {
        let there = self.settings.providers.len();
        match number {
            Some(number) if (1..=there).contains(&number) => Ok(number - 1),
            Some(number) => Err(CliError::Usage(format!(
                "there is no storage node {number}: `larder providers` lists {there}"
            ))),
            None if there == 1 => Ok(0),
            None => Err(CliError::Usage(format!(
                "there are {there} storage nodes, each with a purse of its own: say --provider NUMBER"
            ))),
        }
    }

    /// Takes over another list of storage nodes, durably.
    pub(crate) fn change_providers(&mut self, list: Vec<Address>) -> Result<(), CliError> {
        self.change_settings(Settings {
            providers: list,
            ..self.settings.clone()
        })
    }

    /// Takes over other settings, durably.
    pub(crate) fn change_settings(&mut self, settings: Settings) -> Result<(), CliError> {
        if self.settings == settings {
            return Ok(());
        }
        self.settings = settings;
        self.settings.save(&self.folder.settings_file())
    }

    /// Writes down what is known, durably.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        match &self.known {
            Some(known) => known.save(&self.folder.known_file()),
            None => Ok(()),
        }
    }
}

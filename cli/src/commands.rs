//! One file per command.

pub(crate) mod buy;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod price;
pub(crate) mod providers;
pub(crate) mod purse;
pub(crate) mod put;
pub(crate) mod receipts;
pub(crate) mod relay;
pub(crate) mod restore;
pub(crate) mod status;
pub(crate) mod upkeep;
pub(crate) mod words;

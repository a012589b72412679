//! `larder list`: the names, as far as this device knows.

use std::fmt::Write;

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::{Folder, Wallet};

pub(crate) fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let wallet = Wallet::open(folder)?;
    wallet.index.require_complete()?;
    let entries = wallet.index.newest();
    let json = json!({ "entries": entries });
    output.result(&json, || {
        let mut text = String::new();
        for entry in &entries {
            let _ = writeln!(text, "{:>10}  {}", bytes(entry.bytes), entry.name);
        }
        let _ = write!(text, "{} value(s)", entries.len());
        text
    });
    Ok(())
}

//! `larder list`: the names, as far as this device knows.

use std::fmt::Write;

use serde_json::json;

use crate::error::CliError;
use crate::output::{Output, bytes};
use crate::wallet::Folder;

pub(crate) fn run(folder: &Folder, output: &Output) -> Result<(), CliError> {
    let index = folder.index()?;
    index.require_complete()?;
    let values = index.newest();
    let entries: Vec<_> = values
        .values()
        .map(|(counter, entry)| {
            json!({ "counter": counter, "name": entry.name, "bytes": entry.bytes })
        })
        .collect();
    output.result(&json!({ "entries": entries }), || {
        let mut text = String::new();
        for (_, entry) in values.values() {
            let _ = writeln!(text, "{:>10}  {}", bytes(entry.bytes), entry.name);
        }
        let _ = write!(text, "{} value(s)", values.len());
        text
    })
}

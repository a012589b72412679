//! The list of storage nodes, which is kept in the map itself: whoever finds one of them finds all.
//!
//! A device learns of a change when it next reads. It goes from list to list then, as each leads
//! to the next.

use larder_protocol::Address;
use larder_recovery::log::map::{Expect, Map, Write};

use super::settings::check_providers;
use crate::error::CliError;

/// Where it is: no name of a value can be that.
const KEY: &str = "\0providers";

/// The list in a map; `None` until something is written.
pub(crate) async fn read(map: &Map) -> Result<Option<Vec<Address>>, CliError> {
    let Some(text) = map.get(KEY).await?.value else {
        return Ok(None);
    };
    let lines = String::from_utf8(text).unwrap_or_default();
    let list: Option<Vec<Address>> = lines.lines().map(|line| line.parse().ok()).collect();
    match list {
        Some(list) if check_providers(&list).is_ok() => Ok(Some(list)),
        _ => Err(CliError::Failed(
            "the list of storage nodes in the map cannot be read: it was not written by this tool"
                .to_owned(),
        )),
    }
}

/// Whether it is what a change of this key changes.
pub(crate) fn is_at(key: &str) -> bool {
    key == KEY
}

/// The version of the list in a map: 0 if there is none.
pub(crate) async fn version(map: &Map) -> Result<u64, CliError> {
    Ok(map.get(KEY).await?.version)
}

/// Puts a list there.
pub(crate) fn write(list: &[Address], expect: Expect) -> Write {
    let lines: Vec<String> = list.iter().map(ToString::to_string).collect();
    Write::put(KEY, expect, lines.join("\n"))
}

/// Whether they are the same storage nodes in the same order, wherever they are reached.
pub(crate) fn is_same(one: &[Address], other: &[Address]) -> bool {
    let keys = |list: &[Address]| -> Vec<_> { list.iter().map(|it| *it.server_key()).collect() };
    keys(one) == keys(other)
}

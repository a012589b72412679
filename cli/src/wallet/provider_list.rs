//! The list of storage nodes, which is kept in the map itself: whoever finds one of them finds all.
//!
//! A device learns of a change when it next reads. It goes from list to list then, as each leads
//! to the next. A storage node is its key, so one that moved is the same at another address; a device remembers
//! which version of the list it has taken its addresses from, and takes those of a newer one.

use larder_protocol::Address;
use larder_recovery::log::map::{Expect, Map, Write};

use super::Known;
use super::online::Online;
use super::settings::check_providers;
use crate::error::CliError;

/// Where it is: no name of a value can be that.
const KEY: &str = "\0providers";

/// The list that a map names.
pub(crate) struct Named {
    pub(crate) list: Vec<Address>,
    pub(crate) version: u64,
}

impl Named {
    /// The same storage nodes where this device is to reach them: at its own addresses, when the list is none that it
    /// has not seen. A device that knows nothing was told addresses a moment ago; those that answer are good.
    pub(crate) fn reached(&self, online: &Online, known: Option<&Known>) -> Vec<Address> {
        let reached = self.list.iter().map(|named| {
            let mut members = online.members.iter();
            let ours = members.find(|member| member.address.server_key() == named.server_key());
            let ours = ours.filter(|member| match known {
                Some(known) => self.version <= known.list,
                None => member.connected.is_ok(),
            });
            ours.map_or(named, |member| &member.address).clone()
        });
        reached.collect()
    }
}

/// The list in a map; `None` until something is written.
pub(crate) async fn read(map: &Map) -> Result<Option<Named>, CliError> {
    let current = map.get(KEY).await?;
    let Some(text) = current.value else {
        return Ok(None);
    };
    let lines = String::from_utf8(text).unwrap_or_default();
    let list: Option<Vec<Address>> = lines.lines().map(|line| line.parse().ok()).collect();
    match list {
        Some(list) if check_providers(&list).is_ok() => Ok(Some(Named {
            list,
            version: current.version,
        })),
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

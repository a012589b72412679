//! A second device with the same root key, and what the first one is told.

use std::sync::Arc;

use larder_recovery::RecoveryError;
use larder_recovery::log::map::{Commit, CommitError, Expect, Map, Write};

use super::counted::Counted;
use super::{failed, open, uncommitted};
use crate::error::CliError;
use crate::output::Output;

const NAME: &str = "note";

/// Both write under one name, on the condition that it is as they saw it. The first device goes on
/// writing in the end.
pub(super) async fn write_and_tell(
    first: &Map,
    registers: &Arc<Counted>,
    output: &Output,
) -> Result<(), CliError> {
    let write = |version, text: &str| {
        Commit::of([Write::put(NAME, Expect::Version(version), text.as_bytes())])
    };
    first.take_over().await?;
    let commit = first.commit(write(0, "of the first device"));
    commit.await.map_err(uncommitted)?;

    let second = open(registers).await?;
    second.take_over().await?;
    let commit = second.commit(write(1, "of the second device"));
    commit.await.map_err(uncommitted)?;

    match first.commit(write(1, "of the first device, too")).await {
        Err(CommitError::Failed(RecoveryError::Fenced(_))) => {}
        other => return Err(failed(format!("two devices wrote at once: {other:?}"))),
    }
    first.take_over().await?;
    match first.commit(write(1, "of the first device, too")).await {
        Err(CommitError::Conflict { items, .. }) if items.len() == 1 && items[0].version == 2 => {}
        other => return Err(failed(format!("a conflict was not seen: {other:?}"))),
    }
    output.say(
        "a second device wrote meanwhile: the first one was fenced off, read on, and was told that \
         `note` has version 2 by now\n",
    );
    Ok(())
}

//! Deleting what is due: one with a command at most, the rest with the daily upkeep ([`pace`](larder_recovery::log::pace)). What is left is in
//! `known.json`.

use larder_recovery::RecoveryError;
use larder_recovery::log::{Due, Registers};
use larder_recovery::quorum::Quorum;

/// Deletes one of what is due; says no when there is none, or when a storage node misses it. Then it stays due, and the rest
/// waits until that is back: otherwise the others would be paid twice.
pub(crate) async fn delete_one(
    due: &mut Due,
    registers: &dyn Registers,
    quorum: &Quorum,
) -> Result<bool, RecoveryError> {
    let Some(slot) = due.pop() else {
        return Ok(false);
    };
    let removed = registers.delete(slot).await;
    let is_missed = quorum.undeleted().iter().any(|missed| *missed > 0);
    if removed.is_err() || is_missed {
        due.put_back(slot);
    }
    removed?;
    Ok(!is_missed)
}

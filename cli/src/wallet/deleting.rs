//! Deleting what is due: a part now, the rest with later commands.
//!
//! Deletes that come close together are one wallet's, so there are few of them in one command, with drawn pauses between
//! ([`pace`]). What is left is in `known.json`.

use larder_recovery::RecoveryError;
use larder_recovery::log::{Due, Registers, pace};
use larder_recovery::quorum::Quorum;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Deletes so many of what is due, with pauses or without. When a storage node misses one, that one stays due, and the rest
/// waits until it is back: otherwise the others would be paid twice.
pub(crate) async fn delete(
    due: &mut Due,
    part: u64,
    pauses: bool,
    registers: &dyn Registers,
    quorum: &Quorum,
) -> Result<(), RecoveryError> {
    let rng = &mut StdRng::from_os_rng();
    for gone in 0..part {
        if pauses && gone > 0 {
            tokio::time::sleep(pace::pause(rng)).await;
        }
        let Some(slot) = due.pop() else {
            break;
        };
        let removed = registers.delete(slot).await;
        let is_missed = quorum.undeleted().iter().any(|missed| *missed > 0);
        if removed.is_err() || is_missed {
            due.put_back(slot);
        }
        removed?;
        if is_missed {
            break;
        }
    }
    Ok(())
}

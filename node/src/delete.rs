//! `Delete`: remove a blob and leave a tombstone. Part of what storing it cost comes back, the
//! less the older it is; nothing, if storing it cost nothing.

use larder_protocol::delete::Delete;
use larder_protocol::{Done, Refusal};
use larder_store::{Change, Engine, Stat, StoreError};

use crate::step::{Again, Judged, Verdict};
use crate::terms::Terms;

pub(crate) fn judge(
    engine: &dyn Engine,
    terms: &Terms,
    delete: Delete,
) -> Result<Judged, StoreError> {
    let mut change = Change::None;
    let (mut stored, mut adjust) = (None, 0);
    let outcome = match engine.stat(&delete.key)? {
        Stat::Absent => Err(Refusal::Absent),
        Stat::Deleted => Err(Refusal::Deleted),
        Stat::Present { blob_hash, .. } if !delete.permits(&terms.server_key, blob_hash) => {
            Err(Refusal::BadSignature { blob_hash })
        }
        Stat::Present { blob_hash, epoch } => {
            adjust = terms.refund(epoch);
            stored = Some(blob_hash);
            // What was checked is what is deleted: the commit judges the hash again.
            change = Change::Delete {
                key: delete.key,
                blob_hash,
                epoch: terms.ordinal,
            };
            Ok(Done::Removed)
        }
    };
    let again = Again::Delete(delete);
    let verdict = Verdict {
        outcome,
        stored,
        adjust,
        again,
    };
    Ok(Judged { change, verdict })
}

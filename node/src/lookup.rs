//! `Lookup`: the blob, or a signed "absent". It costs the same, whatever is found.

use larder_protocol::lookup::Lookup;
use larder_protocol::{Done, Refusal};
use larder_store::{Change, Engine, Reading, StoreError};

use crate::step::{Again, Judged, Verdict};

/// Reads before anything is paid: a blob that the disk has spoilt costs nothing.
pub(crate) fn judge(engine: &dyn Engine, lookup: Lookup) -> Result<Judged, StoreError> {
    Ok(Judged {
        change: Change::None,
        verdict: Verdict {
            outcome: find(engine, &lookup)?,
            stored: None,
            adjust: 0,
            again: Again::Lookup(lookup),
        },
    })
}

pub(crate) fn find(
    engine: &dyn Engine,
    lookup: &Lookup,
) -> Result<Result<Done, Refusal>, StoreError> {
    Ok(match engine.read(&lookup.key)? {
        Reading::Found(blob) => Ok(Done::Found(blob)),
        Reading::Absent => Err(Refusal::Absent),
        Reading::Deleted => Err(Refusal::Deleted),
    })
}

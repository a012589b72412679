//! The answer to a request that was performed before: what is true now, with the replacement of
//! then. How it ended then, the replacement says.
//!
//! | call | now | answer |
//! | --- | --- | --- |
//! | insert | its blob | `Inserted` |
//! | insert | another blob | `AlreadyExists` |
//! | insert, delete | tombstone, nothing | `Deleted`, `Absent` |
//! | delete | a blob that it may not remove | `BadSignature` |
//! | delete | the same blob, stored anew | `AlreadyExists` |
//! | look-up | | as for the first time |
//! | put | its cell, which nobody has opened | `CellStored` |
//! | put | its cell, opened; one of a higher sequence | `StaleSequence` |
//! | put | nothing, one put after its own was gone | `Absent` |
//! | put | signed by somebody else | `BadSignature` |
//! | transfer, reissue, purchase | | `Exchanged` |

use larder_protocol::{BlobHash, Done, Refusal};
use larder_store::{Engine, Stat, StoreError};

use crate::step::Again;
use crate::terms::Terms;
use crate::{breakglass, lookup};

/// The outcome, and the hash of the blob that it is about.
pub(crate) type Present = (Result<Done, Refusal>, Option<BlobHash>);

pub(crate) fn answer(
    engine: &dyn Engine,
    terms: &Terms,
    again: &Again,
    now: u64,
) -> Result<Present, StoreError> {
    let (key, present): (_, &dyn Fn(BlobHash) -> Present) = match again {
        Again::Exchange => return Ok((Ok(Done::Exchanged), None)),
        Again::BreakglassPut(put) => return breakglass::recall(engine, terms, put, now),
        Again::Nothing => return Ok((Err(Refusal::Internal), None)),
        Again::Lookup(lookup) => return Ok((lookup::find(engine, lookup)?, None)),
        Again::Insert { key, blob_hash } => (key, &|found| {
            if found == *blob_hash {
                (Ok(Done::Inserted), Some(found))
            } else {
                (Err(Refusal::AlreadyExists { blob_hash: found }), None)
            }
        }),
        Again::Delete(delete) => (&delete.key, &|blob_hash| {
            let refusal = if delete.permits(&terms.server_key, blob_hash) {
                Refusal::AlreadyExists { blob_hash }
            } else {
                Refusal::BadSignature { blob_hash }
            };
            (Err(refusal), None)
        }),
    };
    Ok(match engine.stat(key)? {
        Stat::Present { blob_hash, .. } => present(blob_hash),
        Stat::Absent => (Err(Refusal::Absent), None),
        Stat::Deleted => (Err(Refusal::Deleted), None),
    })
}

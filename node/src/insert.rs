//! `Insert`: add a blob; refused if the key exists or is tombstoned.

use larder_protocol::insert::Insert;
use larder_protocol::{Done, Refusal};
use larder_store::{Change, Effect, Outcome, Stat};

use crate::answer::Caller;
use crate::pipeline::Pipeline;

pub(crate) fn serve(pipeline: &Pipeline, caller: Caller, insert: Insert) {
    // A retry of what is stored already needs no turn of the disk.
    let refused = match pipeline.engine.stat(&insert.key) {
        Ok(Stat::Absent) => None,
        Ok(Stat::Present { blob_hash, .. }) => Some(Refusal::AlreadyExists { blob_hash }),
        Ok(Stat::Deleted) => Some(Refusal::Deleted),
        Err(error) => Some(pipeline.broken(&error)),
    };
    if let Some(refusal) = refused {
        return caller.answer(&pipeline.signer, Err(refusal), None);
    }
    let hash = insert.blob.hash();
    let effect = Effect::unpaid(Change::Insert {
        key: insert.key,
        blob: insert.blob,
        epoch: 0,
    });
    pipeline.write(effect, caller, Some(hash), |outcome| match outcome {
        Outcome::Inserted => Ok(Done::Inserted),
        Outcome::AlreadyExists(blob_hash) => Err(Refusal::AlreadyExists { blob_hash }),
        Outcome::Deleted => Err(Refusal::Deleted),
        Outcome::Full => Err(Refusal::StoreFull),
        // No insert ends otherwise.
        _ => Err(Refusal::Internal),
    });
}

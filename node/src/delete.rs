//! `Delete`: remove a blob and leave a tombstone.

use larder_protocol::delete::Delete;
use larder_protocol::{Done, Refusal};
use larder_store::{Change, Effect, Outcome, Stat};

use crate::answer::Caller;
use crate::pipeline::Pipeline;

pub(crate) fn serve(pipeline: &Pipeline, caller: Caller, delete: &Delete) {
    let signer = &pipeline.signer;
    let blob_hash = match pipeline.engine.stat(&delete.key) {
        Ok(Stat::Present { blob_hash, .. }) => blob_hash,
        Ok(Stat::Absent) => return caller.answer(signer, Err(Refusal::Absent), None),
        Ok(Stat::Deleted) => return caller.answer(signer, Err(Refusal::Deleted), None),
        Err(error) => return caller.answer(signer, Err(pipeline.broken(&error)), None),
    };
    if !delete.permits(&signer.server_key, blob_hash) {
        return caller.answer(signer, Err(Refusal::BadSignature { blob_hash }), None);
    }
    // What was checked is what is deleted: the commit judges the hash again.
    let effect = Effect::unpaid(Change::Delete {
        key: delete.key,
        blob_hash,
        epoch: signer.epoch,
    });
    pipeline.write(effect, caller, Some(blob_hash), |outcome| match outcome {
        Outcome::Removed => Ok(Done::Removed),
        Outcome::Absent => Err(Refusal::Absent),
        Outcome::Deleted => Err(Refusal::Deleted),
        Outcome::HashMismatch(blob_hash) => Err(Refusal::BadSignature { blob_hash }),
        // No delete ends otherwise.
        _ => Err(Refusal::Internal),
    });
}

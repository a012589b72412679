//! `Lookup`: the blob, or a signed "absent".

use larder_protocol::lookup::Lookup;
use larder_protocol::{Done, Refusal, SizeClass};
use larder_store::Reading;

use crate::answer::Caller;
use crate::pipeline::Pipeline;

pub(crate) fn serve(pipeline: &Pipeline, caller: Caller, lookup: &Lookup) {
    // Refused whether or not the blob exists: the class must not tell.
    if caller.class == SizeClass::Small {
        return caller.answer(&pipeline.signer, Err(Refusal::WrongSizeClass), None);
    }
    let outcome = match pipeline.engine.read(&lookup.key) {
        Ok(Reading::Found(blob)) => Ok(Done::Found(blob)),
        Ok(Reading::Absent) => Err(Refusal::Absent),
        Ok(Reading::Deleted) => Err(Refusal::Deleted),
        Err(error) => Err(pipeline.broken(&error)),
    };
    caller.answer(&pipeline.signer, outcome, None);
}

//! `Info`: the parameter record; free, the same for everybody.

use larder_protocol::Done;

use crate::answer::Caller;
use crate::pipeline::Pipeline;

pub(crate) fn serve(pipeline: &Pipeline, caller: Caller) {
    let record = Box::new(pipeline.signer.signed_record.clone());
    caller.answer(&pipeline.signer, Ok(Done::Info(record)), None);
}

//! The threads of a node, by what they do.
//!
//! | threads | what they do |
//! | --- | --- |
//! | `larder-serve-n`, one per core | open a request, refuse what is cheap to refuse, hand on the rest; where clients pay, only what has a [pass](larder_protocol::pass) |
//! | `larder-yield-n`, one per core, where clients pay | the same for all others, at a lower priority |
//! | `larder-verify-n`, one per core, where clients pay | check proofs, judge, issue, of what has a pass |
//! | `larder-doubt-n`, one per core, where clients pay | the same for all others, at a lower priority |
//! | `larder-commit`, one | group commit |
//! | `larder-answer-n`, one per core | sign and send the answers of what was committed |
//!
//! Anybody can send what has to be opened before it is known to be worth nothing, and payments that have to be checked
//! before they are known to be false. Those who open and check them get
//! what the others leave, and a tenth of the time when these leave nothing: a flood slows down whoever has no
//! pass, and a node that is busy still opens breakglass cells. Other programs of the machine count as others,
//! too: beside one that takes all of it, whoever has no pass waits longer.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use larder_onion::Intake;

use crate::NodeError;
use crate::pipeline::{Committed, Pipeline, Unproven};
use crate::waiting::Waiting;

/// What makes a thread's share of a busy core a tenth of another's, on Linux.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// The threads that serve requests.
pub(crate) struct Crew {
    pub(crate) serving: Vec<JoinHandle<()>>,
    pub(crate) verifying: Vec<JoinHandle<()>>,
    /// They end with the pipeline.
    pub(crate) answering: Vec<JoinHandle<()>>,
}

impl Crew {
    /// So many of each kind.
    pub(crate) fn hire(
        each: usize,
        paid: bool,
        pipeline: &Arc<Pipeline>,
        intake: &Intake,
        outcomes: Receiver<Committed>,
    ) -> Result<Self, NodeError> {
        let outcomes = Arc::new(Mutex::new(outcomes));
        let mut crew = Crew {
            serving: Vec::new(),
            verifying: Vec::new(),
            answering: Vec::new(),
        };
        for number in 0..each {
            let first = match paid {
                true => intake.with_pass(),
                false => intake.clone(),
            };
            let served_by = pipeline.clone();
            let work = move || serve(&first, &served_by);
            (crew.serving).push(spawn(format!("larder-serve-{number}"), work)?);
            if paid {
                let (others, served_by) = (intake.without_pass(), pipeline.clone());
                let work = move || {
                    yield_to_others();
                    serve(&others, &served_by);
                };
                (crew.serving).push(spawn(format!("larder-yield-{number}"), work)?);

                let (verified_by, unverified) = (pipeline.clone(), pipeline.unverified.clone());
                let work = move || verify(&unverified, &verified_by);
                (crew.verifying).push(spawn(format!("larder-verify-{number}"), work)?);

                let (verified_by, strange) = (pipeline.clone(), pipeline.strange.clone());
                let work = move || {
                    yield_to_others();
                    verify(&strange, &verified_by);
                };
                (crew.verifying).push(spawn(format!("larder-doubt-{number}"), work)?);
            }
            // The channel ends with the pipeline, so these threads must not keep it alive.
            let (pipeline, outcomes) = (Arc::downgrade(pipeline), outcomes.clone());
            let answer = move || {
                loop {
                    let next = outcomes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .recv();
                    let (Ok(committed), Some(pipeline)) = (next, pipeline.upgrade()) else {
                        return;
                    };
                    pipeline.conclude(committed);
                }
            };
            (crew.answering).push(spawn(format!("larder-answer-{number}"), answer)?);
        }
        Ok(crew)
    }
}

fn serve(intake: &Intake, pipeline: &Pipeline) {
    while let Some(incoming) = intake.recv() {
        pipeline.serve(incoming);
    }
}

fn verify(waiting: &Waiting<Unproven>, pipeline: &Pipeline) {
    while let Some(batch) = waiting.take() {
        pipeline.verify(batch);
    }
}

/// Lowers the calling thread's priority. Where each thread has none of its own nothing is done.
fn yield_to_others() {
    // It is never refused to ask for less.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, NodeError> {
    std::thread::Builder::new()
        .name(name)
        .spawn(run)
        .map_err(NodeError::Thread)
}

/// Waits for threads that have been told to end.
pub(crate) async fn join(threads: Vec<JoinHandle<()>>) {
    let all_well = move || {
        let ended: Vec<_> = threads.into_iter().map(JoinHandle::join).collect();
        ended.iter().all(Result::is_ok)
    };
    if !matches!(tokio::task::spawn_blocking(all_well).await, Ok(true)) {
        tracing::error!("a thread of the node has panicked: please report it");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn a_thread_that_yields_is_of_lower_priority_and_its_neighbours_are_not() {
        let own = || getpriority_process(None).unwrap();
        let before = own();
        let of_thread = std::thread::spawn(move || {
            yield_to_others();
            own()
        });
        assert_eq!(of_thread.join().unwrap(), (before + NICE).min(19));
        assert_eq!(own(), before);
    }
}

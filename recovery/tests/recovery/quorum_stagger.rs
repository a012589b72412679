//! Providers are not asked at the same instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::poll_fn;
use larder_recovery::log::{Put, Registers};
use larder_recovery::quorum::{Pause, Policy, Quorum};
use larder_recovery::seal::Kind;

use crate::quorum_deletes::{SLOT, contents};
use crate::sea::Sea;

/// A pause that is over when the gate is open.
fn pause(gates: &Arc<[AtomicBool; 3]>, provider: usize) -> Pause {
    let gates = gates.clone();
    Box::pin(poll_fn(move |cx| {
        if gates[provider].load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

/// Whoever waits at a gate asks to be polled again, so one poll does not reach everybody.
fn polled<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    (0..16).find_map(|_| future.now_or_never())
}

#[test]
fn each_provider_is_asked_after_its_own_pause_and_enough_of_them_are_enough() {
    let seas: Vec<Sea> = (0..3).map(|_| Sea::calm()).collect();
    let two = seas[..2].iter().map(Sea::registers);
    let quorum = Quorum::new(two, Policy::majority(2));
    let gates: Arc<[AtomicBool; 3]> = Arc::default();
    let drawn = gates.clone();
    let draw = move |providers| (0..providers).map(|at| pause(&drawn, at)).collect();
    let quorum = quorum.expect("majorities overlap").staggered(draw);
    let quorum = quorum.joined_by(seas[2].registers());
    let quorum = quorum.expect("majorities overlap");
    let asked = || -> Vec<u64> { seas.iter().map(Sea::requests).collect() };
    let open = |provider: usize| gates[provider].store(true, Ordering::Relaxed);

    let entry = contents(Kind::Entry);
    let mut insert = quorum.insert(SLOT, &entry);
    assert_eq!(polled(&mut insert), None);
    assert_eq!(asked(), [0, 0, 0]);
    open(1);
    assert_eq!(polled(&mut insert), None);
    assert_eq!(asked(), [0, 1, 0]);
    open(0);
    assert_eq!(polled(&mut insert), Some(Ok(Put::Already)));
    assert_eq!(asked(), [1, 1, 0]);
    // The third one gets it when its pause is over, beside whatever comes next.
    open(2);
    assert!(polled(&mut quorum.lookup(SLOT)).is_some());
    assert_eq!(seas[2].full(), [SLOT]);
}

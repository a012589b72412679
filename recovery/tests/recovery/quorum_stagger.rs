//! Providers are not asked at the same instant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use futures_util::FutureExt;
use futures_util::future::poll_fn;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::quorum::{Pause, Policy, Quorum};
use larder_recovery::seal::Kind;
use larder_recovery::{Removed, Slot};

use crate::quorum_deletes::{SLOT, contents};
use crate::sea::Sea;

/// A gate in front of each of three providers, that lets so many requests pass.
#[derive(Clone, Default)]
struct Gates(Arc<[AtomicU32; 3]>);

impl Gates {
    fn let_pass(&self, provider: usize) {
        self.0[provider].fetch_add(1, Ordering::Relaxed);
    }

    fn let_all_pass(&self) {
        (0..3).for_each(|provider| self.let_pass(provider));
    }

    /// A pause that is over when the gate lets it pass.
    fn pause(&self, provider: usize) -> Pause {
        let gates = self.clone();
        Box::pin(poll_fn(move |cx| {
            let left = |passes: u32| passes.checked_sub(1);
            let passed = gates.0[provider].fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
            if passed.is_ok() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    }
}

/// Whoever waits at a gate asks to be polled again, so one poll does not reach everybody.
fn polled<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    (0..16).find_map(|_| future.now_or_never())
}

/// The third one joins when the pauses are drawn already.
fn three() -> (Vec<Sea>, Gates, Quorum) {
    let seas: Vec<Sea> = (0..3).map(|_| Sea::calm()).collect();
    let two = seas[..2].iter().map(Sea::registers);
    let quorum = Quorum::new(two, Policy::majority(2)).expect("majorities overlap");
    let gates = Gates::default();
    let drawn = gates.clone();
    let draw = move |providers| (0..providers).map(|at| drawn.pause(at)).collect();
    let quorum = quorum.staggered(draw).joined_by(seas[2].registers());
    (seas, gates, quorum.expect("majorities overlap"))
}

fn asked(seas: &[Sea]) -> Vec<u64> {
    seas.iter().map(Sea::requests).collect()
}

#[test]
fn each_provider_is_asked_after_its_own_pause_and_enough_of_them_are_enough() {
    let (seas, gates, quorum) = three();
    let entry = contents(Kind::Entry);
    let mut insert = quorum.insert(SLOT, &entry);
    assert_eq!(polled(&mut insert), None);
    assert_eq!(asked(&seas), [0, 0, 0]);
    gates.let_pass(1);
    assert_eq!(polled(&mut insert), None);
    assert_eq!(asked(&seas), [0, 1, 0]);
    gates.let_pass(0);
    assert_eq!(polled(&mut insert), Some(Ok(Put::Already)));
    assert_eq!(asked(&seas), [1, 1, 0]);

    let mut look = quorum.lookup(SLOT);
    assert!(polled(&mut look).is_none());
    assert_eq!(asked(&seas), [1, 1, 0]);
    gates.let_pass(0);
    assert!(polled(&mut look).is_none());
    assert_eq!(asked(&seas), [2, 1, 0]);
    gates.let_pass(1);
    assert!(polled(&mut look) == Some(Ok(Look::Found(entry.clone()))));
    assert_eq!(asked(&seas), [2, 2, 0]);

    // The third one gets it when its pause is over, beside whatever comes next.
    gates.let_pass(2);
    assert!(polled(&mut quorum.lookup(SLOT)).is_none());
    assert_eq!(seas[2].full(), [SLOT]);
    assert_eq!(asked(&seas), [2, 2, 1]);
}

#[test]
fn a_delete_and_what_one_has_missed_of_it_leave_after_pauses() {
    let (seas, gates, quorum) = three();
    let entry = contents(Kind::Entry);
    for sea in &seas {
        assert!(polled(&mut sea.registers().insert(SLOT, &entry)).is_some());
    }
    let before = asked(&seas);
    let more = || -> Vec<u64> {
        let asked = asked(&seas).into_iter().zip(&before);
        asked.map(|(now, then)| now - then).collect()
    };

    let mut delete = quorum.delete(SLOT);
    assert_eq!(polled(&mut delete), None);
    assert_eq!(more(), [0, 0, 0]);
    gates.let_all_pass();
    assert_eq!(polled(&mut delete), None);
    assert_eq!(more(), [1, 1, 1]);
    gates.let_pass(1);
    assert_eq!(polled(&mut delete), None);
    assert_eq!(more(), [1, 2, 1]);
    seas[2].is_down(true);
    gates.let_pass(0);
    gates.let_pass(2);
    assert_eq!(polled(&mut delete), Some(Ok(Removed::Now)));
    assert_eq!(more(), [2, 2, 1]);

    seas[2].is_down(false);
    let mut caught_up = Box::pin(quorum.catch_up());
    assert!(polled(&mut caught_up).is_none());
    assert_eq!(more(), [2, 2, 1]);
    gates.let_all_pass();
    assert!(polled(&mut caught_up).is_some());
    assert!(seas[2].full().is_empty());
}

#[test]
fn those_that_lack_the_same_get_it_after_their_own_pauses() {
    let (seas, gates, quorum) = three();
    let entry = contents(Kind::Entry);
    let first = seas[0].registers();
    assert!(polled(&mut first.insert(SLOT, &entry)).is_some());
    let mut heal = Box::pin(quorum.heal([SLOT]));
    let full = || -> Vec<Vec<Slot>> { seas[1..].iter().map(Sea::full).collect() };
    gates.let_all_pass();
    assert!(polled(&mut heal).is_none());
    assert_eq!(asked(&seas), [2, 1, 1]);
    gates.let_pass(2);
    assert!(polled(&mut heal).is_none());
    assert_eq!(full(), [vec![], vec![SLOT]]);
    gates.let_pass(1);
    let healed = polled(&mut heal).expect("all answer");
    assert_eq!(healed.map(|healed| healed.copied), Ok(vec![0, 1, 1]));
    assert_eq!(full(), [vec![SLOT], vec![SLOT]]);
}

#[test]
fn deletes_wait_for_pauses_of_their_own_with_each_provider() {
    let (seas, gates, quorum) = three();
    let deletes = Gates::default();
    let drawn = deletes.clone();
    let quorum =
        quorum.deleting_apart(move |providers| (0..providers).map(|at| drawn.pause(at)).collect());
    let entry = contents(Kind::Entry);
    gates.let_all_pass();
    let put = polled(&mut quorum.insert(SLOT, &entry));
    assert_eq!(put, Some(Ok(Put::Already)));

    gates.let_all_pass();
    let before = asked(&seas);
    let mut erase = quorum.erase(SLOT, &entry);
    assert_eq!(polled(&mut erase), None);
    assert_eq!(asked(&seas), before);
    deletes.let_pass(1);
    assert_eq!(polled(&mut erase), None);
    assert_eq!(asked(&seas), [before[0], before[1] + 1, before[2]]);
    deletes.let_pass(0);
    deletes.let_pass(2);
    assert_eq!(polled(&mut erase), Some(Ok(Some(Removed::Now))));
    assert!(seas.iter().all(|sea| sea.full().is_empty()));
}

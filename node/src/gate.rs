//! The bound on what waits for a verifier or for the disk, and within it that on what nobody has
//! paid for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bounds how many requests wait at once, and lets none in any more once it is closed.
pub(crate) struct Gate {
    room: usize,
    inside: AtomicUsize,
    closed: AtomicBool,
    left: (Mutex<()>, Condvar),
    /// The gate that this one is a part of.
    around: Option<Arc<Gate>>,
}

/// A place behind the gate, given back when dropped, and with it that behind the one around it.
pub(crate) struct Place {
    gate: Arc<Gate>,
    around: Option<Box<Place>>,
}

impl Gate {
    pub(crate) fn new(room: usize) -> Arc<Self> {
        Arc::new(Gate {
            room,
            inside: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            left: Default::default(),
            around: None,
        })
    }

    /// A gate for some of those who would enter this one: they take a place behind both.
    pub(crate) fn within(self: &Arc<Self>, room: usize) -> Arc<Self> {
        Arc::new(Gate {
            room,
            inside: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            left: Default::default(),
            around: Some(self.clone()),
        })
    }

    /// A place, if there is one now. Who is refused has never counted as inside, here or around.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let one_more = |inside| (inside < self.room).then_some(inside + 1);
        let entered = (self.inside).fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
        entered.ok()?;
        // Dropping it undoes the count, and tells whoever waits for an empty gate.
        let mut place = Place {
            gate: self.clone(),
            around: None,
        };
        // Asked after entering: whoever closes the gate either is seen here or sees us inside.
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        // The share first: what finds no room in it takes none from the others.
        if let Some(around) = &self.around {
            place.around = Some(Box::new(around.enter()?));
        }
        Some(place)
    }

    /// Lets nobody in from now on, and waits until nobody is inside, at most that long; says
    /// whether that came true.
    pub(crate) fn close(&self, at_most: Duration) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        let (lock, left) = &self.left;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = |_: &mut ()| self.inside.load(Ordering::SeqCst) > 0;
        let result = left.wait_timeout_while(guard, at_most, inside);
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Place {
    /// Whether it is one of this gate.
    pub(crate) fn is_behind(&self, gate: &Arc<Gate>) -> bool {
        Arc::ptr_eq(&self.gate, gate)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let gate = &*self.gate;
        gate.inside.fetch_sub(1, Ordering::SeqCst);
        let _guard = gate.left.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate.left.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_in_as_many_as_there_is_room_for_and_others_after_them() {
        let gate = Gate::new(2);
        let first = gate.enter();
        let second = gate.enter();
        assert!(first.is_some() && second.is_some() && gate.enter().is_none());
        drop(first);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn those_of_a_gate_within_take_their_share_of_the_room_and_no_more() {
        let gate = Gate::new(3);
        let few = gate.within(1);
        let one_of_few = few.enter();
        assert!(one_of_few.is_some() && few.enter().is_none());
        // Who found no place within has left none taken around it.
        let others = [gate.enter(), gate.enter()];
        assert!(others.iter().all(Option::is_some) && gate.enter().is_none());
        drop(one_of_few);
        let another = gate.enter();
        assert!(another.is_some() && few.enter().is_none(), "nor around it");
        drop(another);
        let one_of_few = few.enter();
        assert!(one_of_few.is_some());
        drop(others);
        assert!(!gate.close(Duration::ZERO), "one of few is inside");
        drop(one_of_few);
        assert!(gate.close(Duration::ZERO) && few.enter().is_none());
    }

    #[test]
    fn who_finds_no_place_within_takes_none_around_it_not_even_for_a_moment() {
        let gate = Gate::new(1);
        let few = gate.within(0);
        let done = Arc::new(AtomicBool::new(false));
        let refused = std::thread::spawn({
            let done = done.clone();
            move || {
                while !done.load(Ordering::SeqCst) {
                    assert!(few.enter().is_none());
                }
            }
        });
        let turned_away = (0..200_000).filter(|_| gate.enter().is_none()).count();
        done.store(true, Ordering::SeqCst);
        refused.join().unwrap();
        assert_eq!(turned_away, 0);
    }

    #[test]
    fn closing_a_gate_waits_for_the_last_one_to_leave_and_lets_nobody_in() {
        let gate = Gate::new(2);
        let place = gate.enter();
        assert!(!gate.close(Duration::ZERO));
        assert!(gate.enter().is_none());
        let waiting = std::thread::spawn({
            let gate = gate.clone();
            move || gate.close(Duration::from_secs(60))
        });
        drop(place);
        assert!(waiting.join().unwrap());
        assert!(gate.enter().is_none());
    }

    #[test]
    fn whoever_got_in_is_out_again_when_a_gate_has_closed_whatever_the_timing() {
        for _ in 0..1_000 {
            let gate = Gate::new(4);
            let closed = Arc::new(AtomicBool::new(false));
            let entering = std::thread::spawn({
                let (gate, closed) = (gate.clone(), closed.clone());
                move || {
                    while let Some(_place) = gate.enter() {
                        assert!(!closed.load(Ordering::SeqCst));
                    }
                }
            });
            assert!(gate.close(Duration::from_secs(60)));
            closed.store(true, Ordering::SeqCst);
            entering.join().unwrap();
        }
    }
}

//! Registers in memory, behind a network that can be calm or rough.
//!
//! Calm: every request is answered at once, until the power is cut. Rough: requests wait until
//! [`Sea::tide`] carries one, chosen at random, there and its answer back; some are carried twice,
//! some long after their sender gave up, some answers never arrive.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};

use larder_recovery::log::register::Answer;
use larder_recovery::log::{Look, Put, Registers};
use larder_recovery::seal::Contents;
use larder_recovery::{Purpose, RecoveryError, Removed, Slot, Unreachable};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[derive(Clone)]
pub(crate) struct Sea(Arc<Mutex<State>>);

struct State {
    held: HashMap<Slot, Option<Contents>>,
    tombstones: bool,
    down: bool,
    rough: bool,
    /// Of a hundred messages, how many are given up, repeated, or lose their answer, each.
    losses: u32,
    messages: Vec<Message>,
    rng: StdRng,
    requests: u64,
    power: Power,
}

/// What keeps one provider going, or several: after so many requests it is cut; whether the last one still took
/// effect.
#[derive(Clone, Default)]
struct Power(Arc<Mutex<Option<(u64, bool)>>>);

#[derive(Clone)]
struct Message {
    slot: Slot,
    request: Request,
    mailbox: Option<Arc<Mutex<Mailbox>>>,
}

#[derive(Default)]
struct Mailbox {
    answer: Option<Result<Reply, RecoveryError>>,
    waker: Option<Waker>,
}

#[derive(Clone)]
enum Request {
    Insert(Contents),
    Lookup,
    Delete,
    /// Only these.
    Erase(Contents),
}

enum Reply {
    Put(Put),
    Look(Look),
    Removed(Removed),
    Differs,
}

fn lost_at_sea() -> RecoveryError {
    let advice = "lost at sea".to_owned();
    RecoveryError::Unreachable(Unreachable { advice })
}

impl Sea {
    pub(crate) fn calm() -> Self {
        Sea::new(0, false)
    }

    pub(crate) fn rough(seed: u64) -> Self {
        Sea::new(seed, true)
    }

    /// Delays and reorders, and loses nothing.
    pub(crate) fn smooth(seed: u64) -> Self {
        let sea = Sea::new(seed, true);
        sea.state().losses = 0;
        sea
    }

    /// Loses and repeats some.
    pub(crate) fn choppy(seed: u64) -> Self {
        let sea = Sea::new(seed, true);
        sea.state().losses = 2;
        sea
    }

    fn new(seed: u64, rough: bool) -> Self {
        Sea(Arc::new(Mutex::new(State {
            held: HashMap::new(),
            tombstones: true,
            down: false,
            rough,
            losses: 8,
            messages: Vec::new(),
            rng: StdRng::seed_from_u64(seed),
            requests: 0,
            power: Power::default(),
        })))
    }

    pub(crate) fn registers(&self) -> Arc<dyn Registers> {
        Arc::new(self.clone())
    }

    pub(crate) fn forgets_deletes(&self) {
        self.state().tombstones = false;
    }

    /// Answers everything at once from now on; what is under way stays so.
    pub(crate) fn calms_down(&self) {
        self.state().rough = false;
    }

    /// Has requests wait from now on.
    pub(crate) fn gets_rough(&self) {
        self.state().rough = true;
    }

    /// Answers nothing from now on, or again.
    pub(crate) fn is_down(&self, down: bool) {
        self.state().down = down;
    }

    /// What a rollback would bring back.
    pub(crate) fn backup(&self) -> HashMap<Slot, Option<Contents>> {
        self.state().held.clone()
    }

    pub(crate) fn rolls_back(&self, backup: HashMap<Slot, Option<Contents>>) {
        self.state().held = backup;
    }

    /// Messages under way.
    fn under_way(&self) -> usize {
        self.state().messages.len()
    }

    /// Has the power go together with that of this one, and come back.
    pub(crate) fn shares_power_with(&self, other: &Sea) {
        let power = other.state().power.clone();
        self.state().power = power;
    }

    /// Cuts the power after so many requests, the last of which may take effect.
    pub(crate) fn cut_after(&self, requests: u64, last_counts: bool) {
        *self.state().power.lock() = Some((requests, last_counts));
    }

    pub(crate) fn power_is_back(&self) {
        *self.state().power.lock() = None;
    }

    /// Requests that took effect.
    pub(crate) fn requests(&self) -> u64 {
        self.state().requests
    }

    /// What is in the registers.
    pub(crate) fn full(&self) -> Vec<Slot> {
        let state = self.state();
        let full = state.held.iter().filter(|(_, held)| held.is_some());
        full.map(|(slot, _)| *slot).collect()
    }

    /// Carries one message, if there is any.
    pub(crate) fn tide(&self) -> bool {
        let state = &mut *self.state();
        if state.messages.is_empty() {
            return false;
        }
        let at = state.rng.random_range(0..state.messages.len());
        let (chance, late) = (state.rng.random_range(0..100), state.rng.random());
        let message = match chance {
            _ if state.losses == 0 && !state.down => state.messages.swap_remove(at),
            // Given up by its sender and still under way.
            _ if state.down => {
                let message = state.messages.swap_remove(at);
                deliver(message.mailbox, Err(lost_at_sea()));
                return true;
            }
            _ if chance < state.losses => {
                let mailbox = state.messages[at].mailbox.take();
                if late {
                    deliver(mailbox, Err(lost_at_sea()));
                    return true;
                }
                // Or lost for good.
                state.messages.swap_remove(at);
                deliver(mailbox, Err(lost_at_sea()));
                return true;
            }
            // Carried now, and once more later.
            _ if chance < 2 * state.losses => {
                let mailbox = state.messages[at].mailbox.take();
                Message {
                    mailbox,
                    ..state.messages[at].clone()
                }
            }
            _ => state.messages.swap_remove(at),
        };
        let reply = state.serve(message.slot, &message.request);
        let lost = state.losses > 0 && state.rng.random_range(0..100) < state.losses;
        let answer = if lost { Err(lost_at_sea()) } else { Ok(reply) };
        deliver(message.mailbox, answer);
        true
    }

    async fn call(&self, slot: Slot, request: Request) -> Result<Reply, RecoveryError> {
        let mailbox = {
            let state = &mut *self.state();
            // Nobody ever writes an anchor that high: no order of events makes a difference.
            let never = slot.purpose == Purpose::Anchor && slot.index > 32;
            if state.down && (!state.rough || never) {
                return Err(lost_at_sea());
            }
            if !state.rough || never {
                return state.serve_until_cut(slot, &request);
            }
            let mailbox = Arc::<Mutex<Mailbox>>::default();
            state.messages.push(Message {
                slot,
                request,
                mailbox: Some(mailbox.clone()),
            });
            mailbox
        };
        std::future::poll_fn(|cx| {
            let mut mailbox = mailbox.lock().expect("no test panics in here");
            match mailbox.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    mailbox.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics in here")
    }
}

fn deliver(mailbox: Option<Arc<Mutex<Mailbox>>>, answer: Result<Reply, RecoveryError>) {
    if let Some(mailbox) = mailbox {
        let mut mailbox = mailbox.lock().expect("no test panics in here");
        mailbox.answer = Some(answer);
        if let Some(waker) = mailbox.waker.take() {
            waker.wake();
        }
    }
}

impl Power {
    fn lock(&self) -> MutexGuard<'_, Option<(u64, bool)>> {
        self.0.lock().expect("no test panics in here")
    }
}

impl State {
    fn serve_until_cut(&mut self, slot: Slot, request: &Request) -> Result<Reply, RecoveryError> {
        let cut = {
            let mut power = self.power.lock();
            let cut = *power;
            *power = cut.map(|(more, last_counts)| match more {
                0 => (0, false),
                more => (more - 1, last_counts),
            });
            cut
        };
        match cut {
            Some((0, false)) => Err(lost_at_sea()),
            Some((0, true)) => {
                self.serve(slot, request);
                Err(lost_at_sea())
            }
            _ => Ok(self.serve(slot, request)),
        }
    }

    fn serve(&mut self, slot: Slot, request: &Request) -> Reply {
        self.requests += 1;
        let held = self.held.get(&slot);
        match request {
            Request::Insert(contents) => Reply::Put(match held {
                Some(Some(held)) if held == contents => Put::Already,
                Some(Some(_)) => Put::Occupied,
                Some(None) => Put::Tombstoned,
                None => {
                    self.held.insert(slot, Some(contents.clone()));
                    Put::New
                }
            }),
            Request::Lookup => Reply::Look(match held {
                Some(Some(contents)) => Look::Found(contents.clone()),
                Some(None) => Look::Deleted,
                None => Look::Absent,
            }),
            Request::Erase(contents) if matches!(held, Some(Some(held)) if held != contents) => {
                Reply::Differs
            }
            Request::Delete | Request::Erase(_) => Reply::Removed(match held {
                Some(Some(_)) => {
                    match self.tombstones {
                        true => self.held.insert(slot, None),
                        false => self.held.remove(&slot),
                    };
                    Removed::Now
                }
                Some(None) => Removed::Before,
                None => Removed::NeverThere,
            }),
        }
    }
}

impl Registers for Sea {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        Box::pin(async move {
            match self.call(slot, Request::Insert(contents.clone())).await? {
                Reply::Put(put) => Ok(put),
                _ => panic!("an insert was asked for"),
            }
        })
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        Box::pin(async move {
            match self.call(slot, Request::Lookup).await? {
                Reply::Look(look) => Ok(look),
                _ => panic!("a look-up was asked for"),
            }
        })
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        Box::pin(async move {
            match self.call(slot, Request::Delete).await? {
                Reply::Removed(removed) => Ok(removed),
                _ => panic!("a delete was asked for"),
            }
        })
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        Box::pin(async move {
            match self.call(slot, Request::Erase(contents.clone())).await? {
                Reply::Removed(removed) => Ok(Some(removed)),
                Reply::Differs => Ok(None),
                _ => panic!("a delete was asked for"),
            }
        })
    }
}

/// What was asked of registers, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Insert,
    Lookup,
    Delete,
    Erase,
}

/// Registers that note what is asked of them.
pub(crate) struct Noted {
    registers: Arc<dyn Registers>,
    asked: Mutex<Vec<(Asked, Slot)>>,
}

impl Noted {
    pub(crate) fn new(registers: Arc<dyn Registers>) -> Arc<Self> {
        let asked = Mutex::default();
        Arc::new(Noted { registers, asked })
    }

    /// What was asked since the last call.
    pub(crate) fn take(&self) -> Vec<(Asked, Slot)> {
        std::mem::take(&mut *self.asked.lock().expect("no test panics in here"))
    }

    fn note(&self, asked: Asked, slot: Slot) {
        let mut all = self.asked.lock().expect("no test panics in here");
        all.push((asked, slot));
    }
}

impl Registers for Noted {
    fn insert<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Put> {
        self.note(Asked::Insert, slot);
        self.registers.insert(slot, contents)
    }

    fn lookup(&self, slot: Slot) -> Answer<'_, Look> {
        self.note(Asked::Lookup, slot);
        self.registers.lookup(slot)
    }

    fn delete(&self, slot: Slot) -> Answer<'_, Removed> {
        self.note(Asked::Delete, slot);
        self.registers.delete(slot)
    }

    fn erase<'a>(&'a self, slot: Slot, contents: &'a Contents) -> Answer<'a, Option<Removed>> {
        self.note(Asked::Erase, slot);
        self.registers.erase(slot, contents)
    }
}

/// Something that runs on a device: polled only when it was woken, so that a forgotten wake
/// shows as a standstill.
pub(crate) struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Task {
    pub(crate) fn new(future: impl Future<Output = ()> + 'static) -> Self {
        Task {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    fn is_ready(&self) -> bool {
        self.future.is_some() && self.woken.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(self.woken.clone());
        if let Some(future) = &mut self.future
            && future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        {
            self.future = None;
        }
    }
}

/// Runs tasks in random order, with the tide between them, until all are done.
pub(crate) fn run(sea: &Sea, tasks: Vec<Task>, rng: &mut StdRng) {
    run_with(&mut |_: &mut StdRng| sea.tide(), tasks, rng);
}

/// The same with something else that carries a message, if there is any.
pub(crate) fn run_with(
    tide: &mut dyn FnMut(&mut StdRng) -> bool,
    mut tasks: Vec<Task>,
    rng: &mut StdRng,
) {
    for step in 0.. {
        if tasks.iter().all(|task| task.future.is_none()) {
            return;
        }
        assert!(step < 1_000_000, "it goes on for ever");
        let ready: Vec<usize> = (0..tasks.len())
            .filter(|&at| tasks[at].is_ready())
            .collect();
        let carried = (ready.is_empty() || rng.random_range(0..3) > 0) && tide(rng);
        match ready.get(rng.random_range(0..ready.len().max(1))) {
            Some(&at) if !carried => tasks[at].poll(),
            _ => assert!(carried || !ready.is_empty(), "everybody waits for nothing"),
        }
    }
}

/// Runs one task for so many steps, each of which is one message or one poll, and then drops it.
/// Returns whether it was done.
pub(crate) fn run_for(tide: &mut dyn FnMut() -> bool, mut task: Task, steps: u64) -> bool {
    for _ in 0..steps {
        match task.is_ready() {
            true => task.poll(),
            false => _ = tide(),
        }
    }
    task.future.is_none()
}

/// Runs one task with every answer taking equally long, and returns how many times that it took.
pub(crate) fn round_trips(seas: &[Sea], mut task: Task) -> usize {
    for round_trips in 0.. {
        while task.is_ready() {
            task.poll();
        }
        if task.future.is_none() {
            return round_trips;
        }
        for sea in seas {
            for _ in 0..sea.under_way() {
                sea.tide();
            }
        }
    }
    unreachable!("it ends or it does not")
}

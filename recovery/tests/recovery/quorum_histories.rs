//! Three providers, two of which acknowledge, one of which fails: one history, and nothing acknowledged is lost.

use std::sync::{Arc, Mutex};

use larder_protocol::BlobHash;
use larder_recovery::log::{Log, Look, Put, Registers};
use larder_recovery::quorum::{Policy, Quorum};
use larder_recovery::seal::{Contents, Kind};
use larder_recovery::{Lane, Purpose, RecoveryError, Slot};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::log_histories::{Told, Witness, device, restore};
use crate::sea::{Sea, Task, round_trips, run_with};

/// What the failing provider does, again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// It is down for a while; all of them lose, repeat and delay.
    Down,
    /// The same, and nobody else loses anything.
    DownAlone,
    /// It goes back to an older state. The others answer in the end.
    RollsBack,
    /// The same, and all of them lose, repeat and delay.
    RollsBackInTheRough,
    /// None fails; all of them lose, repeat and delay.
    Nobody,
}

impl Fault {
    fn policy(self) -> Policy {
        Policy {
            acknowledge: 2,
            // What one forgets, and another's answer that was lost, have to be made up for.
            recover: if self == Fault::RollsBackInTheRough {
                3
            } else {
                2
            },
        }
    }

    fn sea(self, seed: u64) -> Sea {
        match self {
            Fault::Down | Fault::RollsBackInTheRough | Fault::Nobody => Sea::choppy(seed),
            Fault::DownAlone | Fault::RollsBack => Sea::smooth(seed),
        }
    }
}

fn registers(seas: &[Sea], policy: Policy) -> Arc<dyn Registers> {
    let providers = seas.iter().map(Sea::registers);
    Arc::new(Quorum::new(providers, policy).expect("two and two of three"))
}

fn history(seed: u64, fault: Fault, devices: impl Fn(&[Sea], u64) -> Arc<dyn Registers>) -> Told {
    let seas: Vec<Sea> = (0..4).map(|n| fault.sea(4 * seed + n)).collect();
    let mut rng = StdRng::seed_from_u64(seed);
    let witness = Witness::default();
    let count = rng.random_range(1..=3);
    let tasks = (0..count).map(|n| {
        let registers = devices(&seas, n);
        Task::new(device(registers, witness.clone(), rng.random()))
    });
    let tasks = tasks.collect();
    let failing = &seas[rng.random_range(0..3)];
    let mut backup = failing.backup();
    let mut down = false;
    let mut tide = |rng: &mut StdRng| {
        match (rng.random_range(0..60), fault) {
            (0, Fault::Down | Fault::DownAlone) => {
                down = !down;
                failing.is_down(down);
            }
            (0, _) => backup = failing.backup(),
            (1, Fault::RollsBack | Fault::RollsBackInTheRough) => {
                failing.rolls_back(backup.clone());
            }
            _ => {}
        }
        let first = rng.random_range(0..seas.len());
        (0..seas.len()).any(|n| seas[(first + n) % seas.len()].tide())
    };
    run_with(&mut tide, tasks, &mut rng);
    failing.is_down(false);
    while seas.iter().any(Sea::tide) {}
    seas.iter().for_each(Sea::calms_down);
    // One is gone for good.
    if matches!(fault, Fault::Down | Fault::DownAlone) {
        seas[rng.random_range(0..3)].is_down(true);
    }
    let last = Task::new(restore(devices(&seas, 0), witness.clone(), rng.clone()));
    run_with(&mut |_: &mut StdRng| false, vec![last], &mut rng);
    witness.with(std::mem::take)
}

/// Of so many histories, those that show two devices different things.
fn differing(
    seeds: u64,
    fault: Fault,
    devices: impl Fn(&[Sea], u64) -> Arc<dyn Registers>,
) -> usize {
    let differ = |seed| {
        let violation = history(seed, fault, &devices).violation;
        violation.is_some_and(|violation| violation.starts_with("two records in one place"))
    };
    (0..seeds).filter(|&seed| differ(seed)).count()
}

fn histories(fault: Fault, seeds: u64) {
    let (mut acknowledged, mut fenced, mut rolled_up) = (0, 0, 0);
    for seed in 0..seeds {
        let told = history(seed, fault, |seas, _| registers(&seas[..3], fault.policy()));
        assert_eq!(told.violation, None, "{fault:?}, seed {seed}");
        acknowledged += told.acknowledged;
        fenced += told.fenced;
        rolled_up += told.rolled_up;
    }
    println!("{fault:?}: {acknowledged} acknowledged, {fenced} take-overs, {rolled_up} roll-ups");
    assert!(acknowledged > seeds && fenced > seeds && rolled_up > seeds / 10);
}

#[test]
fn one_provider_down_loses_nothing_acknowledged_and_shows_no_two_devices_different_histories() {
    histories(Fault::Down, 1_500);
    histories(Fault::DownAlone, 1_000);
}

#[test]
fn nor_does_one_that_is_rolled_back_while_the_others_answer() {
    histories(Fault::RollsBack, 1_500);
}

#[test]
fn nor_does_one_that_is_rolled_back_while_answers_of_any_are_lost() {
    histories(Fault::RollsBackInTheRough, 1_500);
}

#[test]
fn with_one_answer_less_a_rollback_shows_two_devices_different_histories() {
    let two = Policy {
        acknowledge: 2,
        recover: 2,
    };
    let fault = Fault::RollsBackInTheRough;
    let differing = differing(1_000, fault, |seas, _| registers(&seas[..3], two));
    println!("{differing} of 1,000");
    assert!(differing > 0);
}

#[test]
fn a_device_that_knows_the_new_provider_and_one_that_does_not_yet_share_one_history() {
    for seed in 0..500 {
        let told = history(seed, Fault::Down, |seas, device| {
            let count = 3 + usize::from(device % 2 == 1);
            registers(&seas[..count], Policy::majority(count))
        });
        assert_eq!(told.violation, None, "seed {seed}");
    }
}

/// Histories of devices some of which have the one list and the others the other.
fn of_two_lists(seeds: u64, lists: [std::ops::Range<usize>; 2]) {
    for seed in 0..seeds {
        let told = history(seed, Fault::Nobody, |seas, device| {
            let list = lists[(device + seed) as usize % 2].clone();
            let policy = Policy::majority(list.len());
            registers(&seas[list], policy)
        });
        assert_eq!(told.violation, None, "seed {seed}");
    }
}

#[test]
fn a_device_that_has_one_provider_and_one_that_was_given_a_second_share_one_history() {
    of_two_lists(1_000, [0..1, 0..2]);
}

#[test]
fn so_do_one_that_has_two_providers_and_one_that_is_left_with_the_second() {
    of_two_lists(1_000, [0..2, 1..2]);
}

#[test]
fn a_commit_takes_one_round_trip_and_a_take_over_five_of_any_three_providers() {
    let seas: Vec<Sea> = (0..3).map(Sea::smooth).collect();
    let log = Arc::new(Mutex::new(None));
    let opened = log.clone();
    let quorum = registers(&seas, Policy::majority(3));
    let open = Task::new(async move {
        let log = Log::open(quorum, &mut StdRng::seed_from_u64(1), None).await;
        *opened.lock().expect("no panic") = Some(Arc::new(log.expect("no losses")));
    });
    round_trips(&seas, open);
    let log = log.lock().expect("no panic").take().expect("it is open");
    let leader = log.clone();
    let lead = Task::new(async move {
        leader.take_over().await.expect("no losses");
    });
    // One to find nothing there; a void, three choices one after the other, and the vote.
    assert_eq!(round_trips(&seas, lead), 1 + 5);
    let write = Task::new(async move {
        let record = log.record(vec![1], Vec::new()).await.expect("a short one");
        let ticket = log.submit(record).expect("it leads");
        log.settle(ticket).await.expect("no losses");
    });
    assert_eq!(round_trips(&seas, write), 1);
}

fn seal(writer: u8) -> Contents {
    Contents {
        kind: Kind::Seal,
        writer: [writer; 16],
        previous: BlobHash([0; 32]),
        body: vec![0],
    }
}

/// Puts contents into one register until there is an answer, and says what it holds then.
async fn insists(registers: Arc<dyn Registers>, slot: Slot, contents: Contents) -> Contents {
    let put = loop {
        match registers.insert(slot, &contents).await {
            Ok(put) => break put,
            Err(error) => assert!(matches!(error, RecoveryError::Unreachable(_)), "{error}"),
        }
    };
    let held = loop {
        match registers.lookup(slot).await {
            Ok(Look::Found(held)) => break held,
            Ok(_) => panic!("it was put there"),
            Err(error) => assert!(matches!(error, RecoveryError::Unreachable(_)), "{error}"),
        }
    };
    assert_eq!(held == contents, put == Put::Already);
    held
}

#[test]
fn an_entry_and_up_to_four_seals_that_compete_for_one_register_end_in_one_of_them_for_all() {
    let slot = Slot {
        purpose: Purpose::Log,
        lane: Lane([0; 32]),
        generation: 0,
        index: 0,
    };
    let mut entries = 0;
    for seed in 0..3_000 {
        let mut rng = StdRng::seed_from_u64(seed);
        let count = if seed % 2 == 0 { 3 } else { 5 };
        let seas: Vec<Sea> = (0..count).map(|n| Sea::rough(8 * seed + n)).collect();
        let held = Arc::new(Mutex::new(Vec::new()));
        let competitors = rng.random_range(2..=5);
        let tasks = (0..competitors).map(|n| {
            let contents = match n {
                0 => Contents {
                    kind: Kind::Entry,
                    ..seal(0)
                },
                _ => seal(n),
            };
            let registers = registers(&seas, Policy::majority(seas.len()));
            let held = held.clone();
            Task::new(async move {
                let found = insists(registers, slot, contents).await;
                held.lock().expect("no panic").push(found);
            })
        });
        let tasks = tasks.collect();
        let mut tide = |rng: &mut StdRng| {
            let first = rng.random_range(0..seas.len());
            (0..seas.len()).any(|n| seas[(first + n) % seas.len()].tide())
        };
        run_with(&mut tide, tasks, &mut rng);
        let held = held.lock().expect("no panic");
        assert!(held.iter().all(|one| *one == held[0]), "seed {seed}");
        entries += u32::from(held[0].kind == Kind::Entry);
    }
    println!("the entry won {entries} of 3,000");
    assert!((300..2_700).contains(&entries));
}

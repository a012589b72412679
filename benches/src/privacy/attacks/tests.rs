//! Each attack wins where there is something to win, and is at chance where there is nothing.

use std::time::Duration;

use larder_protocol::{Key, Op};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{commands, near, pairs, shared};
use crate::privacy::recording::{Outcome, Recording, Seen, Who};

const WALLETS: usize = 8;

type Attack = fn(&Recording, Duration) -> super::Score;

/// Requests of a made-up world: each at a time of its own, of anybody, about a key of its own.
struct World {
    rng: StdRng,
    requests: Vec<(Seen, Who)>,
}

fn key(number: u64) -> Key {
    larder_store::suite::sample::key(number)
}

impl World {
    fn new(seed: u64) -> Self {
        World {
            rng: StdRng::seed_from_u64(seed),
            requests: Vec::new(),
        }
    }

    fn put(&mut self, wallet: usize, at: f64, op: Op) -> &mut (Seen, Who) {
        let mut body = vec![0; 300];
        self.rng.fill(&mut body[..]);
        let seen = Seen {
            at: Duration::from_secs_f64(at),
            lsp: wallet % 2,
            pass: None,
            op,
            key: Some(key(self.requests.len() as u64)),
            paid: true,
            body,
            outcome: Outcome::Done,
            answer: 100,
            epoch: 0,
        };
        self.requests.push((seen, Who { wallet, command: 0 }));
        self.requests.last_mut().expect("it was put there")
    }

    /// So many of them, at any time of so many seconds.
    fn scatter(&mut self, op: Op, count: usize, seconds: f64) {
        for _ in 0..count {
            let wallet = self.rng.random_range(0..WALLETS);
            let at = self.rng.random_range(0.0..seconds);
            self.put(wallet, at, op);
        }
    }

    /// So many bursts of four, one wallet each.
    fn burst(&mut self, op: Op, count: usize, seconds: f64) {
        for _ in 0..count {
            let wallet = self.rng.random_range(0..WALLETS);
            let at = self.rng.random_range(0.0..seconds);
            for more in 0..4 {
                self.put(wallet, at + 0.05 * f64::from(more), op);
            }
        }
    }

    fn recording(mut self) -> Recording {
        self.requests.sort_by_key(|(seen, _)| seen.at);
        let mut recording = Recording::default();
        for (seen, who) in self.requests {
            recording.take(seen, who);
        }
        recording
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn bytes_in_common_are_found_wherever_they_stand_and_what_all_have_is_no_link() {
    let mut world = World::new(1);
    world.scatter(Op::Lookup, 300, 1_000.0);
    let common: Vec<u8> = (100..150).collect();
    for (seen, _) in &mut world.requests {
        seen.body[..50].copy_from_slice(&common);
    }
    assert_eq!(shared::links(&world.recording().seen), []);

    for run in [shared::RUN, 40] {
        let mut world = World::new(2);
        world.scatter(Op::Lookup, 300, 1_000.0);
        let planted: Vec<u8> = (0..run as u8).map(|at| at.wrapping_mul(37)).collect();
        world.requests[10].0.body[61..61 + run].copy_from_slice(&planted);
        world.requests[200].0.body[250..250 + run].copy_from_slice(&planted[..run]);
        assert_eq!(shared::links(&world.recording().seen).len(), 1, "{run}");
    }

    // About one key it says nothing new.
    let mut world = World::new(3);
    world.scatter(Op::Lookup, 300, 1_000.0);
    let (body, one) = (world.requests[10].0.body.clone(), world.requests[10].0.key);
    world.requests[200].0.body[..200].copy_from_slice(&body[..200]);
    world.requests[200].0.key = one;
    assert_eq!(shared::links(&world.recording().seen), []);
}

#[test]
fn lengths_that_differ_within_an_operation_are_counted() {
    let mut world = World::new(1);
    world.scatter(Op::Lookup, 100, 1_000.0);
    world.scatter(Op::Insert, 100, 1_000.0);
    world.put(0, 5.0, Op::Quote).0.body.truncate(100);
    assert_eq!(shared::lengths(&world.recording().seen), 0);
    let mut world = World::new(1);
    world.scatter(Op::Lookup, 100, 1_000.0);
    world.put(0, 5.0, Op::Lookup).0.body.push(1);
    assert_eq!(shared::lengths(&world.recording().seen), 1);
}

#[test]
fn bursts_of_deletes_and_of_reissues_are_told_and_scattered_ones_are_not() {
    // About all of them, and about some.
    fn some(recording: &Recording, at: usize) -> bool {
        recording.who[at].wallet < WALLETS / 2
    }
    let (all, half) = (190..=200, 80..=120);
    for (op, attack, about) in [
        (Op::Delete, near::deletes as Attack, &all),
        (Op::Reissue, near::reissues, &all),
        (
            Op::Delete,
            |of, within| near::deletes_of(of, &|at| some(of, at), within),
            &half,
        ),
        (
            Op::Reissue,
            |of, within| near::reissues_of(of, &|at| some(of, at), within),
            &half,
        ),
    ] {
        let mut world = World::new(1);
        world.burst(op, 100, 10_000.0);
        let told = attack(&world.recording(), seconds(0.2));
        assert!(told.points() > 45.0, "{told:?}");

        // Just as close, of anybody.
        let mut world = World::new(2);
        world.scatter(op, 2_000, 100.0);
        let chance = attack(&world.recording(), seconds(0.2));
        assert!(about.contains(&(chance.guesses / 10)), "{chance:?}");
        assert!(chance.points().abs() < 2.0, "{chance:?}");

        // Far apart there is nothing to guess about.
        let mut world = World::new(3);
        world.scatter(op, 200, 1_000_000.0);
        let silent = attack(&world.recording(), seconds(0.2));
        assert!(
            silent.points().abs() < 1.0 && about.contains(&silent.of),
            "{silent:?}"
        );

        // One in ten comes in a burst.
        let mut world = World::new(4);
        world.scatter(op, 900, 1_000_000.0);
        world.burst(op, 25, 1_000_000.0);
        let few = attack(&world.recording(), seconds(0.2)).points();
        // Of half of them there are too few to be nearer.
        assert!((2.5..8.0).contains(&few), "{few}");
    }
}

#[test]
fn what_follows_a_purchase_an_exchange_or_a_cell_is_told_if_it_is_of_the_same_wallet() {
    let followed = |by_itself: bool| {
        let mut world = World::new(5);
        for n in 0..300 {
            let wallet = n % WALLETS;
            let next = match by_itself {
                true => wallet,
                false => world.rng.random_range(0..WALLETS),
            };
            let at = 100.0 * n as f64;
            let op = [Op::Quote, Op::Transfer, Op::BreakglassPut][n % 3];
            world.put(wallet, at, op).0.key = None;
            world.requests.last_mut().expect("one").0.pass =
                Some(larder_protocol::Pass::from_bytes([1; 32]));
            world.put(next, at + 0.1, Op::Insert);
        }
        let recording = world.recording();
        [
            near::purchases(&recording),
            near::exchanges(&recording, seconds(0.3)),
            near::cells(&recording),
        ]
    };
    for score in followed(true) {
        assert!(score.points() > 49.0 && score.of == 100, "{score:?}");
    }
    for score in followed(false) {
        assert!(score.points().abs() < 5.0 && score.of == 100, "{score:?}");
    }
}

#[test]
fn look_ups_that_two_commands_share_are_counted_by_what_was_there() {
    let asked = |keys: [u64; 2], outcome: Outcome| {
        let mut world = World::new(6);
        for (command, number) in keys.into_iter().enumerate() {
            let (seen, who) = world.put(3, 10.0 * command as f64, Op::Lookup);
            seen.key = Some(key(number));
            seen.outcome = outcome;
            who.command = command as u32;
        }
        world.recording()
    };
    let none = commands::Repeated::default();
    assert_eq!(
        commands::repeated(&asked([1, 2], Outcome::Found), &[]),
        none
    );
    assert_eq!(commands::tied(&asked([1, 2], Outcome::Found)).0, 0);
    let found = asked([1, 1], Outcome::Found);
    assert_eq!(commands::tied(&found).0, 1);
    assert_eq!(commands::repeated(&found, &[]).there, 1);
    assert_eq!(commands::repeated(&found, &[(3, 1)]), none);
    let absent = asked([1, 1], Outcome::Absent);
    let repeated = commands::repeated(&absent, &[]);
    assert_eq!((repeated.there, repeated.in_vain_at_most), (0, 1));
    assert_eq!(commands::in_vain(&absent), (2, 2));
    assert_eq!(commands::in_vain_at_most(&absent, &[]), 1);
}

#[test]
fn a_look_up_before_a_delete_is_seen_within_its_time_and_of_its_key_only() {
    let looked = |number: u64, before: f64| {
        let mut world = World::new(7);
        world.put(1, 1_000.0 - before, Op::Lookup).0.key = Some(key(number));
        world.put(1, 1_000.0, Op::Delete).0.key = Some(key(1));
        commands::looked_up_before_deletes(&world.recording(), seconds(60.0))
    };
    assert_eq!(looked(1, 5.0), (1, 1));
    assert_eq!(looked(1, 100.0), (0, 1));
    assert_eq!(looked(2, 5.0), (0, 1));
}

#[test]
fn pairs_in_bursts_are_learned_and_a_crowd_without_any_is_not() {
    let mut world = World::new(8);
    world.burst(Op::Insert, 400, 4_000.0);
    world.scatter(Op::Lookup, 3_000, 4_000.0);
    let told = pairs::within(&world.recording(), seconds(2.0), 1).expect("enough pairs");
    assert!(told > 20.0, "{told}");

    let mut world = World::new(9);
    world.scatter(Op::Insert, 2_000, 2_000.0);
    world.scatter(Op::Lookup, 2_000, 2_000.0);
    let recording = world.recording();
    let chance = pairs::within(&recording, seconds(2.0), 1).expect("enough pairs");
    assert!(chance.abs() < 4.0, "{chance}");
    let chance = pairs::commits_within(&recording, seconds(2.0), |_| true, 1);
    assert!(chance.expect("enough pairs").abs() < 4.0);
}

#[test]
fn which_of_two_lsps_it_is_tells_half_of_what_there_is_to_tell_and_one_tells_nothing() {
    let mut world = World::new(10);
    world.scatter(Op::Insert, 2_000, 2_000.0);
    let two = pairs::lsp(&world.recording(), 1);
    assert!((24.0..32.0).contains(&two), "{two}");
    let mut world = World::new(10);
    world.scatter(Op::Insert, 2_000, 2_000.0);
    world.requests.iter_mut().for_each(|(seen, _)| seen.lsp = 0);
    assert!(pairs::lsp(&world.recording(), 1).abs() < 0.1);
}

//! Passes: who shows one and when, and what the storage node makes of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_attacker::{Attacker, BlindedPath};
use larder_onion::{
    Circuits, CircuitsConfig, Destination, Incoming, Intake, Pass, REPLY_TLV, REQUEST_TLV, Rate,
    Relay, Service, Undelivered, request_room,
};

use crate::support::{Network, contents, echo, serve, to, until};

fn pass(byte: u8) -> Pass {
    Pass::from_bytes([byte; 32])
}

fn with(pass: Pass, service: &Service) -> Destination {
    Destination {
        pass: Some(pass),
        ..to(service)
    }
}

/// Gives an attempt up so late that no busy machine does it to one that would be answered.
fn unhurried(config: &mut CircuitsConfig) {
    config.first_timeout = Duration::from_secs(1);
    config.min_timeout = Duration::from_secs(1);
}

/// Answers with what was asked, unless so many are still to be lost.
fn echo_unless(to_lose: &Arc<AtomicUsize>) -> impl Fn(Incoming) + Clone + Send + 'static {
    let to_lose = Arc::clone(to_lose);
    move |incoming| {
        let one_less = |left: usize| left.checked_sub(1);
        let lost = to_lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        if lost.is_err() {
            echo(incoming);
        }
    }
}

/// Sends a request that has to be answered; returns how many attempts it took.
async fn attempts(circuits: &Circuits, to: &Destination) -> u32 {
    let reply = circuits.request(to, &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    reply.attempts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_attempt_shows_the_pass_and_those_after_a_lost_one_show_it_in_turns() {
    for relays in [0, 1] {
        let network = Network::start(relays).await;
        let (service, intake) = network.intake().await;
        intake.honour(&[pass(1), pass(2)]);
        let circuits = match network.relays.first() {
            Some(_) => network.circuits(unhurried).await,
            None => {
                let mut config = CircuitsConfig::new(vec![service.address().unwrap()]);
                unhurried(&mut config);
                Arc::new(Circuits::start(config).unwrap())
            }
        };
        let to_lose = Arc::new(AtomicUsize::new(0));
        serve(&intake, echo_unless(&to_lose));
        let shown = || service.counters().with_pass;
        let to = with(pass(2), &service);
        for n in 1..=3 {
            assert_eq!(attempts(&circuits, &to).await, 1);
            assert_eq!(shown(), n);
        }
        // With, without, with.
        to_lose.store(2, Ordering::Relaxed);
        assert_eq!(attempts(&circuits, &to).await, 3);
        assert_eq!(shown(), 5);
        to_lose.store(1, Ordering::Relaxed);
        assert_eq!(attempts(&circuits, &to).await, 2);
        assert_eq!(shown(), 6);
        // The next request begins as if nothing had been lost.
        assert_eq!(attempts(&circuits, &to).await, 1);
        assert_eq!(shown(), 7);
        // Who has none shows none.
        assert_eq!(attempts(&circuits, &crate::support::to(&service)).await, 1);
        assert_eq!((shown(), service.counters().rejected), (7, 0));
    }
}

/// Answers requests of this kind, but loses the first of client 1. Notes whose they are, which
/// their first byte says, and their kind.
fn note(intake: &Intake, with_pass: bool, seen: &Arc<Mutex<Vec<(u8, bool)>>>) {
    let seen = Arc::clone(seen);
    serve(intake, move |incoming| {
        let client = incoming.contents[0];
        let mut seen = seen.lock().unwrap();
        let spared = client != 1 || seen.iter().any(|(other, _)| *other == 1);
        seen.push((client, with_pass));
        drop(seen);
        if spared {
            echo(incoming);
        }
    });
}

/// What a client shows must not depend on what was lost of it: a storage node, or a relay in front of it,
/// could lose one message of one client to know all of its later ones.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_that_has_a_pass_shows_it_with_every_request_whatever_was_lost() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    let seen = Arc::default();
    note(&intake.with_pass(), true, &seen);
    note(&intake.without_pass(), false, &seen);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(network.circuits(unhurried).await);
    }
    // What is lost may be as harmless as a first request for the terms.
    let terms = clients[1].request(&to(&service), &[1; 2_000]).await;
    assert_eq!(terms.unwrap().attempts, 2);
    assert_eq!(*seen.lock().unwrap(), [(1, false); 2]);
    seen.lock().unwrap().clear();

    let with_pass = with(pass(1), &service);
    let mut attempts = 0;
    for _ in 0..5 {
        for (client, circuits) in (0..).zip(&clients) {
            let reply = circuits
                .request(&with_pass, &[client; 2_000])
                .await
                .unwrap();
            attempts += reply.attempts;
        }
    }
    // The first one of client 1 that shows a pass is lost, too; all else is the same for all.
    let shown = |client| {
        let seen = seen.lock().unwrap();
        let of_client = seen.iter().filter(|(other, _)| *other == client);
        of_client
            .map(|(_, with_pass)| *with_pass)
            .collect::<Vec<_>>()
    };
    assert_eq!(attempts, 16);
    assert_eq!([shown(0), shown(2)], [[true; 5], [true; 5]]);
    assert_eq!(shown(1), [true, false, true, true, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_lost_connection_shows_the_pass_again() {
    let mut network = Network::start(2).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    let circuits = network
        .circuits(|config| {
            config.first_hops = network
                .relays
                .iter()
                .map(|relay| relay.address().into())
                .collect();
            config.relays.clear();
            config.connections_per_hop = 1;
            config.first_timeout = Duration::from_secs(3_600);
        })
        .await;
    let destination = with(pass(1), &service);
    let asked = {
        let circuits = Arc::clone(&circuits);
        tokio::spawn(async move { attempts(&circuits, &destination).await })
    };
    let receive = intake.clone();
    let unanswered = tokio::task::spawn_blocking(move || receive.recv().unwrap());
    drop(unanswered.await.unwrap());

    let passed = |relay: &Relay| !relay.received().is_empty();
    let used = network.relays.iter().position(passed).unwrap();
    network.relays.remove(used).shutdown().await;
    serve(&intake, echo);
    assert_eq!(asked.await.unwrap(), 2);
    assert_eq!(service.counters().with_pass, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_not_honoured_costs_an_attempt_and_not_the_request() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(2)]);
    serve(&intake, echo);
    let circuits = network.circuits(unhurried).await;
    let (old, new) = (with(pass(1), &service), with(pass(2), &service));
    let rejected = || service.counters().rejected;
    for n in 1..=2 {
        assert_eq!(attempts(&circuits, &old).await, 2);
        assert_eq!((service.counters().with_pass, rejected()), (0, n));
    }
    assert_eq!(attempts(&circuits, &new).await, 1);
    assert_eq!((service.counters().with_pass, rejected()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_others_flood_and_wait_a_request_with_a_pass_is_answered() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    let circuits = network.circuits(unhurried).await;
    let attacker = Attacker::connect(50, service.address().unwrap()).await;
    let garbage = attacker.garbage();
    attacker.pour(move || Some(garbage.clone()));
    until(|| service.counters().dropped > 1_000).await;
    serve(&intake.with_pass(), echo);
    let to = with(pass(1), &service);
    for _ in 0..20 {
        assert_eq!(attempts(&circuits, &to).await, 1);
    }
    assert_eq!(service.counters().with_pass_dropped, 0);
    // The flood still waits, until somebody takes it.
    assert_eq!(service.counters().waiting, 64);
    assert_eq!(service.counters().rejected, 0);
    serve(&intake.without_pass(), echo);
    until(|| service.counters().rejected > 64).await;
}

/// Answers requests of this kind with what was asked; counts the answers for which there was no room.
fn echo_and_count(intake: &Intake) -> Arc<AtomicUsize> {
    let congested = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&congested);
    serve(intake, move |incoming| {
        if incoming.responder.answer(&incoming.contents) == Err(Undelivered::Congested) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    congested
}

/// The way to most clients goes through the one LSP in front of the storage node, and so does that to
/// whoever floods it.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_free_requests_leave_room_for_answers_to_those_with_a_pass() {
    let network = Network::start(1).await;
    // What a round trip of 100 ms to an LDK peer allows is little more.
    let pace = Rate {
        per_second: 40.0,
        burst: 8.0,
    };
    let (service, intake) = network.paced_intake(Some(pace)).await;
    intake.honour(&[pass(1)]);
    let with_pass = echo_and_count(&intake.with_pass());
    let without_pass = echo_and_count(&intake.without_pass());
    let circuits = network.circuits(unhurried).await;
    let relay = network.relays[0].address();
    let attacker = Attacker::connect_behind(50, relay, service.node_id()).await;
    let free = attacker.request(vec![0; 2_000]);
    attacker.pour(move || Some(free.clone()));
    let congested = || without_pass.load(Ordering::Relaxed);
    until(|| congested() > 64).await;
    let to = with(pass(1), &service);
    let before = congested();
    for _ in 0..8 {
        // The relay has no room for each of them; the storage node has.
        circuits.request(&to, &contents(1)).await.unwrap();
    }
    assert!(congested() > before);
    assert_eq!(with_pass.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_as_if_it_had_a_pass_never_reaches_the_handler() {
    let network = Network::start(0).await;
    let (service, intake) = network.intake().await;
    let pass = pass(1);
    intake.honour(&[pass]);
    let attacker = Attacker::connect(50, service.address().unwrap()).await;
    let path = BlindedPath {
        secret: pass.path_secret(),
        auth_key: pass.auth_key(),
        context: Vec::new(),
        dummy_hops: 0,
    };
    let unknown = BlindedPath {
        secret: [7; 32],
        ..path.clone()
    };
    let unauthentic = BlindedPath {
        auth_key: [7; 32],
        ..path.clone()
    };
    let marked = BlindedPath {
        context: vec![7],
        ..path.clone()
    };
    let longer = BlindedPath {
        dummy_hops: 1,
        ..path.clone()
    };
    let (node, request) = (service.node_id(), REQUEST_TLV);
    serve(&intake, echo);
    attacker.send(vec![
        attacker.garbage_behind(&path),
        attacker.along(&unauthentic, node, request),
        attacker.along(&marked, node, request),
        // Whoever has the pass could make it hundreds of hops long, each as dear as the message.
        attacker.along(&longer, node, request),
        attacker.along(&path, node, REPLY_TLV),
        attacker.along(&unknown, node, request),
    ]);
    until(|| service.counters().rejected + service.counters().received == 6).await;
    let counters = service.counters();
    assert_eq!((counters.with_pass, counters.received), (5, 0));
    // One that differs in nothing else from these does.
    attacker.send(vec![attacker.along(&path, node, request)]);
    until(|| service.counters().received == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_that_leave_no_room_for_a_pass_go_without() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    serve(&intake, echo);
    let circuits = network.circuits(unhurried).await;
    let largest = vec![0xa5; request_room(2, 3)];
    let reply = circuits.request(&with(pass(1), &service), &largest).await;
    let reply = reply.unwrap();
    assert!(reply.contents == largest);
    assert_eq!((reply.attempts, service.counters().with_pass), (1, 0));
}

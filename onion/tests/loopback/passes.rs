//! Passes: who shows one and when, and what the storage node makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder_attacker::{Attacker, BlindedPath};
use larder_onion::{
    Circuits, CircuitsConfig, Destination, Incoming, Pass, REPLY_TLV, REQUEST_TLV, Relay, Service,
    request_room,
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

/// Answers with what was asked, but not the first so many times.
fn echo_after(lost: usize) -> impl Fn(Incoming) + Clone + Send + 'static {
    let left = Arc::new(AtomicUsize::new(lost));
    move |incoming| {
        let one_less = |left: usize| left.checked_sub(1);
        let lost = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
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
async fn a_pass_is_shown_by_what_follows_a_lost_attempt_and_by_none_before_it() {
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
        let shown = || service.counters().with_pass;
        let to = with(pass(2), &service);

        let quiet = intake.clone();
        let served = tokio::task::spawn_blocking(move || {
            (0..3).for_each(|_| echo(quiet.recv().unwrap()));
        });
        for _ in 0..3 {
            assert_eq!(attempts(&circuits, &to).await, 1);
        }
        served.await.unwrap();
        assert_eq!(shown(), 0);

        serve(&intake, echo_after(1));
        assert_eq!(attempts(&circuits, &to).await, 2);
        assert_eq!(shown(), 1);
        assert_eq!(attempts(&circuits, &to).await, 1);
        assert_eq!(shown(), 2);
        // What is not paid for has none, whatever the pressure.
        assert_eq!(attempts(&circuits, &crate::support::to(&service)).await, 1);
        assert_eq!((shown(), service.counters().rejected), (2, 0));
    }
}

/// Lets so many minutes pass at once.
async fn minutes(minutes: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60 * minutes)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn no_pass_is_shown_ten_minutes_after_the_last_lost_attempt() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    serve(&intake, echo_after(1));
    let circuits = network.circuits(unhurried).await;
    let to = with(pass(1), &service);
    let shown = || service.counters().with_pass;
    assert_eq!(attempts(&circuits, &to).await, 2);
    minutes(9).await;
    assert_eq!(attempts(&circuits, &to).await, 1);
    assert_eq!(shown(), 2);
    minutes(1).await;
    assert_eq!(attempts(&circuits, &to).await, 1);
    assert_eq!(shown(), 2);
}

#[tokio::test]
async fn a_pass_that_is_not_honoured_does_not_keep_itself_shown() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    serve(&intake, echo_after(1));
    let circuits = network.circuits(unhurried).await;
    let to = with(pass(1), &service);
    assert_eq!(attempts(&circuits, &to).await, 3);
    minutes(9).await;
    assert_eq!(attempts(&circuits, &to).await, 2);
    minutes(1).await;
    assert_eq!(attempts(&circuits, &to).await, 1);
    assert_eq!(service.counters().rejected, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_no_sign_of_pressure() {
    let mut network = Network::start(2).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(1)]);
    let circuits = network
        .circuits(|config| {
            config.first_hops = network.relays.iter().map(Relay::address).collect();
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
    assert_eq!(service.counters().with_pass, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_not_honoured_costs_an_attempt_and_not_the_request() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    intake.honour(&[pass(2)]);
    serve(&intake, echo_after(1));
    let circuits = network.circuits(unhurried).await;
    let (old, new) = (with(pass(1), &service), with(pass(2), &service));
    let rejected = || service.counters().rejected;
    assert_eq!(attempts(&circuits, &old).await, 3);
    assert_eq!((service.counters().with_pass, rejected()), (0, 1));
    assert_eq!(attempts(&circuits, &old).await, 2);
    assert_eq!((service.counters().with_pass, rejected()), (0, 2));
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
    assert_eq!(attempts(&circuits, &to).await, 2);
    for _ in 0..20 {
        assert_eq!(attempts(&circuits, &to).await, 1);
    }
    assert_eq!(service.counters().with_pass_dropped, 0);
    // The flood and what came before the pass was shown still wait, until somebody takes them.
    assert_eq!(service.counters().waiting, 64 + 1);
    assert_eq!(service.counters().rejected, 0);
    serve(&intake.without_pass(), echo);
    until(|| service.counters().rejected > 64).await;
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
    serve(&intake, echo_after(1));
    let circuits = network.circuits(unhurried).await;
    let largest = vec![0xa5; request_room(2, 3)];
    let reply = circuits.request(&with(pass(1), &service), &largest).await;
    let reply = reply.unwrap();
    assert!(reply.contents == largest);
    assert_eq!((reply.attempts, service.counters().with_pass), (2, 0));
}

//! Relays, connections and services that fail: nothing is lost but time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder_onion::{
    Blame, Circuits, CircuitsConfig, Faults, Incoming, Rate, Relay, RelayConfig, RequestError,
    Undelivered,
};

use crate::support::{Network, all, contents, echo, idle, node_id, serve, to, until};

/// Soon sends again, so that losses cost these tests little time.
fn impatient(config: &mut CircuitsConfig) {
    config.first_timeout = Duration::from_millis(200);
    config.min_timeout = Duration::from_millis(100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_asked_for_again_with_the_same_bytes_on_another_connection() {
    let network = Network::start(1).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let seen = Arc::clone(&seen);
        move |incoming: Incoming| {
            let mut seen = seen.lock().unwrap();
            seen.push(incoming.contents.clone());
            // The first answer is lost: it is never sent.
            if seen.len() > 1 {
                echo(incoming);
            }
        }
    };
    let service = network.service(handler).await;
    let circuits = network.circuits(impatient).await;
    let reply = circuits.request(&to(&service), &contents(5)).await.unwrap();
    assert!(reply.contents == contents(5));
    assert_eq!(reply.attempts, 2);
    assert!(*seen.lock().unwrap() == [contents(5), contents(5)]);
    let mut received = network.relays[0].received();
    received.retain(|(peer, _)| *peer != service.node_id());
    let counts: Vec<u64> = received.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 1], "one request over each connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_an_earlier_attempt_counts_and_the_second_one_is_dropped() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    let circuits = network.circuits(impatient).await;
    let destination = to(&service);
    let both = tokio::task::spawn_blocking(move || [(); 2].map(|()| intake.recv().unwrap()));
    let contents = contents(5);
    let (reply, second) = tokio::join!(circuits.request(&destination, &contents), async {
        let [first, second] = both.await.unwrap();
        first.responder.answer(b"the first").unwrap();
        second
    });
    let reply = reply.unwrap();
    assert_eq!(reply.contents, b"the first");
    assert_eq!(reply.attempts, 2);
    second.responder.answer(b"the second").unwrap();
    until(|| circuits.unmatched() == 1).await;
}

async fn all_answered_despite(faults: Faults) {
    let network = Network::with_faults(1, faults).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let handler = {
        let handled = Arc::clone(&handled);
        move |incoming| {
            handled.fetch_add(1, Ordering::Relaxed);
            echo(incoming);
        }
    };
    let service = network.service(handler).await;
    let circuits = network.circuits(impatient).await;
    all((0..60).map(|n| {
        let (circuits, destination) = (Arc::clone(&circuits), to(&service));
        async move {
            let reply = circuits.request(&destination, &contents(n)).await;
            let reply = reply.unwrap().contents;
            assert!(reply == contents(n), "each its own answer");
        }
    }))
    .await;
    assert!(handled.load(Ordering::Relaxed) >= 60, "at least once each");
    // The faults that were asked for have happened, and no others.
    let done = network.relays[0].fault_counts();
    assert_eq!(done.dropped > 0, faults.drop > 0.0);
    assert_eq!(done.limited > 0, faults.limit.is_some());
    assert_eq!(done.duplicated > 0, faults.duplicate > 0.0);
    assert_eq!(done.delayed > 0, !faults.delay.is_zero());
    assert_eq!(done.disconnected > 0, faults.disconnect_every.is_some());
    assert!(idle(&circuits));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_drops_loses_nothing_but_time() {
    all_answered_despite(Faults {
        drop: 0.2,
        seed: 1,
        ..Faults::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_delays_and_duplicates_loses_nothing_but_time() {
    all_answered_despite(Faults {
        duplicate: 0.3,
        delay: Duration::from_millis(50),
        seed: 2,
        ..Faults::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_disconnects_loses_nothing_but_time() {
    all_answered_despite(Faults {
        disconnect_every: Some(25),
        seed: 3,
        ..Faults::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_does_all_of_it_loses_nothing_but_time() {
    all_answered_despite(Faults {
        drop: 0.1,
        duplicate: 0.1,
        delay: Duration::from_millis(20),
        disconnect_every: Some(60),
        seed: 4,
        ..Faults::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_limits_the_rate_loses_nothing_but_time() {
    all_answered_despite(Faults {
        limit: Some(Rate {
            per_second: 40.0,
            burst: 4.0,
        }),
        ..Faults::default()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_held_back_to_a_pace_all_arrive() {
    let network = Network::start(1).await;
    let pace = Rate {
        per_second: 100.0,
        burst: 1.0,
    };
    let (service, intake) = network.paced_intake(Some(pace)).await;
    serve(&intake, echo);
    let circuits = network.circuits(|_| {}).await;
    all((0..20).map(|n| {
        let (circuits, destination) = (Arc::clone(&circuits), to(&service));
        async move {
            let reply = circuits.request(&destination, &contents(n)).await;
            assert!(reply.unwrap().contents == contents(n));
        }
    }))
    .await;
}

/// Eight requests, their answers queued at this pace, then a drain for at most so long, and a
/// shutdown. Returns whether all had left, and how many arrived.
async fn drained(pace: Rate, at_most: Duration) -> (bool, usize) {
    let network = Network::start(1).await;
    let (service, intake) = network.paced_intake(Some(pace)).await;
    let circuits = network
        .circuits(|config| {
            config.first_timeout = Duration::from_secs(3_600);
            config.deadline = Duration::from_secs(3);
        })
        .await;
    let (destination, arrived) = (to(&service), Arc::new(AtomicUsize::new(0)));
    let requests = all((0..8).map(|n| {
        let (circuits, destination) = (Arc::clone(&circuits), destination.clone());
        let arrived = Arc::clone(&arrived);
        async move {
            let reply = circuits.request(&destination, &contents(n)).await;
            arrived.fetch_add(usize::from(reply.is_ok()), Ordering::Relaxed);
        }
    }));
    let end = async {
        let receive = intake.clone();
        let received = move || [(); 8].map(|()| receive.recv().unwrap());
        let received = tokio::task::spawn_blocking(received).await.unwrap();
        service.stop_intake();
        received.into_iter().for_each(echo);
        let left = service.drain(at_most).await;
        assert!(intake.recv().is_none());
        service.shutdown().await;
        left
    };
    let ((), left) = tokio::join!(requests, end);
    (left, arrived.load(Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_queued_before_the_end_of_a_service_arrive() {
    let pace = Rate {
        per_second: 50.0,
        burst: 1.0,
    };
    assert_eq!(drained(pace, Duration::from_secs(60)).await, (true, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_takes_no_answers_does_not_hold_up_the_end_of_a_service() {
    let pace = Rate {
        // One in eleven days.
        per_second: 1e-6,
        burst: 2.0,
    };
    assert_eq!(drained(pace, Duration::from_millis(100)).await, (false, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_node_that_is_offline_is_named_within_the_deadline() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let destination = to(&service);
    service.shutdown().await;
    until(|| network.relays[0].peers().is_empty()).await;
    let circuits = network
        .circuits(|config| {
            impatient(config);
            config.deadline = Duration::from_secs(1);
        })
        .await;
    let error = circuits.request(&destination, &contents(1)).await.err();
    let Some(RequestError::Unreachable { attempts, blame }) = error else {
        panic!("nobody is there to answer");
    };
    assert!(attempts > 1);
    assert_eq!(blame, Blame::Loses(destination.node_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_node_that_restarts_is_waited_for_however_many_attempts_it_takes() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let destination = to(&service);
    service.shutdown().await;
    let relay = &network.relays[0];
    until(|| relay.peers().is_empty()).await;
    let circuits = network
        .circuits(|config| config.first_timeout = Duration::from_millis(20))
        .await;
    let contents = contents(1);
    let sent = || relay.received().iter().map(|(_, count)| count).sum::<u64>();
    let request = circuits.request(&destination, &contents);
    tokio::pin!(request);
    tokio::select! {
        reply = &mut request => panic!("given up: {:?}", reply.err()),
        () = until(|| sent() >= 15) => {}
    }
    let _service = network.service(echo).await;
    let reply = request.await.unwrap();
    assert!(reply.contents == contents);
    assert!(reply.attempts >= 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_charged_for_the_time_in_which_it_waits_for_its_turn() {
    let network = Network::start(1).await;
    let handled = Arc::new(AtomicUsize::new(0));
    let service = network
        .service(move |incoming| {
            if handled.fetch_add(1, Ordering::Relaxed) == 3 {
                echo(incoming);
            }
        })
        .await;
    // One at a time, and each of them takes its whole time: the last one waits for three.
    let circuits = network
        .circuits(|config| {
            config.connections_per_hop = 1;
            config.window_start = 1;
            config.window_max = 1;
            config.first_timeout = Duration::from_secs(3_600);
            config.deadline = Duration::from_millis(700);
        })
        .await;
    let destination = to(&service);
    let contents = contents(1);
    let request = || circuits.request(&destination, &contents);
    let replies: [_; 4] = tokio::join!(request(), request(), request(), request()).into();
    let answered = replies.iter().filter(|reply| reply.is_ok()).count();
    assert_eq!(answered, 1);
    assert_eq!(circuits.report()[0].pace.in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hop_that_is_offline_is_blamed_within_the_deadline() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network
        .circuits(|config| config.deadline = Duration::from_millis(200))
        .await;
    let destination = to(&service);
    for relay in network.relays {
        relay.shutdown().await;
    }
    until(|| circuits.connected() == 0).await;
    let error = circuits.request(&destination, &contents(1)).await.err();
    let Some(RequestError::Unreachable { attempts, blame }) = error else {
        panic!("nobody is there to pass it on");
    };
    assert_eq!(attempts, 0);
    assert!(matches!(blame, Blame::NotConnected(_)), "{blame}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_come_back_after_a_relay_restarts() {
    let mut network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(impatient).await;
    circuits.request(&to(&service), &contents(1)).await.unwrap();

    let relay = network.relays.remove(0);
    let before = relay.peers();
    let mut config = RelayConfig::loopback([1; 32]);
    config.listen = relay.address().address;
    relay.shutdown().await;
    until(|| circuits.connected() == 0 && service.connected() == 0).await;
    network.relays.push(Relay::start(config).await.unwrap());

    let reply = circuits.request(&to(&service), &contents(2)).await.unwrap();
    assert!(reply.contents == contents(2));
    circuits.wait_connected().await;
    let after = network.relays[0].peers();
    let known: Vec<_> = after.iter().filter(|peer| before.contains(peer)).collect();
    assert_eq!(
        known,
        [&service.node_id()],
        "the client is a stranger again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_tells_how_many_of_its_lsps_are_connected_and_counts_nobody_else() {
    let mut network = Network::start(2).await;
    let (service, _intake) = network.intake().await;
    let mut lsps = service.watch_connected();
    assert_eq!(*lsps.borrow_and_update(), 2);
    let config = CircuitsConfig::new(vec![service.address().unwrap()]);
    let stranger = Circuits::start(config).unwrap();
    stranger.wait_connected().await;
    until(|| service.connected() == 4).await;
    assert_eq!(*lsps.borrow(), 2);

    let lsp = network.relays.remove(0);
    let mut config = RelayConfig::loopback([1; 32]);
    config.listen = lsp.address().address;
    lsp.shutdown().await;
    assert_eq!(*lsps.wait_for(|up| *up != 2).await.unwrap(), 1);
    network.relays.push(Relay::start(config).await.unwrap());
    lsps.wait_for(|up| *up == 2).await.unwrap();
    service.shutdown().await;
    assert!(lsps.wait_for(|up| *up > 2).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_relay_is_gone_is_reported_undelivered() {
    let mut network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    let circuits = network.circuits(impatient).await;
    let destination = to(&service);
    let asked = tokio::spawn(async move { circuits.request(&destination, &contents(1)).await });
    let incoming = tokio::task::spawn_blocking(move || intake.recv().unwrap())
        .await
        .unwrap();
    network.relays.remove(0).shutdown().await;
    until(|| service.connected() == 0).await;
    let answered = incoming.responder.answer(b"too late");
    assert_eq!(answered, Err(Undelivered::PeerGone));
    assert_eq!(service.counters().undelivered, 1);
    asked.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_gives_its_place_back() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    let circuits = network.circuits(|_| {}).await;
    let destination = to(&service);
    let in_flight = || -> usize {
        let links = circuits.report();
        links.iter().map(|link| link.pace.in_flight).sum()
    };
    let requests = all((0..32).map(|n| {
        let (circuits, destination) = (Arc::clone(&circuits), destination.clone());
        async move {
            let _ = circuits.request(&destination, &contents(n)).await;
        }
    }));
    // Eight places are taken and the rest waits; then all are dropped.
    tokio::select! {
        biased;
        () = requests => panic!("nobody answers"),
        () = until(|| in_flight() == 8) => {}
    }
    until(|| in_flight() == 0).await;
    serve(&intake, echo);
    let reply = circuits.request(&destination, &contents(99)).await.unwrap();
    assert_eq!(reply.attempts, 1);
    assert_eq!(node_id(&network.relays[0]), circuits.report()[0].first_hop);
}

//! What works when nothing goes wrong.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use larder_onion::{
    Circuits, CircuitsConfig, Destination, PeerHost, RequestError, Service, ServiceConfig,
    Undelivered, request_room,
};

use crate::support::{Network, all, contents, echo, idle, node_id, serve, to, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_through_one_relay() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    let reply = circuits.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    assert_eq!(reply.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_through_three_relays() {
    let network = Network::start(3).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|config| config.relays_per_way = 2).await;
    let reply = circuits.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    for relay in &network.relays {
        let passed: u64 = relay.received().iter().map(|(_, count)| count).sum();
        assert_eq!(passed, 2, "once there and once back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_apart_comes_from_a_node_id_that_has_sent_nothing_else() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    circuits.request(&to(&service), &contents(1)).await.unwrap();
    let relay = &network.relays[0];
    let before = relay.received();
    let to = to(&service);
    let asked = contents(2);
    let reply = circuits.request_apart(&to, &asked, Duration::ZERO).await;
    let reply = reply.unwrap();
    assert!(reply.contents == contents(2));
    let storage_node = service.node_id();
    let (answers, sent): (Vec<_>, Vec<_>) = relay
        .received()
        .into_iter()
        .filter(|received| !before.contains(received))
        .partition(|(peer, _)| *peer == storage_node);
    // One more message of the storage node's, and one of a peer that is new.
    assert_eq!((answers.len(), sent.len()), (1, 1));
    assert!(before.iter().all(|(peer, _)| *peer != sent[0].0));
    assert_eq!(sent[0].1, 1);
    // The first presence is none the worse for it.
    circuits.request(&to, &contents(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_single_lsp_can_loop_through_a_relay() {
    let network = Network::start(2).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    let destination = Destination {
        introductions: vec![node_id(&network.relays[0])],
        ..to(&service)
    };
    let reply = circuits.request(&destination, &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    // The LSP sees the request and the answer twice each, the other relay once each.
    let passed = network.relays.iter().map(|relay| {
        let received = relay.received();
        received.iter().map(|(_, count)| count).sum::<u64>()
    });
    assert_eq!(passed.collect::<Vec<_>>(), [4, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_node_is_reached_at_once_over_either_of_two_lsps_that_do_not_know_each_other() {
    let lsps = [Network::alone(1).await, Network::alone(2).await];
    let addresses = lsps.each_ref().map(|lsp| lsp.relays[0].address());
    let mut config = ServiceConfig::new([99; 32]);
    config.connect_to = addresses.map(PeerHost::from).to_vec();
    let (service, intake) = Service::start(config).await.unwrap();
    service.wait_connected().await;
    serve(&intake, echo);
    let destination = Destination {
        introductions: addresses.map(|lsp| lsp.node_id).to_vec(),
        ..to(&service)
    };
    for lsp in &lsps {
        lsp.relays[0].wait_for(service.node_id()).await;
        let circuits = lsp.circuits(|_| {}).await;
        for n in 0..8 {
            let reply = circuits.request(&destination, &contents(n)).await.unwrap();
            assert!(reply.contents == contents(n));
            assert_eq!(reply.attempts, 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_node_that_listens_is_reached_without_a_relay() {
    let network = Network::start(0).await;
    let service = network.service(echo).await;
    let config = CircuitsConfig::new(vec![service.address().unwrap()]);
    let circuits = Circuits::start(config).unwrap();
    let reply = circuits.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
}

#[tokio::test]
async fn one_thread_is_enough_for_a_runtime() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    let reply = circuits.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_cannot_tell_that_two_connections_are_one_client() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let mut seen = HashSet::from([service.node_id()]);
    for _ in 0..2 {
        let circuits = network.circuits(|_| {}).await;
        let peers = network.relays[0].peers();
        assert_eq!(peers.len(), 3);
        let new = peers.into_iter().filter(|peer| seen.insert(*peer)).count();
        assert_eq!(new, 2);
        drop(circuits);
        until(|| network.relays[0].peers().len() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_every_size_up_to_the_room_arrive_whole() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    let room = request_room(2, 3);
    for size in [0, 1, 1_000, 1_301, 16_433, room] {
        let sent = vec![0xa5; size];
        let reply = circuits.request(&to(&service), &sent).await.unwrap();
        assert!(reply.contents == sent, "{size} bytes");
    }
    let too_much = circuits.request(&to(&service), &vec![0; room + 1]).await;
    let error = RequestError::DoesNotFit {
        got: room + 1,
        room,
    };
    assert_eq!(too_much.err(), Some(error));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_requests_at_once_are_all_answered() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    all((0..64).map(|task| {
        let (circuits, destination) = (Arc::clone(&circuits), to(&service));
        async move {
            for n in 0..10 {
                let contents = contents(task * 100 + n);
                let reply = circuits.request(&destination, &contents).await.unwrap();
                assert!(reply.contents == contents);
            }
        }
    }))
    .await;
    assert!(idle(&circuits));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_gets_no_big_answer() {
    let network = Network::start(1).await;
    let (told, hears) = std::sync::mpsc::channel();
    let service = network
        .service(move |incoming| {
            let answered = incoming.responder.answer(&[0; 1_400]);
            told.send(answered).unwrap();
        })
        .await;
    let circuits = network
        .circuits(|config| config.deadline = Duration::from_millis(300))
        .await;
    let service = to(&service);
    let (reply, refused) = tokio::join!(circuits.request(&service, &[0; 500]), async {
        tokio::task::spawn_blocking(move || hears.recv().unwrap())
            .await
            .unwrap()
    });
    assert!(reply.is_err());
    let room = 1_300 - 10 - 2 * 151;
    assert_eq!(refused, Err(Undelivered::DoesNotFit { got: 1_400, room }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_looks_after_keeps_no_place_from_others() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let circuits = network
        .circuits(|config| {
            (config.window_start, config.window_max) = (1, 1);
            config.connections_per_hop = 1;
        })
        .await;
    let destination = to(&service);
    let (one, two) = (contents(1), contents(2));
    let mut idle = std::pin::pin!(circuits.request(&destination, &one));
    // Begun, and then left alone while its caller waits for another.
    let begun = std::future::poll_fn(|context| {
        std::task::Poll::Ready(idle.as_mut().poll(context).is_pending())
    });
    assert!(begun.await);
    let other = tokio::time::timeout(
        Duration::from_secs(20),
        circuits.request(&destination, &two),
    );
    assert!(
        other
            .await
            .is_ok_and(|reply| reply.unwrap().contents == two)
    );
    assert!(idle.await.unwrap().contents == one);
}

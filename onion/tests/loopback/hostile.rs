//! Peers that send what nobody asked for.

use std::io::ErrorKind;
use std::net::SocketAddr;

use larder_attacker::Attacker;
use larder_onion::{Circuits, CircuitsConfig, REPLY_TLV, REQUEST_TLV, Service, ServiceConfig};
use tokio::net::TcpStream;

use crate::support::{Network, contents, echo, node_id, serve, to, until};

#[tokio::test(flavor = "multi_thread")]
async fn replies_without_context_or_with_a_forged_one_are_rejected() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    let circuits = network
        .circuits(|config| config.connections_per_hop = 1)
        .await;
    let relay = &network.relays[0];
    let mut peers = relay.peers();
    peers.retain(|peer| *peer != service.node_id());
    let client = peers[0];
    let attacker = Attacker::connect(50, relay.address()).await;

    let destination = to(&service);
    let request = async { circuits.request(&destination, &contents(1)).await.unwrap() };
    let attack = async {
        // The request is under way: a reply is awaited now.
        let incoming = tokio::task::spawn_blocking(move || intake.recv().unwrap());
        let incoming = incoming.await.unwrap();
        let by_way_of = [node_id(relay)];
        attacker.send(vec![
            attacker.message(&by_way_of, client, REPLY_TLV, 0),
            attacker.forged(&by_way_of, client, REPLY_TLV),
            attacker.message(&by_way_of, client, REQUEST_TLV, 2),
        ]);
        until(|| circuits.unmatched() == 3).await;
        incoming.responder.answer(b"the right one").unwrap();
    };
    let (reply, ()) = tokio::join!(request, attack);
    assert_eq!(reply.contents, b"the right one");
    assert_eq!(reply.attempts, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_never_reaches_the_handler() {
    let network = Network::start(1).await;
    let service = network.service(|_| panic!("not a request")).await;
    let attacker = Attacker::connect(50, service.address().unwrap()).await;
    let node = service.node_id();
    attacker.send(vec![
        attacker.garbage(),
        // No reply path; the type of a reply; BOLT 12; an unknown type; a path too long; a
        // path we never made; a message to be forwarded.
        attacker.message(&[], node, REQUEST_TLV, 0),
        attacker.message(&[], node, REPLY_TLV, 2),
        attacker.message(&[], node, 64, 2),
        attacker.message(&[], node, 0x4c41_5235, 2),
        attacker.message(&[], node, REQUEST_TLV, 9),
        attacker.forged(&[], node, REQUEST_TLV),
        attacker.message(&[node], node_id(&network.relays[0]), REQUEST_TLV, 2),
    ]);
    until(|| service.counters().rejected == 8).await;
    assert_eq!(service.counters().received, 0);
    assert!(
        network.relays[0].received().is_empty(),
        "nothing is forwarded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_fills_no_more_than_its_share_and_others_are_served() {
    let network = Network::start(1).await;
    let (service, intake) = network.intake().await;
    let circuits = network.circuits(|_| {}).await;
    let attacker = Attacker::connect(50, service.address().unwrap()).await;
    let garbage = attacker.garbage();
    attacker.pour(move || Some(garbage.clone()));

    // Nobody serves: what waits stays at one peer's share while thousands arrive.
    until(|| service.counters().dropped > 2_000).await;
    assert_eq!(service.counters().waiting, 64);

    serve(&intake, echo);
    for n in 0..50 {
        let reply = circuits.request(&to(&service), &contents(n)).await.unwrap();
        assert!(reply.contents == contents(n));
    }
    assert!(service.counters().waiting <= 64 + 8);
    let before = service.counters().arrived;
    until(|| service.counters().arrived > before).await;
}

/// A service where so many may connect, and nobody else has yet.
async fn crowded(places: usize) -> Service {
    let mut config = ServiceConfig::new([98; 32]);
    config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.max_inbound_peers = places;
    let (service, intake) = Service::start(config).await.unwrap();
    serve(&intake, echo);
    service
}

async fn straight_to(service: &Service) -> Circuits {
    let mut config = CircuitsConfig::new(vec![service.address().unwrap()]);
    config.connections_per_hop = 1;
    let circuits = Circuits::start(config).unwrap();
    circuits.wait_connected().await;
    circuits
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_keep_no_peer_out() {
    let service = crowded(4).await;
    let address = service.local_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let circuits = straight_to(&service).await;
    let reply = circuits.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    // They were not waited for: LDK would have ended them by then.
    let last = silent.last().unwrap().try_read(&mut [0]);
    assert!(last.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    assert_eq!(service.connected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_say_nothing_make_room_and_those_that_have_spoken_do_not() {
    let service = crowded(2).await;
    let spoken = straight_to(&service).await;
    let reply = spoken.request(&to(&service), &contents(1)).await.unwrap();
    assert!(reply.contents == contents(1));
    let silent = straight_to(&service).await;
    until(|| service.connected() == 2).await;

    let newcomer = straight_to(&service).await;
    let reply = newcomer.request(&to(&service), &contents(2)).await.unwrap();
    assert!(reply.contents == contents(2));
    until(|| silent.connected() == 0).await;
    // Both have spoken now; nobody has to go for the one that comes back again and again.
    for (circuits, n) in [(&spoken, 3), (&newcomer, 4)] {
        let reply = circuits.request(&to(&service), &contents(n)).await.unwrap();
        assert!(reply.contents == contents(n));
    }
}

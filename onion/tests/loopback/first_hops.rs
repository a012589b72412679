//! First hops that cannot be reached are named with the reason, long before a request is given up; those whose host has
//! a name are found.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use larder_onion::{
    Circuits, CircuitsConfig, PeerAddress, PeerHost, Service, ServiceConfig, Trouble,
};
use tokio::time::Instant;

use crate::support::{Network, contents, echo, node_id, serve, to};

/// Circuits whose requests are never given up.
fn patient(first_hop: impl Into<PeerHost>) -> Arc<Circuits> {
    let mut config = CircuitsConfig::new([first_hop.into()]);
    config.deadline = Duration::from_secs(3_600);
    Arc::new(Circuits::start(config).unwrap())
}

/// Waits until this is why the only first hop is not connected.
async fn until_it_is(circuits: &Circuits, hop: &PeerHost, expected: Trouble) {
    loop {
        let troubles = circuits.cut_off().await;
        assert_eq!(troubles.len(), 1, "two connections go to one first hop");
        assert_eq!(troubles[0].0, *hop);
        // A busy machine may take so long that it seems silent at first.
        if troubles[0].1 == expected {
            return;
        }
        assert_eq!(troubles[0].1, Trouble::Silent);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hop_where_nothing_listens_is_named_though_a_request_still_waits_for_it() {
    let network = Network::start(1).await;
    let service = network.service(echo).await;
    let address = network.relays[0].address();
    let destination = to(&service);
    for relay in network.relays {
        relay.shutdown().await;
    }
    let circuits = patient(address);
    let request = {
        let circuits = Arc::clone(&circuits);
        tokio::spawn(async move { circuits.request(&destination, &contents(1)).await.err() })
    };
    until_it_is(&circuits, &address.into(), Trouble::Refused).await;
    assert!(!request.is_finished());
    request.abort();
}

#[tokio::test(start_paused = true)]
async fn a_first_hop_that_says_nothing_is_named_within_two_seconds() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = PeerAddress {
        node_id: node_id(&Network::alone(7).await.relays[0]),
        address: silent.local_addr().unwrap(),
    };
    let begun = Instant::now();
    let circuits = patient(address);
    let troubles = circuits.cut_off().await;
    assert_eq!(troubles, [(address.into(), Trouble::Silent)]);
    assert!(begun.elapsed() <= Duration::from_millis(2_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hop_where_another_node_listens_is_named() {
    let [there, other] = [Network::alone(1).await, Network::alone(2).await];
    let address = PeerAddress {
        node_id: node_id(&other.relays[0]),
        address: there.relays[0].address().address,
    };
    until_it_is(&patient(address), &address.into(), Trouble::TurnedAway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_hop_and_an_lsp_are_found_by_the_names_of_their_hosts() {
    let network = Network::alone(1).await;
    let relay = &network.relays[0];
    let port = relay.address().address.port();
    let named = format!("{}@localhost:{port}", node_id(relay));
    let named: PeerHost = named.parse().unwrap();
    let mut config = ServiceConfig::new([99; 32]);
    config.connect_to = vec![named.clone()];
    let (service, intake) = Service::start(config).await.unwrap();
    service.wait_connected().await;
    relay.wait_for(service.node_id()).await;
    serve(&intake, echo);
    let circuits = patient(named);
    let reply = circuits.request(&to(&service), &contents(3)).await.unwrap();
    assert!(reply.contents == contents(3));
    service.shutdown().await;
}

//! Requests and answers over real loopback TCP and stock LDK relays.

mod support;

use larder_onion::Destination;
use support::{Network, echo};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_through_one_relay() {
    let network = Network::start(1).await;
    let (service, _threads) = network.service(echo).await;
    let circuits = network.circuits(|_| {}).await;
    let contents = vec![7; 16_433];
    let reply = circuits
        .request(&Destination::new(service.node_id()), &contents)
        .await
        .unwrap();
    assert_eq!(reply.contents, contents);
    assert_eq!(reply.attempts, 1);
}

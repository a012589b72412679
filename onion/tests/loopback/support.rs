//! Networks on loopback: relays, a service with a handler, clients.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use larder_onion::{
    Circuits, CircuitsConfig, Destination, Faults, Incoming, Intake, NodeId, Rate, Relay,
    RelayConfig, Service, ServiceConfig,
};
use tokio::task::JoinSet;

/// Relays that are all connected to one another.
pub(crate) struct Network {
    pub(crate) relays: Vec<Relay>,
}

impl Network {
    pub(crate) async fn start(relays: u8) -> Self {
        Self::with_faults(relays, Faults::default()).await
    }

    /// The first relay, at which clients begin, has the faults.
    pub(crate) async fn with_faults(count: u8, faults: Faults) -> Self {
        let mut relays: Vec<Relay> = Vec::new();
        for n in 0..count {
            let mut config = RelayConfig::loopback([n + 1; 32]);
            if n == 0 {
                config.faults = faults;
            }
            let mut relay = Relay::start(config).await.unwrap();
            for other in &relays {
                relay.connect(other.address());
                relay.wait_for(node_id(other)).await;
                other.wait_for(node_id(&relay)).await;
            }
            relays.push(relay);
        }
        Network { relays }
    }

    /// A single relay with this seed: a network apart from others.
    pub(crate) async fn alone(seed: u8) -> Self {
        let relay = Relay::start(RelayConfig::loopback([seed; 32])).await;
        Network {
            relays: vec![relay.unwrap()],
        }
    }

    /// A service that listens and is connected to every relay; nobody serves its intake yet.
    pub(crate) async fn intake(&self) -> (Service, Intake) {
        self.paced_intake(None).await
    }

    /// The same, sending its answers at this pace.
    pub(crate) async fn paced_intake(&self, pace: Option<Rate>) -> (Service, Intake) {
        let mut config = ServiceConfig::new([99; 32]);
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.connect_to = self
            .relays
            .iter()
            .map(|relay| relay.address().into())
            .collect();
        config.pace = pace;
        let (service, intake) = Service::start(config).await.unwrap();
        service.wait_connected().await;
        for relay in &self.relays {
            relay.wait_for(service.node_id()).await;
        }
        (service, intake)
    }

    /// A service like that, with two threads that answer with `handler`.
    pub(crate) async fn service(
        &self,
        handler: impl Fn(Incoming) + Clone + Send + 'static,
    ) -> Service {
        let (service, intake) = self.intake().await;
        serve(&intake, handler);
        service
    }

    /// A client of the first relay that knows the others.
    pub(crate) async fn circuits(&self, adjust: impl FnOnce(&mut CircuitsConfig)) -> Arc<Circuits> {
        let mut config = CircuitsConfig::new(vec![self.relays[0].address()]);
        config.relays = self.relays[1..].iter().map(node_id).collect();
        adjust(&mut config);
        let first_hop = &self.relays[0];
        let connected = first_hop.peers().len() + config.connections_per_hop;
        let circuits = Arc::new(Circuits::start(config).unwrap());
        circuits.wait_connected().await;
        until(|| first_hop.peers().len() == connected).await;
        circuits
    }
}

/// Answers with `handler` on two threads until the service ends.
pub(crate) fn serve(intake: &Intake, handler: impl Fn(Incoming) + Clone + Send + 'static) {
    for _ in 0..2 {
        let (intake, handler) = (intake.clone(), handler.clone());
        std::thread::spawn(move || {
            while let Some(incoming) = intake.recv() {
                handler(incoming);
            }
        });
    }
}

/// Answers with what was asked, if the connection is still there.
pub(crate) fn echo(incoming: Incoming) {
    let _ = incoming.responder.answer(&incoming.contents);
}

pub(crate) fn node_id(relay: &Relay) -> NodeId {
    relay.address().node_id
}

pub(crate) fn to(service: &Service) -> Destination {
    Destination::new(service.node_id())
}

/// Contents as large as a padded request, and different for every `n`.
pub(crate) fn contents(n: usize) -> Vec<u8> {
    let mut contents = vec![0; 16_433];
    contents[..8].copy_from_slice(&n.to_be_bytes());
    contents
}

/// Whether nothing is in flight.
pub(crate) fn idle(circuits: &Circuits) -> bool {
    let mut links = circuits.report().into_iter();
    links.all(|link| link.pace.in_flight == 0)
}

/// Waits until `what` is so, letting everything else run meanwhile.
pub(crate) async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Runs all of these at once and waits until they are done.
pub(crate) async fn all(work: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let mut tasks: JoinSet<()> = work.collect();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

//! Networks on loopback: relays, a service with a handler, clients.

use std::thread::JoinHandle;

use larder_onion::{
    Circuits, CircuitsConfig, Faults, Incoming, NodeId, Relay, RelayConfig, Service, ServiceConfig,
};

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
                relay.wait_for(other.address().node_id).await;
                other.wait_for(relay.address().node_id).await;
            }
            relays.push(relay);
        }
        Network { relays }
    }

    /// A service connected to every relay, whose threads answer with `handler`.
    pub(crate) async fn service(
        &self,
        handler: impl Fn(Incoming) + Clone + Send + 'static,
    ) -> (Service, Vec<JoinHandle<()>>) {
        let mut config = ServiceConfig::new([99; 32]);
        config.connect_to = self.relays.iter().map(Relay::address).collect();
        let (service, intake) = Service::start(config).await.unwrap();
        service.wait_connected().await;
        for relay in &self.relays {
            relay.wait_for(service.node_id()).await;
        }
        let serve = || {
            let (intake, handler) = (intake.clone(), handler.clone());
            std::thread::spawn(move || {
                while let Some(incoming) = intake.recv() {
                    handler(incoming);
                }
            })
        };
        (service, (0..2).map(|_| serve()).collect())
    }

    /// A client of the first relay that knows the others.
    pub(crate) async fn circuits(&self, adjust: impl FnOnce(&mut CircuitsConfig)) -> Circuits {
        let mut config = CircuitsConfig::new(vec![self.relays[0].address()]);
        config.relays = self.relays[1..].iter().map(node_id).collect();
        adjust(&mut config);
        let circuits = Circuits::start(config).unwrap();
        circuits.wait_connected().await;
        circuits
    }
}

pub(crate) fn node_id(relay: &Relay) -> NodeId {
    relay.address().node_id
}

/// Answers with what was asked.
pub(crate) fn echo(incoming: Incoming) {
    incoming.responder.answer(&incoming.contents).unwrap();
}

//! What onion messages themselves show a storage node, over a stock relay on loopback: the way back that each request
//! names.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use futures_util::future::try_join_all;
use larder_onion::{
    Circuits, CircuitsConfig, Destination, Pass, Relay, RelayConfig, Service, ServiceConfig,
};
use larder_protocol::Op;

use super::recording::{Outcome, Seen};

/// Clients of one LSP, and requests of each.
const CLIENTS: u8 = 3;
const REQUESTS: u8 = 40;

/// The ways back that were seen, and of how many lengths and hop counts.
pub(crate) struct Wire {
    pub(crate) ways: Vec<Seen>,
    pub(crate) forms: usize,
}

/// Sends requests of several clients, every other one with the pass that they share.
pub(crate) fn record() -> Result<Wire, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let relay = Relay::start(RelayConfig::loopback([11; 32])).await?;
        let mut config = ServiceConfig::new([12; 32]);
        config.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.connect_to = vec![relay.address().into()];
        let (service, intake) = Service::start(config).await?;
        let pass = Pass::from_bytes([13; 32]);
        intake.honour(&[pass]);
        service.wait_connected().await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let serving = thread::spawn({
            let seen = seen.clone();
            move || {
                let started = Instant::now();
                while let Some(incoming) = intake.recv() {
                    let (way, hops) = incoming.responder.way_back();
                    let seen_now = seen_way(way, started);
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push((seen_now, hops));
                    drop(seen);
                    // Who misses it asks again.
                    let _ = incoming.responder.answer(&incoming.contents);
                }
            }
        });
        let to = Destination::new(service.node_id());
        for _ in 0..CLIENTS {
            let circuits = Circuits::start(CircuitsConfig::new(vec![relay.address()]))?;
            circuits.wait_connected().await;
            let requests = (0..REQUESTS).map(|number| {
                let to = Destination {
                    pass: (number % 2 == 0).then_some(pass),
                    ..to.clone()
                };
                let circuits = &circuits;
                async move { circuits.request(&to, &[number; 1_000]).await }
            });
            try_join_all(requests).await?;
            circuits.shutdown().await;
        }
        service.stop_intake();
        // It was asked to end, and ends.
        let _ = serving.join();
        service.shutdown().await;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut forms: Vec<(usize, usize)> = seen
            .iter()
            .map(|(seen, hops): &(Seen, usize)| (seen.body.len(), *hops))
            .collect();
        forms.sort_unstable();
        forms.dedup();
        Ok(Wire {
            ways: seen.into_iter().map(|(seen, _)| seen).collect(),
            forms: forms.len(),
        })
    })
}

fn seen_way(way: Vec<u8>, started: Instant) -> Seen {
    Seen {
        at: started.elapsed(),
        lsp: 0,
        pass: None,
        op: Op::Info,
        key: None,
        paid: false,
        body: way,
        outcome: Outcome::Done,
        answer: 0,
        epoch: 0,
    }
}
